// Command kvnode is one node of the replicated key-value store: see package node. Its
// settings come from flags and from a file.
//
// On SIGTERM or SIGINT a leader hands over and requests under way are finished; a
// second signal ends the process at once. SIGHUP has the keys of gossip read again and
// ends nothing. It logs to standard error, and drops lines, and says so later, rather
// than wait for whoever reads them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/node"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not start, or did not end well
	exitUsage  = 2 // the command line or the settings file is wrong
)

func main() {
	stderr := newLogQueue(os.Stderr)
	log.SetOutput(stderr) // some libraries write there
	end := func(code int, patience time.Duration) {
		stderr.close(patience)
		os.Exit(code)
	}
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(stderr, "kvnode:", err)
		end(exitFailed, lastLines)
	}
	signal.Ignore(syscall.SIGPIPE) // who reads the log may go without the node
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		cancel(fmt.Errorf("signal: %v", <-signals))
		fmt.Fprintf(stderr, "kvnode: second signal (%v): ending at once\n", <-signals)
		end(exitFailed, lastLines/10)
	}()
	end(run(ctx, os.Args[1:], hangUps, os.Stdout, stderr), lastLines)
}

// run is the program: it serves until ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, hangUps <-chan os.Signal, stdout io.Writer, stderr *logQueue) int {
	c := newCommandLine(builtin())
	s, err := c.parse(args)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "kvnode:", err)
		return exitUsage
	case c.help:
		fmt.Fprint(stdout, c.usage())
		return exitOK
	case c.version:
		fmt.Fprintf(stdout, "kvnode %s %s %s/%s\n", node.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitOK
	}
	s.Logger, s.HangUps = stderr.logger(s.logLevel, s.logFormat), hangUps
	if err := node.Run(ctx, s.Config); err != nil {
		fmt.Fprintln(stderr, "kvnode:", err)
		if errors.Is(err, core.ErrInvalid) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
