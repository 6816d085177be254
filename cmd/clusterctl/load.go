package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/kv/api"
)

type loadFlags struct {
	clients   int
	duration  time.Duration
	count     uint64
	valueSize int
	keys      int
	journal   string
	timeout   time.Duration
}

func newLoad(m *manager) *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "load",
		Short: "Write under load and remember what was acknowledged",
		Long: `Write with several clients at once and print how many writes were acknowledged, refused
or of unknown outcome, their latency, and the longest time without an acknowledgement:
with a kill or a pause meanwhile, how long the cluster stood still.

With --journal every write and its fate is kept, for 'clusterctl audit' to check that
nothing acknowledged was lost. Ctrl-C ends the load early; the journal is good then, too.

  clusterctl load --duration 20s --journal acked.jsonl &
  clusterctl kill leader
  wait; clusterctl start; clusterctl audit acked.jsonl`,
		Args:              wants(0, 0, "no argument"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := c.Flags()
	flags.IntVar(&f.clients, "clients", 8, "writes under way at once")
	flags.DurationVar(&f.duration, "duration", 10*time.Second, "end after this time; without effect on --count if not given")
	flags.Uint64Var(&f.count, "count", 0, "end after this many writes")
	flags.IntVar(&f.valueSize, "value-size", 128, "bytes of a value")
	flags.IntVar(&f.keys, "keys", 16, "keys that each client writes to")
	flags.StringVar(&f.journal, "journal", "", "file for the fate of every write; must not exist")
	flags.DurationVar(&f.timeout, "timeout", api.DefaultTimeout, "of one write")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if f.count > 0 && !c.Flags().Changed("duration") {
			f.duration = 0
		}
		if err := f.check(c); err != nil {
			return err
		}
		s, err := m.open(c)
		if err != nil {
			return err
		}
		return s.load(c.Context(), f)
	}
	return c
}

func (f *loadFlags) check(c *cobra.Command) error {
	switch {
	case f.clients < 1:
		return usage(fmt.Errorf("--clients %d: must be at least 1", f.clients))
	case c.Flags().Changed("duration") && f.duration <= 0:
		return usage(fmt.Errorf("--duration %v: must be above 0", f.duration))
	case c.Flags().Changed("count") && f.count == 0:
		return usage(errors.New("--count 0: must be at least 1"))
	case f.valueSize < 1:
		return usage(fmt.Errorf("--value-size %d: must be at least 1", f.valueSize))
	case f.keys < 1:
		return usage(fmt.Errorf("--keys %d: must be at least 1", f.keys))
	}
	return checkTimeout(f.timeout)
}

func (s *session) load(ctx context.Context, f loadFlags) error {
	if f.journal != "" {
		if _, err := os.Lstat(f.journal); err == nil {
			return usage(fmt.Errorf("--journal: there is a file %s already", f.journal))
		}
	}
	nodes, err := s.client(ctx, "", f.timeout)
	if err != nil {
		return err
	}
	defer nodes.Close()
	result, err := audit.Load(ctx, audit.Config{
		Client:       nodes,
		JournalPath:  f.journal,
		Parameters:   audit.Parameters{Workers: f.clients, KeysPerWorker: f.keys, ValueBytes: f.valueSize},
		Duration:     f.duration,
		Writes:       f.count,
		WriteTimeout: f.timeout,
		OnSecond:     s.progress(),
	})
	if err != nil {
		return err
	}
	writeResult(s.stdout, result, f.journal)
	switch {
	case ctx.Err() != nil:
		return said(exitInterrupted)
	case result.Acknowledged == 0:
		return errors.New("no write was acknowledged")
	}
	return nil
}

func writeResult(w io.Writer, r audit.Result, journal string) {
	fmt.Fprintf(w, "Acknowledged   %d (%.0f/s)\n", r.Acknowledged, float64(r.Acknowledged)/r.Elapsed.Seconds())
	fmt.Fprintf(w, "Unknown        %d\n", r.Unknown)
	fmt.Fprintf(w, "Refused        %d\n", r.Refused)
	if r.Acknowledged > 0 {
		at := func(percentile float64) string { // of values that are rounded, maybe up
			return millis(min(time.Duration(r.Latency.ValueAtPercentile(percentile)), r.LongestWrite))
		}
		fmt.Fprintf(w, "Latency        p50 %s, p99 %s, max %s\n", at(50), at(99), millis(r.LongestWrite))
	}
	fmt.Fprintf(w, "Longest stall  %s, %.1f s after the start\n", millis(r.LongestStall), r.StallBegan.Seconds())
	if journal != "" {
		fmt.Fprintf(w, "Journal        %s\n", journal)
	}
}

// millis writes milliseconds with three digits or so.
func millis(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}

// progress prints a line every second of a load.
func (s *session) progress() func(audit.Counts) {
	second := 0
	return func(told audit.Counts) {
		second++
		fmt.Fprintf(s.stderr, "%4d s: %d acknowledged, %d unknown, %d refused\n",
			second, told.Acknowledged, told.Unknown, told.Refused)
	}
}
