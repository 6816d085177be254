package trace

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
)

// timeline is a group of which all is known: what its members record, and where the
// time of each write went.
type timeline struct {
	calls  []Call
	logs   map[string]*trace.Log
	stages []map[Stage]int64
	who    []string
	free   map[string]int64 // when a follower has answered what it was sent last
}

func newTimeline(followers ...string) *timeline {
	x := &timeline{free: map[string]int64{}, logs: map[string]*trace.Log{"n1": {Member: "n1", Peers: followers}}}
	for _, f := range followers {
		x.logs[f] = &trace.Log{Member: f}
	}
	return x
}

func (x *timeline) put(member string, kind core.SpanKind, peer int, first, last uint64, begin, end int64, note uint64) {
	l := x.logs[member]
	l.Events = append(l.Events, trace.Event{Kind: kind, Peer: uint8(peer), Term: 1, First: first, Last: last, Begin: begin, End: end, Note: note})
}

// batch has a leader write count entries, replicate and apply them: one path of random
// lengths that all of them share from the write of the leader on. It returns when it ended.
func (x *timeline) batch(t *rapid.T, first uint64, count int, begin int64, overlapped bool) int64 {
	some := func(name string) int64 { return rapid.Int64Range(0, 2000).Draw(t, name) }
	last := first + uint64(count) - 1
	type call struct{ begin, proposed int64 }
	var calls []call
	at := begin
	for range count {
		c := call{begin: begin + some("call")}
		c.proposed = c.begin + some("request")
		calls = append(calls, c)
		at = max(at, c.proposed)
	}
	appending := at + some("queue")
	appended := appending + some("append")
	x.put("n1", core.SpanAppend, 0, first, last, appending, appended, first-1)
	writing, written, more := appending, appended, false // of the log
	durable := map[uint64]int64{}                        // by the last entry of a message
	if overlapped {
		writing = appended + some("own wait")
		written = writing + some("own write")
		x.put("n1", core.SpanWrite, 0, first, last, writing, written, 0)
		if more = rapid.Bool().Draw(t, "more"); more { // nobody's entry goes to followers with them, and is written next
			durable[last+1] = written + some("next write")
			x.put("n1", core.SpanAppend, 0, last+1, last+1, appended, appended, first-1)
			x.put("n1", core.SpanWrite, 0, last+1, last+1, written, durable[last+1], 0)
		}
	}
	durable[last] = written

	shared := map[Stage]int64{LeaderWrite: appended - appending}
	type way struct {
		stages         map[Stage]int64
		acked, through int64
	}
	ways := map[string]way{}
	for i, f := range x.logs["n1"].Peers {
		upTo := last
		if more && rapid.Bool().Draw(t, "together") {
			upTo++
		}
		sent := max(appended, x.free[f]) + some("replicator")
		received := sent + some("wire there")
		begun := received + some("follower wait")
		wrote := begun + some("follower write")
		acked := (wrote+some("wire back"))/8*8 + 8 + int64(i) // never two at once
		x.free[f] = acked
		x.put("n1", core.SpanSend, i, first, upTo, sent, acked, 0)
		x.put(f, core.SpanReceive, 0, first, upTo, received, received, 0)
		x.put(f, core.SpanAppend, 0, first, upTo, begun, wrote, 0)
		ways[f] = way{map[Stage]int64{Replicator: sent - appended, WireThere: received - sent, FollowerWait: begun - received,
			FollowerWrite: wrote - begun, WireBack: acked - wrote}, acked, max(acked, durable[upTo])}
	}
	names := slices.SortedFunc(maps.Keys(ways), func(a, b string) int {
		return cmp.Or(cmp.Compare(ways[a].through, ways[b].through), cmp.Compare(ways[a].acked, ways[b].acked))
	})
	who, answered, committed := "n1", int64(0), written
	if n := len(names); n > 0 {
		decider := ways[names[(n+1)/2-1]]
		answered, committed = decider.acked, decider.through
		if answered == committed {
			who = names[(n+1)/2-1]
		}
		if answered >= written {
			maps.Copy(shared, decider.stages)
		}
	}
	if answered < written && overlapped {
		shared[Queue] = writing - appended
		shared[LeaderWrite] += written - writing
	}
	shared[Held] = committed - max(answered, written)
	busy := int64(0) // the loop writes the next batch meanwhile, and notices the commit after that
	if rapid.Bool().Draw(t, "busy") {
		busy = some("busy")
		x.put("n1", core.SpanAppend, 0, last+1000000, last+1000000, committed, committed+busy, first-1)
	}
	shared[Commit] = busy
	applying := committed + busy + 1 + some("apply wait")
	shared[ApplyWait] = applying - committed - busy
	applied := applying + some("apply")
	shared[Apply] = applied - applying
	x.put("n1", core.SpanApply, 0, first, last, applying, applied, 0)
	end := applied
	for i, c := range calls {
		index := first + uint64(i)
		back := applied + some("back")
		answered := back + some("answer")
		x.put("n1", core.SpanPropose, 0, index, index, c.proposed, back, 1000+index)
		x.calls = append(x.calls, Call{Begin: c.begin, End: answered, Checksum: 1000 + index})
		own := maps.Clone(shared)
		own[Request], own[Answer] = c.proposed-c.begin, answered-applied
		own[Queue] += appending - c.proposed
		x.stages, x.who = append(x.stages, own), append(x.who, who)
		end = max(end, answered)
	}
	return end
}

func (x *timeline) list(t *rapid.T) []trace.Log {
	var out []trace.Log
	for _, member := range slices.Sorted(maps.Keys(x.logs)) {
		l := x.logs[member]
		shuffled := *l
		shuffled.Events = rapid.Permutation(l.Events).Draw(t, "order")
		out = append(out, shuffled)
	}
	return out
}

// TestJoin: of any timeline, in whatever order it was recorded, the stages are those that
// it was made of, and each call's add up to its latency.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		followers := [][]string{nil, {"n2"}, {"n2", "n3"}, {"n2", "n3", "n4", "n5"}}[rapid.IntRange(0, 3).Draw(t, "group")]
		x := newTimeline(followers...)
		at, index := int64(1_000_000), uint64(1)
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			n := rapid.IntRange(1, 5).Draw(t, "batch")
			at = x.batch(t, index, n, at, rapid.Bool().Draw(t, "overlapped")) + 1
			index += uint64(n) + 1
		}
		b := Join(x.calls, x.list(t), "n1", len(followers)+1)
		if b.Joined != len(x.calls) || b.SumNS() != b.TotalNS {
			t.Fatalf("%d of %d joined, %d of %d ns", b.Joined, len(x.calls), b.SumNS(), b.TotalNS)
		}
		decided := map[string]int{}
		for i, want := range x.stages {
			decided[x.who[i]]++
			for stage := range Stage(Stages) {
				if got := b.Durations[stage][i]; got != want[stage] {
					t.Fatalf("call %d: stage %d took %d ns, want %d", i, stage, got, want[stage])
				}
			}
		}
		if !maps.Equal(decided, b.Decided) {
			t.Fatalf("decided by %v, want %v", b.Decided, decided)
		}
	})
}

// TestJoinWithout: whatever is missing, stages and rest stay what the calls took, and no
// stage is below zero.
func TestJoinWithout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newTimeline("n2", "n3")
		at := int64(1_000_000)
		for i := range uint64(4) {
			at = x.batch(t, 1+3*i, 2, at, rapid.Bool().Draw(t, "overlapped")) + 1
		}
		logs := x.list(t)
		for i := range logs {
			keep := rapid.IntRange(0, len(logs[i].Events)).Draw(t, "keep")
			logs[i].Events = logs[i].Events[:keep]
		}
		for i := range x.calls { // and what is wrong
			x.calls[i].End += rapid.Int64Range(-3000, 3000).Draw(t, "off")
			x.calls[i].End = max(x.calls[i].End, x.calls[i].Begin)
		}
		b := Join(x.calls, logs, "n1", 3)
		if b.SumNS() > b.TotalNS || b.Joined > b.Calls {
			t.Fatalf("%d of %d joined, %d of %d ns", b.Joined, b.Calls, b.SumNS(), b.TotalNS)
		}
		for stage, all := range b.Durations {
			if len(all) != b.Joined || len(all) > 0 && slices.Min(all) < 0 {
				t.Fatalf("stage %d: %v of %d", stage, all, b.Joined)
			}
		}
	})
}

// TestJoinWaitsForFollower: a message that comes while the follower still writes the one
// before waits for that, and is not on the wire meanwhile.
func TestJoinWaitsForFollower(t *testing.T) {
	x := newTimeline("n2", "n3")
	x.put("n1", core.SpanPropose, 0, 2, 2, 110, 900, 7)
	x.put("n1", core.SpanAppend, 0, 2, 2, 120, 150, 1)
	x.put("n1", core.SpanSend, 0, 2, 2, 160, 500, 0)
	x.put("n2", core.SpanAppend, 0, 1, 1, 100, 300, 0) // the one before
	x.put("n2", core.SpanReceive, 0, 2, 2, 320, 320, 0)
	x.put("n2", core.SpanAppend, 0, 2, 2, 330, 450, 0)
	x.put("n1", core.SpanApply, 0, 2, 2, 600, 700, 0)
	b := Join([]Call{{Begin: 100, End: 1000, Checksum: 7}}, []trace.Log{*x.logs["n1"], *x.logs["n2"], *x.logs["n3"]}, "n1", 3)
	want := [Stages]int64{Request: 10, Queue: 10, LeaderWrite: 30, Replicator: 10, FollowerWait: 140 + 10, WireThere: 20,
		FollowerWrite: 120, WireBack: 50, ApplyWait: 100, Apply: 100, Answer: 300}
	for stage, d := range want {
		if b.Joined != 1 || b.Durations[stage][0] != d {
			t.Errorf("stage %d: %v, want %d", stage, b.Durations[stage], d)
		}
	}
}

// TestJoinBehindHeldAnswer: an answer that the leader reads late, since it let the one
// before wait for its own disk, has waited for that disk and was not on the wire.
func TestJoinBehindHeldAnswer(t *testing.T) {
	for name, x := range map[string]struct {
		own  int64 // end of the leader's write of the entry
		want [Stages]int64
	}{
		"its own write": {500, [Stages]int64{Request: 10, Queue: 10 + 20, LeaderWrite: 10 + 350, Held: 10, ApplyWait: 90, Apply: 100, Answer: 300}},
		"that of the entry before": {250, [Stages]int64{Request: 10, Queue: 10, LeaderWrite: 10, Replicator: 10, WireThere: 30,
			FollowerWait: 10, FollowerWrite: 100, Held: 230, ApplyWait: 90, Apply: 100, Answer: 300}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTimeline("n2", "n3")
			l.put("n1", core.SpanAppend, 0, 1, 1, 90, 95, 0)
			l.put("n1", core.SpanWrite, 0, 1, 1, 96, 500, 0)
			l.put("n1", core.SpanSend, 0, 1, 1, 97, 200, 0) // its answer waits until 500
			l.put("n1", core.SpanPropose, 0, 2, 2, 110, 900, 7)
			l.put("n1", core.SpanAppend, 0, 2, 2, 120, 130, 1)
			l.put("n1", core.SpanWrite, 0, 2, 2, 150, x.own, 0)
			l.put("n1", core.SpanSend, 0, 2, 2, 140, 510, 0)
			l.put("n2", core.SpanReceive, 0, 2, 2, 170, 170, 0)
			l.put("n2", core.SpanAppend, 0, 2, 2, 180, 280, 0)
			l.put("n1", core.SpanApply, 0, 2, 2, 600, 700, 0)
			b := Join([]Call{{Begin: 100, End: 1000, Checksum: 7}}, []trace.Log{*l.logs["n1"], *l.logs["n2"], *l.logs["n3"]}, "n1", 3)
			for stage, d := range x.want {
				if b.Joined != 1 || b.Durations[stage][0] != d {
					t.Errorf("stage %d: %v, want %d", stage, b.Durations[stage], d)
				}
			}
			if b.Decided["n1"] != 1 {
				t.Errorf("decided by %v", b.Decided)
			}
		})
	}
}

// TestMiddle: the calls about the median are those that the middle fifth is made of.
func TestMiddle(t *testing.T) {
	b := &Breakdown{Joined: 10}
	for stage := range b.Durations {
		b.Durations[stage] = make([]int64, b.Joined)
	}
	for i := range int64(10) { // latencies 7, 4, 1, 8, 5, 2, 9, 6, 3, 0
		b.Durations[Queue][i], b.Durations[Apply][i] = (7+7*i)%10/2, (7+7*i)%10-(7+7*i)%10/2
	}
	if got := b.Middle(); !slices.Equal(got, []int{1, 4}) {
		t.Errorf("%v", got)
	}
	if got := new(Breakdown).Middle(); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}
