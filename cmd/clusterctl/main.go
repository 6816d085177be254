// Command clusterctl manages a local cluster of kvnode processes.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(), args, stdin, stdout, stderr, func(err error) (string, int) {
		return explain(ctx, err), exitCode(ctx, err)
	})
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // the command failed; of status: there is no leader
	exitUsage       = 2   // the command line or a file given on it is wrong
	exitUnknown     = 3   // a write may or may not have taken effect
	exitInterrupted = 130 // Ctrl-C
)

func exitCode(ctx context.Context, err error) int {
	switch {
	case errors.Is(err, core.ErrOutcomeUnknown):
		return exitUnknown
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, core.ErrInvalid), errors.Is(err, core.ErrUnknownName),
		errors.Is(err, clusterfile.ErrInvalid), errors.Is(err, process.ErrNoLeader),
		errors.Is(err, process.ErrForeign), errors.Is(err, process.ErrRunning):
		return exitUsage
	}
	return exitFailed
}

// explain says what went wrong, and of nodes that did not start the end of their logs.
func explain(ctx context.Context, err error) string {
	text := err.Error()
	switch {
	case errors.Is(err, core.ErrOutcomeUnknown):
		text += "\nIt may have taken effect, or may yet: check before you do it again."
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		text = "interrupted"
	}
	for _, e := range startErrors(err) {
		if len(e.Tail) > 0 {
			text += "\nthe end of " + e.LogPath + ":\n  " + strings.Join(e.Tail, "\n  ")
		}
	}
	return text
}

// startErrors finds all StartErrors in a tree of joined errors.
func startErrors(err error) []*process.StartError {
	switch e := err.(type) {
	case nil:
		return nil
	case *process.StartError:
		return []*process.StartError{e}
	case interface{ Unwrap() []error }:
		var found []*process.StartError
		for _, inner := range e.Unwrap() {
			found = append(found, startErrors(inner)...)
		}
		return found
	}
	return startErrors(errors.Unwrap(err))
}
