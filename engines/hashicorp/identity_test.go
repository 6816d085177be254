package hashicorp_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/inmem"
)

// homes is where the members of a group keep their data and where they are reached.
type homes struct {
	dir     string
	network core.Network
	members []core.Member
	engine  hashicorp.Engine
	tuning  core.Tuning
}

// newHomes makes three places, and incarnations for who lives there if identified.
func newHomes(t *testing.T, network core.Network, identified bool) *homes {
	t.Helper()
	h := &homes{dir: t.TempDir(), network: network, tuning: fast}
	for _, id := range []string{"n1", "n2", "n3"} {
		link, err := network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		m := core.Member{ID: id, Address: link.Address(), Voter: true}
		if err := link.Close(); err != nil {
			t.Fatal(err)
		}
		if identified {
			m.Incarnation = core.NewIncarnation()
		}
		h.members = append(h.members, m)
	}
	return h
}

// run starts member i at its address, on what its folder holds.
func (h *homes) run(t *testing.T, i int, bootstrap []core.Member, change ...func(*core.ReplicaConfig)) *member {
	t.Helper()
	self := h.members[i]
	logs, err := bolt.Open(filepath.Join(h.dir, self.ID, "log"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{kv: kv.New(), engine: h.engine}
	m.cfg = core.ReplicaConfig{
		ID: self.ID, Incarnation: self.Incarnation, FSM: m.kv, Logs: logs,
		SnapshotDir: filepath.Join(h.dir, self.ID), Tuning: h.tuning,
	}
	for _, c := range change {
		c(&m.cfg)
	}
	eventually(t, "the address is free", func() bool {
		m.cfg.Link, err = h.network.Listen(self.Address)
		return err == nil
	})
	m.start(t, bootstrap)
	return m
}

func stop(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// found has all three start a group under n1.
func (h *homes) found(t *testing.T) []*member {
	t.Helper()
	var all []*member
	for i := range h.members {
		all = append(all, h.run(t, i, h.members))
	}
	if err := all[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 leads", func() bool { return all[0].Status().Role == core.Leader })
	return all
}

func (h *homes) group() string { return core.GroupID(h.members) }

// TestVotesAfterRestart: a member that restarts may have promised its leader a
// heartbeat timeout, on which the leader's lease rests. It gives no vote before.
func TestVotesAfterRestart(t *testing.T) {
	ask := func(t *testing.T, engine hashicorp.Engine) (begun time.Time, granted func() bool) {
		h := newHomes(t, inmem.New(inmem.Options{}), true)
		h.tuning = core.Tuning{HeartbeatTimeout: 2 * time.Second}
		all := h.found(t)
		put(t, all[0], "k", "v")
		eventually(t, "all have it", func() bool { return all[1].has("k", "v") && all[2].has("k", "v") })
		stop(t, all[0], all[1])
		h.engine = engine
		begun = time.Now()
		n2 := h.run(t, 1, nil)
		n3, last := all[2], all[2].Status()
		return begun, func() bool {
			request := raft.RequestPreVoteRequest{
				RPCHeader: hashicorp.Header(n3.Replica, h.members[1]), Term: n2.Status().Term + 1,
				LastLogIndex: last.LastIndex, LastLogTerm: last.Term,
			}
			var response raft.RequestPreVoteResponse
			if err := n3.cfg.Link.Transport.RequestPreVote(hashicorp.ServerID(h.members[1]), raft.ServerAddress(h.members[1].Address), &request, &response); err != nil {
				t.Fatal(err)
			}
			return response.Granted
		}
	}
	begun, granted := ask(t, hashicorp.Engine{})
	eventually(t, "it votes in the end", granted)
	if waited := time.Since(begun); waited < 2*time.Second {
		t.Errorf("it votes %v after its start", waited)
	}
	if _, granted := ask(t, hashicorp.VotesAtOnce()); !granted() {
		t.Error("this test cannot fail")
	}
}
