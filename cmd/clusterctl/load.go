package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

func newLoad(m *manager) *cobra.Command {
	var f audit.Config
	protocol := overHTTP
	c := &cobra.Command{
		Use:   "load",
		Short: "Write under load and remember what was acknowledged",
		Long: `Write with several clients at once and print how many writes were acknowledged,
refused or of unknown outcome, their latency, and the longest time without an
acknowledgement: with a kill or a pause meanwhile, how long the cluster stood
still.

With --journal every write and its fate is kept, for 'clusterctl audit' to check
that nothing acknowledged was lost. Ctrl-C ends the load early; the journal is
good then, too.

  clusterctl load --duration 20s --journal acked.jsonl &
  clusterctl kill leader
  wait; clusterctl start; clusterctl audit acked.jsonl`,
		Args: cli.Wants(0, 0, "no argument"),
	}
	flags := c.Flags()
	flags.StringVar(&protocol, "client", protocol, "protocol to write over: http, or resp, the Redis protocol")
	flags.IntVar(&f.Workers, "clients", 8, "writes under way at once")
	flags.DurationVar(&f.Duration, "duration", 10*time.Second, "end after this time; without effect on --count if not given")
	flags.Uint64Var(&f.Writes, "count", 0, "end after this many writes")
	flags.IntVar(&f.ValueBytes, "value-size", 128, "bytes of a value")
	flags.IntVar(&f.KeysPerWorker, "keys", 16, "keys that each client writes to")
	flags.StringVar(&f.JournalPath, "journal", "", "file for the fate of every write; must not exist")
	flags.DurationVar(&f.WriteTimeout, "timeout", api.DefaultTimeout, "of one write")
	c.RunE = m.on(func(ctx context.Context, s *session, _ []string) error {
		if f.Writes > 0 && !flags.Changed("duration") {
			f.Duration = 0
		} else if err := above0("--duration", f.Duration); err != nil {
			return err
		}
		return s.load(ctx, f, protocol, flags.Changed("count"))
	})
	_ = c.RegisterFlagCompletionFunc("client", cobra.FixedCompletions([]string{overHTTP, overRESP}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c
}

// Protocols of a load.
const (
	overHTTP = "http"
	overRESP = "resp"
)

// writer returns a client over that protocol. The caller closes it.
func (s *session) writer(ctx context.Context, protocol string, timeout time.Duration) (client.Map, error) {
	switch protocol {
	case overHTTP:
		return s.client(ctx, "", timeout)
	case overRESP:
	default:
		return nil, cli.Usagef("--client %q: must be %s or %s", protocol, overHTTP, overRESP)
	}
	var endpoints []string
	for _, n := range s.awake() {
		if n.RESPAddress != "" {
			endpoints = append(endpoints, n.RESPAddress)
		}
	}
	if len(endpoints) == 0 {
		return nil, cli.Usagef("--client %s: no node in %s has a resp_address, where it would serve the Redis protocol: give each one, and then %s; clusterctl init --resp gives them to a new cluster",
			overRESP, s.path, s.command("restart"))
	}
	return client.NewRESP(endpoints, client.Options{Timeout: timeout})
}

func (s *session) load(ctx context.Context, f audit.Config, protocol string, counted bool) error {
	atLeast1 := func(flag string, n int) error {
		if n > 0 {
			return nil
		}
		return cli.Usagef("%s %d: must be at least 1", flag, n)
	}
	if err := cmp.Or(atLeast1("--clients", f.Workers), atLeast1("--value-size", f.ValueBytes), atLeast1("--keys", f.KeysPerWorker),
		checkTimeout(f.WriteTimeout)); err != nil {
		return err
	}
	if counted && f.Writes == 0 {
		return atLeast1("--count", 0)
	}
	if f.JournalPath != "" {
		if _, err := os.Lstat(f.JournalPath); err == nil {
			return cli.Usagef("--journal: there is a file %s already", f.JournalPath)
		}
	}
	nodes, err := s.writer(ctx, protocol, f.WriteTimeout)
	if err != nil {
		return err
	}
	defer nodes.Close()
	f.Client, f.OnSecond = nodes, s.progress()
	result, err := audit.Load(ctx, f)
	if err != nil {
		return err
	}
	writeResult(s.stdout, result, f.JournalPath)
	switch {
	case ctx.Err() != nil:
		return cli.Said(exitInterrupted)
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

func newAudit(m *manager) *cobra.Command {
	var only []string
	var patience time.Duration
	c := &cobra.Command{
		Use:   "audit JOURNAL",
		Short: "Check that every acknowledged write of a load is on every node",
		Long: `Read back from every node what the journal of 'clusterctl load' says was
written, and compare. What was acknowledged must be there, what was refused must
not; of a write whose outcome is unknown both is right. Exit code 1 with a line
per finding if anything is not as it has to be. Nobody else may write to the
same keys.

All nodes have to run, or those named by --node.`,
		Args:              cli.Wants(1, 1, "the journal of a load"),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault), // files
	}
	c.Flags().StringArrayVar(&only, "node", nil, "read from this node only (may be repeated; default: every node)")
	_ = c.RegisterFlagCompletionFunc("node", m.completeNodes(-1)) // the flag is there
	c.Flags().DurationVar(&patience, "timeout", 30*time.Second, "for each node to catch up")
	c.RunE = m.on(func(ctx context.Context, s *session, args []string) error {
		if err := above0("--timeout", patience); err != nil {
			return err
		}
		return s.audit(ctx, args[0], only, patience)
	})
	return c
}

func (s *session) audit(ctx context.Context, path string, only []string, patience time.Duration) error {
	journal, err := audit.ReadJournal(path)
	if err != nil {
		return cli.Usage(err)
	}
	chosen := s.file.Nodes
	if len(only) > 0 {
		if chosen, err = s.nodes(ctx, only); err != nil {
			return err
		}
	}
	if err := s.allRun(chosen); err != nil {
		return err
	}
	group, err := s.client(ctx, "", 0)
	if err != nil {
		return err
	}
	defer group.Close()
	var nodes []*client.Node
	names := make(map[string]string) // of what stands for a node in a finding, the alias
	for _, n := range chosen {
		nodes = append(nodes, group.Node(n.HTTPAddress))
		names[n.HTTPAddress] = n.Alias
	}
	found, err := audit.Check(ctx, group, journal, nodes, audit.CheckOptions{Patience: patience})
	if err != nil {
		return err
	}
	for _, f := range found.List {
		f.Node = cmp.Or(names[f.Node], f.Node)
		fmt.Fprintln(s.stdout, f)
	}
	fmt.Fprintf(s.stdout, "Checked %s on %s: ", cli.Count(found.Keys, "key"), cli.Count(len(chosen), "node"))
	if !found.OK() {
		fmt.Fprintln(s.stdout, cli.Count(found.Total, "finding"))
		return cli.Said(exitFailed)
	}
	fmt.Fprintln(s.stdout, "every acknowledged write is there")
	if found.Unknown > 0 {
		fmt.Fprintf(s.stdout, "Of %s of unknown outcome, %d took effect\n", cli.Count(found.Unknown, "write"), found.UnknownTaken)
	}
	return nil
}

// allRun wants every one of the nodes to run.
func (s *session) allRun(nodes []clusterfile.Node) error {
	for _, n := range nodes {
		state, err := s.cluster.Inspect(n.Alias)
		if err != nil {
			return err
		}
		if !state.Running {
			return fmt.Errorf("%s does not run: start it, or name the nodes to read with --node", n.Alias)
		}
	}
	return nil
}
