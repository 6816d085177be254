package failover

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core/errkind"
)

// table is a target that can lose what it has acknowledged.
type table map[string][]byte

func (m table) Do(_ context.Context, op *workload.Op) error {
	if op.Kind == workload.Write {
		m[op.Key] = op.Value
		return nil
	}
	value, there := m[op.Key]
	if !there {
		return system.ErrMissing
	}
	op.Value = value
	return nil
}

// TestLost: an acknowledged write that is gone, or that an older one has taken the place
// of, is lost; one that a write of unknown outcome has followed is not.
func TestLost(t *testing.T) {
	write := func(c *client, target workload.Target, err error) workload.Op {
		var op workload.Op
		if _, ok := c.Next(&op, nil); !ok {
			t.Fatal("no write")
		}
		if err == nil {
			err = target.Do(t.Context(), &op)
		}
		_ = c.End(&op, workload.Times{Start: time.Now(), End: time.Now()}, err)
		return op
	}
	for name, c := range map[string]struct {
		spoil func(m table, first, second, unknown workload.Op)
		lost  bool
	}{
		"all is there": {func(table, workload.Op, workload.Op, workload.Op) {}, false},
		"gone":         {func(m table, _, second, _ workload.Op) { delete(m, second.Key) }, true},
		"older":        {func(m table, first, second, _ workload.Op) { m[second.Key] = first.Value }, true},
		"of unknown":   {func(m table, _, second, unknown workload.Op) { m[second.Key] = unknown.Value }, false},
	} {
		t.Run(name, func(t *testing.T) {
			all, m := &tally{}, table{}
			x := newClient(7, settings{ValueSize: 40, Keys: 2, Clients: 1}, all, new(atomic.Bool))
			first := write(x, m, nil)
			write(x, m, nil)
			second := write(x, m, nil) // the same key again
			x.hold()
			write(x, m, nil)
			unknown := write(x, m, errkind.ErrOutcomeUnknown)
			if first.Key != second.Key || unknown.Key == second.Key {
				t.Fatalf("%s, %s, %s: what is held was overwritten", first.Key, second.Key, unknown.Key)
			}
			x.keys[x.held].open = append(x.keys[x.held].open, x.next)
			c.spoil(m, first, second, unknown)
			if lost, err := x.release(t.Context(), m); err != nil || lost != c.lost {
				t.Errorf("lost: %v, %v", lost, err)
			}
			if a, u, r, _ := all.counts(); a != 4 || u != 1 || r != 0 {
				t.Errorf("%d acknowledged, %d unknown, %d refused", a, u, r)
			}
		})
	}
}

// TestTally: only a write that was begun after the kill ends the time without service.
func TestTally(t *testing.T) {
	var all tally
	at := time.Now().Add(-time.Second)
	all.take(workload.Times{Start: at, End: at}, nil)
	all.mark()
	first := all.await()
	all.take(workload.Times{Start: at, End: time.Now()}, nil)
	all.take(workload.Times{Start: time.Now(), End: time.Now()}, errors.New("refused"))
	select {
	case <-first:
		t.Error("a write that was under way, or failed, has ended it")
	default:
	}
	end := time.Now()
	all.take(workload.Times{Start: end, End: end}, nil)
	select {
	case got := <-first:
		if got != end {
			t.Error(got)
		}
	default:
		t.Error("a write that was begun after it has not ended it")
	}
	if _, _, refused, gap := all.counts(); refused != 1 || gap < time.Second || gap > time.Minute {
		t.Error(refused, gap)
	}
}

// TestPhases: they follow each other, and end with the first acknowledgement.
func TestPhases(t *testing.T) {
	began := time.Now()
	ms := func(n int) time.Time { return began.Add(time.Duration(n) * time.Millisecond) }
	const unit = int64(time.Millisecond)
	for name, c := range map[string]struct {
		suspect, leader sight
		want            Kill
	}{
		"in order":      {sight{ms(20), ms(14)}, sight{ms(30), ms(25)}, Kill{SuspectNS: 20 * unit, SuspectLateNS: 6 * unit, LeaderNS: 30 * unit, LeaderLateNS: 5 * unit}},
		"at once":       {sight{ms(30), ms(-3)}, sight{ms(30), ms(29)}, Kill{SuspectNS: 30 * unit, SuspectLateNS: 30 * unit, LeaderNS: 30 * unit, LeaderLateNS: unit}},
		"seen too late": {sight{ms(20), ms(14)}, sight{ms(50), ms(35)}, Kill{SuspectNS: 20 * unit, SuspectLateNS: 6 * unit, LeaderNS: 40 * unit, LeaderLateNS: 5 * unit}},
		"never seen":    {sight{ms(20), ms(14)}, sight{}, Kill{SuspectNS: 20 * unit, SuspectLateNS: 6 * unit, LeaderNS: 40 * unit}},
		"nobody asked":  {sight{}, sight{}, Kill{}},
	} {
		k := Kill{FirstNS: 40 * unit}
		c.want.FirstNS = k.FirstNS
		(&watch{suspect: c.suspect, leader: c.leader}).phases(&k, began)
		if k != c.want {
			t.Errorf("%s: %+v, want %+v", name, k, c.want)
		}
	}
}

func dataOf() *Data {
	return &Data{
		PollNS: 5e6, LoadNS: 8e9, Acknowledged: 1000, Unknown: 7, Terms: 3, Needless: 1, Checked: 32,
		Kills: []Kill{
			{AtNS: 3e9, Member: "node1", Term: 2, NextTerm: 3, SuspectNS: 2e8, SuspectLateNS: 5e6, LeaderNS: 3e8, LeaderLateNS: 1e6, FirstNS: 4e8, GapNS: 4e8, BackNS: 6e8, Unknown: 3},
			{AtNS: 5e9, Member: "node2", Term: 4, NextTerm: 5, SuspectNS: 2e8, LeaderNS: 4e8, FirstNS: 6e8, GapNS: 5e8, BackNS: 7e8, Unknown: 4},
		},
	}
}

func trialOf(t *testing.T, d *Data) *record.Trial {
	t.Helper()
	trial := &record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}, Gates: []record.Gate{loadGate(d), acknowledgedGate(d)}}
	if err := trial.Put(Name, version, d); err != nil {
		t.Fatal(err)
	}
	return trial
}

func TestRead(t *testing.T) {
	v, err := read(nil, trialOf(t, dataOf()))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{
		"detection": 0.2, "election": 0.15, "rediscovery": 0.15, "whole": 0.5, "late": 0.0025, "rounds": 1, "needless": 1, "unknown": 7, "kills": 2, "throughput": 125,
		"failover.p50": 0.5, "failover.max": 0.6, "gap.max": 0.5, "back.p50": 0.65,
	} {
		if got := v.Scalars[key]; got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	for _, q := range Kind().With(measure.Shown) {
		if _, there := v.Of(q); !there {
			t.Errorf("no %s", q.Key)
		}
	}
	none := dataOf()
	none.Kills, none.Terms, none.Unknown = nil, 1, 0
	if v, err := read(nil, trialOf(t, none)); err != nil || len(v.Scalars) > 9 || v.Scalars["needless"] != 1 {
		t.Errorf("without kills: %+v, %v", v, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Data){
		"leader before suspicion": func(d *Data) { d.Kills[0].SuspectNS = 35e7 },
		"served before elected":   func(d *Data) { d.Kills[0].LeaderNS = 45e7 },
		"back before served":      func(d *Data) { d.Kills[1].BackNS = 1 },
		"never served":            func(d *Data) { d.Kills[1].FirstNS = 0 },
		"later than late":         func(d *Data) { d.Kills[0].SuspectLateNS = 9e8 },
		"below zero":              func(d *Data) { d.Refused = -1 },
		"more lost than read":     func(d *Data) { d.Lost = 33 },
		"more than fits":          func(d *Data) { d.Acknowledged = 1 << 62 },
		"days":                    func(d *Data) { d.Kills[1].BackNS = 1 << 60 },
	} {
		d := dataOf()
		spoil(d)
		if _, err := read(nil, trialOf(t, d)); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	cell := &record.CellInfo{Cell: experiment.Cell{Settings: map[string]any{"kills": int64(2), "pause": "2s"}}}
	if got := check(cell, trialOf(t, dataOf()), measure.Values{}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	for field, spoil := range map[string]func(*Data){
		"kills":              func(d *Data) { d.Kills, d.Terms = d.Kills[:1], 2 },
		"load_ns":            func(d *Data) { d.LoadNS = 59e8 },
		"kills[1].next_term": func(d *Data) { d.Kills[1].NextTerm, d.Terms = 4, 2 },
		"kills[1].back_ns":   func(d *Data) { d.Kills[1].BackNS = 4e9 },
		"terms":              func(d *Data) { d.Terms = 4 },
		"unknown":            func(d *Data) { d.Unknown = 6 },
	} {
		d := dataOf()
		spoil(d)
		if got := check(cell, trialOf(t, d), measure.Values{}); len(got) != 1 || got[0].Field != field {
			t.Errorf("%s: %+v", field, got)
		}
	}
	lost := trialOf(t, dataOf())
	lost.Gates[1].Figure = 1
	if got := check(cell, lost, measure.Values{}); len(got) != 1 || got[0].Field != "gates.acknowledged" {
		t.Errorf("%+v", got)
	}
}

func TestAccept(t *testing.T) {
	for want, c := range map[string]experiment.Cell{
		"":            {Cluster: experiment.Cluster{Nodes: 3}},
		"nodes = 2":   {Cluster: experiment.Cluster{Nodes: 2}},
		"kills = 0":   {Cluster: experiment.Cluster{Nodes: 1}, Settings: map[string]any{"kills": int64(0), "duration": "0s"}},
		"value_size":  {Cluster: experiment.Cluster{Nodes: 3}, Settings: map[string]any{"value_size": int64(8)}},
		"at least 2,": {Cluster: experiment.Cluster{Nodes: 3}, Settings: map[string]any{"keys": "many"}},
	} {
		err := accept(c)
		if (err == nil) != (want == "") || err != nil && want != "at least 2," && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestPlanned: the length of a trial is that of its own settings.
func TestPlanned(t *testing.T) {
	for want, s := range map[time.Duration]map[string]any{
		8 * time.Second:  {"kills": int64(3), "pause": "2s"},
		10 * time.Minute: {"kills": int64(0), "duration": "10m"},
	} {
		if got := Kind().Lasts(experiment.Cell{Settings: s}); got != want {
			t.Errorf("%v: %v, want %v", s, got, want)
		}
	}
}

// TestRoom: what is needed grows with what is asked for, and no rate makes more keys than
// the clients have.
func TestRoom(t *testing.T) {
	needs := func(nodes int, settings map[string]any) (memory, disk float64) {
		c := record.CellInfo{Cell: experiment.Cell{Settings: settings}, Durability: "disk"}
		c.Cluster.Nodes = nodes
		memory, _ = measure.Needs(Kind().Room(&c), measure.Memory)
		disk, _ = measure.Needs(Kind().Room(&c), measure.Disk)
		return memory, disk
	}
	memory, disk := needs(3, map[string]any{})
	for name, x := range map[string]map[string]any{"clients": {"clients": int64(32)}, "keys": {"keys": int64(17)}, "value_size": {"value_size": int64(300)}, "nodes": {}} {
		nodes := 3
		if name == "nodes" {
			nodes = 5
		}
		if m, d := needs(nodes, x); m <= memory || d <= disk {
			t.Errorf("more %s: %g and %g B, before %g and %g", name, m, d, memory, disk)
		}
	}
	huge := map[string]any{"clients": int64(100_000), "keys": int64(1_000_000)}
	if m, d := needs(3, huge); m < 1e13 || d < 1e13 {
		t.Errorf("100,000 clients of 1,000,000 keys: %g and %g B", m, d)
	}
	if _, slow := needs(3, map[string]any{"rate": 1.0}); slow >= disk {
		t.Errorf("at one write per second: %g B, %g B without a rate", slow, disk)
	}
	if _, fast := needs(3, map[string]any{"rate": 1e6}); fast != disk {
		t.Errorf("at a million writes per second: %g B, %g B without a rate", fast, disk)
	}
}
