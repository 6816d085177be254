// Package mdb keeps log entries and stable values in LMDB, through hashicorp's
// raft-mdb: a memory-mapped B+tree, read without copying and written with two
// flushes a transaction. It is the store that Consul began with; it needs cgo.
//
// Entries with times as go-msgpack v0.5 wrote them are written anew by Open: see renew.go.
//
// Three things that raft-mdb leaves to its user are handled here: the size of
// the map is an option and a full map is a clear error; a call after Close is
// an error instead of a crash; and after a failed write no further one is
// tried, because LMDB's Go binding ends a failed transaction twice.
//
// LMDB is C and believes what it finds in its map. So the file is checked in Go before
// it is opened (all of its structure: see file.go), and one that is truncated or spoilt
// is an error that is core.ErrDamaged. What cannot be caught: structure that is spoilt,
// or a file that is cut short, while it is open. LMDB may then end the process (SIGBUS,
// SIGSEGV or a failed assertion) with a traceback. Values are not checked here: see
// package checked.
//
// The package never works around the "cgo argument has Go pointer" check
// silently: see [EnsureRuntime].
package mdb

import (
	"cmp"
	"fmt"
	"os"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/size"
)

// Name is the store's name in the catalogue.
const Name = "mdb"

// Where raft-mdb keeps its file, below the store's folder.
const (
	subDir   = "mdb"
	fileName = "data.mdb"
)

const library = "github.com/hashicorp/raft-mdb"

// DefaultMapSizeBytes is the map size where no option sets one. Address space
// is reserved, not disk: the file grows as it is used.
const DefaultMapSizeBytes = 1 << 30

// minMapSizeBytes is what the two empty tables of raft-mdb need, with room for
// LMDB's own reserve.
const minMapSizeBytes = 1 << 20

// Options are the settings of the store.
type Options struct {
	// MapSizeBytes is the most that the store can hold, LMDB's own overhead
	// included; 0 means DefaultMapSizeBytes. It is rounded up to whole pages.
	MapSizeBytes uint64
}

// Validate checks the options without opening anything.
func (o Options) Validate() error {
	if o.MapSizeBytes != 0 && o.MapSizeBytes < minMapSizeBytes {
		return fmt.Errorf("%w: options.mdb.map_size = %s: must be at least %s",
			core.ErrInvalid, size.Format(o.MapSizeBytes), size.Format(minMapSizeBytes))
	}
	return nil
}

// Info describes the store that the options open.
func (o Options) Info() core.StoreInfo {
	return core.StoreInfo{Name: Name, Library: library, Version: core.ModuleVersion(library), Durability: core.DurableDisk, MaxBytes: o.size()}
}

// size is that of the map, in whole pages.
func (o Options) size() uint64 {
	page := uint64(os.Getpagesize())
	return (cmp.Or(o.MapSizeBytes, DefaultMapSizeBytes) + page - 1) / page * page
}
