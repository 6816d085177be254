package hashicorp

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
)

// beatCatcher is a transport that keeps the library's handler of heartbeats.
type beatCatcher struct {
	raft.Transport
	handle func(raft.RPC)
}

// SetHeartbeatHandler implements raft.Transport.
func (c *beatCatcher) SetHeartbeatHandler(handle func(raft.RPC)) { c.handle = handle }

// TestHeartbeatsBeginNoTerm: the library's handler does not get to save a term, whatever
// it has made of the replica's state.
func TestHeartbeatsBeginNoTerm(t *testing.T) {
	store := inmem.New()
	g := newGuard(store, failstop.NewWatch(time.Minute, time.Minute), func(error) {})
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = "n1", newLogger(nil, nil)
	_, inner := raft.NewInmemTransport("n1")
	wire := &beatCatcher{Transport: inner}
	r, err := raft.NewRaft(conf, &raft.MockFSM{}, store, g, raft.NewInmemSnapshotStore(), wire)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	}()
	if err := g.begin(); err != nil {
		t.Fatal(err)
	}
	answer := make(chan raft.RPCResponse, 1)
	g.isolated(wire.handle)(raft.RPC{RespChan: answer, Command: &raft.AppendEntriesRequest{Term: 7, Leader: []byte("n2")}})
	if a := <-answer; a.Error == nil && a.Response.(*raft.AppendEntriesResponse).Success {
		t.Errorf("%+v", a.Response)
	}
	if saved, _ := store.GetUint64([]byte("CurrentTerm")); saved != 0 || r.CurrentTerm() != 0 {
		t.Errorf("the term is %d, and %d on disk", r.CurrentTerm(), saved)
	}
}
