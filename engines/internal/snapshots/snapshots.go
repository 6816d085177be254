// Package snapshots is where replicas keep snapshots of their state machines, whichever
// engine makes them: files with a checksum, flushed before they count, of which the newest
// few are kept; or memory. The files are those of hashicorp/raft. It never decides when a
// snapshot is made, or what it covers.
package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/internal/atomicfile"
)

const (
	kept   = 2
	folder = "snapshots" // the library's name for it
)

// Open returns the snapshots in the folder dir, made where missing, or in memory where that
// is empty. A snapshot is in the list once its sink is closed, and not before. What a crash
// has left of one that was not is removed.
func Open(dir string, logger hclog.Logger) (raft.SnapshotStore, error) {
	if dir == "" {
		return &memory{}, nil
	}
	s, err := raft.NewFileSnapshotStoreWithLogger(dir, kept, logger)
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, folder, "*"+unfinished))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return nil, fmt.Errorf("tidy up snapshots in %s: %w", dir, err)
	}
	return paced{s, dir}, nil
}

// paced flushes snapshots as they grow: the library does so once, at the end, and the log of
// the replica is mostly on the same disk.
type paced struct {
	raft.SnapshotStore
	dir string
}

// Create implements raft.SnapshotStore.
func (p paced) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configured uint64, addresses raft.Transport) (raft.SnapshotSink, error) {
	sink, err := p.SnapshotStore.Create(version, index, term, c, configured, addresses)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(p.dir, folder, sink.ID()+unfinished, stateFile)
	return pacedSink{sink, atomicfile.Paced(sink, func() error { return flush(path) })}, nil
}

type pacedSink struct {
	raft.SnapshotSink
	paced io.Writer
}

// Write implements io.Writer.
func (s pacedSink) Write(data []byte) (int, error) { return s.paced.Write(data) }

// flush flushes what others have written to a file, too.
func flush(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Begin makes a snapshot that covers the log up to index, of that term, as of the
// configuration that the entry configured has made.
func Begin(store raft.SnapshotStore, index, term uint64, configuration raft.Configuration, configured uint64) (raft.SnapshotSink, error) {
	sink, err := store.Create(raft.SnapshotVersionMax, index, term, configuration, configured, plainAddresses{})
	if err != nil {
		return nil, fmt.Errorf("begin a snapshot of entry %d: %w", index, err)
	}
	return sink, nil
}

// Finish writes a state into a snapshot that was begun, which counts from then on. After an
// error there is none.
func Finish(sink raft.SnapshotSink, state io.WriterTo) error {
	if _, err := state.WriteTo(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish snapshot %s: %w", sink.ID(), err)
	}
	return nil
}

// plainAddresses writes addresses down as they are, where the library asks for a transport.
type plainAddresses struct{ raft.Transport }

// EncodePeer implements raft.Transport.
func (plainAddresses) EncodePeer(_ raft.ServerID, at raft.ServerAddress) []byte { return []byte(at) }

// memory keeps the newest snapshot. The library's own shows one that is not whole yet, and
// forgets the one before.
type memory struct {
	mu     sync.Mutex
	newest *memorySink // nil: there is none
}

// Create implements raft.SnapshotStore.
func (m *memory) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configured uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &memorySink{to: m, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term, Configuration: c, ConfigurationIndex: configured,
	}}, nil
}

// List implements raft.SnapshotStore.
func (m *memory) List() ([]*raft.SnapshotMeta, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == nil {
		return nil, nil
	}
	meta := m.newest.meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore.
func (m *memory) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == nil || m.newest.meta.ID != id {
		return nil, nil, fmt.Errorf("snapshot %s is not the newest any more", id)
	}
	meta := m.newest.meta
	return &meta, io.NopCloser(bytes.NewReader(m.newest.data.Bytes())), nil
}

type memorySink struct {
	to   *memory
	meta raft.SnapshotMeta
	data bytes.Buffer
}

// ID implements raft.SnapshotSink.
func (s *memorySink) ID() string { return s.meta.ID }

// Write implements raft.SnapshotSink.
func (s *memorySink) Write(p []byte) (int, error) { return s.data.Write(p) }

// Cancel implements raft.SnapshotSink.
func (s *memorySink) Cancel() error { return nil }

// Close implements raft.SnapshotSink.
func (s *memorySink) Close() error {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	s.meta.Size = int64(s.data.Len())
	if s.to.newest == nil || s.meta.Index >= s.to.newest.meta.Index {
		s.to.newest = s
	}
	return nil
}
