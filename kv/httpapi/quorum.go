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

// meet refuses a member that does not answer Raft where it says that it is, with the
// data that it says. Who asks is told no more than that, and after the same time
// whatever the reason: otherwise anyone could have the leader find out which ports of
// its network are open. The reason is in the log.
//
// It also refuses an HTTP address that is not what the member itself tells: writes are
// forwarded there once it leads.
func (s *Server) meet(ctx context.Context, m core.Member, http string) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	who, err := prober.Probe(ctx, m)
	switch {
	case s.cfg.Replica.Status().Role == core.Stopped:
		return err
	case err == nil && who.Service != "" && who.Service != http:
		return badRequest("node %s does not serve HTTP at %s: it says itself that it does at %s; ask with that http_address", m.ID, http, who.Service)
	case err == nil:
		return nil
	}
	s.cfg.Logger.Warn("a node is not added: it does not answer", "member", m.ID, "address", m.Address, "error", err)
	<-ctx.Done()
	return badRequest("node %s does not answer at its Raft address %s, so it is not added and gets no vote: "+
		"start it first, with a --raft-addr that the leader can reach; the log of node %s says more", m.ID, m.Address, s.id)
}

// notThere refuses to let another node have a member's id as long as the member
// answers: they would be two under one id.
func (s *Server) notThere(ctx context.Context, e enrolment) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok {
		return unavailable(api.CodeNotReady, "node %s has other data than the member: remove that one first (DELETE /members/%s)", e.known.ID, e.known.ID)
	}
	places := map[string]bool{e.known.Address: true}
	for _, f := range e.status.Followers {
		if f.ID == e.known.ID && f.Address != "" {
			places[f.Address] = true
		}
	}
	delete(places, e.wanted.Address) // the newcomer has to answer there itself
	for place := range places {
		at := e.known
		at.Address = place
		if s.isThere(ctx, prober, at) {
			return badRequest("there is a member %s at %s already, and it answers: start this node as another, kvnode --id ANOTHER-ID in a new directory, or stop and remove that member first (DELETE /members/%s)",
				at.ID, place, at.ID)
		}
	}
	return nil
}

func (s *Server) isThere(ctx context.Context, prober core.Prober, m core.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := prober.Probe(ctx, m)
	return err == nil
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
			if m.ID == s.id {
				answering.Add(1)
			} else if _, err := prober.Probe(ctx, m); err == nil {
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
