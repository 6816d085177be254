package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// A node becomes a voter in steps, each of which is a change of its own that leaves
// the group whole: the vote of data that are lost is taken away, the node is added
// without a vote, and it gets one once it has caught up (Raft dissertation, §4.2.1).
// After a crash in between the node asks again, and the leader goes on from what the
// configuration says.

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
		return notReady("the configuration has changed while node %s was added; ask again: %v", id, err)
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
		return nil, notReady("another member is being added or removed; ask again")
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
	if e.known.ID == "" || e.replaces() {
		if err := s.canFollow(ctx, e.wanted, j.HTTPAddress); err != nil {
			return core.Member{}, err
		}
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
	e.known, _ = status.Member(j.ID)
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
// that stands in the configuration may become leader at any time, and a node that knows
// so has to know where it is. An announcement whose member was not added does no
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
		now, member := status.Member(m.ID)
		switch {
		case status.Role != core.Leader:
			return &core.NotLeaderError{LeaderID: status.LeaderID, LeaderAddress: status.LeaderAddress}
		case !member || now.Incarnation != m.Incarnation:
			return notReady("node %s was removed while it was catching up; ask again to add it", m.ID)
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
			return notReady("node %s is a member without a vote and catching up: its log is at index %d of %d; "+
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
	now, member := s.cfg.Replica.Status().Member(m.ID)
	if !member || now.Incarnation != m.Incarnation {
		return notReady("node %s was removed while it was catching up; ask again to add it", m.ID)
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
		return badRequest("node %s has data of a group, %s, that is not this one, %s: %s",
			j.ID, j.Group, status.Group, asNew(j.ID))
	}
	own := j.Incarnation == "" || j.Incarnation == status.Incarnation
	if j.ID == s.id && (!own || j.Address != status.Address || j.HTTPAddress != s.cfg.HTTPAddress) {
		return badRequest("node %s leads the group from address %s and http_address %s, and this is another node: start it as one, kvnode --id ANOTHER-ID in a new directory",
			s.id, status.Address, s.cfg.HTTPAddress)
	}
	known, member := status.Member(j.ID)
	switch {
	case !member && len(j.ID) > discovery.MaxIDBytes:
		return badRequest("body: id %.40q… has %d bytes: at most %d are allowed: start the node in a new directory under a shorter --id",
			j.ID, len(j.ID), discovery.MaxIDBytes)
	case j.HasState && !member:
		// As far as anyone can tell its log may be of another group with the same id,
		// or it was removed, and that was meant.
		return badRequest("node %s has data of a group, and this one has no such member: %s", j.ID, asNew(j.ID))
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

// asNew says how a node with data of its own joins.
func asNew(id string) string {
	return fmt.Sprintf("to join it, start the node in a new directory with --join (in a cluster of clusterctl: 'clusterctl replace %s')", id)
}

func (s *Server) announce(ctx context.Context, id, address string) error {
	command, err := kv.EncodeAnnounce(id, address)
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, command)
	return err
}

// A group that counts on voters who do not answer stands still, and can then not even
// change its configuration. So those that are to count are asked first, where the replica can
// (core.Prober).

// probeTimeout bounds how long a node may take to answer.
const probeTimeout = 2 * time.Second

// meet refuses a member that does not answer Raft where it says that it is, with the
// data that it says.
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
	found, err := prober.Probe(ctx, m)
	switch {
	case s.cfg.Replica.Status().Role == core.Stopped:
		return err
	case err == nil && found.Service != "" && found.Service != http:
		return badRequest("node %s does not serve HTTP at %s: it says itself that it does at %s; ask with that http_address", m.ID, http, found.Service)
	case err == nil:
		return nil
	}
	return s.silent(ctx, m, "its Raft address "+m.Address, "--raddr", err)
}

// silent refuses a node that does not answer. The caller is told no more than that, and
// once ctx has ended, whatever the reason: otherwise anyone could have the leader find out
// which ports of its network are open. The reason is in the log.
func (s *Server) silent(ctx context.Context, m core.Member, where, option string, reason error) error {
	s.cfg.Logger.Warn("a node is not added: it does not answer", "member", m.ID, "at", where, "error", reason)
	<-ctx.Done()
	return badRequest("node %s does not answer at %s, so it is not added and gets no vote: "+
		"start it first, with a %s that the leader can reach; the log of node %s says more", m.ID, where, option, s.id)
}

// canFollow refuses a newcomer whose program does not know every command that the log may
// hold: its map would be another than the members'. What it has to know does not depend on
// whether a restore is under way: the log may still hold an earlier one, and the next can
// begin at any moment, since those who are members by then do know it (allCanRestore).
func (s *Server) canFollow(ctx context.Context, m core.Member, http string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	me, err := s.nodeAt(ctx, m, http)
	if err != nil {
		return s.silent(ctx, m, "its http_address "+http, "--haddr", err)
	}
	return knowsRestores(me)
}

// notThere refuses to let another node have a member's id as long as the member
// answers: they would be two under one id.
func (s *Server) notThere(ctx context.Context, e enrolment) error {
	prober, ok := s.cfg.Replica.(core.Prober)
	if !ok {
		return notReady("node %s has other data than the member: remove that one first (DELETE /members/%s)", e.known.ID, e.known.ID)
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
		return notReady("not removing node %s: of the %d voters that would be left %d answer, so the group would stop", leaving.ID, stay, n)
	}
	return nil
}

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
	member, ok := status.Member(id)
	switch {
	case !ok:
		return refuse(api.CodeNotFound, "there is no member %q", id)
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
	target, ok := status.Member(id)
	switch {
	case id == s.id:
		return nil
	case id == "" && voters(status.Members) == 1:
		return badRequest("node %s is the only voter: there is nobody to lead in its place", s.id)
	case id != "" && !ok:
		return refuse(api.CodeNotFound, "there is no member %q", id)
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
		s.refresh()
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
