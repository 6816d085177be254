package hunt

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
)

// What the hunt finds besides the violations of package check.
const (
	Hung     = "stands still"            // though nothing is wrong any more
	Crashed  = "ended by itself"         // a node whose data are sound
	Turned   = "sound node refused"      // it was not let start
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
