package gossip

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
)

// Memory is what a node remembers over restarts: how its group came to be, which it
// must, and where the others were, which helps.
type Memory struct {
	// Promise is the configuration that the node promised to found, sorted by id.
	Promise []core.Member
	Founded bool // it did
	// Group is the core.GroupID of the one that the node's state is of or, while it
	// has none, that it waits to be added to; empty: not known.
	Group  string
	Member bool // the node has had state: it has been a member
	// Peers are the gossip addresses, sorted, of the nodes that were about.
	Peers []string
}

func (m Memory) equal(other Memory) bool {
	return m.Founded == other.Founded && m.Group == other.Group && m.Member == other.Member &&
		slices.Equal(m.Promise, other.Promise) && slices.Equal(m.Peers, other.Peers)
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
// beside the log of the node: to remove one is to remove both.
func FileStore(path string) Store { return fileStore(path) }

type fileStore string

// memoryFormat is the version of the file. The first had none, knew no incarnations,
// and had names of its own for groups.
const memoryFormat = 2

// document is the file: JSON, to be read by people in trouble.
type document struct {
	Format  int        `json:"format"`
	Promise []promised `json:"promise,omitempty"`
	Founded bool       `json:"founded"`
	Group   string     `json:"group,omitempty"`
	Member  bool       `json:"member,omitempty"`
	Peers   []string   `json:"peers,omitempty"`
}

type promised struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"`
	Address     string `json:"address"`
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
	if d.Format != memoryFormat && d.Format != 0 {
		return Memory{}, fmt.Errorf("format %d, this release knows up to %d: start the node with the newer one that wrote it", d.Format, memoryFormat)
	}
	if d.Format == 0 {
		return d.first(), nil
	}
	m := Memory{Founded: d.Founded, Group: d.Group, Member: d.Member, Peers: d.Peers}
	for _, p := range d.Promise {
		if !core.IsIncarnation(p.Incarnation) {
			return Memory{}, fmt.Errorf("the incarnation of %s, %q, is not of 16 hexadecimal digits", p.ID, p.Incarnation)
		}
		m.Promise = append(m.Promise, core.Member{ID: p.ID, Incarnation: p.Incarnation, Address: p.Address, Voter: true})
	}
	if !slices.IsSortedFunc(m.Promise, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) }) {
		return Memory{}, errors.New("members are not sorted")
	}
	if d.Group != "" && !core.IsIncarnation(d.Group) {
		return Memory{}, fmt.Errorf("the group, %q, is not of 16 hexadecimal digits", d.Group)
	}
	return m, nil
}

// first reads d in the first format. Its promise was of a node without an
// incarnation, which is another one than any that has no state and reads this now, so
// it has no effect. A node that had a group without an id, or waited for one, is not to
// found another.
func (d document) first() Memory {
	m := Memory{Peers: d.Peers}
	if d.Founded || d.Group != "" {
		m.Group = core.UnnamedGroup
	}
	return m
}

func (m Memory) format() ([]byte, error) {
	d := document{Format: memoryFormat, Founded: m.Founded, Group: m.Group, Member: m.Member, Peers: m.Peers}
	for _, p := range m.Promise {
		d.Promise = append(d.Promise, promised{ID: p.ID, Incarnation: p.Incarnation, Address: p.Address})
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
	return atomicfile.Write(string(s), text)
}
