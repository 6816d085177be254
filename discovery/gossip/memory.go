package gossip

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// Memory is what a node remembers over restarts: how its group came to be, which it
// must, and where the others were, which helps.
type Memory struct {
	// Promise is the configuration that the node promised to found, sorted by id.
	Promise []core.Member
	Founded bool           // it did
	Group   founding.Group // that its state belongs to; 0: not known
	// Peers are the gossip addresses, sorted, of the nodes that were about.
	Peers []string
}

func (m Memory) equal(other Memory) bool {
	return m.Founded == other.Founded && m.Group == other.Group && slices.Equal(m.Promise, other.Promise) && slices.Equal(m.Peers, other.Peers)
}

// Store keeps a Memory. Save returns once it would survive a crash of the machine;
// Load of an empty store returns the zero Memory.
type Store interface {
	Load() (Memory, error)
	Save(Memory) error
}

// InMemory returns a Store for a node that keeps nothing on disk. See package
// founding for what it means that such a node forgets its promise.
func InMemory() Store { return new(memoryStore) }

type memoryStore struct {
	mu sync.Mutex
	m  Memory
}

func (s *memoryStore) Load() (Memory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m, nil
}

func (s *memoryStore) Save(m Memory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m = m
	return nil
}

// FileStore returns a Store in the file path, whose folder must exist. It belongs
// beside the log of the node: who removes one should remove both.
func FileStore(path string) Store { return fileStore(path) }

type fileStore string

// document is the file: JSON, to be read by people in trouble.
type document struct {
	Promise []promised `json:"promise,omitempty"`
	Founded bool       `json:"founded"`
	Group   string     `json:"group,omitempty"`
	Peers   []string   `json:"peers,omitempty"`
}

type promised struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

func (s fileStore) Load() (Memory, error) {
	text, err := os.ReadFile(string(s))
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, fmt.Errorf("read promise: %w", err)
	}
	m, err := parseMemory(text)
	if err != nil {
		return Memory{}, fmt.Errorf("read promise %s: %w: %w; if the node has no data yet, remove the file", string(s), core.ErrInvalid, err)
	}
	return m, nil
}

func parseMemory(text []byte) (Memory, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Memory{}, err
	}
	m := Memory{Founded: d.Founded, Peers: d.Peers}
	for _, p := range d.Promise {
		m.Promise = append(m.Promise, core.Member{ID: p.ID, Address: p.Address, Voter: true})
	}
	if !slices.IsSortedFunc(m.Promise, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) }) {
		return Memory{}, errors.New("members are not sorted")
	}
	if d.Group != "" {
		g, err := strconv.ParseUint(d.Group, 16, 64)
		if err != nil {
			return Memory{}, err
		}
		m.Group = founding.Group(g)
	}
	return m, nil
}

func (m Memory) format() ([]byte, error) {
	d := document{Founded: m.Founded, Group: m.Group.String(), Peers: m.Peers}
	for _, p := range m.Promise {
		d.Promise = append(d.Promise, promised{ID: p.ID, Address: p.Address})
	}
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

// Save writes a new file and puts it in the place of the old one.
func (s fileStore) Save(m Memory) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store promise: %w", err)
		}
	}()
	text, err := m.format()
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(s))
	f, err := os.CreateTemp(dir, filepath.Base(string(s))+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), string(s))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
