package coretest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/core"
)

// cluster is a group of members in this process.
type cluster struct {
	t      *checker
	h      engineHarness
	routes *routes
	truth  *truth
	tuning core.Tuning
	mixed  bool // the second member has the other way of persistence

	mu      sync.Mutex
	members []*member // also those that were added later, or do not run
}

// member is a place for a replica: an id, data, an address.
type member struct {
	core.Replica // the last one to be started
	in           *cluster
	id           string
	incarnation  string
	address      string
	service      string
	dir          string
	disk         faulty.Disk
	plan         atomic.Pointer[faulty.Plan] // nil: writes go well
	spoilt       atomic.Bool                 // entries cannot be read
	machine      *machine                    // of the last replica
	logs         core.LogStore               // the last one that was opened
	locate       func(id string) (string, bool)
	running      atomic.Bool

	mu   sync.Mutex
	seen core.Status // the last status of the replica
}

// newCluster makes places for n members of a group, and starts none.
func newCluster(t *checker, h engineHarness, n int) *cluster {
	c := &cluster{t: t, h: h, routes: newRoutes(h.Network(t.T)), truth: newTruth(), tuning: h.tuning()}
	t.Cleanup(func() { c.truth.report(t) })
	for range n {
		c.newMember()
	}
	return c
}

// newMember makes a place for one more.
func (c *cluster) newMember() *member {
	c.t.Helper()
	m := &member{in: c, id: fmt.Sprintf("n%d", len(c.members)+1), incarnation: core.NewIncarnation(), dir: c.t.TempDir()}
	m.service = m.id + ".example:80"
	m.address = c.freeAddress()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = append(c.members, m)
	return m
}

func (c *cluster) freeAddress() string {
	link, err := c.routes.Listen("")
	c.t.must("Listen", err)
	c.t.must("closing a link", link.Close())
	return link.Address()
}

// slowly is a change of a group that has its timeouts some times longer, the lease as long
// as the others.
func slowly(times time.Duration) func(*cluster) {
	return func(c *cluster) {
		c.tuning.HeartbeatTimeout, c.tuning.ElectionTimeout, c.tuning.LeaderLeaseTimeout = times*beat, times*beat, times*beat
	}
}

// beside returns the harness with a network that a group has already.
func (h engineHarness) beside(c *cluster) engineHarness {
	h.Network = func(*testing.T) core.Network { return c.routes }
	return h
}

// found makes a group of n voters, starts them and waits until one leads: n1, if it can be
// told to stand at once.
func (h engineHarness) found(t *checker, n int, change ...func(*cluster)) *cluster {
	t.Helper()
	c := newCluster(t, h, n)
	for _, f := range change {
		f(c)
	}
	for _, m := range c.members {
		m.start(c.configuration())
	}
	if candidate, ok := c.members[0].Replica.(core.Campaigner); ok {
		_ = candidate.Campaign(t.shortly(5)) // another one does, too
	}
	c.leader()
	return c
}

// configuration has all members as voters.
func (c *cluster) configuration() (all []core.Member) {
	for _, m := range c.members {
		all = append(all, m.member(true))
	}
	return all
}

func (m *member) member(voter bool) core.Member {
	return core.Member{ID: m.id, Incarnation: m.incarnation, Address: m.address, Voter: voter}
}

// store opens the member's log store.
func (m *member) store() core.LogStore {
	return readable{faulty.Wrap(m.disk.On(m.in.h.Store(m.in.t.T, filepath.Join(m.dir, "log"))), m.decide), &m.spoilt}
}

// snapshots is the member's folder for snapshots.
func (m *member) snapshots() string { return filepath.Join(m.dir, "snapshots") }

// config opens what a replica of the member needs. Whoever does not start it closes it.
func (m *member) config(bootstrap []core.Member) core.ReplicaConfig {
	t := m.in.t
	t.Helper()
	m.mu.Lock()
	m.machine = newMachine(m.id, m.in.truth)
	m.mu.Unlock()
	m.logs = m.store()
	cfg := core.ReplicaConfig{
		ID: m.id, Incarnation: m.incarnation, Service: m.service, FSM: m.machine, Logs: m.logs,
		Bootstrap: bootstrap, Locate: m.locate, Tuning: m.in.tuning,
	}
	if len(m.id)%2 == 0 {
		cfg.FSM = batching{m.machine}
	}
	if m.in.mixed && m.id == "n2" {
		other := map[string]string{core.Overlapped: core.Serial}
		cfg.Tuning.Persistence = cmp.Or(other[cfg.Tuning.Persistence], core.Overlapped)
	}
	if m.in.h.durable {
		cfg.SnapshotDir = m.snapshots()
	}
	t.eventually(m.address+" is free", func() (err error) { cfg.Link, err = m.in.routes.Listen(m.address); return err })
	return cfg
}

func (m *member) decide(w faulty.Write) error {
	if plan := m.plan.Load(); plan != nil {
		return (*plan)(w)
	}
	return nil
}

// fails has writes of the kinds ops fail from now on, or all.
func (m *member) fails(err error, ops ...faulty.Op) {
	plan := faulty.Plan(func(w faulty.Write) error {
		if len(ops) == 0 || slices.Contains(ops, w.Op) {
			return err
		}
		return nil
	})
	m.plan.Store(&plan)
}

// readable is a store whose entries are damaged once it is told so.
type readable struct {
	core.LogStore
	spoilt *atomic.Bool
}

// Unwrap makes the abilities of the store below known: see core.As.
func (r readable) Unwrap() core.LogStore { return r.LogStore }

// GetLog implements raft.LogStore.
func (r readable) GetLog(index uint64, out *raft.Log) error {
	if r.spoilt.Load() {
		return fmt.Errorf("log entry %d is %w", index, core.ErrDamaged)
	}
	return r.LogStore.GetLog(index, out)
}

// start starts a replica on what the member's place holds.
func (m *member) start(bootstrap []core.Member, change ...func(*core.ReplicaConfig)) {
	t := m.in.t
	t.Helper()
	cfg := m.config(bootstrap)
	for _, f := range change {
		f(&cfg)
	}
	r, err := m.in.h.Engine.Start(cfg)
	if err != nil {
		t.should("closing what was not started", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
		t.Fatalf("starting %s: %v", m.id, err)
	}
	m.mu.Lock()
	m.Replica, m.seen = r, core.Status{}
	m.mu.Unlock()
	m.running.Store(true)
	t.Cleanup(func() { // of a replica that is closed already, this is the second Close
		m.disk.Open()
		_ = t.ended("closing "+m.id+" after the subtest", start(r.Close))
	})
}

// now returns the replica and its state machine, for callers beside those that start it.
func (m *member) now() (core.Replica, *machine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Replica, m.machine
}

// stop closes the replica.
func (m *member) stop() {
	m.in.t.Helper()
	m.running.Store(false)
	m.in.t.succeeds("closing "+m.id, m.Replica.Close)
}

// crash ends the replica as a power cut does: what it has not written by then is lost.
func (m *member) crash() {
	m.in.t.Helper()
	m.disk.Cut()
	m.running.Store(false)
	_ = m.in.t.ended("closing "+m.id+" without power", start(m.Replica.Close))
}

// restart is stop and start.
func (m *member) restart() {
	m.in.t.Helper()
	m.stop()
	m.start(nil)
}

// Status returns the replica's status, and sees that it goes forward.
func (m *member) Status() core.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, old := m.Replica.Status(), m.seen
	m.seen = s
	for _, v := range []struct {
		what     string
		old, now uint64
	}{{"term", old.Term, s.Term}, {"commit index", old.CommitIndex, s.CommitIndex}, {"applied index", old.AppliedIndex, s.AppliedIndex},
		{"snapshot index", old.SnapshotIndex, s.SnapshotIndex}} {
		if v.now < v.old {
			m.in.truth.complain("%s: the %s of the status falls from %d to %d", m.id, v.what, v.old, v.now)
		}
	}
	if !slices.IsSortedFunc(s.Members, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) }) {
		m.in.truth.complain("%s: the members of the status are not sorted by id: %+v", m.id, s.Members)
	}
	if old.Role == core.Leader && s.Role == core.Leader && old.Term == s.Term {
		m.in.truth.leads(m.id, s.Term) // the fields are read one after the other, so it takes two
	}
	return s
}

// leads says whether a member leads, and can: one whose disk hangs leads no more, whatever
// its role.
func (m *member) leads() bool {
	if !m.running.Load() {
		return false
	}
	s := m.Status()
	return s.Role == core.Leader && s.Stalled == 0
}

// up returns the members that run.
func (c *cluster) up() (up []*member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.running.Load() {
			up = append(up, m)
		}
	}
	return up
}

// without returns the members that run, but for some.
func (c *cluster) without(some ...*member) []*member {
	return slices.DeleteFunc(c.up(), func(m *member) bool { return slices.Contains(some, m) })
}

// isolate cuts the members off from all others; answers, too.
func (c *cluster) isolate(some ...*member) {
	for _, a := range some {
		for _, b := range c.members {
			if !slices.Contains(some, b) {
				c.routes.lose(a.address, b.address)
				c.routes.lose(b.address, a.address)
			}
		}
	}
}

// eventually calls try until it has no error.
func (c *checker) eventually(what string, try func() error) {
	c.Helper()
	end := time.Now().Add(c.patience)
	pause := time.Millisecond
	for err := try(); err != nil; err = try() {
		if time.Now().After(end) {
			c.Fatalf("waited %v in vain until %s: %v", c.patience, what, err)
		}
		time.Sleep(pause)
		pause = min(2*pause, beat/10) // to look costs time that others need
	}
}

var errNotYet = errors.New("not yet")

// until waits until holds does.
func (c *checker) until(what string, holds func() bool) {
	c.Helper()
	c.eventually(what, func() error {
		if holds() {
			return nil
		}
		return errNotYet
	})
}

// context returns a context that ends with the checker's patience.
func (c *checker) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	c.Cleanup(cancel)
	return ctx
}

// shortly returns a context that ends after some heartbeat timeouts.
func (c *checker) shortly(heartbeats int) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(heartbeats)*beat)
	c.Cleanup(cancel)
	return ctx
}

// lead has a member elected and serving reads.
func (c *cluster) lead(m *member) {
	c.t.Helper()
	candidate, _ := m.Replica.(core.Campaigner)
	c.t.eventually(m.id+" leads", func() error {
		switch m.Status().Role {
		case core.Leader:
			return m.ReadBarrier(c.t.shortly(5))
		case core.Follower:
			if candidate != nil {
				return errors.Join(errNotYet, candidate.Campaign(c.t.shortly(5)))
			}
			if other := c.leaderNow(); other != nil {
				return errors.Join(errNotYet, other.TransferLeadership(c.t.shortly(5), m.id))
			}
		}
		return errNotYet
	})
}

// leaderNow returns who leads, or nil.
func (c *cluster) leaderNow() *member {
	for _, m := range c.up() {
		if m.leads() {
			return m
		}
	}
	return nil
}

// leader waits until one of the members, or of all where none is named, leads and serves reads.
func (c *cluster) leader(of ...*member) (leader *member) {
	c.t.Helper()
	if len(of) == 0 {
		of = c.up()
	}
	c.t.eventually("a member leads", func() error {
		for _, m := range of {
			if m.leads() {
				leader = m
				return m.ReadBarrier(c.t.shortly(5))
			}
		}
		return errNotYet
	})
	return leader
}

// put writes on the leader, whoever that is, until it is acknowledged.
func (c *cluster) put(key, value string) core.Applied {
	c.t.Helper()
	return c.putBy(c.up, key, value)
}

// putBy writes on whoever leads of some members.
func (c *cluster) putBy(of func() []*member, key, value string) (applied core.Applied) {
	c.t.Helper()
	c.t.eventually("the write of "+key+" is acknowledged", func() error {
		err := errNotYet
		for _, m := range of() {
			if !m.leads() {
				continue
			}
			applied, err = m.Propose(c.t.shortly(40), command(key, value))
			if err != nil && !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrClosed) {
				c.t.Fatalf("Propose on the leader: %v: an error of no kind", err)
			}
			break
		}
		return err
	})
	return applied
}

func command(key, value string) []byte { return []byte(key + "=" + value) }

// everywhere waits until all members that run, or those named, have applied a write.
func (c *cluster) everywhere(key, value string, of ...*member) {
	c.t.Helper()
	if len(of) == 0 {
		of = c.up()
	}
	for _, m := range of {
		c.t.until(m.id+" has applied "+key, func() bool { return m.machine.has(key, value) })
	}
}

// asLeader calls the leader until it does what is asked, also where leadership changes.
func (c *cluster) asLeader(what string, call func(leader *member) error) {
	c.t.Helper()
	c.t.eventually(what, func() error {
		m := c.leaderNow()
		if m == nil {
			return errNotYet
		}
		return call(m)
	})
}

// load writes keys of its own to whoever leads, until it is stopped, and knows which
// were acknowledged.
type load struct {
	in     *cluster
	cancel context.CancelFunc
	wait   func()

	mu    sync.Mutex
	acked []string
}

// write begins a load of n writers.
func (c *cluster) write(n int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	w := &load{in: c, cancel: cancel}
	writers := group{t: c.t}
	w.wait = writers.Wait
	for i := range n {
		writers.do(func() {
			for nth := 0; ctx.Err() == nil; nth++ {
				w.one(ctx, fmt.Sprintf("w%d-%d", i, nth))
			}
		})
	}
	c.t.Cleanup(w.stop)
	return w
}

// one tries to write a key.
func (w *load) one(ctx context.Context, key string) {
	m := w.in.leaderNow()
	if m == nil {
		time.Sleep(beat / 20)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*beat)
	defer cancel()
	replica, _ := m.now()
	_, err := replica.Propose(ctx, command(key, "v"))
	switch {
	case err == nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.acked = append(w.acked, key)
	case errors.Is(err, core.ErrNotLeader), errors.Is(err, core.ErrOutcomeUnknown), errors.Is(err, core.ErrClosed), ctx.Err() != nil:
		time.Sleep(beat / 20)
	default:
		w.in.t.Errorf("Propose under load: %v: an error of no kind", err)
	}
}

func (w *load) acknowledged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.acked...)
}

// more waits until n more writes are acknowledged.
func (w *load) more(n int) {
	w.in.t.Helper()
	before := len(w.acknowledged())
	w.in.t.until("writes go on", func() bool { return len(w.acknowledged()) >= before+n })
}

func (w *load) stop() {
	w.cancel()
	w.wait()
}

// audit fails the test if a member that runs lacks a write that was acknowledged.
func (w *load) audit() {
	w.in.t.Helper()
	keys := w.acknowledged()
	w.in.put("audit", fmt.Sprint(len(keys)))
	w.in.everywhere("audit", fmt.Sprint(len(keys)))
	for _, m := range w.in.up() {
		lost := 0
		for _, key := range keys {
			if !m.machine.has(key, "v") {
				lost++
			}
		}
		if lost > 0 {
			w.in.t.Errorf("%s lacks %d of %d writes that were acknowledged", m.id, lost, len(keys))
		}
	}
}
