// Package kvnode is the program kvnode: one node of the replicated key-value store, as
// package node runs it, with flags, a settings file, signals and a log.
// With plug-ins of your own, build a kvnode by calling [Main]. It holds no part of a node.
//
// On SIGTERM or SIGINT a leader hands over and requests under way are finished; a
// second signal ends the process at once. SIGHUP has the keys of gossip read and the log
// file opened again, and ends nothing. It drops lines of its log, and says so later,
// rather than wait for a reader.
package kvnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/node"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not start, or did not end well
	exitUsage  = 2 // the command line or the settings file is wrong
)

// Main runs kvnode with the plug-ins of known until ctx or a signal ends it, and returns
// the exit code. It is to be all that the process does: it may begin by starting the
// program again with another environment (mdb needs that), it takes the signals of the
// process and its default logger for good, and after a second signal the process has to
// exit with what has not ended yet.
func Main(ctx context.Context, known cluster.Catalogs, args []string, stdout, stderr io.Writer) int {
	lines := newLogQueue(stderr)
	log.SetOutput(lines) // some libraries write there
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(lines, "kvnode:", err)
		lines.close(lastLines)
		return exitFailed
	}
	signal.Ignore(syscall.SIGPIPE) // a reader of the log may go without the node
	hangUps, reloads, signals := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(hangUps, syscall.SIGHUP)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, known, args, reloads, stdout, lines) }()
	for {
		select {
		case code := <-ended:
			lines.close(lastLines)
			return code
		case s := <-hangUps:
			lines.reopen()
			select {
			case reloads <- s:
			default: // the one that waits there does for both
			}
		case s := <-signals:
			if ctx.Err() != nil {
				fmt.Fprintf(lines, "kvnode: second signal (%v): ending at once\n", s)
				lines.close(lastLines / 10)
				return exitFailed
			}
			cancel(fmt.Errorf("signal: %v", s))
		}
	}
}

// run is the program: it serves until ctx ends, and returns the exit code.
func run(ctx context.Context, known cluster.Catalogs, args []string, hangUps <-chan os.Signal, stdout io.Writer, lines *logQueue) int {
	if len(args) > 0 {
		if args[0] == restoreWord { // its flags are those of a node
			return restore(ctx, known, args[1:], stdout, lines)
		}
		if s := subcommandOf(known, args[0]); s != nil {
			return s.execute(ctx, args[1:], stdout, lines)
		}
	}
	c, err := newCommandLine(known)
	var s settings
	if err == nil {
		s, err = c.parse(args)
	}
	switch {
	case err != nil:
		lines.fail(fmt.Sprint("kvnode: ", err))
		return exitUsage
	case c.help:
		fmt.Fprint(stdout, c.usage())
		return exitOK
	case c.version:
		fmt.Fprintf(stdout, "kvnode %s %s %s/%s\n", core.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitOK
	case c.describe:
		if err := json.NewEncoder(stdout).Encode(s.parts()); err != nil {
			lines.fail(fmt.Sprint("kvnode: ", err))
			return exitFailed
		}
		return exitOK
	}
	if s.log.path != "" {
		if err := lines.redirect(s.log, stdout); err != nil {
			lines.fail(fmt.Sprint("kvnode: --log-file: ", err))
			return exitUsage
		}
	}
	s.Logger, s.HangUps = lines.logger(s.log.level, s.log.format), hangUps
	if err := node.Run(ctx, s.Config); err != nil {
		lines.fail(fmt.Sprint("kvnode: ", err))
		if errors.Is(err, core.ErrInvalid) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
