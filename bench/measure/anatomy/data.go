package anatomy

import (
	"fmt"
	"math"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/trace"
)

// Name is what experiments and records call the kind, and version the form of its data.
const (
	Name    = "anatomy"
	version = 2 // 1 did not have trace.Held
)

// Data is what one trial recorded.
type Data struct {
	Load   record.Data `json:"load"`             // as package load records it
	Writes *Writes     `json:"writes,omitempty"` // nil: they were not traced
}

// dataOf reads what a trial recorded, in this form or the one before: there no call waited
// for the leader's disk apart from its write.
func dataOf(t *record.Trial) (d Data, there bool, err error) {
	there, err = t.Get(Name, version, &d)
	if err != nil || t.Data[Name].Version != 1 || d.Writes == nil || d.Writes.Stages == nil || d.Writes.Joined < 0 {
		return d, there, err
	}
	h := record.NewHistogram()
	if err := h.RecordValues(0, d.Writes.Joined); err != nil {
		return d, there, fmt.Errorf("anatomy: %w", err)
	}
	none, err := record.EncodeHistogram(h)
	d.Writes.Stages[stages()[trace.Held].key] = Stage{Hist: none}
	return d, there, err
}

// ofLoad is the trial as package load knows it.
func (d *Data) ofLoad(t *record.Trial) *record.Trial {
	inner := *t
	inner.Data = map[string]record.Data{load.Name: d.Load}
	return &inner
}

// Writes says where the time of the writes went.
type Writes struct {
	Calls   int64  `json:"calls"`    // writes that began in the window and were acknowledged
	TotalNS int64  `json:"total_ns"` // latency of all of them
	Joined  int64  `json:"joined"`   // those whose path was found
	RestNS  int64  `json:"rest_ns"`  // of TotalNS, what no stage explains
	Dropped uint64 `json:"dropped"`  // spans that the members had no room for

	Stages  map[string]Stage `json:"stages"`  // by key
	Decided map[string]int64 `json:"decided"` // joined calls by the member whose write of the log a commit waited for last

	WriteEntries   float64 `json:"write_entries"`   // of a write of the leader's log, on average over the calls
	MessageEntries float64 `json:"message_entries"` // of a message to the follower that decided

	Middle int64 `json:"middle,omitempty"` // joined calls whose latency lies in the middle fifth
}

// Stage is one stage of all joined calls.
type Stage struct {
	SumNS    int64  `json:"sum_ns"`
	MiddleNS int64  `json:"middle_ns,omitempty"` // of Writes.Middle
	Hist     string `json:"hist"`                // as record.EncodeHistogram; nanoseconds
}

func newWrites(b *trace.Breakdown) (*Writes, error) {
	d := &Writes{
		Calls: int64(b.Calls), TotalNS: b.TotalNS, Joined: int64(b.Joined), RestNS: b.TotalNS - b.SumNS(), Dropped: b.Dropped,
		Stages: map[string]Stage{}, Decided: map[string]int64{}, WriteEntries: b.WriteEntries, MessageEntries: b.MessageEntries,
	}
	for member, n := range b.Decided {
		d.Decided[member] = int64(n)
	}
	middle := b.Middle()
	d.Middle = int64(len(middle))
	for i, durations := range b.Durations {
		h := record.NewHistogram()
		var sum, ofMiddle int64
		for _, call := range middle {
			ofMiddle += durations[call]
		}
		for _, ns := range durations {
			sum += ns
			if err := h.RecordValue(min(ns, h.HighestTrackableValue())); err != nil {
				return nil, fmt.Errorf("anatomy: %s: %w", stages()[i].key, err)
			}
		}
		text, err := record.EncodeHistogram(h)
		if err != nil {
			return nil, fmt.Errorf("anatomy: %s: %w", stages()[i].key, err)
		}
		d.Stages[stages()[i].key] = Stage{sum, ofMiddle, text}
	}
	return d, nil
}

// validate checks that the data agree with each other.
func (d *Writes) validate() error {
	if min(d.Calls, d.TotalNS, d.Joined, d.RestNS) < 0 || d.Joined > d.Calls || d.Middle < 0 || d.Middle > d.Joined {
		return fmt.Errorf("anatomy: %d of %d calls joined, %d ns in all and %d unexplained", d.Joined, d.Calls, d.TotalNS, d.RestNS)
	}
	if !(d.WriteEntries >= 0 && d.MessageEntries >= 0) || math.IsInf(d.WriteEntries+d.MessageEntries, 0) {
		return fmt.Errorf("anatomy: %g entries in a write, %g in a message", d.WriteEntries, d.MessageEntries)
	}
	sum := d.RestNS
	for _, s := range stages() {
		ns := d.Stages[s.key].SumNS
		if middle := d.Stages[s.key].MiddleNS; ns < 0 || ns > math.MaxInt64-sum || middle < 0 || middle > ns {
			return fmt.Errorf("anatomy: stage %s of %d ns, %d in the middle", s.key, ns, middle)
		}
		sum += ns
	}
	if sum != d.TotalNS || len(d.Stages) != trace.Stages {
		return fmt.Errorf("anatomy: %d stages and the rest add up to %d ns, and the calls to %d", len(d.Stages), sum, d.TotalNS)
	}
	var decided int64
	for member, n := range d.Decided {
		if n < 0 || n > math.MaxInt64-decided {
			return fmt.Errorf("anatomy: %s decided %d calls", member, n)
		}
		decided += n
	}
	if decided != d.Joined {
		return fmt.Errorf("anatomy: %d calls were decided, and %d joined", decided, d.Joined)
	}
	return nil
}

// read puts what the stages came to beside what the load gave.
func (k kind) read(cell *record.CellInfo, t *record.Trial) (measure.Values, error) {
	d, there, err := dataOf(t)
	if !there || err != nil {
		return measure.Values{}, err
	}
	v, err := k.load.Read(cell, d.ofLoad(t))
	if err != nil || d.Writes == nil {
		return v, err
	}
	return v, d.Writes.into(v, t.Leader)
}

// into puts them among the values of a trial that the member has led.
func (d *Writes) into(v measure.Values, leader string) error {
	if err := d.validate(); err != nil {
		return fmt.Errorf("%w: %w", record.ErrDamaged, err)
	}
	if d.Calls == 0 {
		return nil
	}
	mean := func(ns int64) float64 { return float64(ns) / float64(d.Calls) / 1e9 }
	put := func(key string, value float64) { v.Scalars[key] = value }
	for _, s := range stages() {
		h, err := record.DecodeHistogram(d.Stages[s.key].Hist)
		if err != nil {
			return fmt.Errorf("anatomy: %s: %w", s.key, err)
		}
		if h.TotalCount() != d.Joined {
			return fmt.Errorf("%w: anatomy: %s has %d samples, and %d calls were joined", record.ErrDamaged, s.key, h.TotalCount(), d.Joined)
		}
		v.Distribution(s.of(), h)
		put(s.of()+".mean", mean(d.Stages[s.key].SumNS)) // exact, and over all calls
		if d.Middle > 0 {
			put(s.middle(), float64(d.Stages[s.key].MiddleNS)/float64(d.Middle)/1e9)
		}
	}
	put("rest.mean", mean(d.RestNS))
	put("traced.mean", mean(d.TotalNS))
	put("calls", float64(d.Calls))
	put("joined", float64(d.Joined))
	put("dropped", float64(d.Dropped))
	put("entries.write", d.WriteEntries)
	put("entries.message", d.MessageEntries)
	if d.Joined > 0 {
		put("decided.leader", float64(d.Decided[leader])/float64(d.Joined))
	}
	return nil
}

// Limits of the validity gates.
const (
	maxSumPercent  = 1 // by which the stages and the rest may differ from what the client measured
	maxRestPercent = 5 // of the latency that may be unexplained
)

// gates judge a trial by its values; one that was not traced is not judged.
func gates(v measure.Values) []record.Gate {
	traced, there := v.Scalars["traced.mean"]
	if !there {
		skipped := func(name string, limit float64) record.Gate {
			return record.Gate{Name: name, Verdict: record.Skip, Limit: limit, Unit: "%", Reason: "not traced"}
		}
		return []record.Gate{skipped("stages", maxSumPercent), skipped("rest", maxRestPercent)}
	}
	off := 100 * math.Abs(traced/v.Scalars["write.latency.mean"]-1)
	rest := 100 * v.Scalars["rest.mean"] / traced
	return []record.Gate{
		measure.AtMost("stages", "%", off, maxSumPercent, fmt.Sprintf("the stages add up to a mean that is %.1f %% off the clients’", off)),
		measure.AtMost("rest", "%", rest, maxRestPercent, fmt.Sprintf("%.1f %% of the latency is unexplained; %.0f of %.0f writes were followed, %.0f spans dropped",
			rest, v.Scalars["joined"], v.Scalars["calls"], v.Scalars["dropped"])),
	}
}

// check looks for contradictions between a trial and its cell, and within the trial.
func (k kind) check(cell *record.CellInfo, t *record.Trial, v measure.Values) []measure.Contradiction {
	d, there, err := dataOf(t)
	if !there || err != nil || t.Failure != "" {
		return nil
	}
	out := k.load.Check(cell, d.ofLoad(t), v)
	refuse := func(bad bool, field string, is, want any) {
		if bad {
			out = append(out, measure.Contradiction{Field: field, Printed: fmt.Sprint(is), Computed: fmt.Sprint(want)})
		}
	}
	var s Settings
	if err := cell.ReadSettings(&s); err != nil {
		return append(out, measure.Contradiction{Field: "settings", Printed: err.Error(), Computed: "settings of an anatomy"})
	}
	traced := d.Writes != nil
	refuse(traced != s.Trace, "writes", fmt.Sprintf("traced: %t", traced), fmt.Sprintf("traced: %t", s.Trace))
	if traced {
		// The ends of the two windows lie some microseconds apart.
		calls, samples, clients := v.Scalars["calls"], v.Scalars["write.latency.samples"], float64(cell.Load.Clients)
		refuse(math.Abs(calls-samples) > clients, "writes.calls", calls, fmt.Sprintf("%v samples, give or take %v", samples, clients))
	}
	return append(out, measure.Rejudge(t, gates(v)...)...)
}
