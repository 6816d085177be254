package coretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/themilchenko/raftlab/core"
)

// checkPropose: what a proposal returns is what the state machine did with it.
func checkPropose(t *checker, h engineHarness) {
	beside(t, []int{1, 3, 5}, func(n int) {
		c := h.found(t, n)
		last := uint64(0)
		for i := range 20 {
			key := fmt.Sprint("k", i)
			applied := c.put(key, "v")
			if want := (receipt{applied.Index, key + "=v"}); applied.Result != want || applied.Index <= last {
				t.Fatalf("group of %d: Propose after index %d: %+v, want the result %+v of FSM.Apply at a later index", n, last, applied, want)
			}
			last = applied.Index
		}
		c.everywhere("k19", "v")
		c.asLeader("an empty command is applied", func(m *member) error { _, err := m.Propose(t.context(), nil); return err })
		c.everywhere("", "")
	})
}

// checkProposeCopies: the bytes of a command are the caller's again.
func checkProposeCopies(t *checker, h engineHarness) {
	c := h.found(t, 3)
	slow := c.members[2]
	c.put("first", "v")
	c.isolate(slow)
	proposers := group{t: t}
	for w := range 4 {
		proposers.do(func() {
			bytes := make([]byte, 0, 64)
			for i := range 20 {
				want := fmt.Sprintf("w%d-%d=v", w, i)
				bytes = append(bytes[:0], want...)
				applied, err := c.leader(c.members[:2]...).Propose(t.context(), bytes)
				if err != nil && !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrOutcomeUnknown) {
					t.Errorf("Propose: %v", err)
				}
				if err == nil && applied.Result.(receipt).command != want {
					t.Errorf("Propose of %q: applied %q", want, applied.Result.(receipt).command)
				}
				copy(bytes, strings.Repeat("x", len(want)))
			}
		})
	}
	proposers.Wait()
	c.routes.heal()
	c.put("last", "v")
	c.everywhere("last", "v")
	for n := range 20 {
		if _, found := slow.machine.get(strings.Repeat("x", n)); found && n > 0 {
			t.Errorf("%s has applied what a proposer wrote over its command afterwards", slow.id)
		}
	}
}

// checkOnFollower: only the leader does what is the leader's, and the others know who it is.
func checkOnFollower(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	leader := c.leader()
	follower := c.without(leader)[0]
	t.until("the follower knows the leader", func() bool { return follower.Status().LeaderID == leader.id })
	_, err := follower.Propose(t.context(), command("refused", "v"))
	var told *core.NotLeaderError
	if !errors.As(err, &told) || leader.leads() && (told.LeaderID != leader.id || told.LeaderAddress != leader.address) {
		t.Errorf("Propose on a follower: %v, want a core.NotLeaderError with %s at %s", err, leader.id, leader.address)
	}
	_, errRead := follower.ReadIndex(t.context())
	calls := map[string]error{
		"Propose": err, "ReadIndex": errRead, "ReadBarrier": follower.ReadBarrier(t.context()), "LeaseBarrier": follower.LeaseBarrier(t.context()),
		"Add":                               follower.Add(t.context(), follower.member(true)),
		"Remove":                            follower.Remove(t.context(), leader.id),
		"TransferLeadership":                follower.TransferLeadership(t.context(), c.without(leader)[1].id),
		"TransferLeadership to the fittest": follower.TransferLeadership(t.context(), ""),
	}
	if h.able.proposes {
		o := newOutcomes()
		o.begin(follower, "refused")
		o.wait(t)
		calls["Begin"] = o.told[0].err
	}
	if follower.leads() {
		return // it was elected meanwhile: nothing is shown
	}
	for what, err := range calls {
		if !errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrOutcomeUnknown) {
			t.Errorf("%s on a follower: %v, want core.ErrNotLeader, and nothing in doubt", what, err)
		}
	}
	c.put("later", "v")
	c.everywhere("later", "v")
	for _, m := range c.members {
		if _, found := m.machine.get("refused"); found {
			t.Errorf("%s has applied a command that was refused", m.id)
		}
	}
}

// checkWithoutQuorum: what was appended and not committed is in doubt, and nobody waits
// for ever.
func checkWithoutQuorum(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	old := c.leader()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := old.Propose(ended, command("never", "v")); !errors.Is(err, context.Canceled) {
		t.Errorf("Propose with a context that has ended: %v", err)
	}
	c.isolate(old)
	short, cancel := context.WithTimeout(context.Background(), beat/4)
	defer cancel()
	_, err := old.Propose(short, command("k", "doubtful"))
	if !errors.Is(err, core.ErrNotLeader) && (!errors.Is(err, core.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded)) {
		t.Errorf("Propose without a quorum until its context ends: %v, want core.ErrOutcomeUnknown with the context's error", err)
	}
	_, err = old.Propose(t.context(), command("k", "doubtful too"))
	if !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Propose without a quorum: %v, want the end of leadership to answer it", err)
	}
	for what, err := range map[string]error{"ReadBarrier": old.ReadBarrier(t.shortly(5)), "LeaseBarrier": old.LeaseBarrier(t.shortly(5))} {
		if err == nil {
			t.Errorf("%s without a quorum: no error", what)
		}
	}
	c.leader(c.without(old)...)
	c.routes.heal()
	c.put("k", "after")
	c.everywhere("k", "after")
}

// checkCloseWithProposals: what is under way when a replica closes is answered.
func checkCloseWithProposals(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	leader := c.leader()
	c.isolate(leader)
	const n = 16
	before := leader.Status()
	answers := make(chan error, n)
	for i := range n {
		go func() {
			_, err := leader.Propose(context.Background(), command(fmt.Sprint("p", i), "v"))
			answers <- err
		}()
	}
	t.until("the proposals are appended, or it leads no more", func() bool {
		s := leader.Status()
		return s.LastIndex >= before.LastIndex+n || s.Role != core.Leader
	})
	leader.stop()
	for range n {
		err := mustReceive(t, answers, "the answer to a proposal of a replica that was closed")
		if !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrClosed) && !errors.Is(err, core.ErrNotLeader) {
			t.Errorf("Propose beside Close: %v", err)
		}
	}
	_, err := leader.Propose(t.context(), command("k", "late"))
	if !errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrOutcomeUnknown) {
		t.Errorf("Propose after Close: %v, want core.ErrClosed, and nothing in doubt", err)
	}
}

// checkLargeProposals: entries that are larger than most messages reach a member that lags.
func checkLargeProposals(t *checker, h engineHarness) {
	const entries = 4
	c := h.found(t, 3, slowly(5))
	slow := c.members[2]
	c.isolate(slow)
	large := strings.Repeat("v", 2<<20)
	for i := range entries {
		c.put(fmt.Sprint("k", i), large)
	}
	c.routes.heal()
	for i := range entries {
		c.everywhere(fmt.Sprint("k", i), large)
	}
}

// outcomes takes what became of proposals that were begun.
type outcomes struct {
	mu    sync.Mutex
	begun int
	told  map[int]outcome
	order []int // in which they were told
}

type outcome struct {
	times int
	core.Applied
	err error
}

// completion is that of one proposal.
type completion struct {
	n  int
	of *outcomes
}

func newOutcomes() *outcomes { return &outcomes{told: map[int]outcome{}} }

// Complete implements core.Completion.
func (c completion) Complete(applied core.Applied, err error) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.told[c.n] = outcome{c.of.told[c.n].times + 1, applied, err}
	c.of.order = append(c.of.order, c.n)
}

// begin begins to write a key.
func (o *outcomes) begin(m *member, key string) {
	n := o.begun
	o.begun++
	m.Replica.(core.Proposer).Begin(command(key, "v"), completion{n, o})
}

// wait waits until all are told.
func (o *outcomes) wait(t *checker) {
	t.Helper()
	t.until("all outcomes are told", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.told) == o.begun
	})
}

// checkBegin: what one goroutine begins is appended in that order, and told in it.
func checkBegin(t *checker, h engineHarness) {
	c := h.found(t, 3)
	for {
		leader, o := c.leader(), newOutcomes()
		const n = 500
		for i := range n {
			o.begin(leader, fmt.Sprint("b", i))
		}
		o.wait(t)
		last, failed := uint64(0), false
		for i, told := range o.order {
			got := o.told[told]
			if got.err != nil {
				failed = true // leadership was lost, and what fails may be told in any order
				continue
			}
			if key := fmt.Sprintf("b%d=v", told); got.times != 1 || got.Index <= last || got.Result != (receipt{got.Index, key}) || !failed && told != i {
				t.Fatalf("proposal %d: told as number %d, %d times: %+v, %v, after index %d", told, i, got.times, got.Applied, got.err, last)
			}
			last = got.Index
		}
		if !failed {
			return
		}
	}
}

// checkBeginTellsOnce: through losses of leadership and to the end of a replica each
// proposal is told exactly once, and what is told to be written is.
func checkBeginTellsOnce(t *checker, h engineHarness) {
	c := h.found(t, 3)
	o := newOutcomes()
	for round := range 6 {
		for range 40 {
			o.begin(c.members[o.begun%3], fmt.Sprint("b", o.begun))
		}
		if leader := c.leaderNow(); leader != nil && round%2 == 0 {
			_ = leader.TransferLeadership(t.context(), "") // it may be refused: another one will do
		} else if leader != nil {
			c.isolate(leader)
			o.begin(leader, fmt.Sprint("b", o.begun))
			c.leader(c.without(leader)...)
			c.routes.heal()
		}
	}
	end := c.members[0]
	for range 40 { // under way when the replica ends
		o.begin(end, fmt.Sprint("b", o.begun))
	}
	end.stop()
	o.begin(end, "late")
	o.wait(t)
	if err := o.told[o.begun-1].err; !errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrOutcomeUnknown) {
		t.Errorf("Begin after Close: %v, want core.ErrClosed, and nothing in doubt", err)
	}
	c.put("last", "v")
	c.everywhere("last", "v")
	for n, got := range o.told {
		_, there := c.members[1].machine.get(fmt.Sprint("b", n))
		switch {
		case got.times != 1:
			t.Errorf("proposal %d was told %d times", n, got.times)
		case got.err == nil && !there:
			t.Errorf("proposal %d was told to be written, and is not", n)
		case there && (errors.Is(got.err, core.ErrNotLeader) || errors.Is(got.err, core.ErrClosed)) && !errors.Is(got.err, core.ErrOutcomeUnknown):
			t.Errorf("proposal %d is written, and was told to be refused: %v", n, got.err)
		}
	}
}

// witness keeps all spans of one member.
type witness struct {
	mu    sync.Mutex
	spans []core.Span
}

// Record implements core.Trace.
func (w *witness) Record(s core.Span) {
	s.Command = slices.Clone(s.Command)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spans = append(w.spans, s)
}

// of returns the spans of a kind that cover an index.
func (w *witness) of(kind core.SpanKind, index uint64) (found []core.Span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.spans {
		if s.Kind == kind && s.First <= index && index <= s.Last {
			found = append(found, s)
		}
	}
	return found
}

// one returns the only span of a kind that covers an index.
func (w *witness) one(t *checker, kind core.SpanKind, index uint64) core.Span {
	t.Helper()
	found := w.of(kind, index)
	if len(found) != 1 {
		t.Fatalf("%d spans of kind %d cover index %d, want 1: %+v", len(found), kind, index, found)
	}
	return found[0]
}

// checkTrace: each member records what it does with an entry, once, and in the order in
// which that must happen; with pipelines and without.
func checkTrace(t *checker, h engineHarness) {
	beside(t, []int{1, 2}, func(inFlight int) {
		all := map[string]*witness{}
		c := newCluster(t, h, 3)
		c.tuning.MaxInFlight = inFlight
		c.tuning.Persistence = core.Serial // or the order is another
		for _, m := range c.members {
			all[m.id] = &witness{}
			m.start(c.configuration(), func(cfg *core.ReplicaConfig) { cfg.Trace = all[m.id] })
		}
		c.lead(c.members[0])
		first := c.put("k", "first").Index
		t.until("the leader has heard from all", func() bool { // until then it may send the same again
			m := c.leaderNow()
			return m != nil && !slices.ContainsFunc(m.Status().Followers, func(f core.FollowerStatus) bool { return f.LastIndex < first })
		})
		applied := c.put("k", "v")
		index, leader := applied.Index, all[c.leader().id]
		t.until("all have done with the entry", func() bool {
			return len(leader.of(core.SpanSend, index)) >= 2 && !slices.ContainsFunc(c.members, func(m *member) bool { return len(all[m.id].of(core.SpanApply, index)) == 0 })
		})
		propose, appended, apply := leader.one(t, core.SpanPropose, index), leader.one(t, core.SpanAppend, index), leader.one(t, core.SpanApply, index)
		if string(propose.Command) != "k=v" || appended.Commit >= index || appended.Term == 0 {
			t.Errorf("proposed: %+v; appended: %+v", propose, appended)
		}
		if appended.Begin.Before(propose.Begin) || appended.End.After(propose.End) || apply.End.After(propose.End) || apply.Begin.Before(appended.End) {
			t.Errorf("proposed %v to %v, appended %v to %v, applied %v to %v", propose.Begin, propose.End, appended.Begin, appended.End, apply.Begin, apply.End)
		}
		answered := false
		for _, sent := range leader.of(core.SpanSend, index) {
			received, wrote := all[sent.Peer].one(t, core.SpanReceive, index), all[sent.Peer].one(t, core.SpanAppend, index)
			if received.Begin.Before(sent.Begin) || wrote.Begin.Before(received.Begin) || sent.End.Before(wrote.End) {
				t.Errorf("to %s: sent %v, received %v, wrote %v to %v, answered %v", sent.Peer, sent.Begin, received.Begin, wrote.Begin, wrote.End, sent.End)
			}
			answered = answered || !sent.End.After(apply.Begin)
		}
		if !answered {
			t.Error("the leader applied the entry before any member had answered that it has it")
		}
	})
	c := newCluster(t, h, 1)
	m, w := c.members[0], &witness{}
	m.start(c.configuration(), func(cfg *core.ReplicaConfig) { cfg.Trace = w })
	last := c.put("k", "v").Index
	if h.able.proposes {
		o := newOutcomes()
		o.begin(m, "begun")
		o.wait(t)
		if last = o.told[0].Index; o.told[0].err != nil || string(w.one(t, core.SpanPropose, last).Command) != "begun=v" {
			t.Errorf("begun: %+v; recorded: %+v", o.told[0], w.of(core.SpanPropose, last))
		}
	}
	m.fails(syscall.EIO)
	if _, err := m.Propose(t.context(), command("k", "lost")); err == nil {
		t.Error("Propose where the disk fails: no error")
	}
	m.stopped(syscall.EIO)
	for _, kind := range []core.SpanKind{core.SpanPropose, core.SpanAppend, core.SpanApply} {
		if found := w.of(kind, last+1); len(found) > 0 {
			t.Errorf("what has failed is recorded: %+v", found)
		}
	}
}
