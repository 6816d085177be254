package httpapi

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// A node becomes a voter in steps, each of which is a change of its own that leaves
// the group whole: the vote of data that are lost is taken away, the node is added
// without a vote, and it gets one once it has caught up (Raft dissertation, §4.2.1).
// Whatever crashes in between, the node asks again and the leader of then goes on from
// what the configuration says.

const (
	// catchUpRound is how long it may take a newcomer to get what the leader had at the
	// beginning. Then it can keep up, and a vote that has to wait for it costs no more.
	catchUpRound = 500 * time.Millisecond
	catchUpPoll  = 5 * time.Millisecond
)

// join is POST /join.
func (s *Server) join(ctx context.Context, q *request) (answer, error) {
	body, err := q.readBody(maxAdminBytes, 1, "the body")
	if err != nil {
		return answer{}, err
	}
	j, err := decodeJoin(body)
	if err != nil {
		return answer{}, err
	}
	return s.onLeader(ctx, q, func() (answer, error) { return done(s.admit(ctx, j)) })
}

// admit makes j a member. Repeating it goes on where it ended, or changes nothing.
func (s *Server) admit(ctx context.Context, j api.Join) error {
	m, err := s.enroll(ctx, j)
	if err != nil || m.Voter || j.Nonvoter {
		return changedMeanwhile(j.ID, err)
	}
	if err := s.awaitCaughtUp(ctx, m); err != nil {
		return err
	}
	return changedMeanwhile(j.ID, s.promote(ctx, m))
}

// changedMeanwhile makes one of the errors of a change one that asks to try again.
func changedMeanwhile(id string, err error) error {
	if errors.Is(err, core.ErrReplaced) {
		return unavailable(api.CodeNotReady, "the configuration has changed while node %s was added; ask again: %v", id, err)
	}
	return err
}

// alone returns once nobody else changes the configuration, and keeps others from it
// until the returned function is called.
func (s *Server) alone(ctx context.Context) (func(), error) {
	select {
	case s.changing <- struct{}{}:
		return func() { <-s.changing }, nil
	case <-ctx.Done():
		return nil, unavailable(api.CodeNotReady, "another member is being added or removed; ask again")
	}
}

// enroll makes j a member, though without the vote that it may not have yet, and
// returns what it is then.
func (s *Server) enroll(ctx context.Context, j api.Join) (core.Member, error) {
	e, err := s.examine(ctx, j)
	if err != nil || e.settled() {
		return e.wanted, err
	}
	if err := s.meet(ctx, e.wanted, j.HTTPAddress); err != nil { // it can take long
		return core.Member{}, err
	}
	end, err := s.alone(ctx)
	if err != nil {
		return core.Member{}, err
	}
	defer end()
	if e, err = s.examine(ctx, j); err != nil || e.settled() {
		return e.wanted, err
	}
	return e.wanted, s.carryOut(ctx, e)
}

// enrolment is what is to be changed.
type enrolment struct {
	known, wanted         core.Member
	announced, toAnnounce string // HTTP addresses
	status                core.Status
}

func (e enrolment) settled() bool { return e.known == e.wanted && e.announced == e.toAnnounce }

// replaces says whether the member of that id has to go first.
func (e enrolment) replaces() bool {
	return e.known.ID != "" && e.known.Incarnation != e.wanted.Incarnation
}

// examine compares j with what the group is like, and refuses what would damage it.
func (s *Server) examine(ctx context.Context, j api.Join) (enrolment, error) {
	status, err := s.configuration(ctx)
	if err != nil {
		return enrolment{}, err
	}
	if err := s.checkNewcomer(status, j); err != nil {
		return enrolment{}, err
	}
	e := enrolment{
		status: status, toAnnounce: j.HTTPAddress,
		wanted: core.Member{ID: j.ID, Incarnation: j.Incarnation, Address: j.Address},
	}
	e.known, _ = find(status.Members, j.ID)
	e.announced, _ = s.cfg.Map.HTTPAddress(j.ID)
	if j.Incarnation == "" {
		e.wanted.Incarnation = e.known.Incarnation
	}
	if !e.replaces() {
		e.wanted.Voter = e.known.Voter
		return e, nil
	}
	return e, s.notThere(ctx, e)
}

// carryOut changes the configuration. A member is announced before it is added: one
// that stands in the configuration may become leader at any time, and whoever knows
// that it does has to know where. An announcement whose member was not added does no
// harm.
func (s *Server) carryOut(ctx context.Context, e enrolment) error {
	if e.replaces() {
		if err := s.quorumWithout(ctx, e.status.Members, e.known); err != nil {
			return err
		}
	}
	if e.announced != e.toAnnounce {
		if err := s.announce(ctx, e.wanted.ID, e.toAnnounce); err != nil {
			return err
		}
	}
	if e.replaces() {
		s.cfg.Logger.Warn("a member has lost its data: taking it out; it gets a vote again once it has caught up",
			"member", e.known.ID, "lost", e.known.Incarnation, "has", e.wanted.Incarnation)
		if err := s.cfg.Replica.Remove(ctx, e.known.ID); err != nil {
			return err
		}
	}
	if e.known == e.wanted {
		return nil
	}
	if err := s.vacate(ctx, e); err != nil {
		return err
	}
	return s.cfg.Replica.Add(ctx, e.wanted)
}

// vacate takes the address of a member that has moved from the one that had it before,
// as after a swap: it is not there, for the member that has moved has just answered
// there. It stands nowhere until it tells its own; meanwhile it is looked for where
// Locate says.
func (s *Server) vacate(ctx context.Context, e enrolment) error {
	for _, m := range e.status.Members {
		if m.ID == e.wanted.ID || m.Address != e.wanted.Address {
			continue
		}
		s.cfg.Logger.Warn("a member has the address that was another's; that one stands nowhere until it tells its own",
			"member", e.wanted.ID, "address", m.Address, "was", m.ID)
		m.Address = discovery.Nowhere(m.Address)
		return s.cfg.Replica.Add(ctx, m)
	}
	return nil
}

// awaitCaughtUp returns nil once the member has, in a short time, got all that the
// leader had at the beginning of that time.
func (s *Server) awaitCaughtUp(ctx context.Context, m core.Member) error {
	begun, target := time.Now(), s.cfg.Replica.Status().LastIndex
	for {
		status := s.cfg.Replica.Status()
		now, member := find(status.Members, m.ID)
		switch {
		case status.Role != core.Leader:
			return &core.NotLeaderError{LeaderID: status.LeaderID, LeaderAddress: status.LeaderAddress}
		case !member || now.Incarnation != m.Incarnation:
			return unavailable(api.CodeNotReady, "node %s was removed while it was catching up; ask again to add it", m.ID)
		}
		at := lastIndex(status, m.ID)
		if at >= target && time.Since(begun) <= catchUpRound {
			return nil
		}
		if at >= target {
			begun, target = time.Now(), status.LastIndex
		}
		select {
		case <-time.After(catchUpPoll):
		case <-ctx.Done():
			return unavailable(api.CodeNotReady, "node %s is a member without a vote and catching up: its log is at index %d of %d; "+
				"it gets the vote at a request after that: ask again", m.ID, at, target)
		case <-s.cfg.Replica.Done():
			return s.stoppedProblem()
		}
	}
}

func lastIndex(status core.Status, id string) uint64 {
	for _, f := range status.Followers {
		if f.ID == id {
			return f.LastIndex
		}
	}
	return 0
}

// promote gives the member its vote.
func (s *Server) promote(ctx context.Context, m core.Member) error {
	end, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer end()
	now, member := find(s.cfg.Replica.Status().Members, m.ID)
	if !member || now.Incarnation != m.Incarnation {
		return unavailable(api.CodeNotReady, "node %s was removed while it was catching up; ask again to add it", m.ID)
	}
	if now.Voter {
		return nil
	}
	now.Voter = true
	return s.cfg.Replica.Add(ctx, now)
}

// checkNewcomer refuses what would damage the group.
func (s *Server) checkNewcomer(status core.Status, j api.Join) error {
	if err := checkAddress(status.Address, "address", j.Address); err != nil {
		return err
	}
	if j.Group != "" && j.Group != status.Group {
		return badRequest("node %s has data of a group, %s, that is not this one, %s: to join it, start the node in a new directory with --join",
			j.ID, j.Group, status.Group)
	}
	own := j.Incarnation == "" || j.Incarnation == status.Incarnation
	if j.ID == s.id && (!own || j.Address != status.Address || j.HTTPAddress != s.cfg.HTTPAddress) {
		return badRequest("node %s leads the group from address %s and http_address %s, and this is another node: start it as one, kvnode --id ANOTHER-ID in a new directory",
			s.id, status.Address, s.cfg.HTTPAddress)
	}
	known, member := find(status.Members, j.ID)
	switch {
	case !member && len(j.ID) > discovery.MaxIDBytes:
		return badRequest("body: id %.40q… has %d bytes: at most %d are allowed: start the node in a new directory under a shorter --id",
			j.ID, len(j.ID), discovery.MaxIDBytes)
	case j.HasState && !member:
		// As far as anyone can tell its log may be of another group with the same id,
		// or it was removed, and who did that means it.
		return badRequest("node %s has data of a group, and this one has no such member: to join it, start the node in a new directory with --join", j.ID)
	case known.Voter && j.Nonvoter && (j.Incarnation == "" || j.Incarnation == known.Incarnation):
		return badRequest("node %s is a voter; remove it before it joins as a non-voter", j.ID)
	}
	moves := member && j.Incarnation != "" && j.Incarnation == known.Incarnation
	for _, m := range status.Members {
		if m.ID == j.ID || moves { // if it proves to be there, the other is not
			continue
		}
		if m.Address == j.Address {
			return badRequest("address %s is that of node %s; remove that first", j.Address, m.ID)
		}
		if known, ok := s.address(m.ID); ok && known == j.HTTPAddress {
			return badRequest("http_address %s is that of node %s; remove that first", j.HTTPAddress, m.ID)
		}
	}
	return nil
}

func (s *Server) announce(ctx context.Context, id, address string) error {
	command, err := kv.EncodeAnnounce(id, address)
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, command)
	return err
}

// checkJoin checks what can be checked without knowing the group.
func checkJoin(j api.Join) error {
	if err := checkID(j.ID); err != nil {
		return badRequest("body: id %.40q: %v", j.ID, err)
	}
	if i := strings.LastIndex(j.ID, "#"); i >= 0 && core.IsIncarnation(j.ID[i+1:]) {
		return badRequest("body: id %.60q: it ends as if it named an incarnation: that is a field of its own", j.ID)
	}
	for name, value := range map[string]string{"incarnation": j.Incarnation, "group": j.Group} {
		if value != "" && !core.IsIncarnation(value) {
			return badRequest("body: %s %.40q: want 16 hexadecimal digits, as /status shows them", name, value)
		}
	}
	if j.Address == "" || len(j.Address) > kv.MaxNodeBytes {
		return badRequest("body: address %.40q: want the member's Raft address, up to %d bytes", j.Address, kv.MaxNodeBytes)
	}
	return checkHostPort("http_address", j.HTTPAddress)
}
