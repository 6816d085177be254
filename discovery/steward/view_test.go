package steward

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

type fixed struct {
	Replica
	status core.Status
	added  []core.Member
}

func (f *fixed) Add(_ context.Context, m core.Member) error {
	f.added = append(f.added, m)
	return nil
}

func (f *fixed) Status() core.Status { return f.status }

type nobody struct{}

func (nobody) Peers() []discovery.Peer  { return nil }
func (nobody) Changes() <-chan struct{} { return nil }

// TestLedAgainCountsAnew: a replica that lost the leadership and won it again between
// two looks has not heard of anybody in the new term. Who answered all along must not
// count as silent for as long as the leadership before has lasted.
func TestLedAgainCountsAnew(t *testing.T) {
	replica := &fixed{status: core.Status{
		ID: "a", Role: core.Leader, Term: 1,
		Members:   []core.Member{{ID: "a", Voter: true}, {ID: "b", Voter: true}},
		Followers: []core.FollowerStatus{{ID: "b", LastContact: time.Now()}},
	}}
	s := &Steward{cfg: Config{Replica: replica, Peers: nobody{}, LastContact: time.Minute}, missing: map[string]time.Time{}}
	s.observe()
	long := time.Now().Add(-time.Hour)
	s.led, s.missing["b"] = long, long
	if v := s.observe(); !v.led.Equal(long) || v.silentFor(v.members[1]) != 0 {
		t.Fatalf("it leads since %v, and b is silent for %v", v.led, v.silentFor(v.members[1]))
	}
	replica.status.Term, replica.status.Followers = 2, []core.FollowerStatus{{ID: "b"}}
	if v := s.observe(); v.silentFor(v.members[1]) != 0 {
		t.Errorf("b is silent for %v", v.silentFor(v.members[1]))
	}
}

// TestPromotesWhomItMeant: what autopilot has found out about a member does not count for
// one that came in its place without the data.
func TestPromotesWhomItMeant(t *testing.T) {
	replica := &fixed{status: core.Status{
		ID: "a", Role: core.Leader, Term: 1,
		Members: []core.Member{{ID: "a", Voter: true}, {ID: "b", Incarnation: "0000000000000002", Address: "new"}},
	}}
	s := &Steward{
		cfg: Config{Replica: replica, Peers: nobody{}, LastContact: time.Minute}, missing: map[string]time.Time{}, ctx: t.Context(),
		wake: make(chan struct{}, 1),
	}
	if err := (raftOf{s}).AddVoter("b#0000000000000001", "old", 0, 0).Error(); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("the one that was: %v", err)
	}
	if replica.added != nil {
		t.Errorf("added %v", replica.added)
	}
	want := core.Member{ID: "b", Incarnation: "0000000000000002", Address: "new", Voter: true}
	if err := (raftOf{s}).AddVoter("b#0000000000000002", "old", 0, 0).Error(); err != nil || len(replica.added) != 1 || replica.added[0] != want {
		t.Errorf("the one that is: %v, added %v", err, replica.added)
	}
}
