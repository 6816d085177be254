package hashicorp_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// quiet groups do not elect anybody while a test makes up heartbeats.
var quiet = core.Tuning{HeartbeatTimeout: 10 * time.Second, ElectionTimeout: 10 * time.Second, LeaderLeaseTimeout: 10 * time.Second}

// beat sends a member a heartbeat as from the leader of a term.
func beat(t *testing.T, through core.Transport, from, to *member, member core.Member, term uint64) {
	t.Helper()
	header := hashicorp.Header(from.Replica, member)
	request := raft.AppendEntriesRequest{RPCHeader: header, Term: term, Leader: header.Addr}
	var answer raft.AppendEntriesResponse
	err := through.AppendEntries(hashicorp.ServerID(member), raft.ServerAddress(to.cfg.Link.Address()), &request, &answer)
	if err != nil || !answer.Success || answer.Term != term {
		t.Fatalf("heartbeat of term %d: %+v, %v", term, answer, err)
	}
}

// nothingOf fails if a member's log has an entry of a term.
func nothingOf(t *testing.T, logs raft.LogStore, term uint64) {
	t.Helper()
	last, err := logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var entry raft.Log
	if err := logs.GetLog(last, &entry); err != nil {
		t.Fatal(err)
	}
	if entry.Term >= term {
		t.Fatalf("entry %d is of term %d, which another member leads", last, entry.Term)
	}
}

// TestDeposedLeaderWritesNothing: a leader that has heard of the next one does not store
// a proposal as an entry of that one's term. It would pass for the entry that the new leader
// has at that index.
func TestDeposedLeaderWritesNothing(t *testing.T) {
	for _, persistence := range []string{core.Serial, core.Overlapped} {
		t.Run(persistence, func(t *testing.T) {
			h := newHomes(t, tcp.New(tcp.Options{}), false)
			h.tuning = quiet
			h.tuning.Persistence = persistence
			var all []*member
			for i := range h.members {
				all = append(all, h.run(t, i, h.members))
			}
			(&room{homes: h, running: [3]*member(all)}).lead(t, 0)
			put(t, all[0], "k", "v")
			wire, err := h.network.Listen("")
			if err != nil {
				t.Fatal(err)
			}
			n2 := hashicorp.FrameAs(wire.Wire, core.Identity{ID: "n2", Incarnation: h.members[1].Incarnation, Group: h.group()})
			defer n2.Close()
			next := all[0].Status().Term + 1
			beat(t, n2, all[1], all[0], h.members[0], next)
			if _, err := all[0].Propose(deadline(t), kv.EncodeSet("k", nil)); err == nil {
				t.Error("a leader that is deposed has committed")
			}
			nothingOf(t, all[0].cfg.Logs, next)
		})
	}
	t.Run("transport without interceptor", func(t *testing.T) {
		members, late := lateGroup(t, quiet)
		put(t, members[0], "k", "v")
		next := members[0].Status().Term + 1
		beat(t, late[1].Transport, members[1], members[0], members[0].Status().Members[0], next)
		if _, err := members[0].Propose(deadline(t), kv.EncodeSet("k", nil)); err == nil {
			t.Error("a leader that is deposed has committed")
		}
		nothingOf(t, members[0].cfg.Logs, next)
	})
}

// TestVotesOfAnOlderTerm: votes for a term that come after a heartbeat of the next one
// make nobody its second leader.
func TestVotesOfAnOlderTerm(t *testing.T) {
	members, late := lateGroup(t, quiet)
	put(t, members[0], "k", "v")
	arrive := make(chan struct{})
	release := sync.OnceFunc(func() { close(arrive) })
	t.Cleanup(release)
	late[0].votes.Store(&arrive)
	late[0].kept.Store(0)
	if err := members[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both have voted", func() bool { return late[0].kept.Load() >= 2 }) // more, if it has asked again
	next := members[0].Status().Term + 1
	beat(t, late[1].Transport, members[1], members[0], members[0].Status().Members[0], next)
	release()
	for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if s := members[0].Status(); s.Role == core.Leader && s.Term >= next {
			t.Fatalf("it leads in term %d, for which nobody has voted", s.Term)
		}
	}
	nothingOf(t, members[0].cfg.Logs, next)
}

// TestNoLeaseBesideAVote: a member that is about to vote in a newer term agrees to no
// heartbeat of the one before: the old leader would count on its not having voted for the
// time of its lease.
func TestNoLeaseBesideAVote(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), false)
	h.tuning = quiet
	disk := newPlatter()
	disk.Only(faulty.Set)
	var all []*member
	for i := range h.members {
		all = append(all, h.run(t, i, h.members, func(c *core.ReplicaConfig) {
			if i == 1 {
				_ = c.Logs.Close() // the folder's: the disk is another
				c.Logs = disk.open()
			}
		}))
	}
	t.Cleanup(disk.Before.Open)
	(&room{homes: h, running: [3]*member(all)}).lead(t, 0)
	wire, err := h.network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	n3 := hashicorp.FrameAs(wire.Wire, core.Identity{ID: "n3", Incarnation: h.members[2].Incarnation, Group: h.group()})
	defer n3.Close()
	s := all[0].Status()
	eventually(t, "n2 has all", func() bool { return all[1].Status().LastIndex == s.LastIndex })
	disk.Before.Shut()
	voted := make(chan error, 1)
	go func() {
		request := raft.RequestVoteRequest{RPCHeader: hashicorp.Header(all[2].Replica, h.members[1]), Term: s.Term + 1,
			LastLogIndex: s.LastIndex, LastLogTerm: s.Term, LeadershipTransfer: true}
		var answer raft.RequestVoteResponse
		err := n3.RequestVote(hashicorp.ServerID(h.members[1]), raft.ServerAddress(h.members[1].Address), &request, &answer)
		if err == nil && !answer.Granted {
			err = errors.New("refused")
		}
		voted <- err
	}()
	eventually(t, "n2 saves the term", func() bool { return disk.Before.Waiting() > 0 })
	header := hashicorp.Header(all[0].Replica, h.members[1])
	request := raft.AppendEntriesRequest{RPCHeader: header, Term: s.Term, Leader: header.Addr}
	var answer raft.AppendEntriesResponse
	if err := n3.AppendEntries(hashicorp.ServerID(h.members[1]), raft.ServerAddress(h.members[1].Address), &request, &answer); err == nil && answer.Success {
		t.Errorf("%+v", answer)
	}
	disk.Before.Open()
	if err := <-voted; err != nil {
		t.Error(err)
	}
}
