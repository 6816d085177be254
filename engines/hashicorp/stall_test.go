package hashicorp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/checked"
	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// patient is fast, with a log store that may hang as long as a test takes.
func patient() core.Tuning {
	t := fast
	t.StallLimit = time.Minute
	return t
}

// onBolt returns stores on disk of which node's writes of the kinds ops can be held back.
func onBolt(t *testing.T, node int, ops ...faulty.Op) (store func(int) core.LogStore, gate *faulty.Gate) {
	gate = new(faulty.Gate)
	return func(n int) core.LogStore {
		bare, err := bolt.Open(t.TempDir(), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := checked.Wrap(bare, "bolt")
		if err != nil {
			t.Fatal(err)
		}
		if n != node {
			return s
		}
		return faulty.Wrap(s, gate.Hold(ops...))
	}, gate
}

// waitLeader waits until one of the members leads and answers reads.
func waitLeader(t *testing.T, members []*member) (leader *member) {
	t.Helper()
	eventually(t, "one of the others leads", func() bool {
		for _, m := range members {
			if m.Status().Role == core.Leader && m.ReadBarrier(deadline(t)) == nil {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

// TestHangingLeaderIsReplaced: while the leader's disk hangs, another member is elected
// and acknowledges writes, and the old one says that it does not lead. When the disk
// comes back, it follows, and nothing that was acknowledged is lost.
func TestHangingLeaderIsReplaced(t *testing.T) {
	for _, persistence := range []string{core.Serial, core.Overlapped} {
		t.Run(persistence, func(t *testing.T) {
			t.Parallel()
			hangingLeaderIsReplaced(t, persistence)
		})
	}
}

func hangingLeaderIsReplaced(t *testing.T, persistence string) {
	store, gate := onBolt(t, 0)
	tuning := patient()
	tuning.Persistence = persistence
	members := group(t, options{nodes: 3, store: store, tuning: tuning})
	t.Cleanup(gate.Open)
	old := members[0]
	put(t, old, "before", "v")

	gate.Shut()
	hung := make(chan error, 1)
	go func() {
		_, err := old.Propose(context.WithoutCancel(t.Context()), kv.EncodeSet("doubtful", []byte("v")))
		hung <- err
	}()
	eventually(t, "the write hangs", func() bool { return gate.Waiting() > 0 })
	if err := old.ReadBarrier(deadline(t)); err != nil && !errors.Is(err, core.ErrNotLeader) {
		t.Errorf("a read that came before the stall was noticed: %v", err)
	}

	leader := waitLeader(t, members[1:])
	put(t, leader, "meanwhile", "v")
	if gate.Waiting() == 0 {
		t.Fatal("the disk hangs no more: nothing was shown")
	}
	if s := old.Status(); s.Stalled == 0 {
		t.Errorf("the status does not say that it has stalled: %+v", s)
	}
	if s := leader.Status(); s.Stalled != 0 {
		t.Errorf("the new leader has stalled for %s", s.Stalled)
	}
	_, errPropose := old.Propose(deadline(t), kv.EncodeSet("refused", nil))
	for what, err := range map[string]error{
		"propose": errPropose, "read barrier": old.ReadBarrier(deadline(t)), "lease barrier": old.LeaseBarrier(deadline(t)),
	} {
		if !errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrOutcomeUnknown) {
			t.Errorf("%s on the stalled member: %v", what, err)
		}
	}

	gate.Open()
	<-hung // committed or not
	put(t, leader, "after", "v")
	for _, m := range members {
		for _, key := range []string{"before", "meanwhile", "after"} {
			eventually(t, m.cfg.ID+" has the write "+key, func() bool { return m.has(key, "v") })
		}
		if _, _, found := m.kv.Get("refused"); found {
			t.Errorf("%s has a write that was refused", m.cfg.ID)
		}
	}
	eventually(t, "the old leader has no stalled write", func() bool { return old.Status().Stalled == 0 })
	if old.Status().Role == core.Leader && leader.Status().Role == core.Leader && old.Status().Term == leader.Status().Term {
		t.Error("two leaders")
	}
}

// TestShortStallIsNone: a write that is slow, but not too slow, changes nothing.
func TestShortStallIsNone(t *testing.T) {
	tuning := fast
	tuning.StallTimeout = time.Minute
	store, gate := onBolt(t, 0)
	members := group(t, options{nodes: 3, store: store, tuning: tuning})
	t.Cleanup(gate.Open)
	put(t, members[0], "k", "v")
	term := members[0].Status().Term
	gate.Shut()
	time.AfterFunc(3*fast.HeartbeatTimeout, gate.Open)
	put(t, members[0], "k", "w")
	if s := members[0].Status(); s.Role != core.Leader || s.Term != term {
		t.Errorf("leadership has changed: %+v", s)
	}
}

// TestStallTimeout: a short heartbeat timeout makes no stall of a slow flush.
func TestStallTimeout(t *testing.T) {
	for want, tuning := range map[time.Duration]core.Tuning{
		time.Second:            {HeartbeatTimeout: 150 * time.Millisecond},
		3 * time.Second:        {HeartbeatTimeout: 3 * time.Second},
		200 * time.Millisecond: {HeartbeatTimeout: 150 * time.Millisecond, StallTimeout: 200 * time.Millisecond},
	} {
		if got := hashicorp.StallTimeout(tuning); got != want {
			t.Errorf("%+v: %v, want %v", tuning, got, want)
		}
	}
}

// TestHangingFollower: one that cannot save a new term holds nobody up, and goes on
// when its disk does.
func TestHangingFollower(t *testing.T) {
	store, gate := onBolt(t, 2, faulty.Set)
	members := group(t, options{nodes: 3, store: store, tuning: patient()})
	t.Cleanup(gate.Open)
	put(t, members[0], "k", "v")
	gate.Shut()
	if err := members[1].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new term is not saved", func() bool { return gate.Waiting() > 0 })
	leader := waitLeader(t, members[:2])
	put(t, leader, "k", "w")
	eventually(t, "it says that it has stalled", func() bool { return members[2].Status().Stalled > 0 })
	gate.Open()
	eventually(t, "it has caught up", func() bool { return members[2].has("k", "w") })
}

// TestHangBeyondTheLimit: the member stops with the cause, and Close returns although
// the store never does.
func TestHangBeyondTheLimit(t *testing.T) {
	for op, what := range map[faulty.Op]string{faulty.StoreLogs: "an entry", faulty.Set: "a term"} {
		t.Run(what, func(t *testing.T) {
			tuning := fast
			tuning.StallLimit = 2 * fast.HeartbeatTimeout
			store, gate := onBolt(t, 0, op)
			m := newMember(t, tcp.New(tcp.Options{}), "n1", store(0), tuning)
			m.cfg.Bootstrap = []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}}
			r, err := (hashicorp.Engine{}).Start(m.cfg)
			if err != nil {
				t.Fatal(err)
			}
			gate.Shut()
			_ = r.(core.Campaigner).Campaign(deadline(t)) // it may be a candidate already
			if op == faulty.StoreLogs {
				_, _ = r.Propose(deadline(t), kv.EncodeSet("k", nil)) // it may not lead yet: then its no-op hangs
			}
			select {
			case <-r.Done():
			case <-deadline(t).Done():
				t.Error("it never stops")
			}
			if err := r.Err(); !errors.Is(err, core.ErrStalled) || !strings.Contains(err.Error(), "raft.db") {
				t.Errorf("it stopped because of %v", err)
			}
			if err := r.Close(); !errors.Is(err, core.ErrStalled) {
				t.Errorf("close: %v", err)
			}
			gate.Open() // what was left behind ends: see TestMain
		})
	}
}

// TestCloseWhileItHangs: an orderly end does not wait for ever either, and waits for a
// disk that comes back.
func TestCloseWhileItHangs(t *testing.T) {
	store, gate := onBolt(t, 0)
	m := newMember(t, tcp.New(tcp.Options{}), "n1", store(0), patient())
	m.start(t, []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}})
	eventually(t, "it leads", func() bool { return m.ReadBarrier(deadline(t)) == nil })
	t.Cleanup(gate.Open)
	gate.Shut()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = m.Propose(ctx, kv.EncodeSet("k", nil)) }()
	eventually(t, "the write hangs", func() bool { return gate.Waiting() > 0 })
	cancel()
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	time.AfterFunc(2*fast.HeartbeatTimeout, gate.Open)
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-deadline(t).Done():
		t.Error("it never ends")
	}
}
