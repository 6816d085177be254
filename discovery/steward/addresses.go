package steward

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/discovery"
)

// move gives a member the address under which it announces itself, unless it
// answers under another one: then two nodes run on the same data. Nor does a node go
// for the voter whose incarnation it has kept without the log: the group counts on what
// that holds and the vote that the voter has given.
func (s *Steward) move(v view, m member) {
	if m.Voter && m.empty {
		s.say(m.ID, slog.LevelWarn, "not moving "+m.ID+" to "+m.announced+": the node there has lost its log, and the member has "+
			"voted and acknowledged. Bring the log back, or start the node in a new directory with --gossip-join")
		return
	}
	if !m.answers && !v.settled(s.cfg.LastContact) {
		return
	}
	if m.answers && m.answersAt != m.announced {
		s.say(m.ID, slog.LevelWarn, m.ID+" announces "+m.announced+" and still answers at "+m.answersAt+
			": its address stays. Do two nodes run under one id? Then stop the one at "+m.announced)
		return
	}
	if !s.vacate(v, m.ID, m.announced) {
		return
	}
	moved := m.Member
	moved.Address = m.announced
	if s.change("update "+m.ID, func(ctx context.Context) error { return s.cfg.Replica.Add(ctx, moved) }) {
		s.logger.Info("updated the address of "+m.ID, "from", m.Address, "to", m.announced)
	}
}

// vacate sees to it that no other member has the address that id announces, for a
// configuration holds an address once: it removes a member that does not answer. It says
// whether the address is free.
func (s *Steward) vacate(v view, id, address string) bool {
	m, taken := v.find(func(m member) bool { return m.ID != id && m.Address == address })
	if !taken {
		return true
	}
	switch {
	case m.answers && m.answersAt == address:
		s.say(id, slog.LevelError, "not adding "+id+" at "+address+": "+m.ID+" answers there. Start "+id+" with another --raddr")
	case v.circle(id) != nil:
		s.untangle(v, v.circle(id))
	case m.answers, m.ID == v.self, m.state == discovery.Alive && m.announced != "" && m.announced != address:
		// It is elsewhere, and its address in the configuration changes first.
	case v.settled(s.cfg.LastContact):
		s.remove(m, id+" has its address "+address+" now")
	}
	return false // the rest when the configuration has changed
}

// circle returns the members that each have the address which the one before announces,
// beginning with id, if the last one announces that of id: none of them can be given its
// own before another has. Else it returns nil.
func (v view) circle(id string) []member {
	var circle []member
	for next := id; ; {
		m, ok := v.member(next)
		if !ok || m.state != discovery.Alive || m.announced == "" || m.announced == m.Address ||
			slices.ContainsFunc(circle, func(c member) bool { return c.ID == m.ID }) {
			return nil
		}
		circle = append(circle, m)
		there, ok := v.find(func(o member) bool { return o.Address == m.announced })
		if !ok {
			return nil
		}
		if next = there.ID; next == id {
			return circle
		}
	}
}

// untangle breaks a circle: it gives one of them an address where no node can be, so that
// the others can be updated one after the other, and it as the last. A leader that looks for
// it meanwhile, this one or another, finds it where gossip says (Locate). So all of
// them must be seen to answer there.
func (s *Steward) untangle(v view, circle []member) {
	var ids []string
	for _, m := range circle {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	first := circle[0]
	if first.ID != ids[0] {
		return // it is done when its turn comes: once for all of them
	}
	names := strings.Join(ids, ", ")
	for _, m := range circle {
		if !m.answers || m.answersAt != m.announced {
			s.say(first.ID, slog.LevelWarn, names+" have each other's addresses, which stays so until "+m.ID+" answers at "+
				m.announced+": start it with --raddr "+m.announced)
			return
		}
	}
	parked := first.Member
	parked.Address = discovery.Nowhere(first.announced)
	if slices.ContainsFunc(v.members, func(m member) bool { return m.Address == parked.Address }) {
		return // another circle is being undone
	}
	s.say(first.ID, slog.LevelInfo, names+" have each other's addresses: updating one after the other, and "+first.ID+" last")
	s.change("update "+first.ID, func(ctx context.Context) error { return s.cfg.Replica.Add(ctx, parked) })
}
