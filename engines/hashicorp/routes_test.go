package hashicorp_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// whereabouts is what members are told of where the others are.
type whereabouts struct {
	mu sync.Mutex
	at map[string]string
}

func (w *whereabouts) set(id, address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = map[string]string{}
	}
	w.at[id] = address
}

func (w *whereabouts) locate(id string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	address, known := w.at[id]
	return address, known
}

// mover is a member whose log outlives it.
type mover struct {
	*member
	id, dir string
	told    *whereabouts
	tuning  core.Tuning
	engine  hashicorp.Engine
}

// run starts the member on its log; bind "" is a new address.
func (m *mover) run(t *testing.T, bind string, bootstrap func(address string) []core.Member) {
	t.Helper()
	logs, err := bolt.Open(filepath.Join(m.dir, m.id), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.member = &member{kv: kv.New(), engine: m.engine}
	m.cfg = core.ReplicaConfig{ID: m.id, FSM: m.kv, Logs: logs, Tuning: m.tuning, SnapshotDir: filepath.Join(m.dir, m.id), Locate: m.told.locate}
	if m.cfg.Link, err = tcp.New(tcp.Options{}).Listen(bind); err != nil {
		t.Fatal(err)
	}
	var first []core.Member
	if bootstrap != nil {
		first = bootstrap(m.cfg.Link.Address())
	}
	m.start(t, first)
}

func (m *mover) stop(t *testing.T) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// movers are three members of a group under n1.
func movers(t *testing.T, told *whereabouts) []*mover {
	t.Helper()
	dir := t.TempDir()
	var all []*mover
	for _, id := range []string{"n1", "n2", "n3"} {
		all = append(all, &mover{id: id, dir: dir, told: told, tuning: fast})
	}
	all[0].run(t, "", func(address string) []core.Member {
		return []core.Member{{ID: "n1", Address: address, Voter: true}}
	})
	eventually(t, "n1 leads", func() bool { return all[0].Status().Role == core.Leader })
	for _, m := range all[1:] {
		m.run(t, "", nil)
		eventually(t, "n1 adds "+m.id, func() bool {
			err := all[0].Add(deadline(t), core.Member{ID: m.id, Address: m.cfg.Link.Address(), Voter: true})
			if errors.Is(err, core.ErrNotLeader) { // so short a lease ends while the machine does something else
				_ = all[0].Replica.(core.Campaigner).Campaign(deadline(t))
			}
			return err == nil
		})
	}
	put(t, all[0].member, "first", "1")
	for _, m := range all {
		eventually(t, m.id+" has the write", func() bool { return m.has("first", "1") })
	}
	return all
}

func leaderOf(t *testing.T, all []*mover) (leader *mover) {
	t.Helper()
	eventually(t, "somebody leads", func() bool {
		for _, m := range all {
			if m.Status().Role == core.Leader {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

// TestAnswerOfAnotherMember: n3, which does not stand for election, has the port that
// n2 had, and n2 is gone. What n3 answers there does not count for n2; it does for
// n3, once n1 is told.
func TestAnswerOfAnotherMember(t *testing.T) {
	told := &whereabouts{}
	all := movers(t, told)
	n1, n2, n3 := all[0], all[1], all[2]
	port := n2.cfg.Link.Address()
	n2.stop(t)
	n3.stop(t)
	eventually(t, "the port is free", func() bool {
		l, err := net.Listen("tcp", port)
		return err == nil && l.Close() == nil
	})
	n3.tuning, n3.engine = core.Tuning{HeartbeatTimeout: time.Minute}, hashicorp.VotesAtOnce()
	n3.run(t, port, nil)

	ctx, cancel := context.WithTimeout(t.Context(), 10*fast.HeartbeatTimeout)
	defer cancel()
	if _, err := n1.Propose(ctx, kv.EncodeSet("alone", []byte("v"))); err == nil {
		t.Fatal("committed with the answers of one member for another")
	}
	for until := time.Now().Add(10 * fast.HeartbeatTimeout); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if n1.Status().Role == core.Leader {
			t.Fatal("elected by the vote of one member for another")
		}
	}
	told.set("n3", port)
	put(t, leaderOf(t, []*mover{n1}).member, "two", "2")
	eventually(t, "n3 has the write", func() bool { return n3.has("two", "2") })
}
