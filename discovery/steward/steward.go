// Package steward keeps a group's configuration in step with the nodes that
// discovery knows. It runs on every member and acts on the leader:
//
//  1. A node that is alive and not a member is added as a non-voter.
//  2. A non-voter that wants to vote is promoted once it has been caught up and
//     stable for a time.
//  3. A member that came back under another address gets that address.
//  4. A member whose node came back without its data is removed, and the node added.
//  5. A member that left is removed.
//  6. A member that failed is removed after a time, if that is asked for.
//
// Promotion and the choice of which failed members to remove are the work of
// hashicorp/raft-autopilot, which lives in Consul and Vault; what it is told,
// and when its word is followed, is decided here. What it has no idea of is
// done here, too: addresses, leaving, and a gossip layer that is wrong.
//
// Two rules stand above all. A member has failed only if neither discovery nor
// Raft hears from it: gossip can be split where Raft is not. And no voter is
// removed unless, without it, more than half of the voters answer.
//
// The steward starts no node, stops none, and never removes its own.
package steward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// Replica is what the steward needs of a core.Replica.
type Replica interface {
	Status() core.Status
	Add(ctx context.Context, m core.Member) error
	Remove(ctx context.Context, id string) error
	TransferLeadership(ctx context.Context, id string) error
}

// Peers is what the steward needs of a gossip.Agent.
type Peers interface {
	Peers() []discovery.Peer
	Changes() <-chan struct{}
}

var _ Replica = core.Replica(nil)

// Config says what a steward works with.
type Config struct {
	Replica Replica // required
	Peers   Peers   // required

	// RemoveFailedAfter is how long a member must have been failed, without a
	// word to the leader either, before it is removed. 0: it never is. Shorter: a
	// group gets back its tolerance sooner, and a node that was only being
	// repaired comes back as a new one.
	RemoveFailedAfter time.Duration
	// MinVoters is how many voters stay when failed ones are removed. 0: 3. It
	// does not keep those that left.
	MinVoters uint
	// LastContact is how recent a member's last answer to the leader must be for
	// it to count as healthy. 0: 2 s. It must exceed the heartbeat timeout.
	LastContact time.Duration
	// MaxTrailingLogs is how many entries a non-voter may be behind and still be
	// promoted. 0: 250.
	MaxTrailingLogs uint64
	// Stabilization is how long a non-voter must have been healthy before it is
	// promoted. It is not waited for in the first such time of a leadership. 0: 10 s.
	Stabilization time.Duration
	// Interval is how often the leader looks, also when nothing has changed.
	// 0: 1 s.
	Interval time.Duration

	// Logger takes what was done, and why something was not. Nil is quiet.
	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	c.MinVoters = cmp.Or(c.MinVoters, 3)
	c.LastContact = cmp.Or(c.LastContact, 2*time.Second)
	c.MaxTrailingLogs = cmp.Or(c.MaxTrailingLogs, 250)
	c.Stabilization = cmp.Or(c.Stabilization, 10*time.Second)
	c.Interval = cmp.Or(c.Interval, time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
}

// changeTimeout bounds one change of the configuration: without a quorum it would
// wait for ever.
const changeTimeout = 10 * time.Second

// Steward runs until Close.
type Steward struct {
	cfg    Config
	logger *slog.Logger
	pilot  *autopilot.Autopilot
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{}

	changing sync.Mutex // one change of the configuration at a time, and what it rests on is seen under it

	mu      sync.Mutex
	doomed  map[raft.ServerID]struct{} // the members that autopilot wants removed
	health  Health
	wake    chan struct{}
	said    map[string]string // what was logged last, by id, not to say it again
	led     time.Time         // since when this replica leads; zero: it does not
	term    uint64            // in which
	missing map[string]time.Time

	contested map[string]time.Time // since when a node goes by a member's id with other data
}

// Health is what the leader thinks of the group.
type Health struct {
	Leading bool // this replica leads; the rest is zero if not
	Healthy bool // all members are
	// Tolerance is how many more voters may fail without the group stopping.
	Tolerance int
}

// Start begins to look after the group. The replica and the peers stay the caller's;
// Close the steward before them.
func Start(cfg Config) (*Steward, error) {
	if cfg.Replica == nil || cfg.Peers == nil {
		return nil, fmt.Errorf("%w: a steward needs a replica and its peers", core.ErrInvalid)
	}
	cfg.setDefaults()
	s := &Steward{
		cfg:     cfg,
		logger:  cfg.Logger.With("component", "steward"),
		doomed:  map[raft.ServerID]struct{}{},
		missing: map[string]time.Time{},
		said:    map[string]string{},
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pilot = autopilot.New(raftOf{s}, application{s},
		autopilot.WithLogger(newLogger(cfg.Logger)),
		autopilot.WithPromoter(promoter{s: s}),
		autopilot.WithUpdateInterval(cfg.Interval),
		autopilot.WithReconcileInterval(cfg.Interval))
	go s.run()
	return s, nil
}

// Health returns what the last look has shown.
func (s *Steward) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Close stops looking after the group and waits until what is under way has ended.
// Idempotent.
func (s *Steward) Close() error {
	s.cancel()
	<-s.done
	return nil
}

func (s *Steward) run() {
	defer close(s.done)
	defer s.rest()
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		changed := s.cfg.Peers.Changes()
		s.look()
		select {
		case <-tick.C:
		case <-changed:
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

// look is one round: see which nodes there are, and if this replica leads, act on it.
func (s *Steward) look() {
	v := s.observe()
	if v.led.IsZero() {
		s.rest()
		return
	}
	s.pilot.Start(s.ctx) // nothing, if it runs
	for _, m := range v.members {
		s.tend(v, m)
	}
	for _, p := range v.strangers() {
		s.welcome(v, p)
	}
}

// rest stops autopilot.
func (s *Steward) rest() {
	<-s.pilot.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = Health{}
	clear(s.doomed)
	clear(s.said)
}

// tend does what a member needs: another address, or to be removed.
func (s *Steward) tend(v view, m member) {
	self := m.ID == v.self
	switch {
	case m.replacement != nil && !self:
		s.replace(v, m)
	case m.state == discovery.Left && !self:
		s.remove(m, "it left")
	case s.isDoomed(m) && !self && v.silentFor(m) >= s.cfg.RemoveFailedAfter:
		s.remove(m, "it has failed for "+s.cfg.RemoveFailedAfter.String())
	case m.state == discovery.Alive && m.announced != "" && m.announced != m.Address:
		s.move(v, m)
	}
}

// remove removes a member for what was seen of it, if that still holds: earlier changes
// of the round have made the group smaller since, and may have taken long.
func (s *Steward) remove(seen member, why string) {
	v := s.observe()
	m, ok := v.member(seen.ID)
	if v.led.IsZero() || !ok || !m.still(seen) {
		return
	}
	if m.Voter && !v.safeWithout(m.ID) {
		if v.settled(s.cfg.LastContact) {
			s.say(m.ID, slog.LevelWarn, "not removing "+m.ID+", though "+why+
				": too few of the other voters answer. It is done once they do: start "+strings.Join(v.silentBut(m.ID), ", "))
		}
		return
	}
	if s.change("remove "+m.ID, func(ctx context.Context) error { return s.cfg.Replica.Remove(ctx, m.ID) }) {
		s.logger.Info("removed "+m.ID+" from the group", "because", why)
	}
}

// replace removes a member whose node has come back without the data that the group has
// given the vote to. The node is then no member and welcome: it gets a vote once it has
// caught up.
func (s *Steward) replace(v view, m member) {
	p := m.replacement
	switch {
	case m.answers && m.lastAnswer.Sub(m.contested) <= s.cfg.LastContact:
		return // it may have lost its data since
	case m.answers:
		s.say(m.ID, slog.LevelError, m.ID+" answers at "+m.answersAt+", and another node gossips under its id, from "+p.RaftAddress+
			" with other data: nothing is changed. Stop the one that is not wanted, and start it as another: kvnode --id ANOTHER-ID in a new directory")
	case p.HasState:
		s.say(m.ID, slog.LevelError, "not replacing "+m.ID+" by the node at "+p.RaftAddress+": it has data of this group, but not the "+
			"member's. Start it with the member's data, or in a new directory with --gossip-join: then it takes the member's place")
	case s.tooOld(*p):
	case v.settled(s.cfg.LastContact):
		s.remove(m, "its node has lost its data and comes without")
	}
}

// welcome adds a node as a non-voter.
func (s *Steward) welcome(v view, p discovery.Peer) {
	switch {
	case p.Group == "" && !p.HasState:
		return // it has not said yet which group it waits for; where there are two, both would add it
	case p.HasState && (p.Group != v.group || v.group == core.UnnamedGroup):
		s.say(p.ID, slog.LevelError, "not adding "+p.ID+": its data are not known to be of this group. "+
			"Start it in a new directory with --gossip-join, or under another --cluster")
		return
	case p.Group != v.group:
		s.say(p.ID, slog.LevelError, "not adding "+p.ID+": it waits to be added to another group. "+
			"Start it in a new directory with --gossip-join, or under another --cluster")
		return
	case s.tooOld(p):
		return
	}
	if !s.vacate(v, p.ID, p.RaftAddress) {
		return
	}
	if s.change("add "+p.ID, func(ctx context.Context) error {
		return s.cfg.Replica.Add(ctx, core.Member{ID: p.ID, Incarnation: p.Incarnation, Address: p.RaftAddress})
	}) {
		s.logger.Info("added "+p.ID+" to the group", "incarnation", p.Incarnation, "address", p.RaftAddress, "wants_to_vote", p.Voter)
	}
}

// tooOld says whether a node that is no member does not know all that the log may hold:
// what it made of that would be another state than the members'. See [discovery.Protocol].
func (s *Steward) tooOld(p discovery.Peer) bool {
	if p.Protocol >= discovery.Protocol {
		return false
	}
	s.say(p.ID, slog.LevelError, fmt.Sprintf("not adding %s: its kvnode is older than this group's log, of protocol %d, not %d: "+
		"start it with a newer kvnode", p.ID, p.Protocol, discovery.Protocol))
	return true
}

// change makes one change of the configuration and says whether it came about.
func (s *Steward) change(what string, do func(context.Context) error) bool {
	s.changing.Lock()
	defer s.changing.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, changeTimeout)
	defer cancel()
	err := do(ctx)
	switch {
	case err == nil:
		s.prod() // what depends on it
		return true
	case s.ctx.Err() != nil, errors.Is(err, core.ErrNotLeader), errors.Is(err, core.ErrClosed):
	default:
		s.logger.Warn("cannot "+what+"; going on to try", "error", err)
	}
	return false
}

// say logs a message about id, unless it was the last one.
func (s *Steward) say(id string, level slog.Level, message string) {
	s.mu.Lock()
	before := s.said[id]
	s.said[id] = message
	s.mu.Unlock()
	if before != message {
		s.logger.Log(s.ctx, level, message)
	}
}

func (s *Steward) prod() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// isDoomed says whether autopilot wants m removed. It is asked again next time.
func (s *Steward) isDoomed(m member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, doomed := s.doomed[server(m.Member)]
	delete(s.doomed, server(m.Member))
	return doomed
}
