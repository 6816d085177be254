// Package trace tells where the time of each write went: it joins what clients saw with
// the spans that the members recorded (core/trace), follows each write along its critical
// path, and parts its latency into stages that add up to it. It measures nothing itself
// and knows no file.
//
// The critical path of a write is that of the entry which holds it, from the client's call
// through what the commit waited for last, and back:
//
//	serial      leader's write, then a follower's: call … LeaderWrite, Replicator … WireBack, Commit … answer
//	overlapped  the same if the answer came after the leader's own write had ended;
//	            else that write: call … Queue, LeaderWrite, Commit … answer
//
// The follower is the one that made the majority. An overlapped leader lets an answer wait
// until all entries of that message are in its own log; where the path is not there yet
// then, Held comes before Commit. An answer counts when it is let through, so the follower
// that made the majority need not be the one that answered first.
//
// How an entry is found. A client knows its call by the checksum of the command, and the
// proposal with that checksum that began and ended within the call gives the index. The
// other spans are those that cover the index within the proposal's time; that makes terms
// needless, and what was written in vain (an entry that another leader overwrote) is
// found by none.
package trace

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
)

// Stage is a part of a write's latency.
type Stage int

// The stages, in the order of the path. Each begins where the one before ends.
const (
	Request       Stage  = iota // from the client's call until the replica has the command
	Queue                       // until the leader's loop begins with the entry's batch, and until its write begins where that is what was waited for
	LeaderWrite                 // until the batch is in the leader's log, or until the loop goes on beside that write
	Replicator                  // until it is sent to the follower
	FollowerWait                // while that one was still writing the message before, and until it began with this one
	WireThere                   // on the way to it
	FollowerWrite               // until it is in that one's log
	WireBack                    // until its answer is there
	Held                        // until all that the answer, and those before it, are for is in the leader's log too
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
	// Decided counts the joined calls by the member whose write of its log was the last
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

// Middle returns the joined calls whose latency lies in the middle fifth, by their place in
// Durations. What their stages take on average adds up to nearly the median of the latency,
// as the medians of the stages do not.
func (b *Breakdown) Middle() []int {
	latency, order := make([]int64, b.Joined), make([]int, b.Joined)
	for i := range order {
		order[i] = i
		for _, stage := range b.Durations {
			latency[i] += stage[i]
		}
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(latency[i], latency[j]) })
	return order[b.Joined*2/5 : b.Joined-b.Joined*2/5]
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

// before returns the span before e in the list.
func (s spans) before(e trace.Event) (trace.Event, bool) {
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].First >= e.First })
	if i == 0 {
		return trace.Event{}, false
	}
	return s.list[i-1], true
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
	p.at = c.Begin
	p.until(Request, proposal.Begin)
	p.until(Queue, appended.Begin)
	p.until(LeaderWrite, appended.End)
	if !j.replicate(&p, index, appended, applied.Begin) {
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

// durable returns the leader's write of an entry that was put into its log at from or later.
func (j *joiner) durable(index uint64, from int64) (trace.Event, bool) {
	if write, beside := j.writes.covering(index, from, math.MaxInt64); beside {
		return write, true
	}
	return j.appends.covering(index, from, math.MaxInt64)
}

// answer is that of a follower to the message with an entry.
type answer struct {
	follower
	send    trace.Event
	came    int64
	through int64 // when the leader let it count
}

// answers returns those that the leader let count until to, in that order.
func (j *joiner) answers(index uint64, from, to int64) (out []answer) {
	for _, f := range j.followers {
		send, ok := f.sends.covering(index, from, to)
		if !ok {
			continue
		}
		last, ok := j.durable(send.Last, from)
		if through := max(send.End, last.End); ok && through <= to {
			out = append(out, answer{f, send, j.came(f, send), through})
		}
	}
	slices.SortStableFunc(out, func(a, b answer) int {
		return cmp.Or(cmp.Compare(a.through, b.through), cmp.Compare(a.send.End, b.send.End))
	})
	return out
}

// came returns when an answer came. While the leader lets one wait it may read none that
// comes behind: such a one counts as come as soon as it was given.
func (j *joiner) came(f follower, send trace.Event) int64 {
	before, ok := f.sends.before(send)
	if !ok {
		return send.End
	}
	held, ok := j.durable(before.Last, 0)
	write, written := f.writes.covering(send.Last, send.Begin, send.End)
	if ok && written && before.End < held.End && write.End < held.End && held.End <= send.End {
		return write.End
	}
	return send.End
}

// replicate follows an entry from the leader's log until it is committed, which must
// be by to.
func (j *joiner) replicate(p *path, index uint64, appended trace.Event, to int64) bool {
	own, ok := j.durable(index, appended.Begin)
	if !ok || own.End > to {
		return false
	}
	p.written = entries(own)
	answers := j.answers(index, appended.Begin, to)
	if len(answers) < j.acks {
		return false
	}
	var last answer
	if j.acks > 0 {
		last = answers[j.acks-1]
		p.sent = entries(last.send)
	}
	p.decided = j.leader
	if last.through <= last.came {
		p.decided = cmp.Or(last.id, j.leader)
	}
	if j.acks > 0 && last.came >= own.End {
		ok = p.follow(index, last)
	} else {
		p.until(Queue, own.Begin)
		p.until(LeaderWrite, own.End)
	}
	p.until(Held, last.through)
	return ok
}

// follow leads the path through a follower's log.
func (p *path) follow(index uint64, a answer) bool {
	write, ok := a.writes.covering(index, a.send.Begin, a.send.End)
	if !ok {
		return false
	}
	received, ok := a.receives.covering(index, a.send.Begin, write.Begin)
	if !ok {
		return false
	}
	p.until(Replicator, a.send.Begin)
	p.until(FollowerWait, a.lastEnd(received.Begin))
	p.until(WireThere, received.Begin)
	p.until(FollowerWait, write.Begin)
	p.until(FollowerWrite, write.End)
	p.until(WireBack, a.came)
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
