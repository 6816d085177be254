package hashicorp_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
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
