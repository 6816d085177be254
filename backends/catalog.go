// Package backends is the table of log stores: which names an experiment or a
// node may ask for and how each is opened. It holds no store itself and never
// opens one on its own account.
package backends

import (
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/checked"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/backends/pebble"
	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
)

// Backend is one entry of the catalogue.
type Backend struct {
	// Summary says in a line what it is.
	Summary string
	// Options are the keys that OpenBare understands.
	Options []string
	// Info checks the options and describes the store that Open would make of
	// them, without opening anything.
	Info func(core.Options) (core.StoreInfo, error)
	// OpenBare opens the store in dir, making it where missing, without checksums.
	// Whoever wants a store for a replica calls Open.
	OpenBare func(dir string, opts core.Options) (core.LogStore, error)
	// Available returns why the store cannot be opened in this build or process,
	// or nil. A nil func means it always can.
	Available func() error
}

// Open opens the store in dir, making it where missing. What it holds has checksums
// (package checked), unless that never leaves the memory of the process: there is no
// disk to give back other bytes, and a checksum would cost what such a store does.
func (b Backend) Open(dir string, opts core.Options) (core.LogStore, error) {
	bare, err := b.OpenBare(dir, opts)
	if err != nil {
		return nil, err
	}
	if bare.Describe().Durability == core.DurableNothing {
		return bare, nil
	}
	store, err := checked.Wrap(bare, dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", bare.Describe().Name, err), bare.Close())
	}
	return store, nil
}

// Catalog maps names to backends.
type Catalog = core.Catalog[Backend]

// Builtin returns a new catalogue of the stores that come with raftlab.
func Builtin() *Catalog {
	return core.NewCatalog("backend", check, map[string]Backend{
		inmem.Name: {
			Summary: "memory of the process; the base line, nothing survives",
			Info: func(o core.Options) (core.StoreInfo, error) {
				return inmem.Info(), o.Read(inmem.Name).Err()
			},
			OpenBare: func(_ string, o core.Options) (core.LogStore, error) {
				return opened(inmem.New(), o.Read(inmem.Name).Err())
			},
		},
		bolt.Name: {
			Summary: "BoltDB, a B+tree file, two flushes a write",
			Options: []string{"no_sync", "no_freelist_sync"},
			Info: func(o core.Options) (core.StoreInfo, error) {
				opts, err := boltOptions(o)
				return bolt.Info(opts), err
			},
			OpenBare: func(dir string, o core.Options) (core.LogStore, error) {
				opts, err := boltOptions(o)
				if err != nil {
					return nil, err
				}
				return opened(bolt.Open(dir, opts))
			},
		},
		mdb.Name: {
			Summary: "LMDB, a memory-mapped B+tree, two flushes a write; needs cgo",
			Options: []string{"map_size"},
			Info: func(o core.Options) (core.StoreInfo, error) {
				opts, err := mdbOptions(o)
				return opts.Info(), err
			},
			OpenBare: func(dir string, o core.Options) (core.LogStore, error) {
				opts, err := mdbOptions(o)
				if err != nil {
					return nil, err
				}
				return opened(mdb.Open(dir, opts))
			},
			Available: mdb.Available,
		},
		pebble.Name: {
			Summary: "CockroachDB's Pebble, a log-structured merge tree, one flush a write",
			Options: []string{"memtable_size", "cache_size"},
			Info: func(o core.Options) (core.StoreInfo, error) {
				_, err := pebbleOptions(o)
				return pebble.Info(), err
			},
			OpenBare: func(dir string, o core.Options) (core.LogStore, error) {
				opts, err := pebbleOptions(o)
				if err != nil {
					return nil, err
				}
				return opened(pebble.Open(dir, opts))
			},
		},
		wal.Name: {
			Summary: "HashiCorp's write-ahead log, segment files, one flush a write",
			Options: []string{"segment_size"},
			Info: func(o core.Options) (core.StoreInfo, error) {
				_, err := walOptions(o)
				return wal.Info(), err
			},
			OpenBare: func(dir string, o core.Options) (core.LogStore, error) {
				opts, err := walOptions(o)
				if err != nil {
					return nil, err
				}
				return opened(wal.Open(dir, opts))
			},
		},
	})
}

func check(b Backend) error {
	if b.Info == nil || b.OpenBare == nil {
		return errors.New("it needs Info and OpenBare")
	}
	return nil
}

// opened keeps a nil *Store from becoming a non-nil interface.
func opened[S core.LogStore](store S, err error) (core.LogStore, error) {
	if err != nil {
		return nil, err
	}
	return store, nil
}

func boltOptions(o core.Options) (bolt.Options, error) {
	r := o.Read(bolt.Name)
	return bolt.Options{
		NoSync:         r.Bool("no_sync", false),
		NoFreelistSync: r.Bool("no_freelist_sync", false),
	}, r.Err()
}

func mdbOptions(o core.Options) (mdb.Options, error) {
	r := o.Read(mdb.Name)
	opts := mdb.Options{MapSizeBytes: r.Bytes("map_size", mdb.DefaultMapSizeBytes)}
	return opts, errors.Join(r.Err(), opts.Validate())
}

func pebbleOptions(o core.Options) (pebble.Options, error) {
	r := o.Read(pebble.Name)
	opts := pebble.Options{
		MemtableBytes: r.Bytes("memtable_size", pebble.DefaultMemtableBytes),
		CacheBytes:    r.Bytes("cache_size", pebble.DefaultCacheBytes),
	}
	return opts, errors.Join(r.Err(), opts.Validate())
}

func walOptions(o core.Options) (wal.Options, error) {
	r := o.Read(wal.Name)
	opts := wal.Options{SegmentBytes: r.Bytes("segment_size", wal.DefaultSegmentBytes)}
	return opts, errors.Join(r.Err(), opts.Validate())
}
