package hashicorp

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// missed has a group miss its leader when the first of its followers does.
//
// A follower of the library looks whether it has heard from its leader at random times,
// one to two heartbeat timeouts apart. Until it has looked and found that it has not, it
// refuses a pre-vote, so in a group of three the last follower to look decided when there
// is a next leader: a third of the time without one, on average. The Raft dissertation
// (§4.2.3, §9.6) has a server agree to an election as soon as it has not heard from a
// leader for the timeout, without the random part. So a pre-vote that somebody asks for
// makes the library look. What it finds, and what it promises a leader, stays as it is.
//
// Who looks because it was asked finds itself a candidate too. It gives who asked a head
// start, for two at a time would share the votes; should that one not win, for its log is
// shorter, the delay is random, as timeouts are.
type missed struct {
	heartbeat, election time.Duration
	stands              atomic.Int64 // when it may ask for pre-votes, Unix nanoseconds
}

// The head start is a heartbeat timeout divided by a number between these.
const shortestHeadStart, longestHeadStart = 8, 2

// look has the library look for its leader at once, if that has not been heard from for a
// heartbeat timeout, and waits until it has, within bounds.
func (m *missed) look(r *replica) {
	if !m.misses(r) {
		return
	}
	shortest, longest := m.heartbeat/shortestHeadStart, m.heartbeat/longestHeadStart
	now := time.Now()
	m.stands.Store(now.Add(shortest + rand.N(longest-shortest)).UnixNano())
	// The library looks when the timeout becomes shorter. Next to nothing does.
	settings := r.raft.ReloadableConfig()
	settings.HeartbeatTimeout, settings.ElectionTimeout = m.heartbeat+1, max(m.election, m.heartbeat+1)
	if r.raft.ReloadConfig(settings) != nil { // as they are, and a little longer: never
		return
	}
	settings.HeartbeatTimeout, settings.ElectionTimeout = m.heartbeat, m.election
	_ = r.raft.ReloadConfig(settings)
	for m.misses(r) && time.Since(now) < shortest {
		select {
		case <-time.After(time.Millisecond):
		case <-r.quit:
			return
		}
	}
}

// misses says whether the replica follows a leader that it has not heard from for a
// heartbeat timeout.
func (m *missed) misses(r *replica) bool {
	leader, _ := r.raft.LeaderWithID()
	return leader != "" && r.raft.State() == raft.Follower && time.Since(r.raft.LastContact()) >= m.heartbeat
}

// await waits for the end of the head start that another candidate has.
func (m *missed) await(quit <-chan struct{}) {
	if left := time.Until(time.Unix(0, m.stands.Load())); left > 0 {
		select {
		case <-time.After(left):
		case <-quit:
		}
	}
}
