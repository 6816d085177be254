//go:build linux

// Package hunt looks for writes that a group of kvnode processes loses, reads that
// are stale, refusals that leave an operator alone, and groups that stand still.
//
// A [Round] is one group of 3 or 5 nodes, a load of its clients over HTTP or the Redis
// protocol, and a schedule of
// faults that follows from a seed: which, in what order, for how long, and the roles
// of whom they hit. What happens then depends on the machine as well, so the same
// schedule is no promise of the same end, but a good bet.
//
// The schedule never destroys what a majority needs: of the data of one node at a time
// anything may become, until a new folder in its place has caught up. All else may
// befall any number of nodes at once. Two things are therefore asked of the group:
// whatever happens, no answer may be wrong (package check), and once all is well again
// it has to be whole within [healTime].
//
// A node that is refused, or keeps out of its group, must say so without a traceback
// and name the next command. The hunt does then what such texts say: it moves the
// folder away, starts the node with --join (under gossip: as it was), and removes the
// member first if that alone does not help.
package hunt

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
)

// Config says what a round is.
type Config struct {
	Kvnode    string // path of the program
	Dir       string // of the round's files; it must not exist
	Seed      uint64
	Engine    string // empty: the nodes' default
	Nodes     int    // 3 or 5
	Backend   string // bolt, mdb, wal or pebble
	Discovery string // static or gossip
	Client    string // protocol of the load: http or resp; empty: http
	// Persistence is the nodes' raft.persistence; empty: their default.
	Persistence string
	Duration    time.Duration
	Faults      []string // only these kinds; empty: all
	// Peers has nodes without gossip told of each other's Raft addresses, by --peers.
	Peers bool
	Out   io.Writer
}

func (c Config) gossips() bool { return c.Discovery == "gossip" }

func (c Config) overRESP() bool { return c.Client == "resp" }

// String says the cell.
func (c Config) String() string {
	cell := fmt.Sprintf("%d nodes, %s, %s", c.Nodes, c.Backend, c.Discovery)
	for _, more := range []string{c.Engine, c.Persistence} {
		if more != "" {
			cell += ", " + more
		}
	}
	if c.overRESP() {
		cell += ", over the Redis protocol"
	}
	return cell
}

// Again is the command that runs the same schedule again.
func (c Config) Again() string {
	command := fmt.Sprintf("make soak SEED=%d NODES=%d BACKEND=%s DISCOVERY=%s DURATION=%v ROUND=%v",
		c.Seed, c.Nodes, c.Backend, c.Discovery, c.Duration, c.Duration)
	if c.Engine != "" {
		command += " ENGINE=" + c.Engine
	}
	if c.Persistence != "" {
		command += " PERSISTENCE=" + c.Persistence
	}
	if c.Client != "" {
		command += " CLIENT=" + c.Client
	}
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
	g.noteEnd(g.nodes...)
	for _, n := range g.nodes {
		if n.suspect == "" {
			continue
		}
		if !strings.Contains(n.suspect, "wiped") && !strings.Contains(n.suspect, "moved away") {
			g.replace(ctx, n) // it may have come up on what is damaged, and nobody has noticed
		}
		g.mend(ctx, n)
	}
	began := time.Now()
	err := g.await(ctx, healTime, g.isWhole)
	g.noteEnd(g.nodes...)
	if err != nil && ctx.Err() == nil {
		g.report.violate(Hung, "%v after all was well again: %v", time.Since(began).Round(time.Second), err)
		return false
	}
	g.log("whole after %v", time.Since(began).Round(10*time.Millisecond))
	g.readAll(ctx, g.nodes[len(g.history.Ops())%len(g.nodes)])
	return err == nil
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

// What the hunt finds besides the violations of package check.
const (
	Hung     = "stands still"            // though nothing is wrong any more
	Crashed  = "ended by itself"         // a node whose data are sound
	Diverged = "maps differ"             // of nodes that have all applied everything
	Unclear  = "unclear refusal"         // a traceback, or nothing to type
	NotDone  = "the hunt could not harm" // so that it has shown nothing
	Beyond   = "not mended by the word"  // doing what the refusals say does not help
)

// told is how many violations of a kind a round tells: one fault shows in many keys.
const told = 3

// Violation is one thing that must not be.
type Violation struct{ What, Text string }

// String says the violation.
func (v Violation) String() string { return v.What + ": " + v.Text }

// Report is what one or several rounds found.
type Report struct {
	Rounds       int
	NotRun       int // rounds whose group could not be founded
	Operations   int
	Acknowledged int // writes
	Reads        int // that were answered
	Unknown      int // writes that may have taken effect
	Failed       int // operations that were refused or not answered
	Keys         int
	Faults       map[string]int
	Refusals     map[string]int // texts, without names and numbers
	Violations   []Violation
	Counts       map[string]int // of violations by kind: not all of a kind are told
	Undecided    int            // keys that took too long to check
	Duration     time.Duration
}

func newReport() *Report {
	return &Report{Rounds: 1, Faults: map[string]int{}, Refusals: map[string]int{}, Counts: map[string]int{}}
}

// Verdict is that of all histories, and of what else was seen.
func (r *Report) Verdict() check.Verdict {
	switch {
	case len(r.Violations) > 0:
		return check.HasViolation
	case r.Undecided > 0 || r.Rounds == 0:
		return check.IsUnknown
	}
	return check.IsLinearizable
}

// violate adds a violation.
func (r *Report) violate(what, format string, args ...any) {
	r.Counts[what]++
	if r.Counts[what] <= told {
		r.Violations = append(r.Violations, Violation{what, fmt.Sprintf(format, args...)})
	}
}

// refusal notes what a node said when it was refused, and whether that is clear.
func (r *Report) refusal(n *node, text string) {
	r.Refusals[withoutNames(text)]++
	if why := unclear(text); why != "" {
		r.violate(Unclear, "%s, %s: %s:\n%s", n.id, n.suspect, why, text)
	}
}

// count takes the figures of a history.
func (r *Report) count(ops []check.Op) {
	for _, o := range ops {
		switch {
		case o.Level == check.Audit:
			continue
		case o.Outcome == check.Unknown && o.Kind != check.Get:
			r.Unknown++
		case o.Outcome == check.Refused || o.Outcome == check.Unknown:
			r.Failed++
		case o.Kind == check.Get:
			r.Reads++
		case o.Outcome == check.OK:
			r.Acknowledged++
		}
		r.Operations++
	}
}

// Add adds another report to this one.
func (r *Report) Add(o *Report) {
	r.Rounds += o.Rounds
	r.NotRun += o.NotRun
	r.Operations += o.Operations
	r.Acknowledged += o.Acknowledged
	r.Reads += o.Reads
	r.Unknown += o.Unknown
	r.Failed += o.Failed
	r.Keys += o.Keys
	r.Undecided += o.Undecided
	r.Duration += o.Duration
	for kind, n := range o.Faults {
		r.Faults[kind] += n
	}
	for text, n := range o.Refusals {
		r.Refusals[text] += n
	}
	for what, n := range o.Counts {
		r.Counts[what] += n
	}
	r.Violations = append(r.Violations, o.Violations...)
}

// Print writes the report as a table.
func (r *Report) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%-22s %d in %v\n", "rounds", r.Rounds, r.Duration.Round(time.Second))
	if r.NotRun > 0 {
		fmt.Fprintf(out, "%-22s %d\n", "  not run", r.NotRun)
	}
	fmt.Fprintf(out, "%-22s %d on %d keys\n", "operations", r.Operations, r.Keys)
	fmt.Fprintf(out, "%-22s %d\n", "  acknowledged writes", r.Acknowledged)
	fmt.Fprintf(out, "%-22s %d\n", "  answered reads", r.Reads)
	fmt.Fprintf(out, "%-22s %d\n", "  unknown writes", r.Unknown)
	fmt.Fprintf(out, "%-22s %d\n", "  not served", r.Failed)
	fmt.Fprintln(out, "faults")
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(out, "  %-20s %d\n", kind, r.Faults[kind])
	}
	fmt.Fprintln(out, "refusals")
	for _, text := range slices.Sorted(maps.Keys(r.Refusals)) {
		fmt.Fprintf(out, "  %4d × %s\n", r.Refusals[text], strings.ReplaceAll(text, "\n", "\n         "))
	}
	fmt.Fprintln(out, "violations")
	for _, what := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(out, "  %-22s %d\n", what, r.Counts[what])
	}
	fmt.Fprintf(out, "%-22s %s\n", "verdict", r.Verdict())
}

var (
	names   = regexp.MustCompile(`/[^\s",:;)]*/`)
	numbers = regexp.MustCompile(`\b\d[\d.:]*|\b[0-9a-f]{8,}\b`)
	ids     = regexp.MustCompile(`\bn\d\b`)
	// refusing is in the complaints of a node that is not let in.
	refusing = regexp.MustCompile(`refus|not settled|another (?:group|node|cluster|incarnation)|removed|no member|is a member|damaged|two nodes|same id`)
	// command is what a refusal must have: something to type.
	command = regexp.MustCompile(`\b(?:kvnode|clusterctl|mv|rm|cp|curl) +[-~/a-zA-Z<]|--(?:gossip-)?join|(?:POST|DELETE) /`)
)

// withoutNames is a text with what differs from one case to the next left out.
func withoutNames(text string) string {
	text = names.ReplaceAllString(text, "…/")
	text = ids.ReplaceAllString(text, "nX")
	return numbers.ReplaceAllString(text, "#")
}

// unclear says what is wrong with a refusal; empty: nothing.
func unclear(text string) string {
	switch {
	case text == "":
		return "it says nothing"
	case strings.HasPrefix(text, "traceback: "):
		return "it is a traceback"
	case !command.MatchString(strings.TrimPrefix(text, "kvnode: ")):
		return "it names no command"
	}
	return ""
}
