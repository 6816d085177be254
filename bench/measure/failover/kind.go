package failover

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// Name is what experiments and records call the kind, and version the form of its data.
const (
	Name    = "failover"
	version = 1
)

// Data is what one trial saw.
type Data struct {
	PollNS int64 `json:"poll_ns"` // pause between an answer of a member and the next question to it
	LoadNS int64 `json:"load_ns"` // length of the load

	Acknowledged int64 `json:"acknowledged"` // writes
	Unknown      int64 `json:"unknown"`      // writes that may have taken effect
	Refused      int64 `json:"refused"`      // writes that have not

	Terms    int64 `json:"terms"`    // by how much the term went up over the load
	Needless int64 `json:"needless"` // and by how much while nobody was dead or just killed

	Checked int64 `json:"checked"` // acknowledged writes that were read back
	Lost    int64 `json:"lost"`    // of which were not there

	Kills []Kill `json:"kills"`
	// Misses is how often another member led by the time the leader's process had ended: what
	// was killed led no more, and is no kill; the election was a needless one.
	Misses int64 `json:"misses,omitempty"`
}

// Kill is the end of one leader and what followed. Times count from just before the
// signal was sent; each …LateNS is how much too late the one before may have been seen.
type Kill struct {
	AtNS     int64  `json:"at_ns"` // since the load began
	Member   string `json:"member"`
	Term     uint64 `json:"term"`      // in which it led
	NextTerm uint64 `json:"next_term"` // in which clients were served again

	// Until a member that lives on no longer took it for the leader, or was in a newer
	// term; until one said that it leads. 0: the members cannot be asked.
	SuspectNS     int64 `json:"suspect_ns,omitempty"`
	SuspectLateNS int64 `json:"suspect_late_ns,omitempty"`
	LeaderNS      int64 `json:"leader_ns,omitempty"`
	LeaderLateNS  int64 `json:"leader_late_ns,omitempty"`

	FirstNS int64 `json:"first_ns"` // until the first acknowledgement of a write begun after the leader had ended
	GapNS   int64 `json:"gap_ns"`   // longest time without any acknowledgement
	BackNS  int64 `json:"back_ns"`  // until the killed member had been started again and had caught up
	Unknown int64 `json:"unknown"`  // writes of unknown outcome
}

// maxCount bounds a counter, so that those of all trials can be added up.
const maxCount = math.MaxInt64 / 10_000

func (d *Data) validate() error {
	if lowest := min(d.PollNS, d.LoadNS, d.Acknowledged, d.Unknown, d.Refused, d.Terms, d.Needless, d.Checked, d.Lost, d.Misses); lowest < 0 ||
		max(d.Acknowledged, d.Unknown, d.Refused, d.Terms, d.Needless, d.Checked, d.Lost, d.Misses) > maxCount {
		return fmt.Errorf("failover: a length or count is below zero or out of range")
	}
	if d.Lost > d.Checked || d.Needless > d.Terms && d.Terms > 0 {
		return fmt.Errorf("failover: %d of %d writes lost, %d of %d terms needless", d.Lost, d.Checked, d.Needless, d.Terms)
	}
	for i, k := range d.Kills {
		if k.AtNS < 0 || k.SuspectNS < 0 || k.SuspectNS > k.LeaderNS || k.LeaderNS > k.FirstNS || k.FirstNS <= 0 || k.FirstNS > k.BackNS || k.Unknown < 0 ||
			k.GapNS < 0 || k.BackNS > maxCount || k.SuspectLateNS < 0 || k.SuspectLateNS > k.SuspectNS || k.LeaderLateNS < 0 || k.LeaderLateNS > k.LeaderNS {
			return fmt.Errorf("failover: times of kill %d do not follow each other: %+v", i+1, k)
		}
	}
	return nil
}

func read(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
	var d Data
	if there, err := t.Get(Name, version, &d); !there || err != nil {
		return measure.Values{}, err
	}
	if err := d.validate(); err != nil {
		return measure.Values{}, fmt.Errorf("%w: %w", record.ErrDamaged, err)
	}
	v := measure.Values{Scalars: map[string]float64{}}
	put := func(key string, value float64) { v.Scalars[key] = value }
	put("acknowledged", float64(d.Acknowledged))
	put("unknown", float64(d.Unknown))
	put("refused", float64(d.Refused))
	put("needless", float64(d.Needless))
	put("load", time.Duration(d.LoadNS).Seconds())
	put("kills", float64(len(d.Kills)))
	put("checked", float64(d.Checked))
	if d.LoadNS > 0 {
		put("throughput", float64(d.Acknowledged)/time.Duration(d.LoadNS).Seconds())
	}
	if len(d.Kills) == 0 {
		return v, nil
	}
	for _, x := range []struct {
		name string
		of   func(Kill) int64
	}{{"failover", func(k Kill) int64 { return k.FirstNS }}, {"gap", func(k Kill) int64 { return k.GapNS }}, {"back", func(k Kill) int64 { return k.BackNS }}} {
		var all []int64
		for _, k := range d.Kills {
			all = append(all, x.of(k))
		}
		slices.Sort(all)
		middle := (all[(len(all)-1)/2] + all[len(all)/2]) / 2
		put(x.name+".p50", time.Duration(middle).Seconds())
		put(x.name+".max", time.Duration(all[len(all)-1]).Seconds())
	}
	d.phases(put)
	return v, nil
}

// phases are means, so that they add up.
func (d *Data) phases(put func(string, float64)) {
	n := float64(len(d.Kills))
	var total, suspect, leader, late, next float64
	for _, k := range d.Kills {
		if k.LeaderNS == 0 {
			return // members that cannot be asked
		}
		total += time.Duration(k.FirstNS).Seconds() / n
		suspect += time.Duration(k.SuspectNS).Seconds() / n
		leader += time.Duration(k.LeaderNS).Seconds() / n
		late += time.Duration(max(k.SuspectLateNS, k.LeaderLateNS)).Seconds() / n
		next += float64(k.NextTerm-k.Term) / n
	}
	put("detection", suspect)
	put("election", leader-suspect)
	put("rediscovery", total-leader)
	put("whole", total)
	put("late", late)
	put("rounds", next)
}

// check looks for contradictions between a trial and its cell.
func check(cell *record.CellInfo, t *record.Trial, _ measure.Values) []measure.Contradiction {
	var d Data
	s := defaults()
	if there, err := t.Get(Name, version, &d); !there || err != nil || t.Failure != "" || cell.ReadSettings(&s) != nil {
		return nil
	}
	var out []measure.Contradiction
	refuse := func(bad bool, field string, is, want any) {
		if bad {
			out = append(out, measure.Contradiction{Field: field, Printed: fmt.Sprint(is), Computed: fmt.Sprint(want)})
		}
	}
	refuse(len(d.Kills) != s.Kills, "kills", len(d.Kills), s.Kills)
	needed := int64(s.Duration)
	if s.Kills > 0 {
		needed = int64(s.Pause) * int64(s.Kills+1)
	}
	refuse(d.LoadNS < needed, "load_ns", d.LoadNS, fmt.Sprintf("at least %d", needed))
	var raised, unknown int64
	for i, k := range d.Kills {
		field := fmt.Sprintf("kills[%d]", i)
		refuse(k.NextTerm <= k.Term, field+".next_term", k.NextTerm, fmt.Sprintf("more than %d", k.Term))
		refuse(k.BackNS > d.LoadNS-k.AtNS, field+".back_ns", k.BackNS, fmt.Sprintf("at most %d", d.LoadNS-k.AtNS))
		raised += int64(k.NextTerm - k.Term)
		unknown += k.Unknown
	}
	refuse(raised+d.Needless != d.Terms, "terms", d.Terms, fmt.Sprintf("%d by kills and %d without need", raised, d.Needless))
	refuse(unknown > d.Unknown, "unknown", d.Unknown, fmt.Sprintf("at least %d", unknown))
	return append(out, measure.Rejudge(t, loadGate(&d), acknowledgedGate(&d))...)
}

// Kind returns the kind of measurement.
func Kind() *measure.Kind {
	of := func(write func(settings) string) func(*record.CellInfo) string {
		return func(c *record.CellInfo) string { return write(settingsOf(c)) }
	}
	return &measure.Kind{
		Name: Name, Needs: []system.Ability{system.Kills}, Connects: true, Settings: defaults(), Quick: map[string]int64{"kills": 1, "pause": int64(time.Second), "duration": int64(time.Second)}, Planned: planned,
		Accept: accept, Room: room, Run: run, Read: read, Check: check,
		Gates:      []string{"load", "acknowledged", "convergence", "clock"},
		Quantities: quantities(), Answer: []string{"failover.p50", "needless"},
		Columns: []measure.Setting{
			{Column: "clients", Of: of(func(s settings) string { return strconv.Itoa(s.Clients) })},
			{Column: "rate", Of: of(func(s settings) string { return strconv.FormatFloat(s.Rate, 'f', -1, 64) })},
			{Column: "value_size", Of: of(func(s settings) string { return strconv.Itoa(s.ValueSize) })},
		},
		Parts: parts(), Tables: tables(), Figures: figures(), Method: method,
	}
}

// settingsOf returns the settings of a cell that was accepted.
func settingsOf(c *record.CellInfo) settings {
	s := defaults()
	_ = c.ReadSettings(&s)
	return s
}

// planned is the time under load, but for the failovers themselves.
func planned(c experiment.Cell) time.Duration {
	s := defaults()
	_ = c.ReadSettings(&s) // accept has
	if s.Kills == 0 {
		return s.Duration
	}
	return time.Duration(s.Kills+1) * s.Pause
}

// clientBytesPerKey is what a client keeps of each of its keys beside its name.
const clientBytesPerKey = 64

// room is what the clients and what they write need. They write the same keys again and
// again; how often without a rate nobody can foresee.
func room(cell *record.CellInfo) []measure.Need {
	s := settingsOf(cell)
	nodes, clients, value := float64(cell.Cluster.Nodes), float64(s.Clients), float64(s.ValueSize)
	key, keys := float64(len(keyName(0, 0))), clients*float64(s.Keys)
	there := keys
	if s.Rate > 0 {
		there = min(there, math.Ceil(s.Rate*planned(cell.Cell).Seconds()))
	}
	why := fmt.Sprintf("%.0f keys with values of %d B on %d members", there, s.ValueSize, cell.Cluster.Nodes)
	mend := "failover.clients, failover.keys, failover.value_size or cluster.nodes"
	all := []measure.Need{
		{Of: measure.Memory, Bytes: keys * (key + clientBytesPerKey), Why: fmt.Sprintf("the %.0f keys of %d clients", keys, s.Clients), Mend: "failover.clients or failover.keys"},
		// The client's value, a write's copy of it, the leader's and a message to each follower.
		{Of: measure.Memory, Bytes: clients * (key + value) * (2 + nodes), Why: fmt.Sprintf("%d writes under way of %.0f B", s.Clients, key+value), Mend: "failover.clients or failover.value_size"},
		{Of: measure.Memory, Bytes: nodes * there * (key + value + measure.MapBytesPerKey), Why: why, Mend: mend},
	}
	if cell.Durability != durableNothing {
		all = append(all, measure.Need{Of: measure.Disk, Bytes: nodes * there * (key + value), Why: why, Mend: mend})
	}
	return all
}

func accept(c experiment.Cell) error {
	s := defaults()
	if err := c.ReadSettings(&s); err != nil {
		return err
	}
	if s.Kills > 0 && c.Cluster.Nodes < 3 {
		return fmt.Errorf("nodes = %d: without its leader such a group has no majority: want 3 at least, or failover.kills = 0", c.Cluster.Nodes)
	}
	if s.Kills == 0 && s.Duration <= 0 {
		return fmt.Errorf("failover.kills = 0 and failover.duration = 0s: nothing would be measured; set one of them")
	}
	return nil
}
