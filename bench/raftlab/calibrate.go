package raftlab

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/calibrate"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/internal/cli"
)

func newCalibrate() *cobra.Command {
	return &cobra.Command{
		Use:   "calibrate [DIR]",
		Short: "Measure what the machine costs: disk flushes, loopback, timers",
		Long: `Measure what no Raft library can undercut on this machine: fsync and fdatasync
of a 4 KiB append in DIR (default: the current folder), a 64-byte round trip
over loopback TCP, how late a timer wakes and how fine the clock is. Every run
does the same before its first trial and keeps the figures in its manifest.`,
		Args: cli.Wants(0, 1, "at most one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			env, err := calibrate.Environment(dir)
			if err != nil {
				return err
			}
			figures, err := calibrate.All(c.Context(), dir)
			if err != nil {
				return err
			}
			return printCalibration(c.OutOrStdout(), dir, env, figures)
		},
	}
}

func printCalibration(w io.Writer, dir string, env record.Environment, c record.Calibration) error {
	fmt.Fprintf(w, "%s, %d cores, %s %s %s\n", env.CPU, env.Cores, env.OS, env.Kernel, env.Arch)
	fmt.Fprintf(w, "%s is on %s (%s)\n", dir, env.DataFileSystem, env.DataDevice)
	if env.DataMemory {
		fmt.Fprintln(w, "That is memory: a flush costs nothing there and no durable store can be judged.")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "microseconds\tn\tmin\tp50\tp90\tp99\tmax\t")
	for _, row := range []struct {
		name string
		q    record.Quantiles
	}{
		{"fsync, 4 KiB", c.FsyncUS},
		{"fdatasync, 4 KiB", c.FdatasyncUS},
		{"loopback round trip", c.LoopbackUS},
		{"timer overrun", c.TimerUS},
	} {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n",
			row.name, row.q.N, row.q.Min, row.q.P50, row.q.P90, row.q.P99, row.q.Max)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nsmallest step of the clock: %.0f ns\n", c.ClockResolution)
	return err
}
