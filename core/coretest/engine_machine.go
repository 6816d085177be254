package coretest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/themilchenko/raftlab/core"
)

// truth is what the members of one group must agree on, whenever they were started.
type truth struct {
	mu         sync.Mutex
	histories  map[uint64][sha256.Size]byte // by index: what was applied up to it
	leaders    map[uint64]string            // by term
	complaints []string
}

func newTruth() *truth {
	return &truth{histories: map[uint64][sha256.Size]byte{}, leaders: map[uint64]string{}}
}

func (u *truth) complain(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.complaints) < 20 {
		u.complaints = append(u.complaints, fmt.Sprintf(format, args...))
	}
}

// applied takes what a member has applied up to an index.
func (u *truth) applied(id string, index uint64, history [sha256.Size]byte) {
	u.mu.Lock()
	known, ok := u.histories[index]
	u.histories[index] = history
	u.mu.Unlock()
	if ok && known != history {
		u.complain("%s has applied other commands up to index %d than another member", id, index)
	}
}

// leads takes that a member leads in a term.
func (u *truth) leads(id string, term uint64) {
	u.mu.Lock()
	known, ok := u.leaders[term]
	u.leaders[term] = id
	u.mu.Unlock()
	if ok && known != id {
		u.complain("%s and %s both lead in term %d", known, id, term)
	}
}

// report fails the test with what was found.
func (u *truth) report(t *checker) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.complaints {
		t.Error(c)
	}
}

// machine is the state machine of one member: a map that commands of the form
// "key=value" write to. It compares what it is called for with the truth.
type machine struct {
	id    string
	truth *truth
	busy  atomic.Bool // a method runs that must not run beside others

	mu    sync.Mutex
	state state
}

// state is what a machine holds and its snapshot has.
type state struct {
	Last    uint64            // index of the last command
	History [sha256.Size]byte // of all commands with their indexes
	Values  map[string]string
}

// receipt is the result of a command.
type receipt struct {
	index   uint64
	command string // its beginning
}

var _ core.FSM = (*machine)(nil)

func newMachine(id string, u *truth) *machine {
	return &machine{id: id, truth: u, state: state{Values: map[string]string{}}}
}

// alone complains about calls beside each other.
func (m *machine) alone(what string) (end func()) {
	if !m.busy.CompareAndSwap(false, true) {
		m.truth.complain("%s: %s beside another call of the state machine", m.id, what)
	}
	return func() { m.busy.Store(false) }
}

func begins(command []byte) string { return string(command[:min(len(command), 32)]) }

// Apply implements core.FSM.
func (m *machine) Apply(index uint64, command []byte) any {
	defer m.alone("Apply")()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.state
	if index <= s.Last {
		m.truth.complain("%s: Apply of index %d after %d", m.id, index, s.Last)
	}
	sum := sha256.New()
	sum.Write(s.History[:])
	sum.Write(binary.BigEndian.AppendUint64(nil, index))
	sum.Write(command)
	sum.Sum(s.History[:0])
	s.Last = index
	m.truth.applied(m.id, index, s.History)
	key, value, _ := bytes.Cut(command, []byte("="))
	s.Values[string(key)] = string(value)
	return receipt{index, begins(command)}
}

// Snapshot implements core.FSM.
func (m *machine) Snapshot() (core.Snapshot, error) {
	defer m.alone("Snapshot")()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Values = maps.Clone(s.Values)
	return &captured{state: s, machine: m}, nil
}

// captured is a core.Snapshot.
type captured struct {
	state   state
	machine *machine
	written atomic.Int32
}

// WriteTo implements core.Snapshot.
func (c *captured) WriteTo(w io.Writer) (int64, error) {
	if c.written.Add(1) > 1 {
		c.machine.truth.complain("%s: a snapshot is written twice", c.machine.id)
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(c.state); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// Release implements core.Snapshot.
func (c *captured) Release() {}

// Restore implements core.FSM.
func (m *machine) Restore(from io.Reader) error {
	defer m.alone("Restore")()
	var s state
	if err := gob.NewDecoder(from).Decode(&s); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Last < m.state.Last {
		m.truth.complain("%s: Restore of index %d after %d was applied", m.id, s.Last, m.state.Last)
	}
	if s.Values == nil {
		s.Values = map[string]string{}
	}
	m.state = s
	if s.Last > 0 {
		m.truth.applied(m.id, s.Last, s.History)
	}
	return nil
}

func (m *machine) get(key string) (value string, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, found = m.state.Values[key]
	return value, found
}

func (m *machine) has(key, value string) bool {
	got, found := m.get(key)
	return found && got == value
}

// batching is a machine that takes several commands at a time.
type batching struct{ *machine }

var _ core.BatchFSM = batching{}

// ApplyBatch implements core.BatchFSM.
func (b batching) ApplyBatch(entries []core.BatchEntry) {
	for i := range entries {
		entries[i].Result = b.Apply(entries[i].Index, entries[i].Command)
	}
}
