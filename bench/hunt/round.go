package hunt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/kv/client"
)

// Config says what a round is.
type Config struct {
	Kvnode    string // path of the program
	Dir       string // of the round's files; it must not exist
	Seed      uint64
	Nodes     int    // 3 or 5
	Backend   string // bolt or mdb
	Discovery string // static or gossip
	Duration  time.Duration
	Faults    []string // only these kinds; empty: all
	// Peers has nodes without gossip told of each other's Raft addresses, by --peers.
	Peers bool
	Out   io.Writer
}

func (c Config) gossips() bool { return c.Discovery == "gossip" }

// String says the cell.
func (c Config) String() string {
	return fmt.Sprintf("%d nodes, %s, %s", c.Nodes, c.Backend, c.Discovery)
}

// Again is the command that runs the same schedule again.
func (c Config) Again() string {
	command := fmt.Sprintf("make soak SEED=%d NODES=%d BACKEND=%s DISCOVERY=%s DURATION=%v ROUND=%v",
		c.Seed, c.Nodes, c.Backend, c.Discovery, c.Duration, c.Duration)
	if len(c.Faults) > 0 {
		command += " FAULTS=" + strings.Join(c.Faults, ",")
	}
	return command
}

// log tells what happens, with the time of the history.
func (g *group) log(format string, args ...any) {
	fmt.Fprintf(g.cfg.Out, "%7.2fs  %s\n", time.Since(g.begin).Seconds(), fmt.Sprintf(format, args...))
}

// Round runs a round and says what it found. An error means that there was none: the
// group could not be founded, or ctx ended.
func Round(ctx context.Context, cfg Config) (*Report, error) {
	random := rand.New(rand.NewPCG(cfg.Seed, 0))
	tuned := tune(random)
	steps, err := plan(cfg, tuned, random)
	for tries := 0; err != nil && tries < 20; tries++ { // a kind that was asked for needs another tuning
		tuned = tune(random)
		steps, err = plan(cfg, tuned, random)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(cfg.Out, "\nround of seed %d: %s; %s\n  again: %s\n", cfg.Seed, cfg, tuned, cfg.Again())
	for i, s := range steps {
		fmt.Fprintf(cfg.Out, "  %2d. %s\n", i+1, s)
	}
	report := newReport()
	begin := time.Now()
	g, err := newGroup(cfg, tuned, report)
	defer g.close()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(steps, func(s step) bool { return s.kind.name == "old-group" }) {
		if err := g.otherGroup(ctx); err != nil {
			return nil, fmt.Errorf("the other group: %w", err)
		}
	}
	if err := g.found(ctx); err != nil {
		return nil, fmt.Errorf("found the group: %w", err)
	}
	g.begin, g.history = time.Now(), check.NewHistory()
	g.load = startLoad(ctx, g, cfg.Seed)
	whole := g.suffer(ctx, steps)
	g.load.stop()
	ops := g.history.Ops()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if whole {
		g.audit(ctx)
		ops = g.history.Ops()
	}
	report.count(ops)
	g.judge(ops)
	report.Duration = time.Since(begin)
	for _, v := range report.Violations {
		fmt.Fprintf(cfg.Out, "VIOLATION %s\n  again: %s\n", v, cfg.Again())
	}
	return report, nil
}

// suffer goes through the schedule and says whether the group is whole after it.
func (g *group) suffer(ctx context.Context, steps []step) bool {
	for i, s := range steps {
		if s.kind.data && !g.isHealed(ctx) {
			return false
		}
		random := rand.New(rand.NewPCG(s.seed, 1))
		if s.slow > 0 {
			g.slowDown(random, s.slow)
		}
		g.log("%d. %s …", i+1, s.kind.name)
		g.log("%d. %s: %s", i+1, s.kind.name, s.kind.do(ctx, g, s, random))
		g.report.Faults[s.kind.name]++
		if ctx.Err() != nil {
			return false
		}
		g.heal(ctx, s.reset)
		if s.haste {
			continue
		}
		if !g.isHealed(ctx) {
			return false
		}
	}
	return g.isHealed(ctx)
}

// isHealed mends what was damaged and waits until the group is whole. That it does not
// become so is a violation.
func (g *group) isHealed(ctx context.Context) bool {
	g.heal(ctx, true)
	for _, n := range g.nodes {
		g.noteEnd(n)
	}
	suspects := slices.DeleteFunc(slices.Clone(g.nodes), func(n *node) bool { return n.suspect == "" })
	for _, n := range suspects {
		if !strings.Contains(n.suspect, "wiped") && !strings.Contains(n.suspect, "moved away") {
			g.replace(ctx, n) // it may have come up on what is damaged, and nobody has noticed
		}
		g.mend(ctx, n)
	}
	began := time.Now()
	err := g.await(ctx, healTime, g.isWhole)
	for _, n := range g.nodes {
		g.noteEnd(n)
	}
	if err != nil && ctx.Err() == nil {
		g.report.violate(Hung, "%v after all was well again: %v", time.Since(began).Round(time.Second), err)
		return false
	}
	g.log("whole after %v", time.Since(began).Round(10*time.Millisecond))
	g.readAll(ctx, g.nodes[len(g.history.Ops())%len(g.nodes)])
	return err == nil
}

// audit reads all keys from all nodes, once they say that they hold the same.
func (g *group) audit(ctx context.Context) {
	if err := g.await(ctx, comeBack, g.agree); err != nil {
		g.report.violate(Diverged, "%v", err)
	}
	for _, n := range g.nodes {
		if err := g.readMap(ctx, n, check.Audit); err != nil {
			g.report.violate(Hung, "%s does not answer at the end: %v", n.id, err)
		}
	}
}

// readAll reads all keys there are from one node, linearizably. That the node cannot
// answer now is no violation.
func (g *group) readAll(ctx context.Context, n *node) {
	_ = g.readMap(ctx, n, check.Linearizable)
}

// readMap reads all keys of the history from one node and adds the reads to it.
func (g *group) readMap(ctx context.Context, n *node, level check.Level) error {
	keys := map[string]bool{}
	for _, o := range g.history.Ops() {
		keys[o.Key] = true
	}
	call := g.history.Now()
	held, err := g.dump(ctx, n, level)
	if err != nil {
		return err
	}
	for key := range keys {
		v := held[key]
		g.history.Add(check.Op{Client: "survey", Node: n.id, Kind: check.Get, Key: key, Value: string(v.Data), Index: v.Index,
			Level: level, Call: call, Return: g.history.Now(), Outcome: check.OK})
	}
	return nil
}

// agree returns nil if all nodes have applied everything and hold the same map.
func (g *group) agree(ctx context.Context) error {
	var digests []string
	for _, n := range g.nodes {
		err := g.ask(ctx, func(ctx context.Context, _ *client.Client, at *client.Node) error {
			if _, err := at.Scan(ctx, "none", "", 1, client.Linearizable); err != nil {
				return err
			}
			d, err := at.Digest(ctx)
			digests = append(digests, fmt.Sprintf("%s: %d keys, %d commands, %.12s", n.id, d.Keys, d.Commands, d.SHA256))
			return err
		}, n)
		if err != nil {
			return err
		}
	}
	for _, d := range digests {
		_, this, _ := strings.Cut(d, ": ")
		if _, first, _ := strings.Cut(digests[0], ": "); this != first {
			return errors.New(strings.Join(digests, "; "))
		}
	}
	return nil
}

// dump reads a map from a node: what it holds, or, for all levels but audits, what it
// answers to a linearizable read.
func (g *group) dump(ctx context.Context, n *node, level check.Level) (map[string]client.Value, error) {
	consistency := client.Linearizable
	if level == check.Audit {
		consistency = client.Stale
	}
	held := map[string]client.Value{}
	for after, more := "", true; more; {
		err := g.ask(ctx, func(ctx context.Context, _ *client.Client, at *client.Node) error {
			page, err := at.Scan(ctx, "", after, 1000, consistency)
			for _, p := range page.Pairs {
				held[p.Key] = p.Value
			}
			after, more = page.Next, page.Next != ""
			return err
		}, n)
		if err != nil {
			return nil, err
		}
	}
	return held, nil
}

// judge checks the history and keeps it where something is wrong.
func (g *group) judge(ops []check.Op) {
	result := check.Check(ops, 0)
	g.report.Keys, g.report.Undecided = result.Keys, len(result.Unknown)
	for _, v := range result.Violations {
		var text strings.Builder
		text.WriteString(strings.TrimPrefix(v.String(), v.What+": "))
		for _, o := range v.Near {
			fmt.Fprintf(&text, "\n    %s", o)
		}
		g.report.violate(v.What, "%s", text.String())
	}
	g.log("%d operations: %s", len(ops), result.Verdict)
	if result.Verdict == check.IsLinearizable && len(g.report.Violations) == 0 {
		return
	}
	path := filepath.Join(g.dir, "history.jsonl")
	if err := check.Write(path, ops); err != nil {
		g.log("the history is not kept: %v", err)
		return
	}
	g.log("the history is in %s", path)
}

// moveFolder moves a folder, where there is one, to a place that it makes.
func moveFolder(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
