package coretest

import (
	"errors"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// checkEngineClose: Close ends everything that a replica has, any number of times.
func checkEngineClose(t *checker, h engineHarness) {
	left := goroutinesOf(func() { closeAll(t, h.found(t, 3)) })
	t.eventually("no goroutine is left after Close", left)
	c := h.found(t, 3)
	leader := c.leader()
	for _, m := range c.without(leader) {
		c.routes.hold(m.address, leader.address)
	}
	time.Sleep(beat / 2) // messages go out, and are not answered
	leader.stop()
}

func closeAll(t *checker, c *cluster) {
	c.put("k", "v")
	for _, m := range c.members {
		closers := group{t: t}
		for range 3 {
			closers.do(func() { t.should("one of several Close", m.Replica.Close()) })
		}
		closers.Wait()
		m.running.Store(false)
		select {
		case <-m.Done():
		default:
			t.Errorf("%s: Done is not closed after Close", m.id)
		}
		t.should("the cause of an orderly end", m.Err())
		t.should("Close once more", m.Replica.Close())
		if role := m.Status().Role; role != core.Stopped {
			t.Errorf("the role of %s after Close is %q", m.id, role)
		}
		if _, err := m.logs.LastIndex(); !errors.Is(err, core.ErrClosed) {
			t.Errorf("the log store of %s after Close: %v, want core.ErrClosed", m.id, err)
		}
		link, err := c.routes.Listen(m.address)
		t.must("listening where a closed replica did", err)
		t.must("closing a link", link.Close())
		_, errPropose := m.Propose(t.context(), command("k", "late"))
		_, errRead := m.ReadIndex(t.context())
		for what, err := range map[string]error{
			"Propose": errPropose, "ReadIndex": errRead, "ReadBarrier": m.ReadBarrier(t.context()),
			"WaitApplied": m.WaitApplied(t.context(), 1<<40), "Add": m.Add(t.context(), m.member(true)), "Snapshot": m.Snapshot(t.context()),
		} {
			if !errors.Is(err, core.ErrClosed) && !errors.Is(err, core.ErrNotLeader) || what == "WaitApplied" && !errors.Is(err, core.ErrClosed) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	}
}

// checkSettings: what cannot be is refused, and the parts stay the caller's.
func checkSettings(t *checker, h engineHarness) {
	for what, change := range map[string]func(*core.Tuning){
		"a lease longer than the heartbeat timeout": func(tuning *core.Tuning) { tuning.LeaderLeaseTimeout = 2 * beat },
		"an unknown persistence":                    func(tuning *core.Tuning) { tuning.Persistence = "eager" },
		"a stall limit below its timeout":           func(tuning *core.Tuning) { tuning.StallTimeout, tuning.StallLimit = 2*beat, beat },
	} {
		c := newCluster(t, h, 1)
		change(&c.tuning)
		m := c.members[0]
		cfg := m.config(c.configuration())
		r, err := h.Engine.Start(cfg)
		if err == nil {
			err = r.Close()
			t.Errorf("Start with %s: no error; Close: %v", what, err)
			continue
		}
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Start with %s: %v, want core.ErrInvalid", what, err)
		}
		if _, err := cfg.Logs.LastIndex(); err != nil {
			t.Errorf("the log store after a Start that failed: %v, want it to be open still", err)
		}
		t.should("closing the parts after a Start that failed", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
	}
}
