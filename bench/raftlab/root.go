// Package raftlab is the program raftlab: it runs experiments on Raft and reports what
// they measured. Main makes one of any parts, systems and kinds of measurement.
package raftlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // the run, the verification or the command failed
	exitUsage       = 2   // the command line or a file given on it is wrong
	exitInterrupted = 130 // Ctrl-C; what was measured is kept
)

// exitError carries an exit code through cobra.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{exitUsage, err} }

// Lab is what a raftlab can measure, and how.
type Lab struct {
	Parts cluster.Catalogs
	// Systems returns the systems under test, given the path of the program kvnode.
	Systems func(kvnode string) system.Catalog
	Kinds   measure.Catalog
}

// Builtin returns a new Lab of what comes with raftlab. More may be registered.
func Builtin() Lab {
	parts := cluster.Builtin()
	return Lab{
		Parts:   parts,
		Systems: func(kvnode string) system.Catalog { return runner.Systems(parts, kvnode) },
		Kinds:   runner.Kinds(),
	}
}

// Main runs the program with one command line and returns its exit code. It is to be all
// that the process does: it may begin by starting the program again with another
// environment (mdb needs that), and takes the signals of the process.
func Main(ctx context.Context, lab Lab, args []string, stdout, stderr io.Writer) int {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(stderr, "raftlab:", err)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return run(ctx, lab, args, stdout, stderr)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, lab Lab, args []string, stdout, stderr io.Writer) int {
	root := newRoot(lab)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		code = exit.code
	case errors.Is(err, core.ErrUnknownName), errors.Is(err, core.ErrInvalid):
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "raftlab: %s\n", text)
	}
	return code
}

func newRoot(lab Lab) *cobra.Command {
	root := &cobra.Command{
		Use:   "raftlab",
		Short: "Measure what a log store, transport, cluster size or timeout costs in Raft",
		Long: `raftlab runs an experiment on real disks and sockets and writes a comparative
report. An experiment is a small TOML file: what to measure, under which load,
and a matrix of what to compare.

  raftlab run experiments/backends.toml      run it, print the table, write the report
  raftlab report out/backends-…              write the report again from the run folder
  raftlab verify out/backends-…              recompute every printed number
  raftlab compare out/A out/B                two runs, cell by cell

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted.`,
		Version:                    core.ModuleVersion("github.com/themilchenko/raftlab"),
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       noCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see '%s --help'", err, c.CommandPath()))
	})
	root.AddCommand(newRun(lab), newReport(lab), newCompare(lab), newVerify(lab), newList(lab), newCalibrate())
	return root
}

func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usage(fmt.Errorf("unknown command %q%s; see 'raftlab --help'", args[0], hint))
}

// wants checks the number of arguments and says what they are.
func wants(low, high int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= low && (high < 0 || len(args) <= high) {
			return nil
		}
		return usage(fmt.Errorf("%s wants %s, not %d arguments; see '%s --help'", c.Name(), what, len(args), c.CommandPath()))
	}
}
