package faulty_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

// TestLogStore: with a plan that fails nothing the store is what it wraps.
func TestLogStore(t *testing.T) {
	coretest.TestLogStore(t, func(*testing.T, string) core.LogStore {
		return faulty.Wrap(inmem.New(), new(faulty.Gate).Hold())
	})
}

func TestPlans(t *testing.T) {
	broken := errors.New("broken")
	s := faulty.Wrap(inmem.New(), faulty.From(faulty.Set, 2, broken))
	var got []bool
	for index := uint64(1); index <= 3; index++ {
		got = append(got, s.StoreLog(&raft.Log{Index: index}) != nil, s.SetUint64([]byte("k"), index) != nil)
	}
	want := []bool{false, false, false, true, false, true}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("failed: %v, want %v", got, want)
		}
	}
	if number, err := s.GetUint64([]byte("k")); number != 1 || err != nil {
		t.Errorf("after writes that failed: %d, %v, want the 1 from before", number, err)
	}
	if err := s.Set([]byte("k"), nil); !errors.Is(err, broken) {
		t.Errorf("the plan's error is hidden: %v", err)
	}
}

// TestFlushesOfUnknownNumber: a store that does not count its flushes is not said to
// have made none.
func TestFlushesOfUnknownNumber(t *testing.T) {
	m := raft.NewInmemStore()
	uncounted := core.AdaptStore(m, m, nil, core.StoreInfo{Name: "library"})
	if _, ok := core.As[core.SyncCounter](faulty.Wrap(uncounted, new(faulty.Gate).Hold())); ok {
		t.Error("flushes are counted where the store below does not count them")
	}
	if _, ok := core.As[core.SyncCounter](faulty.Wrap(inmem.New(), new(faulty.Gate).Hold())); !ok {
		t.Error("flushes that the store below counts are hidden")
	}
}

// TestGate: what is held back happens once the gate opens, and other kinds of writes
// go through.
func TestGate(t *testing.T) {
	var gate faulty.Gate
	s := faulty.Wrap(inmem.New(), gate.Hold(faulty.StoreLogs))
	gate.Shut()
	stored := make(chan error, 1)
	go func() { stored <- s.StoreLog(&raft.Log{Index: 1}) }()
	for gate.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.SetUint64([]byte("k"), 1); err != nil {
		t.Error(err)
	}
	if last, err := s.LastIndex(); last != 0 || err != nil {
		t.Errorf("held back, yet the log ends at %d, %v", last, err)
	}
	gate.Open()
	if err := <-stored; err != nil {
		t.Error(err)
	}
	if last, err := s.LastIndex(); last != 1 || err != nil {
		t.Errorf("let through, yet the log ends at %d, %v", last, err)
	}
}

// TestDisk: what has not reached a disk when its power is cut never does; what has is
// there, and neither is acknowledged.
func TestDisk(t *testing.T) {
	for name, test := range map[string]struct {
		gate func(*faulty.Disk) *faulty.Gate
		want uint64
	}{
		"before the write": {func(d *faulty.Disk) *faulty.Gate { return &d.Before }, 1},
		"after the write":  {func(d *faulty.Disk) *faulty.Gate { return &d.After }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			below, disk := inmem.New(), new(faulty.Disk)
			s := disk.On(below)
			if err := s.StoreLog(&raft.Log{Index: 1}); err != nil {
				t.Fatal(err)
			}
			disk.Only(faulty.StoreLogs)
			test.gate(disk).Shut()
			if err := s.SetUint64([]byte("not held"), 1); err != nil {
				t.Fatal(err)
			}
			written := make(chan error, 1)
			go func() { written <- s.StoreLog(&raft.Log{Index: 2}) }()
			for test.gate(disk).Waiting() == 0 {
				time.Sleep(time.Millisecond)
			}
			disk.Cut()
			if err := <-written; !errors.Is(err, faulty.ErrPower) {
				t.Errorf("a write that the power went from: %v", err)
			}
			if err := s.Set([]byte("k"), nil); !errors.Is(err, faulty.ErrPower) {
				t.Errorf("a write without power: %v", err)
			}
			if last, err := disk.On(below).LastIndex(); err != nil || last != test.want || disk.Writes() != int(test.want) {
				t.Errorf("the log ends at %d after %d writes, %v: want %d", last, disk.Writes(), err, test.want)
			}
		})
	}
}
