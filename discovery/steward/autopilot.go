package steward

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// reader is the type of a node that does not want to vote.
const reader autopilot.NodeType = "reader"

// raftOf is the replica as autopilot needs it.
type raftOf struct{ s *Steward }

var _ autopilot.Raft = raftOf{}

// AddVoter implements autopilot.Raft. What autopilot decides on is up to an interval
// old: a node that has left meanwhile, or comes with other data, gets no vote.
func (r raftOf) AddVoter(id raft.ServerID, _ raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return r.change("promote", id, func(ctx context.Context, m member) error {
		if m.state == discovery.Left {
			return fmt.Errorf("promote %s: it has left: %w", id, core.ErrNotFound)
		}
		promoted := m.Member
		promoted.Voter = true
		return r.s.cfg.Replica.Add(ctx, promoted)
	})
}

// AddNonvoter implements autopilot.Raft. It never asks for it: it is told of members only.
func (r raftOf) AddNonvoter(id raft.ServerID, _ raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return settled{err: fmt.Errorf("add %s: %w", id, core.ErrUnsupported)}
}

// RemoveServer implements autopilot.Raft.
func (r raftOf) RemoveServer(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return r.change("remove", id, func(ctx context.Context, m member) error { return r.s.cfg.Replica.Remove(ctx, m.ID) })
}

// DemoteVoter implements autopilot.Raft. The promoter never asks for it.
func (r raftOf) DemoteVoter(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return settled{err: fmt.Errorf("demote %s: %w", id, core.ErrUnsupported)}
}

// LeadershipTransferToServer implements autopilot.Raft. The promoter never asks for it.
func (r raftOf) LeadershipTransferToServer(id raft.ServerID, _ raft.ServerAddress) raft.Future {
	return r.change("transfer leadership to", id, func(ctx context.Context, m member) error {
		return r.s.cfg.Replica.TransferLeadership(ctx, m.ID)
	})
}

// change does something about the member that autopilot means, if it still is one.
func (r raftOf) change(what string, id raft.ServerID, do func(context.Context, member) error) settled {
	r.s.changing.Lock()
	defer r.s.changing.Unlock()
	ctx, cancel := context.WithTimeout(r.s.ctx, changeTimeout)
	defer cancel()
	m, ok := r.s.observe().find(func(m member) bool { return server(m.Member) == id }) // the one that autopilot means
	if !ok {
		return settled{err: fmt.Errorf("%s %s: it is no member: %w", what, id, core.ErrNotFound)}
	}
	err := do(ctx, m)
	r.s.prod()
	return settled{err: err}
}

// LastIndex implements autopilot.Raft.
func (r raftOf) LastIndex() uint64 { return r.s.cfg.Replica.Status().LastIndex }

// Leader implements autopilot.Raft.
func (r raftOf) Leader() raft.ServerAddress {
	return raft.ServerAddress(r.s.cfg.Replica.Status().LeaderAddress)
}

// State implements autopilot.Raft.
func (r raftOf) State() raft.RaftState {
	switch r.s.cfg.Replica.Status().Role {
	case core.Leader:
		return raft.Leader
	case core.Candidate:
		return raft.Candidate
	case core.Stopped:
		return raft.Shutdown
	default:
		return raft.Follower
	}
}

// Stats implements autopilot.Raft. Autopilot wants the term of the newest entry,
// to compare it with that of each server; a leader knows of a follower that it has
// answered in the current term, and that stands for both.
func (r raftOf) Stats() map[string]string {
	return map[string]string{"last_log_term": strconv.FormatUint(r.s.cfg.Replica.Status().Term, 10)}
}

// GetConfiguration implements autopilot.Raft.
func (r raftOf) GetConfiguration() raft.ConfigurationFuture {
	var f settled
	for _, m := range r.s.cfg.Replica.Status().Members {
		suffrage := raft.Nonvoter
		if m.Voter {
			suffrage = raft.Voter
		}
		f.configuration.Servers = append(f.configuration.Servers, raft.Server{
			ID: server(m), Address: raft.ServerAddress(m.Address), Suffrage: suffrage,
		})
	}
	return f
}

// settled is a future that has its outcome.
type settled struct {
	err           error
	configuration raft.Configuration
}

// Error implements raft.Future.
func (f settled) Error() error { return f.err }

// Index implements raft.IndexFuture; autopilot does not look at it.
func (f settled) Index() uint64 { return 0 }

// Configuration implements raft.ConfigurationFuture.
func (f settled) Configuration() raft.Configuration { return f.configuration }

// application is what autopilot asks of its user.
type application struct{ s *Steward }

var _ autopilot.ApplicationIntegration = application{}

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (a application) AutopilotConfig() *autopilot.Config {
	c := a.s.cfg
	return &autopilot.Config{
		CleanupDeadServers:      c.RemoveFailedAfter > 0,
		LastContactThreshold:    c.LastContact,
		MaxTrailingLogs:         c.MaxTrailingLogs,
		MinQuorum:               c.MinVoters,
		ServerStabilizationTime: c.Stabilization,
	}
}

// KnownServers implements autopilot.ApplicationIntegration: the members. One that is
// left out autopilot removes at once, so none is, also if discovery has never
// heard of it; and one that Raft hears from is alive, whatever discovery says.
func (a application) KnownServers() map[raft.ServerID]*autopilot.Server {
	v := a.s.observe()
	servers := map[raft.ServerID]*autopilot.Server{}
	for _, m := range v.members {
		known := &autopilot.Server{
			ID:          server(m.Member),
			Name:        m.ID,
			Address:     raft.ServerAddress(m.Address),
			NodeStatus:  status(m),
			RaftVersion: int(raft.ProtocolVersionMax),
			IsLeader:    m.ID == v.self && !v.led.IsZero(),
			NodeType:    reader,
		}
		if m.wantsVote {
			known.NodeType = autopilot.NodeVoter
		}
		servers[known.ID] = known
	}
	return servers
}

func status(m member) autopilot.NodeStatus {
	switch {
	case m.state == discovery.Left:
		return autopilot.NodeLeft
	case m.answers || m.state == discovery.Alive:
		return autopilot.NodeAlive
	default:
		return autopilot.NodeFailed
	}
}

// FetchServerStats implements autopilot.ApplicationIntegration: the leader knows, so
// no node is asked.
func (a application) FetchServerStats(context.Context, map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	v := a.s.observe()
	stats := map[raft.ServerID]*autopilot.ServerStats{}
	for _, m := range v.members {
		s := &autopilot.ServerStats{LastContact: -1, LastIndex: m.lastIndex} // negative: never, unhealthy
		if !m.lastAnswer.IsZero() {
			s.LastContact, s.LastTerm = v.at.Sub(m.lastAnswer), v.term
		}
		stats[server(m.Member)] = s
	}
	return stats
}

// NotifyState implements autopilot.ApplicationIntegration.
func (a application) NotifyState(state *autopilot.State) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.health = Health{Leading: true, Healthy: state.Healthy, Tolerance: state.FailureTolerance}
}

// RemoveFailedServer implements autopilot.ApplicationIntegration. The steward's own
// round removes it, if that is safe then.
func (a application) RemoveFailedServer(server *autopilot.Server) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.doomed[server.ID] = struct{}{}
	a.s.prod()
}

// promoter is autopilot's own, for those that want to vote, and with our word on
// which may be removed.
type promoter struct {
	*autopilot.StablePromoter
	s *Steward
}

var _ autopilot.Promoter = promoter{}

// GetNodeTypes implements autopilot.Promoter: KnownServers has said it.
func (p promoter) GetNodeTypes(*autopilot.Config, *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	return nil
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, state *autopilot.State) autopilot.RaftChanges {
	all := p.StablePromoter.CalculatePromotionsAndDemotions(c, state)
	var wanted autopilot.RaftChanges
	for _, id := range all.Promotions {
		if state.Servers[id].Server.NodeType == autopilot.NodeVoter {
			wanted.Promotions = append(wanted.Promotions, id)
		}
	}
	return wanted
}

// FilterFailedServerRemovals implements autopilot.Promoter: only those that have
// been silent for long enough. Those that left are removed by the steward's own round.
func (p promoter) FilterFailedServerRemovals(_ *autopilot.Config, _ *autopilot.State, failed *autopilot.FailedServers) *autopilot.FailedServers {
	v := p.s.observe()
	due := map[raft.ServerID]bool{}
	for _, m := range v.members {
		due[server(m.Member)] = m.ID != v.self && m.state != discovery.Left && v.silentFor(m) >= p.s.cfg.RemoveFailedAfter
	}
	keep := func(servers []*autopilot.Server) (kept []*autopilot.Server) {
		for _, s := range servers {
			if due[s.ID] {
				kept = append(kept, s)
			}
		}
		return kept
	}
	return &autopilot.FailedServers{FailedVoters: keep(failed.FailedVoters), FailedNonVoters: keep(failed.FailedNonVoters)}
}

// newLogger hands autopilot's lines on to logger.
func newLogger(logger *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(sink{logger})
	return l
}

type sink struct{ logger *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	l := slog.LevelInfo
	switch level {
	case hclog.Trace, hclog.Debug:
		l = slog.LevelDebug
	case hclog.Warn, hclog.Error: // it goes on to try
		l = slog.LevelWarn
	}
	s.logger.Log(context.Background(), l, msg, append([]any{"component", name}, args...)...)
}
