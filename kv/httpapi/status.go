package httpapi

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// status is GET /status. It tells what this node knows and asks nobody.
func (s *Server) status(context.Context, *request) (answer, error) {
	status := s.cfg.Replica.Status()
	wire := api.Status{Me: s.me(status), Followers: s.followers(status), Gossip: s.gossip()}
	if id := status.LeaderID; id != "" {
		m, _ := find(status.Members, id)
		leader := s.peer(core.Member{ID: id, Incarnation: m.Incarnation, Address: status.LeaderAddress})
		wire.Leader = &leader
	}
	return jsonAnswer(http.StatusOK, wire), nil
}

func (s *Server) me(status core.Status) api.Node {
	member, _ := find(status.Members, s.id)
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
		Store:         api.Store{Name: s.cfg.Store.Name, Durability: string(s.cfg.Store.Durability)},
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
	return api.Peer{ID: m.ID, Incarnation: m.Incarnation, Address: m.Address, HTTPAddress: address}
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
