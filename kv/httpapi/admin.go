package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// done is the answer to a request that has nothing to tell but its success.
func done(err error) (answer, error) { return answer{status: http.StatusOK}, err }

// configuration returns what the group looks like, once this node has made sure
// that it leads it: a deposed leader would not know its newest members.
func (s *Server) configuration(ctx context.Context) (core.Status, error) {
	if err := s.cfg.Replica.ReadBarrier(ctx); err != nil {
		return core.Status{}, readFailed(err)
	}
	return s.cfg.Replica.Status(), nil
}

// removeMember is DELETE /members/{id}.
func (s *Server) removeMember(ctx context.Context, q *request) (answer, error) {
	id := q.subject
	if id == "" {
		return answer{}, badRequest("which member? DELETE /members/{id}")
	}
	return s.onLeader(ctx, q, func() (answer, error) { return done(s.expel(ctx, id)) })
}

// expel removes a member. A leader does not remove itself: it hands leadership
// over, and the next one removes it. Otherwise the group would be without a leader
// until somebody's patience has ended.
func (s *Server) expel(ctx context.Context, id string) error {
	end, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer end()
	status, err := s.configuration(ctx)
	if err != nil {
		return err
	}
	member, ok := find(status.Members, id)
	switch {
	case !ok:
		return notFound("there is no member %q", id)
	case member.Voter && voters(status.Members) == 1:
		return badRequest("node %s is the last voter: without it there is no group", id)
	case s.gossips(id):
		return badRequest("node %s is alive and gossips, so it would be added again: have it leave with POST /leave on it, or end it first", id)
	case id == s.id:
		if err := s.cfg.Replica.TransferLeadership(ctx, ""); err != nil {
			return notHandedOver(err)
		}
		return &core.NotLeaderError{}
	}
	if err := s.quorumWithout(ctx, status.Members, member); err != nil {
		return err
	}
	if err := s.cfg.Replica.Remove(ctx, id); err != nil {
		return err
	}
	// The member is out, whatever becomes of its announcement.
	if err := s.announce(ctx, id, ""); err != nil {
		s.cfg.Logger.Warn("the HTTP address of a removed member stays in the directory", "member", id, "error", err)
	}
	return nil
}

func find(members []core.Member, id string) (core.Member, bool) {
	at := slices.IndexFunc(members, func(m core.Member) bool { return m.ID == id })
	if at < 0 {
		return core.Member{}, false
	}
	return members[at], true
}

func voters(members []core.Member) int {
	n := 0
	for _, m := range members {
		if m.Voter {
			n++
		}
	}
	return n
}

// transfer is POST /transfer.
func (s *Server) transfer(ctx context.Context, q *request) (answer, error) {
	body, err := q.readBody(maxAdminBytes, 1, "the body")
	if err != nil {
		return answer{}, err
	}
	t, err := decodeTransfer(body)
	if err != nil {
		return answer{}, err
	}
	return s.onLeader(ctx, q, func() (answer, error) { return done(s.handOver(ctx, t.ID)) })
}

// handOver makes the member id the leader, or any other than this if id is empty.
func (s *Server) handOver(ctx context.Context, id string) error {
	status, err := s.configuration(ctx)
	if err != nil {
		return err
	}
	target, ok := find(status.Members, id)
	switch {
	case id == s.id:
		return nil
	case id == "" && voters(status.Members) == 1:
		return badRequest("node %s is the only voter: there is nobody to lead in its place", s.id)
	case id != "" && !ok:
		return notFound("there is no member %q", id)
	case id != "" && !target.Voter:
		return badRequest("node %s is not a voter: it cannot lead", id)
	}
	if err := s.cfg.Replica.TransferLeadership(ctx, id); err != nil {
		return notHandedOver(err)
	}
	return s.awaitSuccessor(ctx, id)
}

// notHandedOver makes an error of a transfer a timeout: it can be tried again
// without harm.
func notHandedOver(err error) error {
	if errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrClosed) {
		return err
	}
	return timedOut("leadership was not handed over: %v", err)
}

// awaitSuccessor waits until this node knows its successor, which is to be the
// member id unless that is empty.
func (s *Server) awaitSuccessor(ctx context.Context, id string) error {
	for {
		s.lookAgain()
		switch v := s.look(); {
		case v.leader == "" || v.leader == s.id:
		case id == "" || v.leader == id:
			return nil
		default:
			return timedOut("node %s leads now, not %s", v.leader, id)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return timedOut("leadership was handed over, but no new leader is known yet")
		case <-s.cfg.Replica.Done():
			return s.stoppedProblem()
		}
	}
}

// snapshot is POST /snapshot.
func (s *Server) snapshot(ctx context.Context, _ *request) (answer, error) {
	return done(s.cfg.Replica.Snapshot(ctx))
}

// digest is GET /digest.
func (s *Server) digest(context.Context, *request) (answer, error) {
	_, sum := s.cfg.Map.Digest()
	return jsonAnswer(http.StatusOK, api.Digest{
		ID:       s.id,
		Keys:     s.cfg.Map.Len(),
		Commands: s.cfg.Map.Applied(),
		SHA256:   hex.EncodeToString(sum[:]),
	}), nil
}

// checkID refuses ids that cannot stand in a header. Longer ones than are given to
// newcomers, discovery.MaxIDBytes, may be members from before.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("it is empty")
	case len(id) > kv.MaxNodeBytes:
		return fmt.Errorf("it has %d bytes: at most %d are allowed", len(id), kv.MaxNodeBytes)
	case !headerSafe(id):
		return errors.New("it must not hold control characters, nor begin or end with a space")
	}
	return nil
}
