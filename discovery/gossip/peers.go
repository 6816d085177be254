package gossip

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// table is what is known of all nodes, this one included.
type table struct {
	mu      sync.Mutex
	now     func() time.Time
	peers   map[string]*entry // by id
	changed chan struct{}     // closed at the next change
}

type entry struct {
	meta    meta
	gossip  string // its gossip address
	state   discovery.State
	since   time.Time
	encoded string // meta, as it came
}

func newTable(now func() time.Time) *table {
	return &table{now: now, peers: map[string]*entry{}, changed: make(chan struct{})}
}

// alive takes in what a node tells of itself. It returns the node's state before.
func (t *table) alive(m meta, encoded, gossip string) (before discovery.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := discovery.Alive
	if m.leaving {
		state = discovery.Left
	}
	e, known := t.peers[m.id]
	if !known {
		e = &entry{state: discovery.Unknown}
		t.peers[m.id] = e
	}
	before = e.state
	if before == state && e.encoded == encoded && e.gossip == gossip {
		return before
	}
	e.meta, e.encoded, e.gossip = m, encoded, gossip
	if before != state {
		e.state, e.since = state, t.now()
	}
	t.touch()
	return before
}

// outdated says whether the node has told something newer in the same life. An old
// word can come back from somebody who was cut off, after memberlist has
// forgotten that the node has left.
func (t *table) outdated(m meta) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[m.id]
	return known && e.meta.life == m.life && e.meta.revision > m.revision
}

// gone notes that a node no longer answers, and returns its state after.
func (t *table) gone(id string) discovery.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[id]
	if !known {
		return discovery.Unknown
	}
	if e.state == discovery.Alive {
		e.state, e.since = discovery.Failed, t.now()
		t.touch()
	}
	return e.state
}

// reap forgets nodes that have been gone for longer than age.
func (t *table) reap(age time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.peers {
		if e.state != discovery.Alive && t.now().Sub(e.since) > age {
			delete(t.peers, id)
			t.touch()
		}
	}
}

// nudge wakes who waits for changes of what is known elsewhere.
func (t *table) nudge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touch()
}

func (t *table) touch() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *table) changes() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

func (t *table) list() []discovery.Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]discovery.Peer, 0, len(t.peers))
	for _, e := range t.peers {
		p := e.meta.peer()
		p.State, p.Since, p.GossipAddress = e.state, e.since, e.gossip
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b discovery.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}

// records returns what the founding protocol needs of all nodes but self.
func (t *table) records(self string) []founding.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	var records []founding.Record
	for id, e := range t.peers {
		if id != self {
			records = append(records, e.meta.record(e.state))
		}
	}
	slices.SortFunc(records, func(a, b founding.Record) int { return cmp.Compare(a.ID, b.ID) })
	return records
}

// gossip returns the gossip addresses of the nodes in state, self excepted.
func (t *table) gossip(self string, state discovery.State) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var addresses []string
	for id, e := range t.peers {
		if id != self && e.state == state {
			addresses = append(addresses, e.gossip)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// others says whether any node but self is known.
func (t *table) others(self string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.peers {
		if id != self {
			return true
		}
	}
	return false
}

// encoded returns the metadata of id as it was last seen.
func (t *table) encoded(id string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, known := t.peers[id]; known {
		return e.encoded
	}
	return ""
}

// httpAddress returns where id serves HTTP.
func (t *table) httpAddress(id string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[id]
	if !known || e.meta.HTTPAddress == "" {
		return "", false
	}
	return e.meta.HTTPAddress, true
}

// raftAddress returns where id answers Raft, for a member of group, 0 if not known.
func (t *table) raftAddress(id string, group founding.Group) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[id]
	if !known {
		return "", false
	}
	switch m := e.meta; {
	case e.state != discovery.Alive, !m.HasState, m.RaftAddress == "":
		return "", false
	case m.group != 0 && group != 0 && m.group != group:
		return "", false
	default:
		return m.RaftAddress, true
	}
}

// onlyGroup returns the group that the other nodes with state belong to, or 0 if
// they name none, or more than one.
func (t *table) onlyGroup(self string) founding.Group {
	only, _ := t.groups(self)
	return only
}

// divided says whether they name more than one.
func (t *table) divided(self string) bool {
	_, more := t.groups(self)
	return more
}

func (t *table) groups(self string) (only founding.Group, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.peers {
		switch g := e.meta.group; {
		case id == self || !e.meta.HasState || g == 0 || g == only:
		case only != 0:
			return 0, true
		default:
			only = g
		}
	}
	return only, false
}
