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
of a 4 KiB append in DIR (default: the current folder); the fdatasync of 512 B
and of 4 KiB in files that have their room, by one to nine writers at a time,
as the log stores of a group on one disk; how fast large pieces are written;
round trips of 64 B and 64 KiB over loopback TCP; how late a goroutine (also
one that slept through a flush) and a timer wake and how fine the clock is.
Every run does the same before its first trial, with the writers of its cells,
and keeps the figures in its manifest; the report sets what was measured
against them.`,
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
			figures, err := calibrate.All(c.Context(), dir, calibrate.Writers())
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
	type row struct {
		name string
		q    record.Quantiles
	}
	rows := []row{{"fsync, 4 KiB", c.FsyncUS}, {"fdatasync, 4 KiB", c.FdatasyncUS}}
	for _, f := range c.Flushes {
		rows = append(rows, row{fmt.Sprintf("fdatasync, %d B in place, writers: %d", f.Bytes, f.Writers), f.EachUS})
	}
	rows = append(rows, row{"loopback round trip, 64 B", c.LoopbackUS}, row{"loopback round trip, 64 KiB", c.Loopback64KUS},
		row{"goroutine wakes", c.WakeUS}, row{"goroutine wakes after a flush", c.WakeAfterUS}, row{"timer overrun", c.TimerUS})
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n",
			row.name, row.q.N, row.q.Min, row.q.P50, row.q.P90, row.q.P99, row.q.Max)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, f := range c.Flushes {
		fmt.Fprintf(w, "flushes of %d B, writers: %d: %.0f/s in all\n", f.Bytes, f.Writers, f.PerSecond)
	}
	fmt.Fprintf(w, "writing 4 MiB and flushing it: %.0f MB/s\n", c.WriteBytesPerS.P50/1e6)
	_, err := fmt.Fprintf(w, "smallest step of the clock: %.0f ns\n", c.ClockResolution)
	return err
}
