package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/client"
)

// A group that has lost the majority of its voters for good elects no leader any more, and
// says nothing of what it holds. Recover makes another group of the folders that are left.
// The new one begins with the state of the newest log, which has every entry that a
// majority with one of the survivors had acknowledged; its members have new incarnations,
// so it has an id of its own, and nobody of the old group is taken for a member.

// unusedIndexes is how far the new group's first entry is from the last one kept. A client
// may have seen, on a member that was lost, that a key was changed at an index after that:
// no other change is to get the same. It is what etcd's guide to recovery gives.
const unusedIndexes = 1_000_000_000

// Recovery says what is to be recovered.
type Recovery struct {
	Dirs []string // folders of the survivors
	// Members are the Raft addresses of the new group's members, by id: those of Dirs,
	// each and no other. Nil: where they were last known to be.
	Members map[string]string
	// Confirm is shown the plan before anything is written. An error ends the recovery,
	// and is returned.
	Confirm func(RecoveryPlan) error
	Parts

	step steps
}

// RecoveryPlan is what a recovery does, unless it is told not to.
type RecoveryPlan struct {
	Survivors []*Survivor   // the one with the newest log first
	Former    []core.Member // of the group that was lost, by the newest configuration
	Members   []core.Member // of the group that is made
	Becomes   Recovered     // but for Kept, which is the survivor's

	// Committed is the newest entry that a survivor knew to be committed. Unsure are those
	// behind it, which are kept.
	Committed uint64
	Unsure    []Span
	// Complete: every majority of the former voters has a survivor, so all that was
	// acknowledged is kept.
	Complete bool
}

// ErrRecovered says that the recovery has been carried out already.
var ErrRecovered = errors.New("the group is recovered")

// Recover makes a new group of what survivors of a lost majority have left. Whenever it is
// ended by a crash, all folders have their old state or, once they were opened again, all
// their new one. The state before stays in the folders.
//
// A core.ErrInvalid says that there is nothing to recover here, and what to do instead;
// ErrRecovered, that it was done by a call that has not returned.
func Recover(ctx context.Context, r Recovery) (plan RecoveryPlan, err error) {
	if len(r.Dirs) == 0 {
		return plan, fmt.Errorf("%w: no folder of a survivor is given", core.ErrInvalid)
	}
	var all []*remains
	defer func() {
		for _, open := range all {
			err = errors.Join(err, open.Close())
		}
	}()
	for i, dir := range r.Dirs {
		if err := givenOnce(dir, r.Dirs[:i]); err != nil {
			return plan, err
		}
		open, err := openRemains(ctx, dir, r.Parts, true)
		if _, ok := errors.AsType[*logUnreadable](err); ok {
			err = leaveOut(dir, err)
		}
		if err != nil {
			return plan, err
		}
		all = append(all, open)
	}
	if r.finished(all) {
		for _, done := range all {
			err = errors.Join(err, done.settle(r.step))
		}
		last := all[0].identity.Recovered
		for _, m := range all[0].Members {
			if to, given := r.Members[m.ID]; given && to != m.Address {
				return plan, errors.Join(err, fmt.Errorf("%w: these nodes are recovered already, as group %s with %s at %s, not at %s: start it there, and the others with --peers %[3]s=%[5]s",
					core.ErrInvalid, last[len(last)-1].Group, m.ID, m.Address, to))
			}
		}
		return RecoveryPlan{Becomes: last[len(last)-1], Members: all[0].Members}, errors.Join(err, ErrRecovered)
	}
	if plan, err = r.plan(ctx, all); err != nil {
		return plan, err
	}
	if err := r.Confirm(plan); err != nil {
		return plan, err
	}
	return plan, r.carryOut(ctx, &plan)
}

func givenOnce(dir string, before []string) error {
	a, err := os.Stat(dir)
	for _, other := range before {
		if b, errB := os.Stat(other); err == nil && errB == nil && os.SameFile(a, b) {
			return fmt.Errorf("%w: %s and %s are the same folder: give each once", core.ErrInvalid, other, dir)
		}
	}
	return nil
}

// finished says whether the folders are all members of a group that a recovery has made.
func (r *Recovery) finished(all []*remains) bool {
	for _, one := range all {
		past := one.identity.Recovered
		if len(past) == 0 || past[len(past)-1].Group != one.Identity.Group || one.Identity.Group != all[0].Identity.Group || len(one.Members) != len(all) {
			return false
		}
	}
	return true
}

func (r *Recovery) plan(ctx context.Context, all []*remains) (plan RecoveryPlan, err error) {
	if plan.Survivors, err = survivorsOf(all); err != nil {
		return plan, cmp.Or(context.Cause(ctx), err)
	}
	newest := plan.Survivors[0]
	plan.Former = newest.remains.Members
	if err := plan.judgeMajority(); err != nil {
		return plan, err
	}
	if err := plan.nobodyAnswers(ctx); err != nil {
		return plan, err
	}
	if plan.Members, err = r.members(plan.Survivors); err != nil {
		return plan, err
	}
	for _, s := range plan.Survivors {
		plan.Committed = max(plan.Committed, s.CommittedIndex)
	}
	plan.Unsure = newest.after(plan.Committed)
	plan.Becomes = Recovered{
		Group: core.GroupID(plan.Members), From: newest.remains.Identity.Group, At: time.Now().UTC(), Index: newest.LastIndex, Term: newest.LastTerm,
	}
	return plan, nil
}

// judgeMajority refuses where the folders are enough for the group to go on.
func (p *RecoveryPlan) judgeMajority() error {
	all, here := p.voters(nil), p.voters(p.survives)
	majority := all/2 + 1
	if here >= majority {
		return fmt.Errorf("%w: %d of the %d voters are here, which is a majority: nothing needs to be recovered: start these nodes, and they elect a leader",
			core.ErrInvalid, here, all)
	}
	p.Complete = all-here < majority
	return nil
}

// voters counts those of the former members that are such; nil: all.
func (p *RecoveryPlan) voters(such func(id string) bool) (n int) {
	for _, m := range p.Former {
		if m.Voter && (such == nil || such(m.ID)) {
			n++
		}
	}
	return n
}

func (p *RecoveryPlan) survives(id string) bool {
	return slices.ContainsFunc(p.Survivors, func(s *Survivor) bool { return s.ID == id })
}

const answerTimeout = time.Second // of a member that may still run

// nobodyAnswers refuses while another member of the group still runs: what it holds is a
// part of what is left, too.
func (p *RecoveryPlan) nobodyAnswers(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	running := map[string]string{} // HTTP address by id
	for _, m := range p.Former {
		for _, s := range p.Survivors {
			address := s.remains.dir.nodes[m.ID]
			if address == "" || p.survives(m.ID) {
				continue
			}
			asking.Go(func() {
				if answersAs(asked, address, m, p.Survivors[0].remains.Identity.Group) {
					mu.Lock()
					defer mu.Unlock()
					running[m.ID] = address
				}
			})
		}
	}
	asking.Wait()
	if len(running) == 0 {
		return ctx.Err()
	}
	var who []string
	for _, id := range slices.Sorted(maps.Keys(running)) {
		who = append(who, fmt.Sprintf("%s (%s)", id, running[id]))
	}
	together := p.voters(func(id string) bool { return p.survives(id) || running[id] != "" })
	if all := p.voters(nil); together > all/2 {
		return fmt.Errorf("%w: these members still answer: %s. With those of the given folders they are a majority of the %d voters, so nothing needs to be recovered: start these nodes, and they elect a leader",
			core.ErrInvalid, strings.Join(who, ", "), all)
	}
	return fmt.Errorf("%w: these members still answer: %s. They survive, too: stop them, and give their folders as well", core.ErrInvalid, strings.Join(who, ", "))
}

// answersAs says whether m, of that group, answers HTTP at the address.
func answersAs(ctx context.Context, address string, m core.Member, group string) bool {
	c, err := client.New([]string{address}, client.Options{})
	if err != nil {
		return false
	}
	defer c.Close()
	status, err := c.Node(address).Status(ctx)
	return err == nil && status.Me.ID == m.ID && status.Me.Group == group && !different(status.Me.Incarnation, m.Incarnation)
}

// members is the first configuration of the new group.
func (r *Recovery) members(survivors []*Survivor) ([]core.Member, error) {
	var members []core.Member
	left := maps.Clone(r.Members)
	for _, s := range survivors {
		was, _ := core.Status{Members: survivors[0].remains.Members}.Member(s.ID)
		m := core.Member{ID: s.ID, Incarnation: core.NewIncarnation(), Address: was.Address, Voter: true}
		if r.Members != nil {
			if m.Address = r.Members[s.ID]; m.Address == "" {
				return nil, fmt.Errorf("%w: the members leave out %s, whose folder %s is given: add %[2]s=HOST:PORT, or leave the folder out", core.ErrInvalid, s.ID, s.Dir)
			}
		}
		delete(left, s.ID)
		members = append(members, m)
	}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		return nil, fmt.Errorf("%w: %s is to be a member, but no folder of it is given: leave it out, and once the group runs start it in a new folder with --join", core.ErrInvalid, id)
	}
	slices.SortFunc(members, func(a, b core.Member) int { return strings.Compare(a.ID, b.ID) })
	return members, nil
}

// carryOut makes the new state in every folder, and then has them switch over, first the
// one with the newest log.
func (r *Recovery) carryOut(ctx context.Context, plan *RecoveryPlan) error {
	state, err := plan.newState()
	if err != nil {
		return err
	}
	for _, s := range plan.Survivors {
		if err := errors.Join(s.remains.closeLog(), s.remains.settle(r.step)); err != nil {
			return err
		}
	}
	for _, s := range plan.Survivors {
		if err = errors.Join(err, context.Cause(ctx)); err == nil {
			err = r.prepare(ctx, plan, s, state)
		}
	}
	if err != nil {
		err = fmt.Errorf("nothing was changed: %w", err)
		for _, s := range plan.Survivors {
			err = errors.Join(err, s.remains.dir.settle(r.step))
		}
		return err
	}
	for i, s := range plan.Survivors {
		switch err := s.remains.dir.claimAt(r.step, "switch "+s.ID, *s.remains.dir.identity.switched()); {
		case err != nil && i == 0:
			return fmt.Errorf("%w: whether it counts shows when it is tried again: give the same command", err)
		case err != nil:
			return fmt.Errorf("%w: the group is recovered, but %s does not know yet: mend that, and give the same command again", err, s.Dir)
		}
	}
	return nil
}

// recoveredState is what the new group begins with.
type recoveredState struct {
	*kv.Store
	index, term uint64
}

// newState is the state of the newest log, whose directory has the new members only. It is
// as of an index and a term that no entry of the group that was lost has.
func (p *RecoveryPlan) newState() (s recoveredState, err error) {
	newest := p.Survivors[0]
	if s.Store, err = newest.remains.replay(); err != nil {
		return s, fmt.Errorf("%s: %w", newest.Dir, err)
	}
	s.index = newest.LastIndex + unusedIndexes
	for _, survivor := range p.Survivors {
		s.term = max(s.term, survivor.remains.Term+1, survivor.LastTerm+1)
	}
	for _, id := range slices.Sorted(maps.Keys(s.Nodes())) {
		if p.survives(id) {
			continue
		}
		command, err := kv.EncodeAnnounce(id, "")
		if err != nil {
			return s, err
		}
		s.index++
		s.Apply(s.index, command)
	}
	return s, nil
}

// prepare makes the new state in the folder of s, noted as pending.
func (r *Recovery) prepare(ctx context.Context, plan *RecoveryPlan, s *Survivor, state recoveredState) error {
	dir, newest := s.remains.dir, plan.Survivors[0].remains.dir
	me, _ := core.Status{Members: plan.Members}.Member(s.ID)
	next := *dir.identity
	next.Pending = &pending{State: statePrefix + plan.Becomes.Group, Incarnation: me.Incarnation, Becomes: plan.Becomes}
	next.Pending.Becomes.Kept = s.Kept
	if dir != newest {
		path, err := between(dir.path, newest.path)
		if err != nil {
			return err
		}
		next.Pending.Decider = &decider{Path: path, ID: newest.identity.ID, Created: newest.identity.Created}
	}
	if err := dir.claimAt(r.step, "note the recovery in "+s.ID, next); err != nil {
		return err
	}
	b := foundation{
		path: filepath.Join(dir.path, next.Pending.State), engine: s.remains.engine, step: r.step,
		open: func(path string) (core.LogStore, error) { return r.Open(dir.identity.Backend, path) },
	}
	snapshot, err := state.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Release()
	f := core.Founding{ID: s.ID, Members: plan.Members, Index: state.index, Term: state.term, Former: plan.Becomes.From, State: snapshot}
	return b.lay(ctx, f)
}

// between is the way from one folder to another.
func between(from, to string) (string, error) {
	from, errFrom := filepath.Abs(from)
	to, errTo := filepath.Abs(to)
	path, err := filepath.Rel(from, to)
	return path, errors.Join(errFrom, errTo, err)
}
