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

// admitsVoter refuses a voter that does not answer where it says that it is.
func (s *Server) admitsVoter(ctx context.Context, j api.Join) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := prober.Probe(ctx, core.Member{ID: j.ID, Address: j.Address})
	if s.cfg.Replica.Status().Role == core.Stopped {
		return err
	}
	if err != nil {
		return badRequest("node %s does not answer at its Raft address %s, so it gets no vote: %v", j.ID, j.Address, err)
	}
	return nil
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
