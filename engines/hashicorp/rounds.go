package hashicorp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// rounds knows when this replica's peers last agreed that it leads.
//
// The library's VerifyLeader takes any answer that comes after the call, also
// one that was sent before it, and that of a non-voter. Neither shows that no
// other leader has acknowledged a write meanwhile; what does is an answer of a
// majority of the voters to messages sent after the read began.
type rounds struct {
	clock atomic.Uint64 // orders sends and the beginnings of reads
	moved *event        // agreements has changed

	mu         sync.Mutex
	agreements map[raft.ServerID]agreement
}

// agreement is the newest message of the newest term that a peer agreed to, and
// what it said of itself.
type agreement struct {
	term, sent uint64
	lastIndex  uint64
	begun, at  time.Time // when it was sent, and answered
	address    raft.ServerAddress
}

func newRounds() *rounds {
	return &rounds{moved: newEvent(), agreements: map[raft.ServerID]agreement{}}
}

// next returns a point in time, later than all that were returned before.
func (r *rounds) next() uint64 { return r.clock.Add(1) }

func (r *rounds) agreed(id raft.ServerID, a agreement) {
	r.mu.Lock()
	old := r.agreements[id]
	if a.term > old.term || a.term == old.term && a.sent > old.sent {
		r.agreements[id] = a
	}
	r.mu.Unlock()
	r.moved.happened()
}

// followers returns what the members other than self have said in term. What others
// have said is forgotten: they are members no more.
func (r *rounds) followers(members []core.Member, self raft.ServerID, term uint64) []core.FollowerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	var followers []core.FollowerStatus
	current := map[raft.ServerID]agreement{}
	for _, m := range members {
		server := serverID(m.ID, m.Incarnation)
		if server == self {
			continue
		}
		f := core.FollowerStatus{ID: m.ID}
		a, said := r.agreements[server]
		if said {
			current[server] = a
		}
		if a.term == term {
			f.LastIndex, f.LastContact, f.Address = a.lastIndex, a.at, string(a.address)
		}
		followers = append(followers, f)
	}
	r.agreements = current
	return followers
}

// majority says whether more than half of the voters, self included, have agreed
// to a message of term that was sent after since.
func (r *rounds) majority(servers []raft.Server, self raft.ServerID, term, since uint64) bool {
	return r.most(servers, self, func(a agreement) bool { return a.term == term && a.sent > since })
}

// leased is majority for messages sent not before since.
func (r *rounds) leased(servers []raft.Server, self raft.ServerID, term uint64, since time.Time) bool {
	return r.most(servers, self, func(a agreement) bool { return a.term == term && !a.begun.Before(since) })
}

func (r *rounds) most(servers []raft.Server, self raft.ServerID, agrees func(agreement) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	voters, agree := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == self || agrees(r.agreements[s.ID]) {
			agree++
		}
	}
	return agree > voters/2
}

// awaitRound waits until a majority of the voters, itself included, has agreed to
// messages of term sent after since. The library must have been made to send some.
func (r *replica) awaitRound(ctx context.Context, term, since uint64, deposed <-chan struct{}) error {
	for {
		moved := r.rounds.moved.channel()
		servers := r.raft.GetConfiguration().Configuration().Servers
		if r.rounds.majority(servers, r.self.server, term, since) {
			return nil
		}
		select {
		case <-moved:
		case <-deposed: // or only told to look
			deposed = r.deposed.channel()
			if r.raft.State() != raft.Leader || r.raft.CurrentTerm() != term {
				return &core.NotLeaderError{}
			}
			if err := r.refuseStalled("verify leadership"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-r.done:
			return r.stopped("verify leadership")
		}
	}
}
