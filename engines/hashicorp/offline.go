package hashicorp

import (
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/offline"
)

var _ core.Offline = Engine{}

// Remains implements core.Offline. The library stores no commit index: known to be
// committed is what the snapshot covers, or was when the replica was last closed.
func (Engine) Remains(ctx context.Context, logs core.LogStore, dir string) (*core.Remains, error) {
	return format().Remains(ctx, logs, dir)
}

// Found implements core.Offline, as the library's RecoverCluster does: a snapshot with the
// configuration, and no log but its term.
func (Engine) Found(logs core.LogStore, dir string, f core.Founding) error {
	return format().Found(logs, dir, f)
}

func format() offline.Format {
	return offline.Format{
		Engine: Name,
		Stored: func(logs core.LogStore) (offline.Stored, error) {
			term, _, err := logState(logs)
			return offline.Stored{Term: term}, err
		},
		Entry: remnant,
		Begin: func(logs core.LogStore, f core.Founding) error {
			if err := logs.SetUint64(termKey, f.Term); err != nil {
				return fmt.Errorf("write the term: %w", err)
			}
			return nil
		},
		Write: func(index uint64, state io.WriterTo) io.WriterTo { return headed{index, state} },
		Read: func(from io.Reader) error {
			_, err := readSnapshotHeader(from)
			return err
		},
	}
}

// remnant reads an entry. Each configuration names all members.
func remnant(e *raft.Log, _ []core.Member) (r core.Remnant, err error) {
	switch e.Type {
	case raft.LogCommand:
		if r.Command = e.Data; e.Data == nil {
			r.Command = []byte{}
		}
	case raft.LogConfiguration:
		r.Members, err = configured(e.Data)
	case raft.LogNoop, raft.LogBarrier:
	default:
		err = fmt.Errorf("%w: it is of the unknown type %d", core.ErrDamaged, e.Type)
	}
	return r, err
}

// configured reads a configuration. The library panics over one that it cannot read.
func configured(data []byte) (members []core.Member, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", core.ErrDamaged, p)
		}
	}()
	return identity.Members(raft.DecodeConfiguration(data)), nil
}
