package hashicorp_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
)

// TestSnapshotKeepsWhatFollows: a leader sends a snapshot to a follower whose log goes beyond
// it. What follows the snapshot there may be committed and counted, so it stays (Raft
// dissertation, figure 5.3, step 6), also with a store that takes no gaps, which
// the library would empty. The follower goes on from where it was.
func TestSnapshotKeepsWhatFollows(t *testing.T) {
	for name, open := range map[string]func(dir string) (core.LogStore, error){
		"bolt": func(dir string) (core.LogStore, error) { return bolt.Open(dir, bolt.Options{}) },
		"wal":  func(dir string) (core.LogStore, error) { return wal.Open(dir, wal.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			logs, err := open(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			l := newForgedLeader(t, logs)
			const term = 7
			l.append(term, 1, 1, 2, 9, 1)
			l.install(term, 6)
			for index := uint64(7); index <= 9; index++ {
				var entry raft.Log
				if err := logs.GetLog(index, &entry); err != nil || entry.Term != term {
					t.Fatalf("entry %d, which the follower has acknowledged, after the snapshot: %+v, %v", index, entry, err)
				}
			}
			l.append(term, 9, term, 10, 10, 10)
			eventually(t, "n2 has applied all", func() bool { return l.to.has("10", "10") })
		})
	}
}

// TestSnapshotReplacesAShortLog: what comes after a snapshot that ends behind the log does
// not follow the log's last entry. A store that takes no gaps begins anew there.
func TestSnapshotReplacesAShortLog(t *testing.T) {
	logs, err := wal.Open(filepath.Join(t.TempDir(), "log"), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := newForgedLeader(t, logs)
	l.append(7, 1, 1, 2, 4, 1)
	l.install(7, 20)
	l.append(7, 20, 7, 21, 23, 23)
	eventually(t, "n2 has applied all", func() bool { return l.to.has("23", "23") })
	if first, err := logs.FirstIndex(); err != nil || first != 21 {
		t.Errorf("the log begins with entry %d, %v; want 21", first, err)
	}
}

// forgedLeader sends a follower, n2 of two voters, what a leader n1 would.
type forgedLeader struct {
	t      *testing.T
	link   core.Link
	header raft.RPCHeader
	to     *member
	at     raft.ServerAddress
}

func newForgedLeader(t *testing.T, logs core.LogStore) *forgedLeader {
	network := meminet.New(meminet.Options{})
	link, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	to := newMember(t, network, "n2", logs, quiet)
	at := to.cfg.Link.Address()
	to.start(t, []core.Member{{ID: "n1", Address: link.Address(), Voter: true}, {ID: "n2", Address: at, Voter: true}})
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n1"),
		Addr: []byte(link.Address() + "\x00n1\x00" + core.UnnamedGroup + "\x00n2")}
	return &forgedLeader{t: t, link: link, header: header, to: to, at: raft.ServerAddress(at)}
}

// append sends the entries first to last, each of which sets the key of its index.
func (l *forgedLeader) append(term, previous, previousTerm, first, last, commit uint64) {
	l.t.Helper()
	req := &raft.AppendEntriesRequest{RPCHeader: l.header, Term: term, Leader: l.header.Addr,
		PrevLogEntry: previous, PrevLogTerm: previousTerm, LeaderCommitIndex: commit}
	for index := first; index <= last; index++ {
		req.Entries = append(req.Entries, &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: set(index)})
	}
	var resp raft.AppendEntriesResponse
	if err := l.link.Transport.AppendEntries("n2", l.at, req, &resp); err != nil || !resp.Success {
		l.t.Fatalf("entries %d to %d behind %d: %+v, %v", first, last, previous, resp, err)
	}
}

func set(index uint64) []byte { return kv.EncodeSet(fmt.Sprint(index), fmt.Append(nil, index)) }

// install sends a snapshot of the keys up to an index.
func (l *forgedLeader) install(term, last uint64) {
	l.t.Helper()
	state := kv.New()
	for index := uint64(2); index <= last; index++ {
		state.Apply(index, set(index))
	}
	captured, err := state.Snapshot()
	if err != nil {
		l.t.Fatal(err)
	}
	defer captured.Release()
	data := bytes.NewBuffer(binary.BigEndian.AppendUint64([]byte("raftlab1"), last))
	if _, err := captured.WriteTo(data); err != nil {
		l.t.Fatal(err)
	}
	members := raft.Configuration{Servers: []raft.Server{
		{ID: "n1", Address: raft.ServerAddress(l.link.Address())}, {ID: "n2", Address: l.at}}}
	req := &raft.InstallSnapshotRequest{RPCHeader: l.header, SnapshotVersion: 1, Term: term, Leader: l.header.Addr,
		LastLogIndex: last, LastLogTerm: term, Configuration: raft.EncodeConfiguration(members), ConfigurationIndex: 1, Size: int64(data.Len())}
	var resp raft.InstallSnapshotResponse
	if err := l.link.Transport.InstallSnapshot("n2", l.at, req, &resp, data); err != nil || !resp.Success {
		l.t.Fatalf("snapshot of %d: %+v, %v", last, resp, err)
	}
}
