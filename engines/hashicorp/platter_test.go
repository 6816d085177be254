package hashicorp_test

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
)

// platter is a disk whose power can be cut: what no flush has brought to it by then is lost.
type platter struct {
	before faulty.Gate // holds writes back that are not on the platter yet
	after  faulty.Gate // those that are, and have not returned
	ops    []faulty.Op // which kinds of writes; none: all. Set before any is held

	monotonic atomic.Bool // it says that it takes no gaps

	mu    sync.Mutex
	logs  *inmem.Store
	power int // how often it was switched on
	count int // StoreLogs calls that have reached the platter
}

func newPlatter() *platter { return &platter{logs: inmem.New()} }

// open returns the store as it is after the power was switched on.
func (p *platter) open() core.LogStore {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.power++
	return powered{p.logs, p, p.power}
}

// cut cuts the power: nothing that has not reached the platter does.
func (p *platter) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.power++
}

func (p *platter) writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

var errPower = errors.New("the power is off")

// powered is the store between two cuts.
type powered struct {
	core.LogStore
	platter *platter
	power   int
}

func (s powered) flush(op faulty.Op, write func() error) error {
	_ = s.platter.before.Hold(s.platter.ops...)(faulty.Write{Op: op})
	err := s.onPlatter(op, write)
	_ = s.platter.after.Hold(s.platter.ops...)(faulty.Write{Op: op})
	if err == nil {
		err = s.onPlatter("", func() error { return nil }) // it does not return if the power went meanwhile
	}
	return err
}

func (s powered) onPlatter(op faulty.Op, write func() error) error {
	s.platter.mu.Lock()
	defer s.platter.mu.Unlock()
	if s.platter.power != s.power {
		return errPower
	}
	if op == faulty.StoreLogs {
		s.platter.count++
	}
	return write()
}

func (s powered) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

func (s powered) StoreLogs(entries []*raft.Log) error {
	return s.flush(faulty.StoreLogs, func() error { return s.LogStore.StoreLogs(entries) })
}

func (s powered) DeleteRange(low, high uint64) error {
	return s.flush(faulty.DeleteRange, func() error { return s.LogStore.DeleteRange(low, high) })
}

func (s powered) Set(key, value []byte) error {
	return s.flush(faulty.Set, func() error { return s.LogStore.Set(key, value) })
}

func (s powered) SetUint64(key []byte, value uint64) error {
	return s.flush(faulty.Set, func() error { return s.LogStore.SetUint64(key, value) })
}

func (s powered) Close() error { return nil } // the platter stays

func (s powered) IsMonotonic() bool { return s.platter.monotonic.Load() }
