package gossip

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// table is what is known of all nodes, this one included.
type table struct {
	now     func() time.Time
	rivalry time.Duration                        // how long a rival is heard of at least once
	members atomic.Pointer[func() []core.Member] // nil: the configuration is not known

	mu      sync.Mutex
	peers   map[string]*entry // by id
	changed chan struct{}     // closed at the next change
}

// node is what is known of one.
type node struct {
	meta   meta
	gossip string // its gossip address
	state  discovery.State
	since  time.Time
}

// entry is what is known of an id.
type entry struct {
	node
	encoded string // meta, as it came
	// rival is a second node under the id, which memberlist does not take for as long as
	// the first lives; nil: there is none.
	rival     *node
	rivalSeen time.Time // when it was last heard of
}

func newTable(now func() time.Time, rivalry time.Duration) *table {
	return &table{now: now, rivalry: rivalry, peers: map[string]*entry{}, changed: make(chan struct{})}
}

func (t *table) know(members func() []core.Member) {
	t.members.Store(&members)
	t.nudge()
}

// configuration returns the members, if they are known. It must not be called with t.mu
// held.
func (t *table) configuration() []core.Member {
	if known := t.members.Load(); known != nil {
		return (*known)()
	}
	return nil
}

// contend takes in what a second node under an id tells of itself.
func (t *table) contend(m meta, gossip string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[m.id]
	switch {
	case !known:
	case m.leaving:
		e.rival = nil
		t.touch()
	case e.rival == nil || e.rival.meta.life != m.life || e.rival.meta.revision < m.revision:
		e.rival = &node{meta: m, gossip: gossip, state: discovery.Alive, since: t.now()}
		t.touch()
	}
	if known {
		e.rivalSeen = t.now()
	}
}

// pick returns the node that goes for e's id: of two under that of a member, the one with
// the member's data. ok is false where it is the id of a member, and neither has those.
func (t *table) pick(e *entry, members []core.Member) (n node, ok bool) {
	i := slices.IndexFunc(members, func(m core.Member) bool { return m.ID == e.meta.id })
	switch {
	case i < 0 || members[i].Incarnation == e.meta.Incarnation:
		return e.node, true
	case e.rival != nil && e.rival.meta.Incarnation == members[i].Incarnation && t.now().Sub(e.rivalSeen) <= t.rivalry:
		return *e.rival, true
	default:
		return e.node, false
	}
}

func (n node) peer() discovery.Peer {
	p := n.meta.peer()
	p.State, p.Since, p.GossipAddress = n.state, n.since, n.gossip
	return p
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
		e = &entry{node: node{state: discovery.Unknown}}
		t.peers[m.id] = e
	}
	before = e.state
	if before == state && e.encoded == encoded && e.gossip == gossip {
		return before
	}
	e.meta, e.encoded, e.gossip = m, encoded, gossip
	if e.rival != nil && e.rival.meta.life == m.life {
		e.rival = nil // it is the one now
	}
	if before != state {
		e.state, e.since = state, t.now()
	}
	t.touch()
	return before
}

// outdated says whether the node has told something newer in the same life. An old
// word can come back from a node that was cut off, after memberlist has
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

// nudge tells of a change of what is known elsewhere.
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

// list returns all nodes; of two under the id of a member, the member.
func (t *table) list() []discovery.Peer {
	members := t.configuration()
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]discovery.Peer, 0, len(t.peers))
	for _, e := range t.peers {
		n, _ := t.pick(e, members)
		peers = append(peers, n.peer())
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
	_, known := t.peers[self]
	return len(t.peers) > 1 || len(t.peers) == 1 && !known
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

// find returns what the node tells that goes for an id, and its state.
func (t *table) find(id string) (meta, discovery.State, bool) {
	members := t.configuration()
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[id]
	if !known {
		return meta{}, discovery.Unknown, false
	}
	n, ok := t.pick(e, members)
	return n.meta, n.state, ok
}

// onlyGroup returns the group that the other nodes with state belong to, or "" if
// they name none, or more than one.
func (t *table) onlyGroup(self string) string {
	only, _ := t.groups(self)
	return only
}

// divided says whether they name more than one.
func (t *table) divided(self string) bool {
	_, more := t.groups(self)
	return more
}

func (t *table) groups(self string) (only string, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.peers {
		switch g := e.meta.Group; {
		case id == self || !e.meta.HasState || g == "" || g == only:
		case only != "":
			return "", true
		default:
			only = g
		}
	}
	return only, false
}
