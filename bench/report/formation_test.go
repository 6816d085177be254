package report

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure/formation"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// formation makes up a trial of a group that comes into being.
func (s synth) formation(t testing.TB, c record.CellInfo, number int, random *rand.Rand) record.Trial {
	t.Helper()
	nodes := int64(c.Cluster.Nodes)
	draw := func(typical int64) int64 { return typical * int64(900+random.IntN(200)) / 1000 }
	f := &formation.Data{PollNS: 5e6, LeaderErrorNS: draw(6e6), VotersErrorNS: draw(9e6)}
	gossips := c.Cluster.Discovery == experiment.DiscoveryGossip
	if f.LeaderNS = draw(45e6); gossips {
		f.LeaderNS = draw(1_600e6)
	}
	if f.VotersNS = f.LeaderNS + draw(nodes*60e6); gossips {
		f.VotersNS = f.LeaderNS + draw(80e6)
	}
	for range nodes {
		x := formation.Traffic{NS: 30e9 + draw(3e6)}
		if gossips {
			x.Messages, x.Bytes = draw(62), draw(3100*nodes)
		}
		f.Traffic = append(f.Traffic, x)
	}
	tr := record.Trial{
		TrialID: record.TrialID{Cell: c.ID, Trial: number}, Started: time.Date(2026, 3, 14, 6, 30+number, 0, 0, time.UTC),
		Leader: "node1", Probe: s.probe(random),
		Gates: []record.Gate{
			{Name: "alive", Verdict: record.Pass, Unit: "processes"},
			{Name: "leader", Verdict: record.Pass, Unit: "changes"},
			{Name: "voters", Verdict: record.Pass, Figure: float64(nodes), Limit: float64(nodes), AtLeast: true, Unit: "nodes"},
			{Name: "clock", Verdict: record.Pass, Figure: 0.02, Limit: 20, Unit: "ms"},
		},
	}
	return s.put(t, tr, formation.Name, f)
}

// stopOne spoils trials: in c02 a process ends in three of five, in c01 one group
// is never whole.
func stopOne(tr *record.Trial, data any) {
	f := data.(*formation.Data)
	switch {
	case tr.Cell == "c02" && tr.Trial <= 3:
		tr.Gates[0] = record.Gate{Name: "alive", Verdict: record.Fail, Figure: 1, Unit: "processes", Reason: "node2 stopped"}
		f.Traffic = nil
	case tr.Cell == "c01" && tr.Trial == 2:
		tr.Failure, tr.Gates = "the group is not whole after 1m0s: there is no leader", nil
		*f = formation.Data{PollNS: 5e6}
	}
}

func TestGoldenFormation(t *testing.T) {
	x := scenario(t, "formation")
	golden(t, "formation.csv", x.files[csvFile])
	golden(t, "formation.md", x.files["report.md"])
	golden(t, "formation.ru.md", x.files["report.ru.md"])
}

func TestFormationFiles(t *testing.T) {
	f := written(t, "formation")
	for _, name := range []string{"report.html", "report.ru.html", "plots/formation.svg", "plots/formation.ru.svg", "plots/traffic.svg"} {
		if data, err := f.ReadFile(name); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
	for name, data := range scenario(t, "formation").files {
		if strings.Contains(name, "latency") || bytes.Contains(data, []byte("p50 [")) || bytes.Contains(data, []byte("%!")) {
			t.Errorf("%s speaks of a load, or wrongly", name)
		}
	}
	if diffs := verified(t, f); len(diffs) > 0 {
		t.Error(diffs)
	}
	for name := range scenario(t, "alone").files { // nothing to draw over
		if strings.HasPrefix(name, record.PlotsDir) {
			t.Errorf("%s of a single cell", name)
		}
	}
}

// TestFormationComparisons: both times of every pair are compared, as one family.
func TestFormationComparisons(t *testing.T) {
	m := scenario(t, "formation").model
	if n, _ := m.comparisons(); n != 6 {
		t.Errorf("%d comparisons, want both times of three pairs", n)
	}
	for _, g := range m.groups {
		p := m.pairOf(g[1])
		voters, leader := p.vs["voters"], p.vs["leader"]
		if voters.Verdict(stats.DefaultMargin) != stats.Differs || !leader.Different() || voters.Adjusted < voters.P {
			t.Errorf("%s: %+v, %+v", p.this.info.ID, voters, leader)
		}
		if voters.Ratio >= leader.Ratio {
			t.Errorf("%s: the ratios are mixed up: %g and %g", p.this.info.ID, voters.Ratio, leader.Ratio)
		}
	}
}

// TestFormationInvalid: what did not come about is not summed up.
func TestFormationInvalid(t *testing.T) {
	m := scenario(t, "stopped").model
	static, gossip := m.cells[0], m.cells[1]
	if static.invalid() || static.valid != 4 || static.sums["voters"].N != 4 {
		t.Errorf("static: %d valid, %+v", static.valid, static.sums)
	}
	if !gossip.invalid() || len(m.pairOf(gossip).vs) > 0 {
		t.Errorf("gossip: %d valid, compared: %v", gossip.valid, m.pairOf(gossip).vs)
	}
	text := string(scenario(t, "stopped").files["report.md"])
	for _, want := range []string{"there is no leader", "stopped processes ≤ 0", "~~"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

// TestCompareFormations: whatever was measured is compared, if both runs measured it.
func TestCompareFormations(t *testing.T) {
	one, other := scenario(t, "one").folder, scenario(t, "formation").folder
	for _, pair := range [][2]*record.Folder{{one, other}, {other, one}} {
		var out bytes.Buffer
		err := Compare(t.Context(), &out, catalog(), pair[0], pair[1], CompareOptions{})
		if err == nil || !strings.Contains(err.Error(), other.Dir()) || !strings.Contains(err.Error(), "measured load") || out.Len() > 0 {
			t.Errorf("%v\n%s", err, out.String())
		}
	}
	first, again := scenarios()["formation"], scenarios()["formation"]
	first.trials, again.trials, again.seed = 8, 8, 99
	again.change = func(tr *record.Trial, data any) {
		if f := data.(*formation.Data); tr.Cell == "c01" {
			f.LeaderNS, f.VotersNS = 3*f.LeaderNS, 3*f.VotersNS
		}
	}
	c, text := compared(t, first, again, CompareOptions{})
	if len(c.cells) != 6 || c.found != 2 || quantity(t, c, 0, "leader").direction != higher || quantity(t, c, 0, "voters").direction != higher {
		t.Errorf("found %d in %d cells\n%s", c.found, len(c.cells), text)
	}
	if d := quantity(t, c, 0, "bytes"); d.direction != untested { // all zero, with static join
		t.Errorf("bytes: %v", d.direction)
	}
}
