package hashicorp_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
)

// muteNetwork is a transport whose peers take every request and answer none.
type muteNetwork struct {
	core.Transport
	asked, closed chan struct{}
	once, end     sync.Once
}

func (m *muteNetwork) AppendEntries(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error {
	m.once.Do(func() { close(m.asked) })
	<-m.closed
	return errors.New("the transport is closed")
}

func (m *muteNetwork) Close() error {
	m.end.Do(func() { close(m.closed) })
	return m.Transport.Close()
}

// TestCloseWithAMutePeer: a peer that takes requests and does not answer does not hold
// up the end of a replica.
func TestCloseWithAMutePeer(t *testing.T) {
	m := newMember(t, meminet.New(meminet.Options{}), "n1", inmem.New(), core.Tuning{})
	network := &muteNetwork{Transport: m.cfg.Link.Transport, asked: make(chan struct{}), closed: make(chan struct{})}
	m.cfg.Link.Transport = network
	m.start(t, []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}})
	if err := m.Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 leads", func() bool { return m.Status().Role == core.Leader })
	if err := m.Add(deadline(t), core.Member{ID: "mute", Address: "mute"}); err != nil {
		t.Fatal(err)
	}
	<-network.asked
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-deadline(t).Done():
		t.Error("it waits for an answer that does not come")
		_ = network.Close()
		<-closed
	}
}
