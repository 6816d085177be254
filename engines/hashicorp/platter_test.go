package hashicorp_test

import (
	"sync/atomic"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
)

// platter is a disk in memory whose power can be cut.
type platter struct {
	faulty.Disk
	logs      *inmem.Store
	monotonic atomic.Bool // it says that it takes no gaps
}

func newPlatter() *platter { return &platter{logs: inmem.New()} }

// open returns the store as it is after the power was switched on.
func (p *platter) open() core.LogStore { return p.On(lasting{p.logs, p}) }

// lasting is a store that outlives its Close.
type lasting struct {
	core.LogStore
	platter *platter
}

func (lasting) Close() error { return nil }

func (s lasting) IsMonotonic() bool { return s.platter.monotonic.Load() }
