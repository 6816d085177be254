package hashicorp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestNothingIsCommittedBeforeTheLeaderHasIt: both followers have the entry, and the
// leader says nowhere that it is committed. So it is with pipelines and without.
func TestNothingIsCommittedBeforeTheLeaderHasIt(t *testing.T) {
	for _, inFlight := range []int{1, 2, 16} {
		t.Run(fmt.Sprint("max_in_flight ", inFlight), func(t *testing.T) {
			tuning := overlapped()
			tuning.MaxInFlight = inFlight
			nothingIsCommittedBefore(t, newTunedRoom(t, tuning, nil))
		})
	}
}

func nothingIsCommittedBefore(t *testing.T, r *room) {
	t.Helper()
	leader, disk := r.running[0], r.disks[0]
	put(t, leader, "k", "before")
	before := leader.Status()
	disk.before.Shut()
	answer := make(chan error, 1)
	go func() {
		_, err := leader.Propose(deadline(t), kv.EncodeSet("k", []byte("after")))
		answer <- err
	}()
	eventually(t, "the followers have it, and have said so", func() bool {
		s := leader.Status()
		for _, f := range s.Followers {
			if f.LastIndex <= before.LastIndex {
				return false
			}
		}
		return disk.before.Waiting() > 0
	})
	if err := leader.ReadBarrier(deadline(t)); err != nil {
		t.Errorf("a read waits for a write that is not acknowledged: %v", err)
	}
	for _, m := range r.running {
		if s := m.Status(); s.CommitIndex > before.LastIndex || s.AppliedIndex > before.LastIndex || !m.has("k", "before") {
			t.Errorf("%s: %+v, and the leader has %d", m.cfg.ID, s, before.LastIndex)
		}
	}
	if s := leader.Status(); s.LastIndex != before.LastIndex {
		t.Errorf("the leader says that its log ends at %d, and its disk does at %d", s.LastIndex, before.LastIndex)
	}
	select {
	case err := <-answer:
		t.Fatalf("acknowledged: %v", err)
	default:
	}
	disk.before.Open()
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	for _, m := range r.running {
		eventually(t, m.cfg.ID+" has the write", func() bool { return m.has("k", "after") })
	}
}

// TestTransferWaitsForTheDisk: leadership is not handed over before the old leader has on
// its disk what the new one begins with, and then no acknowledged write is missing.
func TestTransferWaitsForTheDisk(t *testing.T) {
	r := newRoom(t, nil)
	old, disk := r.running[0], r.disks[0]
	put(t, old, "k", "v")
	disk.ops = []faulty.Op{faulty.StoreLogs}
	disk.before.Shut()
	w := write(t, old, 4)
	eventually(t, "writes are pending", func() bool { return disk.before.Waiting() > 0 })
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
	disk.before.Open()
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

// TestFollowerAnswersForItsDisk: an entry that no follower has on its disk is not committed.
func TestFollowerAnswersForItsDisk(t *testing.T) {
	r := newRoom(t, nil)
	put(t, r.running[0], "k", "before")
	before := r.running[0].Status().LastIndex
	for _, d := range r.disks[1:] {
		d.before.Shut()
	}
	answer := make(chan error, 1)
	go func() {
		_, err := r.running[0].Propose(deadline(t), kv.EncodeSet("k", []byte("after")))
		answer <- err
	}()
	eventually(t, "both are writing it", func() bool {
		return r.disks[1].before.Waiting() > 0 && r.disks[2].before.Waiting() > 0
	})
	select {
	case err := <-answer:
		t.Fatalf("acknowledged: %v", err)
	case <-time.After(20 * time.Millisecond): // if they answer too early, it is mostly seen
	}
	if s := r.running[0].Status(); s.CommitIndex != before {
		t.Errorf("committed up to %d, and the followers have %d", s.CommitIndex, before)
	}
	for _, d := range r.disks[1:] {
		d.before.Open()
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
}

// TestPendingTailIsTruncated: a leader that has lost its followers has entries pending; the
// others go on without it, and it takes what they have.
func TestPendingTailIsTruncated(t *testing.T) {
	r := newRoom(t, nil)
	old := r.running[0]
	put(t, old, "k", "v")
	stop(t, r.running[1], r.running[2])
	r.disks[0].ops = []faulty.Op{faulty.StoreLogs}
	r.disks[0].before.Shut()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 5 {
		go func() { _, _ = old.Propose(ctx, kv.EncodeSet(fmt.Sprint("lost", i), nil)) }()
	}
	eventually(t, "they are pending", func() bool { return r.disks[0].before.Waiting() > 0 })
	eventually(t, "it leads no more", func() bool { return old.Status().Role != core.Leader })
	r.start(t, 1)
	r.start(t, 2)
	leader := waitLeader(t, r.running[1:])
	for i := range 10 {
		put(t, leader, fmt.Sprint("kept", i), "v")
	}
	r.disks[0].before.Open()
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
			r.disks[0].ops = []faulty.Op{faulty.StoreLogs}
			for i := range 50 {
				put(t, leader, fmt.Sprint(i), "v")
			}
			r.disks[0].before.Shut()
			w := write(t, leader, 4)
			eventually(t, "writes are pending", func() bool { return r.disks[0].before.Waiting() > 0 })
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
			r.disks[0].before.Open()
			eventually(t, "writes go on", func() bool { return len(w.acknowledged()) > 10 })
			w.stop()
			put(t, leader, "last", "v")
			for _, m := range r.running {
				eventually(t, m.cfg.ID+" has caught up", func() bool { return m.has("last", "v") })
			}
		})
	}
}

// TestMixedGroup: members with and without overlapped persistence are one group. While
// leadership goes round under load, no acknowledged write is missing after a later read.
func TestMixedGroup(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), true)
	var members []*member
	for i := range h.members {
		h.tuning.Persistence = []string{core.Overlapped, core.Serial, core.Overlapped}[i]
		members = append(members, h.run(t, i, h.members))
	}
	waitLeader(t, members)
	s := &stress{T: t, members: members, stop: make(chan struct{}), acked: make([]atomic.Uint64, 6)}
	var all sync.WaitGroup
	for w := range s.acked {
		all.Go(func() { s.write(w) })
	}
	for _, m := range members {
		all.Go(func() { s.read(m) })
	}
	all.Go(s.transfer)
	time.Sleep(2 * time.Second) // the length of the load
	close(s.stop)
	all.Wait()
	t.Logf("%d writes, %d reads", s.writes.Load(), s.reads.Load())
	if s.writes.Load() == 0 || s.reads.Load() == 0 {
		t.Error("no writes or no reads were done")
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
	r.disks[0].before.Shut()
	w := write(t, only, 3)
	eventually(t, "a write is held back", func() bool { return r.disks[0].before.Waiting() > 0 })
	last := only.Status().LastIndex
	if s := r.running[1].Status(); s.LastIndex > last {
		t.Errorf("the non-voter has %d, and the only voter %d", s.LastIndex, last)
	}
	r.disks[0].before.Open()
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
	r.disks[0].before.Shut()
	eventually(t, "a write is held back", func() bool { return r.disks[0].before.Waiting() > 0 })
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

// TestFailingFlush: after the first write that fails, no proposal is acknowledged, none is
// tried again, and the leader gives way with the cause.
func TestFailingFlush(t *testing.T) {
	var broken atomic.Bool
	var tried atomic.Int64
	tuning := fast
	tuning.Persistence = core.Overlapped
	members := group(t, options{nodes: 3, tuning: tuning, store: func(n int) core.LogStore {
		return faulty.Wrap(inmem.New(), func(faulty.Write) error {
			if n == 0 && broken.Load() {
				tried.Add(1)
				return syscall.EIO
			}
			return nil
		})
	}})
	put(t, members[0], "k", "v")
	broken.Store(true)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			_, err := members[0].Propose(deadline(t), kv.EncodeSet(fmt.Sprint(i), nil))
			if err == nil || !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrClosed) {
				t.Errorf("a write that the leader could not store: %v", err)
			}
		})
	}
	all.Wait()
	select {
	case <-members[0].Done():
	case <-deadline(t).Done():
		t.Fatal("it never stopped")
	}
	if err := members[0].Err(); !errors.Is(err, syscall.EIO) || tried.Load() != 1 {
		t.Errorf("it stopped because of %v, after %d writes that failed", err, tried.Load())
	}
	put(t, waitLeader(t, members[1:]), "k", "w")
}

// TestPendingWriteHangsForEver: the leader stops with the cause, and what waited for the
// write is answered; never that it is done.
func TestPendingWriteHangsForEver(t *testing.T) {
	store, gate := onBolt(t, 0)
	tuning := fast
	tuning.Persistence, tuning.StallLimit = core.Overlapped, 2*fast.HeartbeatTimeout
	members := group(t, options{nodes: 3, store: store, tuning: tuning})
	put(t, members[0], "k", "v")
	gate.Shut()
	if _, err := members[0].Propose(deadline(t), kv.EncodeSet("k", []byte("doubtful"))); !errors.Is(err, core.ErrOutcomeUnknown) {
		t.Errorf("propose: %v", err)
	}
	select {
	case <-members[0].Done():
	case <-deadline(t).Done():
		t.Error("it never stops")
	}
	if err := members[0].Close(); !errors.Is(err, core.ErrStalled) || !errors.Is(members[0].Err(), core.ErrStalled) {
		t.Errorf("it stopped because of %v; close: %v", members[0].Err(), err)
	}
	gate.Open()                             // what was left behind ends: see TestMain
	members[0].Replica = members[1].Replica // its close has said so already
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
