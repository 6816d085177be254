// Command clusterctl manages a local cluster of kvnode processes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	explain(stderr, ctx, err)
	return exitCode(ctx, err)
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
	code, carries := cli.Code(err)
	switch {
	case carries:
		return code
	case errors.Is(err, core.ErrOutcomeUnknown):
		return exitUnknown
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, core.ErrInvalid), errors.Is(err, core.ErrUnknownName),
		errors.Is(err, clusterfile.ErrInvalid), errors.Is(err, process.ErrNoLeader),
		errors.Is(err, process.ErrForeign):
		return exitUsage
	}
	return exitFailed
}

// explain prints what went wrong, and of nodes that did not start the end of
// their logs.
func explain(w io.Writer, ctx context.Context, err error) {
	text := err.Error()
	switch {
	case text == "":
		return
	case errors.Is(err, core.ErrOutcomeUnknown):
		text += "\nIt may have taken effect, or may yet: check before you do it again."
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		text = "interrupted"
	}
	fmt.Fprintf(w, "clusterctl: %s\n", text)
	for _, e := range startErrors(err) {
		if len(e.Tail) == 0 {
			continue
		}
		fmt.Fprintf(w, "the end of %s:\n", e.LogPath)
		for _, line := range e.Tail {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
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
