package node

import (
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip"
)

// Profile is the timings that suit where the members are.
type Profile struct {
	Name string
	// Raft holds only timings. Those that are not set follow the others: see
	// [core.Tuning].
	Raft   core.Tuning
	Gossip gossip.Profile
}

// The profiles.
const (
	Local = "local" // nodes of one machine
	LAN   = "lan"   // of a data centre; the default
	WAN   = "wan"   // of several, up to some 200 ms of round trip from each other
)

// Profiles returns the profiles, the shortest timings first.
//
// Shorter means that clients wait less for the next leader after one has died (about one
// and a half heartbeat timeouts), and that a shorter standstill of a leader's process, or
// of the way to it, is taken for its end. A leader sends a heartbeat every tenth to
// fifth of the timeout, past its own log writes, and followers answer past theirs, so a
// slow disk delays none. What delays them is processes that do not get to run, which is
// the same on one machine and on several, so Raft has one timing for both. A leader that
// stood still itself finds that it has heard from nobody, and steps down before it has
// asked: so its lease is as long as the heartbeat timeout, and not shorter.
func Profiles() []Profile {
	raft := func(heartbeat time.Duration) core.Tuning {
		return core.Tuning{HeartbeatTimeout: heartbeat, LeaderLeaseTimeout: heartbeat}
	}
	return []Profile{
		{Local, raft(300 * time.Millisecond), gossip.Local()},
		{LAN, raft(300 * time.Millisecond), gossip.LAN()},
		{WAN, raft(2 * time.Second), gossip.WAN()},
	}
}

// ProfileOf returns the profile of a name; false: there is none.
func ProfileOf(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Tuned lays settings over those of the profile. A heartbeat timeout of their own brings
// the others along that follow it, instead of those of the profile.
func (p Profile) Tuned(t core.Tuning) core.Tuning {
	if t.HeartbeatTimeout > 0 {
		return t
	}
	t.HeartbeatTimeout = p.Raft.HeartbeatTimeout
	if t.LeaderLeaseTimeout == 0 {
		t.LeaderLeaseTimeout = p.Raft.LeaderLeaseTimeout
	}
	return t
}
