// Package plugins holds the plug-ins of docs/writing-a-backend.md and
// docs/writing-an-engine.md: a log store, a transport that takes Raft's messages as structs, a
// wire and an engine, with programs that know them, and an engine that is a program. It is a
// module of its own, as a third party's is.
package plugins

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
)

// openWAL opens HashiCorp's write-ahead log in dir.
func openWAL(dir string, o core.Options) (core.LogStore, error) {
	info, segmentBytes, err := walOptions(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("rawwal: %w", err)
	}
	log, err := wal.Open(dir, wal.WithSegmentSize(int(segmentBytes)))
	if err != nil {
		return nil, fmt.Errorf("rawwal: open %s: %w", dir, err)
	}
	return core.AdaptStore(withoutPrefix{log}, log, log, info), nil
}

// withoutPrefix hides entries before the first, which the log still has in its segment
// after DeleteRange.
type withoutPrefix struct{ *wal.WAL }

func (w withoutPrefix) GetLog(index uint64, out *raft.Log) error {
	first, err := w.FirstIndex()
	if err == nil && index < first {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return err
	}
	return w.WAL.GetLog(index, out)
}

func walOptions(o core.Options) (info core.StoreInfo, segmentBytes uint64, err error) {
	const library = "github.com/hashicorp/raft-wal"
	r := o.Read("rawwal")
	segmentBytes = r.Bytes("segment_size", uint64(wal.DefaultSegmentSize))
	if segmentBytes > math.MaxInt32 {
		err = fmt.Errorf("%w: options.rawwal.segment_size: want at most 2GiB", core.ErrInvalid)
	}
	info = core.StoreInfo{Name: "rawwal", Library: library, Version: core.ModuleVersion(library), Durability: core.DurableDisk}
	return info, segmentBytes, errors.Join(r.Err(), err)
}

// walEntry is the catalogue's entry.
func walEntry() backends.Backend {
	return backends.Backend{
		Summary:  "HashiCorp's write-ahead log, one flush a write",
		Options:  []string{"segment_size"},
		Info:     func(o core.Options) (core.StoreInfo, error) { info, _, err := walOptions(o); return info, err },
		OpenBare: openWAL,
	}
}
