package steward

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// view is what one look has shown, of Raft and of discovery.
type view struct {
	at      time.Time
	self    string
	group   string
	term    uint64
	index   uint64    // newest entry in the leader's log
	led     time.Time // since when this replica leads; zero: it does not
	members []member
	peers   []discovery.Peer
}

// member is a server of the configuration, with what is known of its node.
type member struct {
	core.Member
	state     discovery.State // Unknown: discovery has never heard of it
	since     time.Time       // of the state
	announced string          // Raft address; empty: not known
	empty     bool            // its node says that it has no state
	// replacement is a node that gossips under the member's id, with other data, and is
	// of this group or waits to be added to it; nil: none does.
	replacement *discovery.Peer
	contested   time.Time // since when it is seen; zero: it is not
	wantsVote   bool
	lastIndex   uint64
	lastAnswer  time.Time // to the leader, in this term; zero: none
	answers     bool      // the last one is recent
	answersAt   string    // where it came from
}

// server is what autopilot calls a member: what it knows of an incarnation must not
// count for another.
func server(m core.Member) raft.ServerID {
	return raft.ServerID(core.Identity{ID: m.ID, Incarnation: m.Incarnation}.String())
}

// still says whether m is as it was when it was seen.
func (m member) still(seen member) bool {
	return m.Incarnation == seen.Incarnation && m.state == seen.state && (seen.answers || !m.answers) &&
		(m.replacement == nil) == (seen.replacement == nil)
}

// observe looks at Raft and at discovery.
func (s *Steward) observe() view {
	status := s.cfg.Replica.Status()
	v := view{at: time.Now(), self: status.ID, group: status.Group, term: status.Term, index: status.LastIndex, peers: s.cfg.Peers.Peers()}
	peers := map[string]discovery.Peer{}
	for _, p := range v.peers {
		peers[p.ID] = p
	}
	followers := map[string]core.FollowerStatus{}
	for _, f := range status.Followers {
		followers[f.ID] = f
	}
	for _, c := range status.Members {
		p, f := peers[c.ID], followers[c.ID]
		var replacement *discovery.Peer
		if !p.Is(c, v.group) { // it has the member's id, and is not the member
			if p.State == discovery.Alive && !p.Undecided && p.Group == v.group && p.RaftAddress != "" {
				other := p
				replacement = &other
			}
			p = discovery.Peer{}
		}
		m := member{
			Member: c, replacement: replacement, state: p.State, since: p.Since, announced: p.RaftAddress,
			empty: p.ID != "" && !p.HasState && c.ID != v.self, wantsVote: p.Voter || c.Voter,
			lastIndex: f.LastIndex, lastAnswer: f.LastContact, answersAt: f.Address,
		}
		if c.ID == v.self {
			m.lastIndex, m.lastAnswer, m.answersAt = status.LastIndex, v.at, status.Address
		}
		if p.ID == "" {
			m.state = discovery.Unknown
		}
		m.answers = v.at.Sub(m.lastAnswer) <= s.cfg.LastContact
		v.members = append(v.members, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case status.Role != core.Leader:
		s.led = time.Time{}
	case s.led.IsZero(), s.term != v.term: // led again, unseen in between: no member has answered yet
		s.led, s.term = v.at, v.term
	}
	v.led = s.led
	s.date(v)
	return v
}

// date says since when a member is missing that discovery has never heard of, and
// since when another node goes by its id.
func (s *Steward) date(v view) {
	before := s.contested
	s.contested = map[string]time.Time{}
	for i := range v.members {
		m := &v.members[i]
		if m.replacement != nil {
			other := core.Identity{ID: m.ID, Incarnation: m.replacement.Incarnation}.String()
			m.contested = cmp.Or(before[other], v.at)
			s.contested[other] = m.contested
		}
		if m.state != discovery.Unknown {
			delete(s.missing, m.ID)
			continue
		}
		m.since = cmp.Or(s.missing[m.ID], v.at)
		s.missing[m.ID] = m.since
	}
}

// strangers returns the nodes that should be members and are not.
func (v view) strangers() []discovery.Peer {
	return slices.DeleteFunc(slices.Clone(v.peers), func(p discovery.Peer) bool {
		_, isMember := v.member(p.ID)
		return isMember || p.State != discovery.Alive || p.Undecided || p.RaftAddress == ""
	})
}

// find returns the first member for which is is true.
func (v view) find(is func(member) bool) (member, bool) {
	i := slices.IndexFunc(v.members, is)
	if i < 0 {
		return member{}, false
	}
	return v.members[i], true
}

// member returns the member called id.
func (v view) member(id string) (member, bool) {
	return v.find(func(m member) bool { return m.ID == id })
}

// silentBut returns the voters other than id that do not answer.
func (v view) silentBut(id string) []string {
	var silent []string
	for _, m := range v.members {
		if m.Voter && m.ID != id && !m.answers {
			silent = append(silent, m.ID)
		}
	}
	return silent
}

// settled says whether the leader has led for long enough to have heard from all
// that answer.
func (v view) settled(lastContact time.Duration) bool { return v.at.Sub(v.led) > lastContact }

// safeWithout says whether, with the member id removed, more than half of the voters
// that are left answer: the group could commit the removal and go on.
func (v view) safeWithout(id string) bool {
	voters, answering := 0, 0
	for _, m := range v.members {
		if !m.Voter || m.ID == id {
			continue
		}
		voters++
		if m.answers {
			answering++
		}
	}
	return answering > voters/2
}

// silentFor says for how long neither discovery nor the leader has heard of m. A
// new leader starts to count anew.
func (v view) silentFor(m member) time.Duration {
	if m.answers || m.state == discovery.Alive {
		return 0
	}
	since := v.led
	for _, t := range []time.Time{m.since, m.lastAnswer} {
		if t.After(since) {
			since = t
		}
	}
	return v.at.Sub(since)
}
