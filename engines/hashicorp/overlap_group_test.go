package hashicorp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestTransferWaitsForTheDisk: leadership is not handed over before the old leader has on
// its disk what the new one begins with, and then no acknowledged write is missing.
func TestTransferWaitsForTheDisk(t *testing.T) {
	r := newRoom(t, nil)
	old, disk := r.running[0], r.disks[0]
	put(t, old, "k", "v")
	disk.Only(faulty.StoreLogs)
	disk.Before.Shut()
	w := write(t, old, 4)
	eventually(t, "writes are pending", func() bool { return disk.Before.Waiting() > 0 })
	before := old.Status()
	transferred := make(chan error, 1)
	go func() { transferred <- old.TransferLeadership(deadline(t), "n2") }()
	select {
	case err := <-transferred:
		t.Fatalf("handed over while entries are pending: %v", err)
	case <-time.After(20 * time.Millisecond): // if it is too early, it is mostly seen
	}
	for _, m := range r.running {
		if s := m.Status(); s.Term != before.Term || s.CommitIndex > before.LastIndex {
			t.Errorf("%s: %+v, and the leader has %d of term %d", m.cfg.ID, s, before.LastIndex, before.Term)
		}
	}
	disk.Before.Open()
	if err := <-transferred; err != nil {
		t.Fatal(err)
	}
	w.stop()
	next := waitLeader(t, r.running[:])
	if err := next.ReadBarrier(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for _, key := range w.acknowledged() {
		if !next.has(key, "v") {
			t.Errorf("%s is lost", key)
		}
	}
}

// TestPendingTailIsTruncated: a leader that has lost its followers has entries pending; the
// others go on without it, and it takes what they have.
func TestPendingTailIsTruncated(t *testing.T) {
	r := newRoom(t, nil)
	old := r.running[0]
	put(t, old, "k", "v")
	stop(t, r.running[1], r.running[2])
	r.disks[0].Only(faulty.StoreLogs)
	r.disks[0].Before.Shut()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 5 {
		go func() { _, _ = old.Propose(ctx, kv.EncodeSet(fmt.Sprint("lost", i), nil)) }()
	}
	eventually(t, "they are pending", func() bool { return r.disks[0].Before.Waiting() > 0 })
	eventually(t, "it leads no more", func() bool { return old.Status().Role != core.Leader })
	r.start(t, 1)
	r.start(t, 2)
	leader := waitLeader(t, r.running[1:])
	for i := range 10 {
		put(t, leader, fmt.Sprint("kept", i), "v")
	}
	r.disks[0].Before.Open()
	for _, m := range r.running {
		eventually(t, m.cfg.ID+" has caught up", func() bool { return m.has("kept9", "v") })
		_, want := leader.kv.Digest()
		if _, got := m.kv.Digest(); got != want {
			t.Errorf("%s has another state than the leader", m.cfg.ID)
		}
	}
}

// TestSnapshotBesidePendingEntries: a snapshot is taken, the log is compacted and the snapshot
// is installed on another member while the leader's disk holds a write back.
func TestSnapshotBesidePendingEntries(t *testing.T) {
	for name, monotonic := range map[string]bool{"gaps allowed": false, "monotonic": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, nil)
			for _, d := range r.disks {
				d.monotonic.Store(monotonic)
			}
			r.engine.Options = hashicorp.Options{TrailingLogs: 2, LogCache: 4}
			for i := range r.running {
				stop(t, r.running[i])
			}
			leader := r.start(t, 0)
			r.start(t, 1)
			r.lead(t, 0)
			r.disks[0].Only(faulty.StoreLogs)
			for i := range 50 {
				put(t, leader, fmt.Sprint(i), "v")
			}
			r.disks[0].Before.Shut()
			w := write(t, leader, 4)
			eventually(t, "writes are pending", func() bool { return r.disks[0].Before.Waiting() > 0 })
			durable := leader.Status().LastIndex
			if err := leader.Snapshot(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if first, err := r.disks[0].logs.FirstIndex(); err != nil || first == 1 { // nothing on disk is left if the pending entries are the trailing ones
				t.Errorf("the log has not been compacted: it begins at %d, %v", first, err)
			}
			if s := leader.Status(); s.SnapshotIndex > durable {
				t.Errorf("the snapshot is of %d, and %d is durable", s.SnapshotIndex, durable)
			}
			late := r.start(t, 2)
			eventually(t, "the third has the snapshot", func() bool { return late.has("49", "v") })
			r.disks[0].Before.Open()
			eventually(t, "writes go on", func() bool { return len(w.acknowledged()) > 10 })
			w.stop()
			put(t, leader, "last", "v")
			for _, m := range r.running {
				eventually(t, m.cfg.ID+" has caught up", func() bool { return m.has("last", "v") })
			}
		})
	}
}

// TestOverlappedAlone: a group of one voter, whatever else there is, commits what its only
// disk has.
func TestOverlappedAlone(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), false)
	r := &room{homes: h}
	r.tuning = overlapped()
	for i := range r.disks {
		r.disks[i] = newPlatter()
	}
	h.members = []core.Member{h.members[0], h.members[1]}
	h.members[1].Voter = false
	r.start(t, 0)
	r.start(t, 1)
	only := r.lead(t, 0)
	put(t, only, "k", "v")
	r.disks[0].Before.Shut()
	w := write(t, only, 3)
	eventually(t, "a write is held back", func() bool { return r.disks[0].Before.Waiting() > 0 })
	last := only.Status().LastIndex
	if s := r.running[1].Status(); s.LastIndex > last {
		t.Errorf("the non-voter has %d, and the only voter %d", s.LastIndex, last)
	}
	r.disks[0].Before.Open()
	eventually(t, "writes go on", func() bool { return len(w.acknowledged()) > 10 })

	// With a second voter it overlaps, without that one it does not.
	second := h.members[1]
	second.Voter = true
	if err := only.Add(deadline(t), second); err != nil {
		t.Fatal(err)
	}
	n := len(w.acknowledged())
	eventually(t, "writes go on", func() bool { return len(w.acknowledged()) > n+10 })
	if err := only.Remove(deadline(t), second.ID); err != nil {
		t.Fatal(err)
	}
	n = len(w.acknowledged())
	eventually(t, "writes go on", func() bool { return len(w.acknowledged()) > n+10 })
	r.disks[0].Before.Shut()
	eventually(t, "a write is held back", func() bool { return r.disks[0].Before.Waiting() > 0 })
	keys := w.acknowledged()
	r.crash(t, 0)
	w.stop()
	r.start(t, 0)
	r.lead(t, 0)
	for _, key := range keys {
		if !r.running[0].has(key, "v") {
			t.Errorf("%s is lost", key)
		}
	}
}

// TestUnknownPersistence: the error names the words.
func TestUnknownPersistence(t *testing.T) {
	m := newMember(t, tcp.New(tcp.Options{}), "n1", inmem.New(), core.Tuning{Persistence: "eager"})
	defer m.cfg.Link.Close()
	_, err := (hashicorp.Engine{}).Start(m.cfg)
	if want := `invalid: raft settings of n1: persistence = "eager": want serial or overlapped`; !errors.Is(err, core.ErrInvalid) || err.Error() != want {
		t.Errorf("%v", err)
	}
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
