// Command kvnode is one node of the replicated key-value store: a replica, its
// data on disk, and the HTTP interface of docs/http-api.md. It serves whoever
// reaches its ports: it neither encrypts nor authenticates.
//
// A node without data founds a group of its own, or, with --join, asks members of
// one to add it. With --gossip nodes find each other: as many as --bootstrap-expect
// says found a group together, and later ones are added by its leader. One that
// comes back goes on with what its folder holds:
//
//	node.json    whose data this is: id, log store, engine
//	nodes.json   HTTP addresses of the group's members; there once it is one
//	gossip.json  with whom it promised to found a group, and where others were
//	log/         the log store's
//	snapshots/   the engine's
//	LOCK         locked while a process uses the folder; holds its id
//
// On SIGTERM or SIGINT a leader hands over and requests under way are finished; a
// second signal ends the process at once. SIGHUP has the keys of gossip read again and
// ends nothing. It logs to standard error, and drops lines, and says so later, rather
// than wait for whoever reads them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/core"
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
		fmt.Fprintf(stdout, "kvnode %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitOK
	case c.describe:
		if err := json.NewEncoder(stdout).Encode(s.parts()); err != nil {
			fmt.Fprintln(stderr, "kvnode:", err)
			return exitFailed
		}
		return exitOK
	}
	if err := serve(ctx, s, hangUps, stderr.logger(s.logLevel, s.logFormat)); err != nil {
		fmt.Fprintln(stderr, "kvnode:", err)
		if errors.Is(err, core.ErrInvalid) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// serve runs a node until ctx ends or the node fails.
func serve(ctx context.Context, s settings, hangUps <-chan os.Signal, logger *slog.Logger) error {
	n, err := start(ctx, s, hangUps, logger)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) { // it was still waiting for others
		logger.Info("stopped before it had a group", "cause", context.Cause(ctx), "was", err)
		return nil
	}
	if err != nil {
		return wayBack(err, s)
	}
	failure := n.wait(ctx)
	switch {
	case failure != nil:
		logger.Error("stopping", "cause", failure)
	case s.gossip != nil && s.gossip.leaveOnStop:
		n.leaveAtLast()
	}
	if err := errors.Join(failure, n.stop()); err != nil {
		return wayBack(fmt.Errorf("%s: %w", n.id, err), s)
	}
	logger.Info("stopped")
	return nil
}

func version() string { return core.ModuleVersion("github.com/themilchenko/raftlab") }
