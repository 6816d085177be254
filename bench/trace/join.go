// Package trace tells where the time of each write went: it joins what clients saw with
// the spans that the members recorded (core/trace), follows each write along its critical
// path, and parts its latency into stages that add up to it. It measures nothing itself
// and knows no file.
//
// The critical path of a write is that of the entry which holds it: through the leader's
// log to the follower whose answer made the majority, and back. Where the leader's own
// write of the log goes on beside replication and ends later than that answer, the path
// stays with that write.
//
// How an entry is found. A client knows its call by the checksum of the command, and the
// proposal with that checksum that began and ended within the call gives the index. The
// other spans are those that cover the index within the proposal's time; that makes terms
// needless, and what was written in vain (an entry that another leader overwrote) is
// found by none.
package trace

import (
	"cmp"
	"slices"
	"sort"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
)

// Stage is a part of a write's latency.
type Stage int

// The stages, in the order of the path.
const (
	Request       Stage  = iota // from the client's call until the replica has the command
	Queue                       // until the leader begins to write the entry's batch
	LeaderWrite                 // until that is in the leader's log
	Replicator                  // until it is sent to the follower
	FollowerWait                // while that one was still writing the message before, and until it began with this one
	WireThere                   // on the way to it
	FollowerWrite               // until it is in that one's log
	WireBack                    // until its answer is there
	Commit                      // while the leader's loop, which is to notice it, writes its log
	ApplyWait                   // until the state machine takes it
	Apply                       // until its batch is applied
	Answer                      // until the client has the answer
	Stages        = iota        // how many there are
)

// Call is a write as its client saw it. Times are in nanoseconds of trace.Clock.
type Call struct {
	Begin, End int64
	Checksum   uint64 // trace.Checksum of the command
}

// Latency of the call.
func (c Call) Latency() int64 { return c.End - c.Begin }

// Breakdown is where the time of some calls went.
type Breakdown struct {
	Calls   int
	TotalNS int64 // latency of all of them
	// Joined are the calls whose path was found. Their stages add up to their latency.
	Joined int
	// Durations holds, for each stage, that of each joined call.
	Durations [Stages][]int64
	// Decided counts the joined calls by the member whose write of the log was the last
	// that the commit waited for.
	Decided map[string]int
	Dropped uint64 // spans that the members had no room for
	// Entries of a write of the leader's log, and of a message to the follower that
	// decided, as the calls saw it on average.
	WriteEntries, MessageEntries float64
}

// SumNS is what the stages explain of TotalNS.
func (b *Breakdown) SumNS() (sum int64) {
	for _, stage := range b.Durations {
		for _, d := range stage {
			sum += d
		}
	}
	return sum
}

// Join parts the latency of the calls, which the member leader of a group of so many
// voters has answered.
func Join(calls []Call, logs []trace.Log, leader string, voters int) *Breakdown {
	b := &Breakdown{Calls: len(calls), Decided: map[string]int{}}
	j := newJoiner(logs, leader, voters)
	for _, l := range logs {
		b.Dropped += l.Dropped
	}
	var written, sent float64
	for _, c := range calls {
		b.TotalNS += c.Latency()
		p, ok := j.path(c)
		if !ok {
			continue
		}
		b.Joined++
		for stage, d := range p.stages {
			b.Durations[stage] = append(b.Durations[stage], d)
		}
		b.Decided[p.decided]++
		written, sent = written+p.written, sent+p.sent
	}
	if b.Joined > 0 {
		b.WriteEntries, b.MessageEntries = written/float64(b.Joined), sent/float64(b.Joined)
	}
	return b
}

// spans are those of one kind and member, by their first index.
type spans struct {
	list    []trace.Event
	longest uint64 // in indexes, less one
}

func newSpans(events []trace.Event, of func(trace.Event) bool) spans {
	var s spans
	for _, e := range events {
		if of(e) && e.Last >= e.First && e.End >= e.Begin {
			s.list = append(s.list, e)
			s.longest = max(s.longest, e.Last-e.First)
		}
	}
	slices.SortStableFunc(s.list, func(a, b trace.Event) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Begin, b.Begin))
	})
	return s
}

func ofKind(kind core.SpanKind) func(trace.Event) bool {
	return func(e trace.Event) bool { return e.Kind == kind }
}

// covering returns the span that holds the index, begins at from or later and ends at to
// or earlier; of several the one that ends first.
func (s spans) covering(index uint64, from, to int64) (found trace.Event, ok bool) {
	after := sort.Search(len(s.list), func(i int) bool { return s.list[i].First > index })
	for i := after - 1; i >= 0 && s.list[i].First+s.longest >= index; i-- {
		e := s.list[i]
		if e.Last >= index && e.Begin >= from && e.End <= to && (!ok || e.End < found.End) {
			found, ok = e, true
		}
	}
	return found, ok
}

// follower is what one other member recorded, and what was sent to it.
type follower struct {
	id       string
	sends    spans
	receives spans
	writes   spans
	ends     []int64 // of its writes, sorted
}

// joiner holds the spans of a group.
type joiner struct {
	leader    string
	acks      int // of others that a commit needs
	proposals map[uint64][]trace.Event
	appends   spans
	byBegin   []trace.Event // the appends
	writes    spans
	applies   spans
	followers []follower
}

func newJoiner(logs []trace.Log, leader string, voters int) *joiner {
	j := &joiner{leader: leader, acks: voters / 2, proposals: map[uint64][]trace.Event{}}
	i := slices.IndexFunc(logs, func(l trace.Log) bool { return l.Member == leader })
	if i < 0 {
		return j
	}
	own := logs[i]
	for _, e := range own.Events {
		if e.Kind == core.SpanPropose {
			j.proposals[e.Note] = append(j.proposals[e.Note], e)
		}
	}
	j.appends, j.writes, j.applies = newSpans(own.Events, ofKind(core.SpanAppend)), newSpans(own.Events, ofKind(core.SpanWrite)), newSpans(own.Events, ofKind(core.SpanApply))
	j.byBegin = slices.Clone(j.appends.list)
	slices.SortFunc(j.byBegin, func(a, b trace.Event) int { return cmp.Compare(a.Begin, b.Begin) })
	for number, id := range own.Peers {
		f := follower{id: id, sends: newSpans(own.Events, func(e trace.Event) bool { return e.Kind == core.SpanSend && int(e.Peer) == number })}
		for _, l := range logs {
			if l.Member == id {
				f.receives, f.writes = newSpans(l.Events, ofKind(core.SpanReceive)), newSpans(l.Events, ofKind(core.SpanAppend))
			}
		}
		for _, w := range f.writes.list {
			f.ends = append(f.ends, w.End)
		}
		slices.Sort(f.ends)
		j.followers = append(j.followers, f)
	}
	return j
}

// path is the way of one call.
type path struct {
	stages        [Stages]int64
	at            int64 // how far it has come
	decided       string
	written, sent float64
}

// until gives the time up to t to a stage. What is before the point reached is none.
func (p *path) until(stage Stage, t int64) {
	if t > p.at {
		p.stages[stage] += t - p.at
		p.at = t
	}
}

// path follows a call; false: a part of its way is not known.
func (j *joiner) path(c Call) (p path, ok bool) {
	proposal, ok := j.take(c)
	if !ok {
		return p, false
	}
	index, from, to := proposal.First, proposal.Begin, proposal.End
	appended, ok := j.appends.covering(index, from, to)
	if !ok {
		return p, false
	}
	applied, ok := j.applies.covering(index, appended.Begin, to)
	if !ok {
		return p, false
	}
	p.at, p.written = c.Begin, entries(appended)
	p.until(Request, proposal.Begin)
	p.until(Queue, appended.Begin)
	p.until(LeaderWrite, appended.End)
	own, beside := j.writes.covering(index, appended.Begin, applied.Begin)
	if !beside {
		own = appended
	}
	if !j.replicate(&p, index, appended, own.End, applied.Begin) {
		return p, false
	}
	p.until(Commit, j.free(index, p.at, applied.Begin))
	p.until(ApplyWait, applied.Begin)
	p.until(Apply, applied.End)
	p.until(Answer, c.End)
	return p, true
}

func entries(e trace.Event) float64 { return float64(e.Last - e.First + 1) }

// take returns the proposal of a call, which is no other's from now on.
func (j *joiner) take(c Call) (trace.Event, bool) {
	alike := j.proposals[c.Checksum]
	for i, e := range alike {
		if e.Begin >= c.Begin && e.End <= c.End {
			j.proposals[c.Checksum] = append(alike[:i:i], alike[i+1:]...)
			return e, true
		}
	}
	return trace.Event{}, false
}

// replicate follows an entry from the leader's log until a majority has it, which must
// be by to. own is when the leader's own write had ended.
func (j *joiner) replicate(p *path, index uint64, appended trace.Event, own, to int64) bool {
	type answer struct {
		follower
		send trace.Event
	}
	var answers []answer
	for _, f := range j.followers {
		if s, ok := f.sends.covering(index, appended.Begin, to); ok {
			answers = append(answers, answer{f, s})
		}
	}
	if len(answers) < j.acks {
		return false
	}
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.send.End, b.send.End) })
	if j.acks == 0 || own > answers[j.acks-1].send.End {
		p.until(LeaderWrite, own)
		p.decided = j.leader
		return true
	}
	f, send := answers[j.acks-1].follower, answers[j.acks-1].send
	write, ok := f.writes.covering(index, send.Begin, send.End)
	if !ok {
		return false
	}
	received, ok := f.receives.covering(index, send.Begin, write.Begin)
	if !ok {
		return false
	}
	p.decided, p.sent = f.id, entries(send)
	p.until(Replicator, send.Begin)
	p.until(FollowerWait, f.lastEnd(received.Begin))
	p.until(WireThere, received.Begin)
	p.until(FollowerWait, write.Begin)
	p.until(FollowerWrite, write.End)
	p.until(WireBack, send.End)
	return true
}

// lastEnd returns when the last write that had ended before t did; 0: none had.
func (f *follower) lastEnd(t int64) int64 {
	i := sort.Search(len(f.ends), func(i int) bool { return f.ends[i] >= t })
	if i == 0 {
		return 0
	}
	return f.ends[i-1]
}

// free returns when, from from on and before to, the leader's loop had time for the
// commit of index: it is not while it writes its log, nor between two writes before the
// second of which it did not know of the commit.
func (j *joiner) free(index uint64, from, to int64) int64 {
	at := from
	end := sort.Search(len(j.byBegin), func(i int) bool { return j.byBegin[i].Begin >= to })
	for i := end - 1; i >= 0 && j.byBegin[i].End > from; i-- {
		if e := j.byBegin[i]; e.Note < index {
			at = max(at, min(e.End, to))
		}
	}
	return at
}
