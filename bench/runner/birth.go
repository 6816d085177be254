package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// How often a node is asked while its group comes into being. Questions cost the
// node, and the machine that all share, so one that has told all that is expected
// of it is asked only in case it should yet come to lead.
const (
	pollPause    = 5 * time.Millisecond   // between an answer and the next question
	settledPause = 100 * time.Millisecond // the same, of a node that is ready and follows
	pollTimeout  = time.Second            // for one answer
)

// sighting is when an event was seen, since the beginning.
type sighting struct {
	at       time.Duration // 0: not yet
	earliest time.Duration // when it may have happened at the earliest
}

func (s sighting) error() time.Duration { return s.at - s.earliest }

// last is the sighting of all events together.
func last(events ...sighting) sighting {
	var all sighting
	for _, e := range events {
		all.at, all.earliest = max(all.at, e.at), max(all.earliest, e.earliest)
	}
	return all
}

// birth watches a group come into being: it asks every node what it is until all
// are voters that have caught up.
type birth struct {
	began time.Time
	nodes []*client.Node
	ids   []string
	whole func() // called once all has been seen

	mu         sync.Mutex
	leader     sighting   // somebody leads
	voters     sighting   // the leader has all nodes as voters
	ready      []sighting // by node: it has caught up
	leadership leadership // the last one seen
}

func newBirth(g *processes, began time.Time, whole func()) *birth {
	b := &birth{began: began, nodes: g.nodes, whole: whole, ready: make([]sighting, len(g.nodes))}
	for _, n := range g.file.Nodes {
		b.ids = append(b.ids, n.Alias)
	}
	return b
}

// run asks all nodes until the context ends.
func (b *birth) run(ctx context.Context) {
	var group sync.WaitGroup
	for i := range b.nodes {
		group.Go(func() { b.follow(ctx, i) })
	}
	group.Wait()
}

// follow asks one node, round by round.
func (b *birth) follow(ctx context.Context, i int) {
	before := time.Duration(0) // when the round before began, which did not see yet what this one may see
	for {
		now := time.Since(b.began)
		pause := pollPause
		if b.round(ctx, i, before) {
			pause = settledPause
		}
		before = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// round asks one node what it is and, once it knows a leader, whether it has
// caught up. It reports whether nothing more is expected of the node.
func (b *birth) round(ctx context.Context, i int, before time.Duration) (settled bool) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	s, err := b.nodes[i].Status(ctx)
	if err != nil || s.Me.ID != b.ids[i] { // not there yet, or another program on its port
		return false
	}
	leads := s.Me.Role == string(core.Leader)
	if leads {
		b.seeLeader(s, before)
	}
	// A node that was told of no commit has not caught up. Asked all the same, it
	// would wait for a while, and nothing could be said of when it did.
	told := s.Leader != nil && s.Me.CommitIndex > 0
	if !b.isReady(i) && (!told || b.nodes[i].Ready(ctx) != nil) {
		return false
	}
	b.see(&b.ready[i], before)
	return !leads
}

func (b *birth) seeLeader(s api.Status, before time.Duration) {
	b.see(&b.leader, before)
	if countVoters(s) == len(b.nodes) {
		b.see(&b.voters, before)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leadership = leadership{s.Me.ID, s.Me.Term}
}

// see notes an event when it is seen first.
func (b *birth) see(event *sighting, before time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if event.at > 0 {
		return
	}
	*event = sighting{time.Since(b.began), before}
	if b.missing() == nil {
		b.whole()
	}
}

func (b *birth) isReady(i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready[i].at > 0
}

// missing says what has not been seen yet; nil: nothing. The caller holds mu, or
// the watching is over.
func (b *birth) missing() error {
	var waiting []string
	for i, r := range b.ready {
		if r.at == 0 {
			waiting = append(waiting, b.ids[i])
		}
	}
	switch {
	case b.leader.at == 0:
		return errors.New("there is no leader")
	case len(waiting) > 0:
		return fmt.Errorf("%s: not caught up", strings.Join(waiting, ", "))
	case b.voters.at == 0:
		return errors.New("not all nodes are voters")
	default:
		return nil
	}
}

// record is what was seen, as far as it was.
func (b *birth) record() *record.Formation {
	f := &record.Formation{PollNS: int64(pollPause), LeaderNS: int64(b.leader.at), LeaderErrorNS: int64(b.leader.error())}
	if b.missing() == nil {
		all := last(append(b.ready, b.leader, b.voters)...)
		f.VotersNS, f.VotersErrorNS = int64(all.at), int64(all.error())
	}
	return f
}

// countVoters counts the voters in the configuration that a node has.
func countVoters(s api.Status) int {
	n := 0
	if s.Me.Voter {
		n++
	}
	for _, f := range s.Followers {
		if f.Voter && f.ID != s.Me.ID {
			n++
		}
	}
	return n
}
