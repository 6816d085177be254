package snapshots

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/ctxio"
)

// The library's names for the files of a snapshot, and for the folder of one that is not whole.
const (
	metaFile   = "meta.json"
	stateFile  = "state.bin"
	unfinished = ".tmp"
)

// Left is a snapshot in a folder that no replica has open. The library cannot look at one
// without writing to the folder.
type Left struct {
	raft.SnapshotMeta
	CRC  []byte // of the state: CRC-64, ECMA, big endian
	path string
}

// Newest returns the newest snapshot in the folder dir that is whole, and changes nothing
// there. Where all are damaged it is the newest of those that say what they cover, which
// Open then refuses. Nil: there is none.
func Newest(ctx context.Context, dir string) (*Left, error) {
	all, err := list(dir)
	if errors.Is(err, core.ErrDamaged) && len(all) > 0 {
		err = nil // others are there
	}
	if err != nil || len(all) == 0 {
		return nil, err
	}
	for _, s := range all {
		data, err := s.Open(ctx)
		if err == nil {
			return s, data.Close()
		}
		if !errors.Is(err, core.ErrDamaged) {
			return nil, err
		}
	}
	return all[0], nil
}

// list returns the snapshots in dir that say what they cover, the newest first. One that
// does not is an ErrDamaged beside them.
func list(dir string) (all []*Left, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	var spoilt error
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), unfinished) {
			continue
		}
		s, err := read(filepath.Join(dir, folder, e.Name()))
		switch {
		case err == nil:
			all = append(all, s)
		case errors.Is(err, core.ErrDamaged):
			spoilt = err
		default:
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b *Left) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID))
	})
	return all, spoilt
}

func read(path string) (*Left, error) {
	text, err := os.ReadFile(filepath.Join(path, metaFile))
	if err != nil {
		return nil, unreadable(path, err)
	}
	s := &Left{path: path}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w: %w", path, core.ErrDamaged, err)
	}
	if s.Version != raft.SnapshotVersionMax || s.Index == 0 || s.Term == 0 || s.ConfigurationIndex > s.Index {
		return nil, fmt.Errorf("snapshot %s: %w: it is of version %d, entry %d, term %d and configuration %d",
			path, core.ErrDamaged, s.Version, s.Index, s.Term, s.ConfigurationIndex)
	}
	return s, nil
}

// unreadable is the error of a file of a snapshot: that it is missing is damage.
func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", core.ErrDamaged, err)
	}
	return fmt.Errorf("snapshot %s: %w", path, err)
}

// Open opens what was written, once all of it has been compared with its checksum. The end
// of ctx is that of the reading too.
func (s *Left) Open(ctx context.Context) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(s.path, stateFile))
	if err != nil {
		return nil, unreadable(s.path, err)
	}
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	_, err = io.Copy(sum, ctxio.Reader(ctx, f))
	if err == nil && !bytes.Equal(sum.Sum(nil), s.CRC) {
		err = fmt.Errorf("%w: its checksum does not match", core.ErrDamaged)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", s.path, errors.Join(err, f.Close()))
	}
	return buffered{bufio.NewReader(ctxio.Reader(ctx, f)), f}, nil
}

type buffered struct {
	io.Reader
	io.Closer
}

// Found writes the snapshot that a group begins with into the folder dir, made where
// missing. It is on the disk when Found returns nil.
func Found(dir string, index, term uint64, configuration raft.Configuration, state io.WriterTo) error {
	store, err := Open(dir, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	sink, err := Begin(store, index, term, configuration, index)
	if err != nil {
		return err
	}
	if err := Finish(sink, state); err != nil {
		return err
	}
	names := filepath.Join(dir, folder)
	for _, d := range []string{filepath.Join(names, sink.ID()), names, dir, filepath.Dir(dir)} {
		if err := atomicfile.SyncDir(d); err != nil {
			return fmt.Errorf("flush the folder of snapshot %s: %w", sink.ID(), err)
		}
	}
	return nil
}
