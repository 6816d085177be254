package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/kv/api"
)

// status is GET /status. It tells what this node knows and asks nobody.
func (s *Server) status(context.Context, *request) (answer, error) {
	status := s.cfg.Replica.Status()
	wire := api.Status{Me: s.me(status), Followers: s.followers(status), Gossip: s.gossip()}
	if id := status.LeaderID; id != "" {
		m, _ := status.Member(id)
		leader := s.peer(core.Member{ID: id, Incarnation: m.Incarnation, Address: status.LeaderAddress})
		wire.Leader = &leader
	}
	return jsonAnswer(http.StatusOK, wire), nil
}

func (s *Server) me(status core.Status) api.Node {
	member, _ := status.Member(s.id)
	restoring, _ := s.cfg.Map.Restoring()
	me := api.Node{
		Peer:          s.peer(core.Member{ID: s.id, Incarnation: s.self.Incarnation, Address: status.Address}),
		Group:         status.Group,
		Role:          string(status.Role),
		Voter:         member.Voter,
		Term:          status.Term,
		LastIndex:     status.LastIndex,
		CommitIndex:   status.CommitIndex,
		AppliedIndex:  status.AppliedIndex,
		SnapshotIndex: status.SnapshotIndex,
		UptimeS:       time.Since(s.started).Seconds(),
		PID:           os.Getpid(),
		Version:       s.cfg.Version,
		Keys:          s.cfg.Map.Len(),
		Commands:      s.cfg.Map.Applied(),
		Features:      []string{api.FeatureRestore},
		Restoring:     restoring,
		Store:         api.Store{Name: s.cfg.Store.Name, Durability: string(s.cfg.Store.Durability), Persistence: s.cfg.Persistence},
		Transport:     s.cfg.Transport,
	}
	switch {
	case status.Role == core.Leader:
	case status.LastContact.IsZero():
		me.LastContactMS = -1
	default:
		me.LastContactMS = milliseconds(time.Since(status.LastContact))
	}
	if s.cfg.Syncs != nil {
		syncs := s.cfg.Syncs()
		me.Store.Syncs = &syncs
	}
	return me
}

// followers lists all members but the leader, in the order of their ids.
func (s *Server) followers(status core.Status) []api.Follower {
	known := map[string]core.FollowerStatus{}
	for _, f := range status.Followers {
		known[f.ID] = f
	}
	followers := []api.Follower{}
	for _, m := range status.Members {
		if m.ID == status.LeaderID {
			continue
		}
		f := api.Follower{Peer: s.peer(m), Voter: m.Voter}
		if k, ok := known[m.ID]; ok && !k.LastContact.IsZero() {
			lag := lagOf(status, k)
			contact := milliseconds(time.Since(k.LastContact))
			f.LastIndex, f.Lag, f.LastContactMS = &k.LastIndex, &lag, &contact
		}
		followers = append(followers, f)
	}
	return followers
}

// lagOf is how many entries a follower is behind the leader's log. The two are
// read one after the other, so that the follower can seem to be ahead.
func lagOf(leader core.Status, f core.FollowerStatus) uint64 {
	return leader.LastIndex - min(f.LastIndex, leader.LastIndex)
}

func (s *Server) peer(m core.Member) api.Peer {
	address, _ := s.address(m.ID)
	p := api.Peer{ID: m.ID, Incarnation: m.Incarnation, Address: m.Address, HTTPAddress: address}
	if m.ID == s.id {
		p.RESPAddress = s.cfg.RESPAddress
	} else if known, ok := s.resp.Load(address); ok {
		p.RESPAddress = known.(toldAddress).text
	}
	return p
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// members is GET /members: the configuration as this node knows it.
func (s *Server) members(context.Context, *request) (answer, error) {
	status := s.cfg.Replica.Status()
	wire := api.Members{Members: []api.Member{}}
	for _, m := range status.Members {
		wire.Members = append(wire.Members, api.Member{Peer: s.peer(m), Voter: m.Voter, Leader: m.ID == status.LeaderID})
	}
	return jsonAnswer(http.StatusOK, wire), nil
}

// readyWait is how long /readyz waits for the leader and for the map to catch up:
// the caller wants to know now.
const readyWait = 100 * time.Millisecond

// readiness is whether the node has, since its start, once caught up with what a
// leader had committed: the index that the first leader it reached told. It stays
// so.
type readiness struct {
	own   uint64                 // last index of the node's own log when it started; 0: it was empty
	index atomic.Pointer[uint64] // what to apply; nil: no leader has told it yet
	done  atomic.Bool
}

// healthz is GET /healthz.
func (s *Server) healthz(context.Context, *request) (answer, error) {
	if s.stopped() {
		return answer{}, s.stoppedProblem()
	}
	if err := s.stalledProblem(); err != nil {
		return answer{}, err
	}
	return done(nil)
}

// stalledProblem is an error while the log store does not answer.
func (s *Server) stalledProblem() error {
	stalled := s.cfg.Replica.Status().Stalled
	if stalled == 0 {
		return nil
	}
	return notReady("node %s has stalled: a write to its log store has not returned for %s: look at its disk; it goes on when the disk does, and stops at raft.stall_limit",
		s.id, stalled.Round(time.Millisecond))
}

// readyz is GET /readyz.
func (s *Server) readyz(ctx context.Context, q *request) (answer, error) {
	if s.stopped() {
		return answer{}, s.stoppedProblem()
	}
	if err := s.stalledProblem(); err != nil {
		return answer{}, err
	}
	if s.look().leader == "" {
		return answer{}, notReady("node %s knows no leader", s.id)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	if err := s.catchUp(ctx, q); err != nil {
		return answer{}, err
	}
	return done(nil)
}

// catchUp returns nil once the node is as far as readiness asks for.
func (s *Server) catchUp(ctx context.Context, q *request) error {
	if s.caught.done.Load() {
		return nil
	}
	if s.caught.index.Load() == nil {
		index, err := s.leaderIndex(ctx, q)
		if err != nil {
			return notReady("how far node %s has to catch up is not known yet: %v", s.id, err)
		}
		s.caught.index.CompareAndSwap(nil, &index)
	}
	index := *s.caught.index.Load()
	if err := s.cfg.Replica.WaitApplied(ctx, index); err != nil {
		applied := s.cfg.Replica.Status().AppliedIndex
		return notReady("node %s is catching up: it has applied index %d of %d", s.id, applied, index)
	}
	s.caught.done.Store(true)
	return nil
}

// hasCaughtUp refuses stale reads of a map that may hold less than it did before the
// node was restarted: a key that is there would seem not to be. Which entries of its log
// are committed a node learns from a leader only; once it has applied all that it held
// at its start, or as much as the first leader it reached told, it goes on to answer
// also without one.
func (s *Server) hasCaughtUp(ctx context.Context, q *request) error {
	if s.caught.done.Load() {
		return nil
	}
	if own := s.caught.own; own > 0 && s.cfg.Replica.Status().AppliedIndex >= own {
		s.caught.done.Store(true)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	return s.catchUp(ctx, q)
}

// leaderIndex asks the leader, once, how far it is.
func (s *Server) leaderIndex(ctx context.Context, q *request) (uint64, error) {
	to, err := s.leader(q)
	switch {
	case err != nil:
		return 0, err
	case to == nil:
		return s.cfg.Replica.ReadIndex(ctx)
	}
	return s.askReadIndex(ctx, *to)
}

// scrape is GET /metrics.
func (s *Server) scrape(_ context.Context, q *request) (answer, error) {
	return s.metrics.scrape(q.Request)
}

// Gossip is what a node has heard of the others by asking around, and what that
// has cost; *gossip.Agent is one.
type Gossip interface {
	Peers() []discovery.Peer
	Stats() gossip.Stats
}

// gossip lists what gossip knows of all nodes, in the order of their ids.
func (s *Server) gossip() []api.GossipPeer {
	if s.cfg.Gossip == nil {
		return nil
	}
	var peers []api.GossipPeer
	for _, p := range s.cfg.Gossip.Peers() {
		peers = append(peers, api.GossipPeer{
			Peer:          api.Peer{ID: p.ID, Incarnation: p.Incarnation, Address: p.RaftAddress, HTTPAddress: p.HTTPAddress},
			GossipAddress: p.GossipAddress,
			State:         string(p.State),
			Since:         p.Since,
			Voter:         p.Voter,
		})
	}
	return peers
}

// gossips says whether the node id is alive to gossip, so that it would be added
// again as soon as it was removed.
func (s *Server) gossips(id string) bool {
	if s.cfg.Gossip == nil {
		return false
	}
	for _, p := range s.cfg.Gossip.Peers() {
		if p.ID == id {
			return p.State == discovery.Alive
		}
	}
	return false
}

// leave is POST /leave. It is the node that is asked that leaves, so nothing is
// forwarded.
func (s *Server) leave(ctx context.Context, _ *request) (answer, error) {
	if s.cfg.Leave == nil {
		return answer{}, badRequest("node %s does not gossip, so it cannot leave by itself: remove it with DELETE /members/%s",
			s.id, url.PathEscape(s.id))
	}
	err := s.cfg.Leave(ctx)
	switch {
	case errors.Is(err, core.ErrInvalid):
		return answer{}, badRequest("%v", err)
	case errors.Is(err, core.ErrUnavailable):
		return answer{}, notReady("%v", err)
	}
	return done(err)
}

// Waiting returns the handler of the node id while its replica does not run yet:
// /healthz is 200, all else an [api.CodeNotReady] with what why returns. why is
// called concurrently.
func Waiting(id string, why func() string) http.Handler {
	var limits Limits
	_ = limits.setDefaults() // there is nothing to refuse
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := answer{status: http.StatusOK}
		if r.URL.Path != "/healthz" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			a = refuse(api.CodeNotReady, "node %s belongs to no group yet: %s", id, why()).answer()
		}
		write(w, r, id, a, &limits)
	})
}
