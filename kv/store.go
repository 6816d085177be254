// Package kv is the replicated map: the state machine under raftlab's own
// measurements and under kvnode. It decodes commands, keeps the map, and writes
// and reads snapshots of it. It never talks to the network, the disk or an
// engine; what is committed reaches it through core.FSM.
//
// Keys are any bytes, at least one; values are any bytes. Every entry remembers the
// log index of its last change, by which a later command can be made conditional,
// and the map is ordered by key. Beside it stands a small directory: the HTTP
// address of each member, so that any node can name and reach the leader.
package kv

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/themilchenko/raftlab/core"
)

var (
	_ core.FSM      = (*Store)(nil)
	_ core.BatchFSM = (*Store)(nil)
)

// entry is a value with the log index of its last change.
type entry struct {
	value []byte
	index uint64
}

// Result is what Apply returns for every command.
type Result struct {
	// Changed counts the keys that the command set, or deleted where they were.
	Changed int
	// Missing are the deletions, counted from 0 by their place among the command's
	// operations, whose keys were not there.
	Missing []int
	// Err is why the command changed nothing: a *RefusedError, a *ConditionError, a
	// *RestoreError or nil.
	Err error
}

// ConditionError says that the condition of a command did not hold. Every member
// finds so alike.
type ConditionError struct {
	Key   string
	Index uint64 // of the key's last change; 0: it is not there
}

// Error implements error.
func (e *ConditionError) Error() string {
	if e.Index == 0 {
		return fmt.Sprintf("condition does not hold: key %q is not there", e.Key)
	}
	return fmt.Sprintf("condition does not hold: key %q was last changed at index %d", e.Key, e.Index)
}

// ErrCondition is the kind of every ConditionError.
var ErrCondition = errors.New("condition does not hold")

// Is reports that a ConditionError is an ErrCondition.
func (e *ConditionError) Is(target error) bool { return target == ErrCondition }

// RefusedError says that a committed command could not be decoded. Every member
// refuses it alike and changes nothing.
type RefusedError struct {
	Index  uint64 // of the command in the log
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("command at index %d refused: %s", e.Index, e.Reason)
}

// ErrRefused is the kind of every RefusedError.
var ErrRefused = errors.New("command refused")

// Is reports that a RefusedError is an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// state is all that is replicated: what a snapshot holds and the digest covers.
type state struct {
	entries     *btree.Map[string, entry]
	nodes       map[string]string // HTTP addresses of members by id; replaced, never changed
	index       uint64            // of the last command, refused ones included
	commands    uint64            // applied since the beginning, refused ones included
	refused     uint64
	lastRefused uint64 // index; the reason is not kept: its wording may differ from one version to the next

	staged   *staging // what a restore has brought so far; nil: none is under way
	restored string   // the last restore that was done; empty: none was
	givenUp  string   // and the last one that was given up
}

// copy returns the state as of now; it takes constant time, and later changes
// copy the nodes of the tree that they touch.
func (s *state) copy() state {
	c := *s
	c.entries = s.entries.Copy()
	c.staged = s.staged.copy()
	return c
}

// Store is the map. Reads may run concurrently with Apply, ApplyBatch, Snapshot
// and each other; they see whole commands only. Make one with [New].
type Store struct {
	mu    sync.RWMutex
	state state
}

// New returns an empty map.
func New() *Store {
	return &Store{state: state{entries: new(btree.Map[string, entry])}}
}

// Apply implements core.FSM; the result is a [Result].
func (s *Store) Apply(index uint64, command []byte) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.apply(index, command)
}

// ApplyBatch implements core.BatchFSM.
func (s *Store) ApplyBatch(batch []core.BatchEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		batch[i].Result = s.state.apply(batch[i].Index, batch[i].Command)
	}
}

func (s *state) apply(index uint64, command []byte) Result {
	s.index = index
	s.commands++
	var result Result
	err := decode(command, func(c change) { s.change(c, &result) })
	if err != nil {
		s.refused++
		s.lastRefused = index
		return Result{Err: &RefusedError{Index: index, Reason: err.Error()}}
	}
	return result
}

func (s *state) change(c change, result *Result) {
	switch c.kind {
	case opNode:
		s.announce(string(c.key), string(c.value))
		return
	case opStage, opCommit, opForget:
		result.Changed, result.Err = s.restore(c)
		return
	}
	key := string(c.key)
	if c.cond.Kind != Always {
		if e, ok := s.entries.Get(key); !c.cond.holds(e.index, ok) {
			result.Err = &ConditionError{Key: key, Index: e.index}
			return
		}
	}
	if c.kind == OpSet {
		s.entries.Set(key, entry{slices.Clone(c.value), s.index})
		result.Changed++
		return
	}
	if _, was := s.entries.Delete(key); was {
		result.Changed++
	} else {
		result.Missing = append(result.Missing, result.Changed+len(result.Missing))
	}
}

func (s *state) announce(id, address string) {
	nodes := maps.Clone(s.nodes) // captured states share it
	if address == "" {
		delete(nodes, id)
	} else {
		if nodes == nil {
			nodes = map[string]string{}
		}
		nodes[id] = address
	}
	s.nodes = nodes
}

// HTTPAddress returns where the member answers HTTP, as it was announced.
func (s *Store) HTTPAddress(id string) (address string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	address, ok = s.state.nodes[id]
	return address, ok
}

// Nodes returns the HTTP addresses of all members that were announced, by id. The
// map must not be modified.
func (s *Store) Nodes() map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.nodes
}

// Get returns the value of key and the log index of its last change. The value
// must not be modified.
func (s *Store) Get(key string) (value []byte, index uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.state.entries.Get(key)
	return e.value, e.index, ok
}

// View is the map at one moment, valid during the call that it was made for.
type View struct{ entries *btree.Map[string, entry] }

// Get is [Store.Get].
func (v View) Get(key string) (value []byte, index uint64, ok bool) {
	e, ok := v.entries.Get(key)
	return e.value, e.index, ok
}

// View calls look, during which nothing is applied: it has to be short, and must not call
// the Store.
func (s *Store) View(look func(View)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	look(View{s.state.entries})
}

// Pair is one key of a page.
type Pair struct {
	Key   string
	Value []byte // must not be modified
	Index uint64 // of its last change
}

// Scan returns up to limit keys that begin with prefix and come after the key
// after, in order; an empty after begins at the beginning. A limit below 1 means
// no limit.
func (s *Store) Scan(prefix, after string, limit int) []Pair {
	const most = 128 // that room is made for, before anything waits for the page
	page := make([]Pair, 0, min(max(limit, 0), most))
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.state.entries.Ascend(max(prefix, after), func(key string, e entry) bool {
		if !strings.HasPrefix(key, prefix) {
			return false // past the prefix
		}
		if key != after {
			page = append(page, Pair{key, e.value, e.index})
		}
		return limit < 1 || len(page) < limit
	})
	return page
}

// Len returns the number of keys.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.entries.Len()
}

// Applied returns how many commands were applied since the beginning of the
// log, refused ones included.
func (s *Store) Applied() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.commands
}

// Refused returns how many commands were refused and the log index of the last
// one, 0 if there was none.
func (s *Store) Refused() (count, lastIndex uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.refused, s.state.lastRefused
}

// Clone returns a map of its own that begins as this one is now. It takes constant time.
func (s *Store) Clone() *Store { return &Store{state: s.capture()} }

func (s *Store) capture() state {
	s.mu.Lock() // Copy marks the tree as shared
	defer s.mu.Unlock()
	return s.state.copy()
}
