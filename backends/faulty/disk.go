package faulty

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// ErrPower is the error of a write to a disk without power.
var ErrPower = errors.New("the power is off")

// Disk is a disk whose power can be cut: a write that has not reached it by then never
// does, and one that has, but has not returned, is not acknowledged. The zero value has
// power. Safe for concurrent use.
type Disk struct {
	Before Gate // holds writes back that are not on the disk yet
	After  Gate // those that are, and have not returned

	ops   atomic.Pointer[[]Op] // which kinds of writes the gates hold; nil: all
	mu    sync.RWMutex         // held for reading by every write that reaches the disk
	power int                  // how often it was switched on or off
	count atomic.Int64         // StoreLogs calls that have reached the disk
}

// Only has the gates hold writes of the kinds ops only.
func (d *Disk) Only(ops ...Op) { d.ops.Store(&ops) }

// On switches the power on and returns the store as it is until the power is cut.
func (d *Disk) On(store core.LogStore) core.LogStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.power++
	return powered{store, d, d.power}
}

// Cut cuts the power, also of what the gates hold.
func (d *Disk) Cut() {
	d.mu.Lock()
	d.power++
	d.mu.Unlock()
	d.Open()
}

// Open opens both gates.
func (d *Disk) Open() {
	d.Before.Open()
	d.After.Open()
}

// Writes returns how many StoreLogs calls have reached the disk.
func (d *Disk) Writes() int { return int(d.count.Load()) }

// powered is the store from one switch of the power to the next.
type powered struct {
	core.LogStore
	disk  *Disk
	power int
}

// Unwrap makes the abilities of the store below known: see core.As.
func (s powered) Unwrap() core.LogStore { return s.LogStore }

func (s powered) flush(op Op, write func() error) error {
	var only []Op
	if ops := s.disk.ops.Load(); ops != nil {
		only = *ops
	}
	_ = s.disk.Before.Hold(only...)(Write{Op: op}) // a gate has no error
	err := s.onDisk(op, write)
	_ = s.disk.After.Hold(only...)(Write{Op: op})
	if err == nil {
		err = s.onDisk("", func() error { return nil }) // it does not return if the power went meanwhile
	}
	return err
}

func (s powered) onDisk(op Op, write func() error) error {
	s.disk.mu.RLock()
	defer s.disk.mu.RUnlock()
	if s.disk.power != s.power {
		return ErrPower
	}
	if op == StoreLogs {
		s.disk.count.Add(1)
	}
	return write()
}

// StoreLog implements raft.LogStore.
func (s powered) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (s powered) StoreLogs(entries []*raft.Log) error {
	return s.flush(StoreLogs, func() error { return s.LogStore.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore.
func (s powered) DeleteRange(low, high uint64) error {
	return s.flush(DeleteRange, func() error { return s.LogStore.DeleteRange(low, high) })
}

// Set implements raft.StableStore.
func (s powered) Set(key, value []byte) error {
	return s.flush(Set, func() error { return s.LogStore.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (s powered) SetUint64(key []byte, value uint64) error {
	return s.flush(Set, func() error { return s.LogStore.SetUint64(key, value) })
}
