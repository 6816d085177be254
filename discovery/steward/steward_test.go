package steward_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/steward"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadline = 30 * time.Second

// roll is a discovery that says what a test tells it.
type roll struct {
	group        string // of those that do not say another
	incarnations map[string]string

	mu      sync.Mutex
	peers   map[string]discovery.Peer
	changed chan struct{}
	asked   int // how often Peers was called
}

func newRoll() *roll {
	return &roll{incarnations: map[string]string{}, peers: map[string]discovery.Peer{}, changed: make(chan struct{})}
}

func (r *roll) set(id, address string, state discovery.State, change ...func(*discovery.Peer)) {
	p := discovery.Peer{ID: id, State: state, Since: time.Now(), Protocol: discovery.Protocol}
	p.RaftAddress, p.Voter, p.Group, p.Incarnation = address, true, r.group, r.incarnations[id]
	if p.Incarnation == "" {
		p.Incarnation = core.NewIncarnation()
	}
	for _, c := range change {
		c(&p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers[id] = p
	close(r.changed)
	r.changed = make(chan struct{})
}

// locate is for core.ReplicaConfig.Locate.
func (r *roll) locate(id string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, known := r.peers[id]
	return p.RaftAddress, known
}

func (r *roll) Peers() []discovery.Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	var peers []discovery.Peer
	for _, p := range r.peers {
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b discovery.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}

func (r *roll) Changes() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// journal is a logger that remembers its lines.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) count(part string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), part)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// group is a group of real replicas, with a steward on each and one roll for all.
type group struct {
	*cluster.InProcess
	spec cluster.Spec
	roll *roll
	log  *journal
}

// tuning makes failures be seen soon.
var tuning = core.Tuning{HeartbeatTimeout: 150 * time.Millisecond, CommitTimeout: 10 * time.Millisecond}

func newGroup(t *testing.T, nodes int, change func(*steward.Config)) *group {
	t.Helper()
	return newGroupOn(t, nodes, func(string) (core.LogStore, error) { return inmem.New(), nil }, change)
}

// onDisk is a store that outlives its replica.
func onDisk(dir string) (core.LogStore, error) { return bolt.Open(dir, bolt.Options{NoSync: true}) }

func newGroupOn(t *testing.T, nodes int, open func(dir string) (core.LogStore, error), change func(*steward.Config)) *group {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	g := &group{roll: newRoll(), log: &journal{}}
	g.spec = cluster.Spec{
		Nodes:             nodes,
		Engine:            hashicorp.Engine{},
		Network:           tcp.New(tcp.Options{}),
		OpenStore:         open,
		Dir:               t.TempDir(),
		SnapshotsInMemory: true,
		Tuning:            tuning,
	}
	var err error
	if g.InProcess, err = cluster.StartInProcess(ctx, g.spec); err != nil {
		t.Fatal(err)
	}
	g.watch(t, change)
	return g
}

// watch puts the group's nodes on the roll, and gives each a steward.
func (g *group) watch(t *testing.T, change func(*steward.Config)) {
	t.Helper()
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", g.log)
		}
	})
	for _, n := range g.Nodes {
		status := n.Replica.Status()
		g.roll.group, g.roll.incarnations[n.ID] = status.Group, status.Incarnation
		g.roll.set(n.ID, status.Address, discovery.Alive, hasState)
	}
	for _, n := range g.Nodes {
		g.tend(t, n.ID, n.Replica, change)
	}
}

func (g *group) tend(t *testing.T, id string, replica core.Replica, change func(*steward.Config)) *steward.Steward {
	t.Helper()
	cfg := steward.Config{
		Replica: replica, Peers: g.roll,
		LastContact: 300 * time.Millisecond, Stabilization: 100 * time.Millisecond, Interval: 50 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(g.log, nil)).With("on", id),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := steward.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts a replica without state, which waits to be added.
func (g *group) start(t *testing.T, id string, logs core.LogStore) *cluster.Node {
	t.Helper()
	g.roll.incarnations[id] = core.NewIncarnation()
	return g.startAt(t, id, "", logs)
}

// startAt starts a replica on logs, listening at address, or anywhere.
func (g *group) startAt(t *testing.T, id, address string, logs core.LogStore) *cluster.Node {
	t.Helper()
	link, err := g.spec.Network.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	n := &cluster.Node{ID: id, Map: kv.New(), Logs: logs}
	n.Replica, err = g.spec.Engine.Start(core.ReplicaConfig{
		ID: id, Incarnation: g.roll.incarnations[id], FSM: n.Map, Logs: logs, Link: link, Tuning: tuning, Locate: g.roll.locate,
	})
	if err != nil {
		t.Fatal(errors.Join(err, link.Close()))
	}
	t.Cleanup(func() {
		if err := n.Replica.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// leader waits for one.
func (g *group) leader(t *testing.T) *cluster.Node {
	t.Helper()
	var leader *cluster.Node
	await(t, "a leader", func() bool { leader = g.Leader(); return leader != nil })
	return leader
}

// members is the configuration in one line: "node1, node2 (reader)".
func (g *group) members() string {
	leader := g.Leader()
	if leader == nil {
		return "no leader"
	}
	var s []string
	for _, m := range leader.Replica.Status().Members {
		name := m.ID
		if !m.Voter {
			name += " (reader)"
		}
		s = append(s, name)
	}
	return strings.Join(s, ", ")
}

func (g *group) awaitMembers(t *testing.T, want string) {
	t.Helper()
	await(t, want+"; it is "+g.members(), func() bool { return g.members() == want })
}

func (g *group) write(t *testing.T, key string) {
	t.Helper()
	await(t, "write "+key, func() bool { // the leader may change where the machine is busy
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.leader(t).Replica.Propose(ctx, kv.EncodeSet(key, []byte("v")))
		return err == nil
	})
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// look waits until the stewards have looked at things as they are many times, so that
// they would have done by now what they must not do.
func (g *group) look(t *testing.T) {
	t.Helper()
	before := g.roll.count()
	await(t, "the stewards look", func() bool { return g.roll.count() > before+30*len(g.Nodes)+30 })
}

func (r *roll) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func TestAddsAndPromotes(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	g.write(t, "before")
	fourth := g.start(t, "node4", inmem.New())
	g.roll.set("node4", fourth.Replica.Status().Address, discovery.Alive, func(p *discovery.Peer) { p.Undecided = true })
	g.look(t)
	g.awaitMembers(t, "node1, node2, node3")
	g.roll.set("node4", fourth.Replica.Status().Address, discovery.Alive)
	g.awaitMembers(t, "node1, node2, node3, node4")
	await(t, "node4 has the data", func() bool { _, _, ok := fourth.Map.Get("before"); return ok })
	if n := g.log.count("Promoting server"); n == 0 {
		t.Error("autopilot has not given it the vote")
	}
}

func TestReaderIsNotPromoted(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil)
	reader := g.start(t, "reader", inmem.New())
	g.roll.set("reader", reader.Replica.Status().Address, discovery.Alive, func(p *discovery.Peer) { p.Voter = false })
	voter := g.start(t, "voter", inmem.New())
	g.roll.set("voter", voter.Replica.Status().Address, discovery.Alive)
	g.awaitMembers(t, "node1, reader (reader), voter")
	g.look(t)
	g.awaitMembers(t, "node1, reader (reader), voter")
}

// TestSilentIsNotPromoted: a node that gossips, but whose Raft does not answer.
func TestSilentIsNotPromoted(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil)
	g.roll.set("ghost", "127.0.0.1:1", discovery.Alive)
	g.awaitMembers(t, "ghost (reader), node1")
	g.look(t)
	g.awaitMembers(t, "ghost (reader), node1")
	g.write(t, "still")
}

func TestLeaverIsRemoved(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	for i, want := range []string{"node1, node2", "node1"} { // below MinVoters, too
		n := g.Nodes[2-i]
		g.roll.set(n.ID, n.Replica.Status().Address, discovery.Left)
		g.awaitMembers(t, want)
	}
	g.write(t, "after")
}

// TestLeaverStaysWithoutQuorum: of five voters two are dead; were one more removed,
// the two that are left of four could not go on.
func TestLeaverStaysWithoutQuorum(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 5, nil)
	for _, n := range g.Nodes[3:] {
		g.kill(t, n)
	}
	await(t, "the dead are silent", func() bool { return silent(g.leader(t), g.Nodes[3:]) })
	leaver := g.Nodes[2]
	g.roll.set(leaver.ID, leaver.Replica.Status().Address, discovery.Left)
	await(t, "it says why it waits", func() bool { return g.log.count("not removing node3") > 0 })
	g.awaitMembers(t, "node1, node2, node3, node4, node5")
	g.write(t, "after")
}

// TestLeaversAtOnce: of four voters one is dead, and two leave at the same moment. The
// first may go; without the second, one of two would answer.
func TestLeaversAtOnce(t *testing.T) {
	t.Parallel()
	for !leaveAtOnce(t) {
		t.Log("another one was elected: once more, with another group")
	}
}

// leaveAtOnce says whether the leader was the same all the time.
func leaveAtOnce(t *testing.T) bool {
	t.Helper()
	g := newGroup(t, 4, nil)
	leader := g.leader(t)
	var others []*cluster.Node
	for _, n := range g.Nodes {
		if n != leader {
			others = append(others, n)
		}
	}
	g.kill(t, others[2])
	await(t, "the dead is silent", func() bool { return silent(leader, others[2:]) })
	g.roll.mu.Lock() // both in one look
	for _, n := range others[:2] {
		p := g.roll.peers[n.ID]
		p.State = discovery.Left
		g.roll.peers[n.ID] = p
	}
	g.roll.mu.Unlock()
	same := true
	await(t, "one has to wait", func() bool {
		same = g.leader(t) == leader
		return !same || g.log.count("not removing "+others[1].ID) > 0
	})
	if !same {
		return false
	}
	g.write(t, "after")
	if n := g.log.count(`msg="removed`); n != 1 {
		t.Errorf("removed %d", n)
	}
	return true
}

func (g *group) kill(t *testing.T, n *cluster.Node) {
	t.Helper()
	if err := n.Replica.Close(); err != nil {
		t.Fatal(err)
	}
	g.roll.set(n.ID, n.Replica.Status().Address, discovery.Failed)
}

func silent(leader *cluster.Node, nodes []*cluster.Node) bool {
	for _, f := range leader.Replica.Status().Followers {
		for _, n := range nodes {
			if f.ID == n.ID && time.Since(f.LastContact) < 400*time.Millisecond {
				return false
			}
		}
	}
	return true
}

func removeAfter(after time.Duration) func(*steward.Config) {
	return func(c *steward.Config) { c.RemoveFailedAfter = after }
}

func TestFailedAreRemoved(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 5, removeAfter(500*time.Millisecond))
	for _, n := range g.Nodes[3:] {
		g.kill(t, n)
	}
	g.awaitMembers(t, "node1, node2, node3")
	g.write(t, "after")
	// The next one stays: three is the least.
	g.kill(t, g.Nodes[2])
	g.look(t)
	g.awaitMembers(t, "node1, node2, node3")
}

func TestFailedStayIfNotAsked(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 5, nil)
	g.kill(t, g.Nodes[4])
	g.look(t)
	g.awaitMembers(t, "node1, node2, node3, node4, node5")
}

// TestSplitOfGossipRemovesNobody: discovery says that all others have failed, or knows
// nobody at all; Raft is well.
func TestSplitOfGossipRemovesNobody(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 5, removeAfter(time.Millisecond))
	const all = "node1, node2, node3, node4, node5"
	for _, n := range g.Nodes[1:] {
		g.roll.set(n.ID, n.Replica.Status().Address, discovery.Failed)
	}
	g.look(t)
	g.awaitMembers(t, all)
	g.roll.mu.Lock()
	clear(g.roll.peers)
	g.roll.mu.Unlock()
	g.look(t)
	g.awaitMembers(t, all)
	if n := g.log.count("removed"); n != 0 {
		t.Errorf("removed %d times", n)
	}
	// Who is also silent in Raft goes, also if discovery never heard of it.
	if err := g.Nodes[4].Replica.Close(); err != nil {
		t.Fatal(err)
	}
	g.awaitMembers(t, "node1, node2, node3, node4")
}

// TestMoves: a member that comes back at another address is updated, and its place is
// kept; but not for a node that says it has no data.
func TestMoves(t *testing.T) {
	t.Parallel()
	g := newGroupOn(t, 3, onDisk, nil)
	third := g.Nodes[2]
	g.kill(t, third)
	g.write(t, "meanwhile")
	logs, err := onDisk(filepath.Join(g.spec.Dir, third.ID, "log"))
	if err != nil {
		t.Fatal(err)
	}
	g.roll.set(third.ID, "127.0.0.1:1", discovery.Alive)
	await(t, "a node without data is refused", func() bool { return g.log.count("not moving node3") > 0 })
	if n := g.log.count("updated the address of node3"); n != 0 {
		t.Errorf("updated %d times", n)
	}
	back := g.startAt(t, third.ID, "", logs)
	g.roll.set(third.ID, back.Replica.Status().Address, discovery.Alive, hasState)
	await(t, "node3 is back with the data", func() bool { _, _, ok := back.Map.Get("meanwhile"); return ok })
	await(t, "node3 is updated", func() bool { return g.log.count("updated the address of node3") == 1 })
	g.awaitMembers(t, "node1, node2, node3")
	if n := g.log.count("removed node3"); n != 0 {
		t.Errorf("removed %d times", n)
	}
}

func hasState(p *discovery.Peer) { p.HasState = true }

func of(group string) func(*discovery.Peer) { return func(p *discovery.Peer) { p.Group = group } }

// TestTwinDoesNotMove: a member that answers keeps its address, whoever announces
// another one under its id.
func TestTwinDoesNotMove(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	g.roll.set("node3", "127.0.0.1:1", discovery.Alive, hasState)
	await(t, "it says so", func() bool { return g.log.count("Do two nodes run under one id?") == 1 })
	g.look(t)
	if n := g.log.count("updated the address"); n != 0 {
		t.Errorf("updated %d times", n)
	}
}

// TestAddressIsTaken: a new node has the address of one that is gone, or of one that
// is not.
func TestAddressIsTaken(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	address := g.Nodes[2].Replica.Status().Address
	g.roll.set("node9", address, discovery.Alive)
	await(t, "it is refused", func() bool { return g.log.count("not adding node9") == 1 })
	g.awaitMembers(t, "node1, node2, node3")
	g.kill(t, g.Nodes[2])
	g.awaitMembers(t, "node1, node2, node9 (reader)")
}

// TestNewLeaderGoesOn: whoever leads does the work, and heals what was missed.
func TestNewLeaderGoesOn(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	first := g.leader(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := first.Replica.TransferLeadership(ctx, ""); err != nil {
		t.Fatal(err)
	}
	await(t, "another leader", func() bool { l := g.Leader(); return l != nil && l != first })
	fourth := g.start(t, "node4", inmem.New())
	g.roll.set("node4", fourth.Replica.Status().Address, discovery.Alive)
	g.awaitMembers(t, "node1, node2, node3, node4")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	s := g.tend(t, "again", g.Nodes[0].Replica, nil) // two on one replica do no harm
	want := steward.Health{Leading: true, Healthy: true, Tolerance: 1}
	await(t, fmt.Sprint(want), func() bool { return s.Health() == want })
	g.kill(t, g.Nodes[2])
	want = steward.Health{Leading: true}
	await(t, fmt.Sprint(want), func() bool { return s.Health() == want })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.Health(); got != (steward.Health{}) {
		t.Errorf("after close: %+v", got)
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := steward.Start(steward.Config{}); !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
}
