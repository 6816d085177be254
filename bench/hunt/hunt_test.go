//go:build linux

package hunt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
)

// TestSameSeedSameSchedule: what a violation names is run again.
func TestSameSeedSameSchedule(t *testing.T) {
	schedule := func(seed uint64, discovery string) string {
		random := rand.New(rand.NewPCG(seed, 0))
		cfg := Config{Nodes: 3, Discovery: discovery, Duration: time.Minute}
		tuned := tune(random)
		steps, err := plan(cfg, tuned, random)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(tuned, steps)
	}
	seen := map[string]bool{}
	for seed := range uint64(20) {
		one := schedule(seed, "gossip")
		if one != schedule(seed, "gossip") {
			t.Errorf("seed %d has two schedules", seed)
		}
		seen[one] = true
	}
	if len(seen) < 20 {
		t.Errorf("20 seeds have %d schedules", len(seen))
	}
}

// TestEveryKindIsPlanned: no kind is left out for good, and none comes where it does
// not fit.
func TestEveryKindIsPlanned(t *testing.T) {
	planned := map[string]bool{}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		cfg := Config{Nodes: 5, Discovery: []string{"static", "gossip"}[seed%2], Duration: time.Minute}
		tuned := tune(random)
		steps, err := plan(cfg, tuned, random)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			planned[s.kind.name] = true
			if s.kind.fits != nil && !s.kind.fits(cfg, tuned) {
				t.Errorf("%s does not fit %s", s.kind.name, cfg)
			}
		}
	}
	for _, name := range Kinds() {
		if !planned[name] {
			t.Errorf("%s never comes", name)
		}
	}
	if _, err := plan(Config{Faults: []string{"nothing"}}, tuning{}, rand.New(rand.NewPCG(0, 0))); err == nil || !strings.Contains(err.Error(), "wiped-lagging") {
		t.Errorf("an unknown kind: %v; want the known ones", err)
	}
}

func TestUnclear(t *testing.T) {
	for text, clear := range map[string]bool{
		"kvnode: var/n1/log/raft.db: entry 7 is damaged: move the folder away and start with: kvnode --id n1 --join HOST:PORT var/n1": true,
		"kvnode: log is empty: type: mv var/n1 var/n1.old":                                           true,
		"kvnode: log is empty: clusterctl reset n1":                                                  true,
		`WARN msg="not settled" error="start it in a new directory with --join"`:                     true,
		"kvnode: log is empty, but n1 has been a member: bring the log back, or use a new directory": false,
		"traceback: panic: log not found":                                                            false,
		"":                                                                                           false,
	} {
		if got := unclear(text) == ""; got != clear {
			t.Errorf("%q: clear %t", text, got)
		}
	}
}

func TestWithoutNames(t *testing.T) {
	a := withoutNames("kvnode: /tmp/a1/n1/log is empty at 127.0.0.1:4711, index 12")
	b := withoutNames("kvnode: /tmp/b2/n3/log is empty at 127.0.0.1:815, index 7")
	if a != b {
		t.Errorf("%q and %q are one text", a, b)
	}
}

// TestReportCounts: each operation is counted as what it was, and a violation is not
// lost in a sum.
func TestReportCounts(t *testing.T) {
	r := newReport()
	r.count([]check.Op{
		{Kind: check.Set, Outcome: check.OK}, {Kind: check.Set, Outcome: check.Unknown}, {Kind: check.Set, Outcome: check.Refused},
		{Kind: check.Get, Outcome: check.OK}, {Kind: check.Get, Outcome: check.Refused}, {Kind: check.Get, Level: check.Audit, Outcome: check.OK},
		{Kind: check.CAS, Outcome: check.ConditionFailed},
	})
	if r.Operations != 6 || r.Acknowledged != 1 || r.Unknown != 1 || r.Failed != 2 || r.Reads != 1 {
		t.Errorf("%+v", r)
	}
	bad := newReport()
	for i := range 5 {
		bad.violate(Hung, "%d", i)
	}
	sum := newReport()
	sum.Add(bad)
	if sum.Verdict() != check.HasViolation || sum.Counts[Hung] != 5 || len(sum.Violations) != told {
		t.Errorf("%+v", sum)
	}
	var table strings.Builder
	sum.Print(&table)
	if !slices.ContainsFunc(strings.Split(table.String(), "\n"), func(l string) bool {
		return slices.Equal(strings.Fields(l), []string{"stands", "still", "5"})
	}) {
		t.Errorf("the table has no violation:\n%s", &table)
	}
}
