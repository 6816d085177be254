package coretest

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/inmem"
)

func same(tr core.Transport) core.Transport { return tr }

// testTransport runs the suite over the in-memory network, each transport
// wrapped by wrap.
func testTransport(t *testing.T, wrap func(core.Transport) core.Transport, opts ...Option) {
	var n *inmem.Network
	listen := func(t *testing.T, bind string) core.Transport {
		link, err := n.Listen(bind)
		if err != nil {
			t.Fatalf("Listen: %v", err)
		}
		return wrap(link.Transport)
	}
	TestTransport(t, func(t *testing.T) (a, b core.Transport) {
		n = inmem.New(inmem.Options{Timeout: time.Hour})
		return listen(t, ""), listen(t, "")
	}, append(opts, WithRebind(func(t *testing.T, closed core.Transport) core.Transport {
		return listen(t, string(closed.LocalAddr()))
	}))...)
}

func correctTransport(t *testing.T, opts ...Option) { testTransport(t, same, opts...) }

func TestTransportOfMemory(t *testing.T) { correctTransport(t) }

func transportWith(property, defect string, wrap func(core.Transport) core.Transport) broken {
	return broken{property, defect, func(t *testing.T, opts ...Option) { testTransport(t, wrap, opts...) }}
}

// appender replaces AppendEntries.
type appender struct {
	core.Transport
	send func(to core.Transport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error
}

func (a appender) AppendEntries(_ raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return a.send(a.Transport, target, req, resp)
}

// whenAppending changes a copy of each AppendEntries request.
func whenAppending(change func(*raft.AppendEntriesRequest)) func(core.Transport) core.Transport {
	return func(tr core.Transport) core.Transport {
		return appender{tr, func(to core.Transport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
			changed := *req
			change(&changed)
			return to.AppendEntries("", target, &changed, resp)
		}}
	}
}

type noAddressOnceClosed struct {
	core.Transport
	closed *atomic.Bool
}

func (n noAddressOnceClosed) Close() error { n.closed.Store(true); return n.Transport.Close() }
func (n noAddressOnceClosed) LocalAddr() raft.ServerAddress {
	if n.closed.Load() {
		return ""
	}
	return n.Transport.LocalAddr()
}

type shortPeer struct{ core.Transport }

func (shortPeer) DecodePeer(p []byte) raft.ServerAddress { return raft.ServerAddress(p[:len(p)-1]) }

type noTransfer struct{ core.Transport }

func (n noTransfer) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	changed := *req
	changed.LeadershipTransfer = false
	return n.Transport.RequestVote(id, target, &changed, resp)
}

// votesEarly sends pre-votes as votes, which a member answers by moving to the
// term.
type votesEarly struct{ core.Transport }

func (v votesEarly) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	var vote raft.RequestVoteResponse
	err := v.RequestVote(id, target, &raft.RequestVoteRequest{
		RPCHeader: req.RPCHeader, Term: req.Term, LastLogIndex: req.LastLogIndex, LastLogTerm: req.LastLogTerm,
	}, &vote)
	*resp = raft.RequestPreVoteResponse{RPCHeader: vote.RPCHeader, Term: vote.Term, Granted: vote.Granted}
	return err
}

type noHeader struct{ core.Transport }

func (n noHeader) TimeoutNow(id raft.ServerID, target raft.ServerAddress, _ *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return n.Transport.TimeoutNow(id, target, new(raft.TimeoutNowRequest), resp)
}

// slurps reads the snapshot to its end before it sends anything.
type slurps struct{ core.Transport }

func (s slurps) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	all, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	return s.Transport.InstallSnapshot(id, target, req, resp, bytes.NewReader(all))
}

type deafToSnapshots struct{ core.Transport }

func (d deafToSnapshots) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	_ = d.Transport.InstallSnapshot(id, target, req, resp, data)
	return nil
}

type noHeartbeats struct{ core.Transport }

func (noHeartbeats) SetHeartbeatHandler(func(raft.RPC)) {}

type staysOpen struct{ core.Transport }

func (staysOpen) Close() error { return nil }

type closesOnce struct {
	core.Transport
	closed *atomic.Bool
}

func (c closesOnce) Close() error {
	if c.closed.Swap(true) {
		return core.ErrClosed
	}
	return c.Transport.Close()
}

func brokenTransports() []broken {
	return append(brokenPipelines(),
		transportWith("Addresses", "no-address-once-closed", func(tr core.Transport) core.Transport {
			return noAddressOnceClosed{tr, new(atomic.Bool)}
		}),
		transportWith("EncodePeer", "cuts-addresses", func(tr core.Transport) core.Transport { return shortPeer{tr} }),
		transportWith("AppendEntries", "panics-in-a-call", whenAppending(func(*raft.AppendEntriesRequest) { panic("no such peer") })),
		transportWith("AppendEntries", "drops-extensions", whenAppending(func(req *raft.AppendEntriesRequest) {
			entries := make([]*raft.Log, len(req.Entries))
			for i, l := range req.Entries {
				changed := *l
				changed.Extensions = nil
				entries[i] = &changed
			}
			req.Entries = entries
		})),
		transportWith("AppendEntries", "drops-leader", whenAppending(func(req *raft.AppendEntriesRequest) { req.Leader = nil })),
		transportWith("RequestVote", "drops-leadership-transfer", func(tr core.Transport) core.Transport { return noTransfer{tr} }),
		transportWith("RequestPreVote", "votes-for-pre-votes", func(tr core.Transport) core.Transport { return votesEarly{tr} }),
		transportWith("TimeoutNow", "drops-header", func(tr core.Transport) core.Transport { return noHeader{tr} }),
		transportWith("ToSelf", "cannot-call-itself", func(tr core.Transport) core.Transport {
			return appender{tr, func(to core.Transport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
				if target == to.LocalAddr() {
					return errors.New("that is me")
				}
				return to.AppendEntries("", target, req, resp)
			}}
		}),
		transportWith("HandlerError", "swallows-errors", swallowing),
		transportWith("PeerGone", "swallows-all-errors", swallowing),
		transportWith("InstallSnapshot", "slurps", func(tr core.Transport) core.Transport { return slurps{tr} }),
		transportWith("InstallSnapshotError", "swallows-snapshot-errors", func(tr core.Transport) core.Transport { return deafToSnapshots{tr} }),
		transportWith("Heartbeat", "no-fast-path", func(tr core.Transport) core.Transport { return noHeartbeats{tr} }),
		transportWith("HeartbeatLookalikes", "empty-is-heartbeat", whenAppending(func(req *raft.AppendEntriesRequest) {
			if len(req.Entries) == 0 {
				req.LeaderCommitIndex = 0
			}
		})),
		transportWith("HeartbeatWithoutHandler", "drops-heartbeats", func(tr core.Transport) core.Transport {
			return appender{tr, func(to core.Transport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
				if len(req.Entries) == 0 {
					return nil
				}
				return to.AppendEntries("", target, req, resp)
			}}
		}),
		transportWith("Concurrent", "mixes-answers-up", mixing),
		transportWith("CallerCloses", "caller-stays-open", func(tr core.Transport) core.Transport { return staysOpen{tr} }),
		transportWith("PeerCloses", "peer-stays-open", func(tr core.Transport) core.Transport { return staysOpen{tr} }),
		transportWith("UseAfterClose", "works-after-close", func(tr core.Transport) core.Transport { return staysOpen{tr} }),
		transportWith("Rebind", "keeps-address", func(tr core.Transport) core.Transport { return staysOpen{tr} }),
		transportWith("CloseTwice", "closes-once", func(tr core.Transport) core.Transport { return closesOnce{tr, new(atomic.Bool)} }),
	)
}

func swallowing(tr core.Transport) core.Transport {
	return appender{tr, func(to core.Transport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
		_ = to.AppendEntries("", target, req, resp)
		return nil
	}}
}

// mixing now and then hands out the answer to the call before.
func mixing(tr core.Transport) core.Transport {
	var mu sync.Mutex
	var calls int
	var before raft.AppendEntriesResponse
	return appender{tr, func(to core.Transport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
		err := to.AppendEntries("", target, req, resp)
		mu.Lock()
		defer mu.Unlock()
		calls++
		if calls%20 == 0 {
			*resp, before = before, *resp
		} else {
			before = *resp
		}
		return err
	}}
}
