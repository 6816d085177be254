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

// probeTimeout bounds how long a voter may take to answer.
const probeTimeout = 2 * time.Second

// meet refuses a member that does not answer Raft where it says that it is, with the
// data that it says, and an HTTP address that is not what the member itself tells:
// writes are forwarded there once it leads.
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
	case err != nil:
		return badRequest("node %s does not answer at its Raft address %s, so it gets no vote: %v", m.ID, m.Address, err)
	case who.Service != "" && who.Service != http:
		return badRequest("node %s does not serve HTTP at %s: it says itself that it does at %s; ask with that http_address", m.ID, http, who.Service)
	}
	return nil
}

// mayReplace refuses to take the vote of the member known away for the node that j is
// about: as long as the member is there, or where without it there is no quorum.
func (s *Server) mayReplace(ctx context.Context, status core.Status, known core.Member, j api.Join) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok {
		return unavailable(api.CodeNotReady, "node %s has other data than the member: remove that one first", j.ID)
	}
	places := map[string]bool{known.Address: true}
	for _, f := range status.Followers {
		if f.ID == known.ID && f.Address != "" {
			places[f.Address] = true
		}
	}
	delete(places, j.Address) // it has to answer there itself
	for place := range places {
		at := known
		at.Address = place
		if s.isThere(ctx, prober, at) {
			return badRequest("there is a member %s at %s already, and it answers: give this node another --id, or stop and remove that member first (DELETE /members/%s)",
				known.ID, place, known.ID)
		}
	}
	return s.quorumWithout(ctx, status.Members, known)
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
