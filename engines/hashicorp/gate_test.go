package hashicorp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// snapshotRecorder keeps the snapshots that a member has sent.
type snapshotRecorder struct {
	core.Transport
	mu   sync.Mutex
	sent []recorded
}

type recorded struct {
	id      raft.ServerID
	target  raft.ServerAddress
	request raft.InstallSnapshotRequest
	data    []byte
}

// InstallSnapshot implements raft.Transport.
func (s *snapshotRecorder) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	all, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.sent = append(s.sent, recorded{id, target, *req, all})
	s.mu.Unlock()
	return s.Transport.InstallSnapshot(id, target, req, resp, bytes.NewReader(all))
}

// TestOldSnapshot: a snapshot arrives a second time, when the follower has applied
// more. What it serves must not go back.
func TestOldSnapshot(t *testing.T) {
	network := meminet.New(meminet.Options{})
	leader := newMember(t, network, "n1", inmem.New(), fast)
	recorder := &snapshotRecorder{Transport: leader.cfg.Link.Transport}
	leader.cfg.Link.Transport = recorder
	leader.engine.Options.TrailingLogs = 1
	leader.start(t, []core.Member{{ID: "n1", Address: leader.cfg.Link.Address(), Voter: true}})
	eventually(t, "n1 leads", func() bool { return leader.Status().Role == core.Leader })
	for i := range 10 {
		put(t, leader, "k", strconv.Itoa(i))
	}
	if err := leader.Snapshot(deadline(t)); err != nil {
		t.Fatal(err)
	}
	follower := newMember(t, network, "n2", inmem.New(), fast)
	follower.start(t, nil)
	if err := leader.Add(deadline(t), core.Member{ID: "n2", Address: follower.cfg.Link.Address(), Voter: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 has the snapshot", func() bool { return follower.has("k", "9") })

	recorder.mu.Lock()
	old := recorder.sent[0]
	recorder.mu.Unlock()
	for i := 10; i < 200; i++ {
		put(t, leader, "k", strconv.Itoa(i))
		seen := value(follower, "k")
		request := old.request
		request.Term = leader.Status().Term
		var response raft.InstallSnapshotResponse
		if err := recorder.Transport.InstallSnapshot(old.id, old.target, &request, &response, bytes.NewReader(old.data)); err != nil || !response.Success {
			t.Fatalf("%v, %+v: the follower has all that it holds", err, response)
		}
		if now := value(follower, "k"); now < seen {
			t.Fatalf("n2 has served %d, and serves %d now", seen, now)
		}
	}
	eventually(t, "n2 goes on", func() bool { return follower.has("k", "199") })
}

func value(m *member, key string) int {
	v, _, _ := m.kv.Get(key)
	n, _ := strconv.Atoi(string(v))
	return n
}

// TestLogBehindSnapshot: a follower's log begins right behind its snapshot and ends
// in an entry that was never committed (hashicorp/raft #697). The leader, which has
// all entries, mends that.
func TestLogBehindSnapshot(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), true)
	all := h.found(t)
	for i := range 10 {
		put(t, all[0], "k", strconv.Itoa(i))
	}
	eventually(t, "n3 has it", func() bool { return all[2].has("k", "9") })
	if err := all[2].Snapshot(deadline(t)); err != nil {
		t.Fatal(err)
	}
	stale := all[2].Status()
	stop(t, all[2])
	logs, err := bolt.Open(filepath.Join(h.dir, "n3", "log"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.DeleteRange(1, stale.LastIndex); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		entry := raft.Log{Index: stale.SnapshotIndex + 1 + i, Term: stale.Term, Type: raft.LogCommand, Data: kv.EncodeSet("never", []byte("committed"))}
		if err := logs.StoreLog(&entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	// What n1 and n2 commit meanwhile is of another term.
	stop(t, all[0], all[1])
	all[0], all[1] = h.run(t, 0, nil), h.run(t, 1, nil)
	eventually(t, "n1 or n2 leads and commits", func() bool {
		for _, m := range all[:2] {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := m.Propose(ctx, kv.EncodeSet("k", []byte("29")))
			cancel()
			if err == nil {
				return true
			}
		}
		return false
	})
	n3 := h.run(t, 2, nil)
	eventually(t, "n3 has caught up", func() bool { return n3.has("k", "29") })
	if n3.has("never", "committed") {
		t.Error("n3 has applied what was not committed")
	}
}

// TestForgedMessages: what no member can have sent changes nothing, whoever sends it.
func TestForgedMessages(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), true)
	all := h.found(t)
	put(t, all[0], "k", "1")
	term := all[0].Status().Term
	const absurd = 1<<64 - 2

	// A stranger that speaks Raft, but does not say who it is.
	stranger, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, 5*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for _, m := range h.members {
		var answer raft.RequestVoteResponse
		request := raft.RequestVoteRequest{Term: absurd, LastLogIndex: absurd, LastLogTerm: absurd, Candidate: []byte("me")}
		if err := stranger.RequestVote(raft.ServerID(m.ID), raft.ServerAddress(m.Address), &request, &answer); err == nil {
			t.Errorf("%s has answered a stranger: %+v", m.ID, answer)
		}
	}

	// One that has looked up who the members are.
	wire, err := h.network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	insider := hashicorp.FrameAs(wire.Wire, core.Identity{ID: "n2", Incarnation: h.members[1].Incarnation, Group: h.group()})
	defer insider.Close()
	header := hashicorp.Header(all[1].Replica, h.members[0])
	anonymous := header
	anonymous.ID = nil
	for name, request := range map[string]raft.RequestVoteRequest{
		"term":       {RPCHeader: header, Term: absurd, LastLogTerm: absurd},
		"without id": {RPCHeader: anonymous, Term: term + 1, LastLogTerm: absurd},
		"for n3":     {RPCHeader: hashicorp.Header(all[1].Replica, h.members[2]), Term: term + 1, LastLogTerm: absurd},
	} {
		var answer raft.RequestVoteResponse
		if err := insider.RequestVote(hashicorp.ServerID(h.members[0]), raft.ServerAddress(h.members[0].Address), &request, &answer); err == nil {
			t.Errorf("%s: answered %+v", name, answer)
		}
	}
	put(t, all[0], "k", "2")
	if s := all[0].Status(); s.Term != term || s.Role != core.Leader {
		t.Errorf("%+v", s)
	}
}

// TestJunkOnTheRaftPort: connections that say nothing, or send without end, do not
// stay, and those of the members do.
func TestJunkOnTheRaftPort(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), true)
	h.tuning = core.Tuning{HeartbeatTimeout: 2 * time.Second}
	all := h.found(t)
	put(t, all[0], "k", "1")
	dial := func() net.Conn {
		c, err := net.Dial("tcp", h.members[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	closed := func(c net.Conn, within time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		return err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
	}
	var idle []net.Conn
	for range 200 {
		idle = append(idle, dial())
	}
	for i, c := range idle[:150] {
		if !closed(c, 20*time.Second) {
			t.Fatalf("idle connection %d stays, with %d later ones", i, len(idle)-1-i)
		}
	}
	introduced := func(id core.Identity) net.Conn {
		c := dial()
		to := core.Identity{ID: "n1", Incarnation: h.members[0].Incarnation}
		if _, err := handshake.Dial(c, time.Now().Add(10*time.Second), id, to); err != nil {
			t.Fatal(err)
		}
		return c
	}
	n2 := core.Identity{ID: "n2", Incarnation: h.members[1].Incarnation, Group: h.group()}
	var many []net.Conn
	for range 100 {
		many = append(many, introduced(n2))
	}
	// Which ones stay is up to when their handlers, who note it, last ran.
	eventually(t, "few of a member's idle connections stay", func() bool {
		many = slices.DeleteFunc(many, func(c net.Conn) bool { return closed(c, time.Millisecond) })
		return len(many) <= hashicorp.MaxPerMember
	})
	put(t, all[0], "k", "2")
	for _, m := range all {
		eventually(t, m.cfg.ID+" has the write", func() bool { return m.has("k", "2") })
	}
}

// TestMemberIsBack: a member that was away for long is sent entries as soon as it
// answers heartbeats.
func TestMemberIsBack(t *testing.T) {
	members, late := lateGroup(t, fast)
	away := raft.ServerAddress(members[2].cfg.Link.Address())
	put(t, members[0], "k", "1")
	late[0].cut.Store(&away)
	begun := time.Now()
	put(t, members[0], "k", "2")
	eventually(t, "the library would pause for seconds", func() bool { return time.Since(begun) > 3*time.Second })
	lost := late[0].lostEntries.Load()
	if lost > hashicorp.ToleratedFailures+1 {
		t.Errorf("%d calls with entries have failed: the library's next pause is %v", lost, 10*time.Millisecond<<(lost-1))
	}
	late[0].cut.Store(nil)
	eventually(t, "n3 has the write", func() bool { return members[2].has("k", "2") })
}

// TestFormerMembersAreForgotten: what a removed member has said goes with it.
func TestFormerMembersAreForgotten(t *testing.T) {
	members := group(t, options{nodes: 3, tuning: fast})
	put(t, members[0], "k", "v")
	eventually(t, "both have answered", func() bool { return hashicorp.Remembered(members[0].Replica) == 2 })
	if err := members[0].Remove(deadline(t), "n3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 is forgotten", func() bool { members[0].Status(); return hashicorp.Remembered(members[0].Replica) == 1 })
}

// TestAppliedCountsNoOps: a new leader's no-op is applied once it is committed.
func TestAppliedCountsNoOps(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), true)
	all := h.found(t)
	put(t, all[0], "k", "v")
	level := func(leader int) func() bool {
		return func() bool {
			last := all[leader].Status().LastIndex
			return all[leader].Status().Role == core.Leader && !slices.ContainsFunc(all, func(m *member) bool {
				s := m.Status()
				return s.CommitIndex != last || s.AppliedIndex != last
			})
		}
	}
	if err := all[0].TransferLeadership(deadline(t), "n2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have applied the no-op of n2", level(1))
	stop(t, all...)
	for i := range all {
		all[i] = h.run(t, i, nil)
	}
	var leader int
	eventually(t, "one leads", func() bool {
		leader = slices.IndexFunc(all, func(m *member) bool { return m.Status().Role == core.Leader })
		return leader >= 0
	})
	eventually(t, fmt.Sprintf("all have applied the no-op of n%d", leader+1), level(leader))
}
