package httpapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// A group that counts on voters who do not answer stands still, and can then not even
// change its configuration. So who is to count is asked first, where the replica can
// (core.Prober).

// probeTimeout bounds how long a node may take to answer.
const probeTimeout = 2 * time.Second

// answers refuses a node that does not answer Raft where it says that it is. Who asks is
// told no more than that, and after the same time whatever the reason: otherwise anyone
// could have the leader find out which ports of its network are open. The reason is
// in the log.
func (s *Server) answers(ctx context.Context, j api.Join) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := prober.Probe(ctx, j.ID, j.Address)
	if s.cfg.Replica.Status().Role == core.Stopped {
		return err
	}
	if err == nil {
		return nil
	}
	s.cfg.Logger.Warn("a node is not added: it does not answer", "member", j.ID, "address", j.Address, "error", err)
	<-ctx.Done()
	return badRequest("node %s does not answer at its Raft address %s, so it is not added and gets no vote: "+
		"start it first, with a --raft-addr that the leader can reach; the log of node %s says more", j.ID, j.Address, s.id)
}

// quorumWithout refuses the removal of a member that those who stay could not commit,
// or after which they could commit nothing more.
func (s *Server) quorumWithout(ctx context.Context, members []core.Member, leaving core.Member) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok || !leaving.Voter {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	stay := 0
	var answering atomic.Int64
	var asked sync.WaitGroup
	for _, m := range members {
		if !m.Voter || m.ID == leaving.ID {
			continue
		}
		stay++
		asked.Go(func() {
			if m.ID == s.id || prober.Probe(ctx, m.ID, m.Address) == nil {
				answering.Add(1)
			}
		})
	}
	asked.Wait()
	if n := int(answering.Load()); n <= stay/2 {
		return unavailable(api.CodeNotReady, "not removing node %s: of the %d voters that would be left %d answer, so the group would stop", leaving.ID, stay, n)
	}
	return nil
}
