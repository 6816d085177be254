package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// What follows is for the other interfaces of the node: they find the leader, try again,
// forward and bound as this one does.

// Leads says whether this node leads, as far as it knew some milliseconds ago.
func (s *Server) Leads() bool { return s.look().self }

// Barrier returns once a look at this node's map is as fresh as the level says, which is
// a value of ?consistency=. On a node that does not lead, [api.Leader] is as
// [api.Linearizable]. ctx needs a deadline.
func (s *Server) Barrier(ctx context.Context, level string) error {
	q := s.inside(http.MethodGet, readIndexPath, nil)
	switch {
	case level == api.Stale:
		return s.hasCaughtUp(ctx, q)
	case level == api.Leader && s.look().self:
		err := s.cfg.Replica.LeaseBarrier(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, core.ErrClosed) {
			return err
		}
		s.refresh() // another may lead by now
	}
	return s.barrier(ctx, q)
}

// Propose has the leader carry a command out, this node or another, and tells its index
// and what the map says. It is tried again until the deadline of ctx, which it needs, as
// long as it is certain that nobody has taken it. A kv.Result that came from another node
// holds no refusals but conditions.
func (s *Server) Propose(ctx context.Context, command []byte) (index uint64, result kv.Result, err error) {
	q := s.inside(http.MethodPost, proposePath, command)
	err = s.retry(ctx, func() error {
		to, err := s.leader(q)
		if err != nil {
			return err
		}
		if to == nil {
			index, result, err = s.proposeHere(ctx, command)
			return s.deposed(q, err)
		}
		a, err := s.forward(ctx, q, *to)
		if err == nil {
			index, result, err = readProposed(*to, a)
		}
		return err
	})
	return index, result, err
}

// Transfer hands leadership to the voter id, or, if that is empty, to the most up-to-date
// one. ctx needs a deadline.
func (s *Server) Transfer(ctx context.Context, id string) error {
	body, err := json.Marshal(api.Transfer{ID: id})
	if err != nil {
		return err
	}
	a, err := s.onLeader(ctx, s.inside(http.MethodPost, "/transfer", body), func() (answer, error) { return done(s.handOver(ctx, id)) })
	if err == nil && a.status != http.StatusOK {
		return told(a)
	}
	return err
}

// Problem says which code an error of these methods, or of the replica, has, and what a
// client is told.
func (s *Server) Problem(err error) (code api.Code, message string) {
	p := s.problemOf(err)
	return p.code, p.message
}

// Hold takes so many bytes from what the node may hold for requests under way, or
// refuses; who has taken them gives them back by Release.
func (s *Server) Hold(bytes int) error { return (&share{of: &s.budget}).take(bytes) }

// Release gives back what Hold has taken.
func (s *Server) Release(bytes int) { s.budget.held.Add(-int64(bytes)) }

// Leader returns the id of the leader, and where it serves the Redis protocol; empty where
// that is not known.
func (s *Server) Leader(ctx context.Context) (id, resp string) {
	v := s.look()
	return v.leader, s.RESPAddress(ctx, v.leader)
}

// toldAddress is one as a member has said it.
type toldAddress struct {
	text string
	at   time.Time
}

// toldAge is how long an address is used: a member that is started again may have another.
const toldAge = time.Second

// RESPAddress returns where the member serves the Redis protocol, as it says itself;
// empty: it does not, or cannot be asked.
func (s *Server) RESPAddress(ctx context.Context, id string) string {
	if id == s.id {
		return s.cfg.RESPAddress
	}
	at, ok := s.address(id)
	if !ok {
		return ""
	}
	known, ok := s.resp.Load(at)
	if ok && time.Since(known.(toldAddress).at) < toldAge {
		return known.(toldAddress).text
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	status, err := s.peers.Status(ctx, at)
	if err != nil || status.Me.ID != id {
		return ""
	}
	s.resp.Store(at, toldAddress{status.Me.RESPAddress, time.Now()})
	return status.Me.RESPAddress
}

// inside is a request that the node makes of itself.
func (s *Server) inside(method, path string, body []byte) *request {
	return &request{
		Request: &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{}},
		body:    body, limits: &s.cfg.Limits, share: &share{of: &s.budget},
	}
}

// proposeFor is POST /internal/propose: a command that another node's client gave.
func (s *Server) proposeFor(ctx context.Context, q *request) (answer, error) {
	command, err := q.readBody(api.MaxCommandBytes, valueCopies, "the command")
	if err != nil {
		return answer{}, err
	}
	if err := kv.CheckChange(command); err != nil {
		return answer{}, badRequest("%v", err)
	}
	return s.onLeader(ctx, q, func() (answer, error) {
		index, result, err := s.proposeHere(ctx, command)
		if err != nil {
			return answer{}, err
		}
		p := api.Proposed{Index: index, Changed: result.Changed, Missing: result.Missing}
		var failed *kv.ConditionError
		switch {
		case errors.As(result.Err, &failed):
			p.Failed, p.Key, p.KeyIndex = true, []byte(failed.Key), failed.Index
		case result.Err != nil:
			return answer{}, result.Err
		}
		return jsonAnswer(http.StatusOK, p), nil
	})
}

// readProposed reads the answer of proposeFor.
func readProposed(from peer, a answer) (uint64, kv.Result, error) {
	if a.status == http.StatusNotFound {
		return 0, kv.Result{}, refuse(api.CodeNotReady, "the leader, node %s, runs an older kvnode that takes no commands from other nodes: ask it over HTTP, or transfer leadership to a node that is up to date", from.id)
	}
	if a.status != http.StatusOK {
		return 0, kv.Result{}, told(a)
	}
	var p api.Proposed
	if err := json.Unmarshal(a.body, &p); err != nil {
		return 0, kv.Result{}, fmt.Errorf("%w: answer of node %s: %w", core.ErrOutcomeUnknown, from.id, err)
	}
	result := kv.Result{Changed: p.Changed, Missing: p.Missing}
	if p.Failed {
		result.Err = &kv.ConditionError{Key: string(p.Key), Index: p.KeyIndex}
	}
	return p.Index, result, nil
}

// told is the error that another node answered with. What does not rule out that the
// request took effect leaves that open.
func told(a answer) error {
	var e api.Error
	if err := json.Unmarshal(a.body, &e); err != nil || !e.Code.NotDone() {
		return fmt.Errorf("%w: status %d: %.200s", core.ErrOutcomeUnknown, a.status, cmp.Or(e.Error, string(a.body)))
	}
	return refuse(e.Code, "%s", e.Error)
}
