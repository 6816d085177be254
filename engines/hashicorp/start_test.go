package hashicorp_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestStoreFailsWhileStarting: a message of a new term waits when the replica
// starts, and the term cannot be saved, after the group could. Either Start says so, and the parts stay
// the caller's, or the replica stops itself; never both.
func TestStoreFailsWhileStarting(t *testing.T) {
	for range 2000 {
		network := meminet.New(meminet.Options{})
		peer, err := network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		m := newMember(t, network, "n1", faulty.Wrap(inmem.New(), faulty.From(faulty.Set, 3, syscall.ENOSPC)), core.Tuning{})
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			var resp raft.AppendEntriesResponse
			header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n2"), Addr: []byte(peer.Address() + "\x00n2\x00" + core.UnnamedGroup + "\x00n1")}
			_ = peer.Transport.AppendEntries("n1", raft.ServerAddress(m.cfg.Link.Address()),
				&raft.AppendEntriesRequest{RPCHeader: header, Term: 7, Leader: header.Addr}, &resp)
		}()
		if m.Replica, err = (hashicorp.Engine{}).Start(m.cfg); err == nil {
			waitStopped(t, m)
		} else if err = errors.Join(m.cfg.Link.Close(), m.cfg.Logs.Close()); err != nil {
			t.Fatal(err)
		}
		_ = peer.Close()
		<-sent
	}
}

// TestReplacedLog: a log that ends before the newest snapshot, as a crash may leave it
// while a snapshot of the leader's takes its place, does not stop a store that takes no gaps.
func TestReplacedLog(t *testing.T) {
	dir := t.TempDir()
	openLog := func() core.LogStore {
		logs, err := wal.Open(filepath.Join(dir, "log"), wal.Options{SegmentBytes: wal.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		return logs
	}
	open := func() *member {
		m := newMember(t, tcp.New(tcp.Options{}), "n1", openLog(), fast)
		m.cfg.SnapshotDir = dir
		m.start(t, []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}})
		eventually(t, "n1 leads itself", func() bool { return m.Status().Role == core.Leader })
		return m
	}
	m := open()
	for i := range 20 {
		put(t, m, fmt.Sprint(i), "old")
	}
	if err := errors.Join(m.Snapshot(deadline(t)), m.Close()); err != nil {
		t.Fatal(err)
	}
	logs := openLog()
	last, err := logs.LastIndex()
	if err := errors.Join(err, logs.DeleteRange(5, last), logs.Close()); err != nil {
		t.Fatal(err)
	}
	m = open()
	put(t, m, "0", "new")
	if !m.has("19", "old") || !m.has("0", "new") {
		t.Errorf("%d keys", m.kv.Len())
	}
}

// TestHasState: a term or an entry in the log is state; what the application keeps is none.
func TestHasState(t *testing.T) {
	for name, test := range map[string]struct {
		write func(core.LogStore) error
		want  bool
	}{
		"new":     {func(core.LogStore) error { return nil }, false},
		"other":   {func(s core.LogStore) error { return s.Set([]byte("raftlab.other"), []byte("x")) }, false},
		"term":    {func(s core.LogStore) error { return s.SetUint64([]byte("CurrentTerm"), 1) }, true},
		"entries": {func(s core.LogStore) error { return s.StoreLog(&raft.Log{Index: 5, Term: 1}) }, true},
	} {
		logs := inmem.New()
		if err := test.write(logs); err != nil {
			t.Fatal(err)
		}
		if has, err := (hashicorp.Engine{}).HasState(logs, ""); err != nil || has != test.want {
			t.Errorf("%s: %t, %v, want %t", name, has, err, test.want)
		}
	}
}
