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
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/bench/system"
	programs "github.com/themilchenko/raftlab/bench/system/program"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // the run, the verification or the command failed
	exitUsage       = 2   // the command line or a file given on it is wrong
	exitInterrupted = 130 // Ctrl-C; what was measured is kept
)

// Lab is what a raftlab can measure, and how.
type Lab struct {
	Program string // its name, in commands that reports tell
	Parts   cluster.Catalogs
	// Systems returns the systems under test, given the path of the program kvnode.
	Systems func(kvnode string) system.Catalog
	Kinds   measure.Catalog
}

// known lists what an experiment may name.
func (l Lab) known() experiment.Known { return runner.Known(l.Parts, l.Systems("kvnode"), l.Kinds) }

// Builtin returns a new Lab of what comes with raftlab. More may be registered.
func Builtin() Lab {
	parts := cluster.Builtin()
	return Lab{
		Program: "raftlab",
		Parts:   parts,
		Systems: func(kvnode string) system.Catalog { return runner.Systems(parts, kvnode) },
		Kinds:   runner.Kinds(),
	}
}

// Main runs the program with one command line and returns its exit code. It is to be all
// that the process does: it may begin by starting the program again with another
// environment (mdb needs that), and takes the signals of the process. To the engines of lab
// it adds those that are programs in $RAFTLAB_ENGINES.
func Main(ctx context.Context, lab Lab, args []string, stdout, stderr io.Writer) int {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(stderr, "raftlab:", err)
		return exitFailed
	}
	if err := programs.Register(lab.Parts.Engines); err != nil {
		fmt.Fprintln(stderr, "raftlab:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return run(ctx, lab, args, stdout, stderr)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, lab Lab, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(lab), args, nil, stdout, stderr, func(err error) (string, int) {
		if errors.Is(err, context.Canceled) {
			return "interrupted", exitInterrupted
		}
		if errors.Is(err, core.ErrUnknownName) || errors.Is(err, core.ErrInvalid) {
			return err.Error(), exitUsage
		}
		return err.Error(), exitFailed
	})
}

func newRoot(lab Lab) *cobra.Command {
	root := cli.Root(&cobra.Command{
		Use:   "raftlab",
		Short: "Measure what a log store, transport, cluster size or timeout costs in Raft",
		Long: `raftlab runs an experiment on real disks and sockets and writes a comparative
report. An experiment is a small TOML file: what to measure, under which load,
and a matrix of what to compare.

  raftlab new                             ask, and write an experiment
  raftlab run experiments/backends.toml   run it and write its report
  raftlab report out/backends-…           write the report again
  raftlab verify out/backends-…           compute again all that it says
  raftlab compare out/A out/B             two runs, cell by cell
  raftlab history out/backends-*          between which of many runs it changed

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted.`,
	})
	cli.Version(root, core.Version)
	root.AddCommand(newNew(lab), newRun(lab), newReport(lab), newCompare(lab), newHistory(lab), newVerify(lab), newList(lab), newCalibrate(), newExperimentHelp(lab))
	return root
}
