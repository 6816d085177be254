package hashicorp

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Defaults of [FrameOptions].
const (
	DefaultFrameTimeout = 10 * time.Second
	DefaultMaxPool      = 3 // as Consul and Nomad have it
	// DefaultMaxRequestBytes leaves room for one command of 64 MiB; trim keeps messages
	// with more than one entry far below it.
	DefaultMaxRequestBytes = 72 << 20
)

// FrameOptions are the settings of the framing. The zero value has the defaults.
type FrameOptions struct {
	// MaxInFlight is how many AppendEntries messages may be under way in one
	// pipeline. 1 turns pipelining off; less means raft.DefaultMaxRPCsInFlight.
	MaxInFlight int
	// MaxPool is how many idle connections are kept per peer; less than 1 means
	// DefaultMaxPool. Heartbeats and replication to one peer use one each.
	MaxPool int
	// Timeout bounds every step of a call on the wire; a snapshot has that long
	// per 256 KiB. Not above 0 means DefaultFrameTimeout.
	Timeout time.Duration
	// MaxRequestBytes bounds what comes in as one request, but for the snapshot behind
	// it; less than 1 means DefaultMaxRequestBytes.
	MaxRequestBytes int
	// Logger takes the library's log lines. Nil is quiet.
	Logger hclog.Logger

	self *persona // nil: nobody is introduced
}

// Bounds of what comes in: whoever reaches the port can send anything.
const (
	// introduction is how long a connection may take until it is known whose it is.
	introduction = 5 * time.Second
	// maxUnknown is how many connections may be in that time, and maxPerMember how many
	// a member may have beyond it. The oldest goes, of a member the one longest idle: a
	// healthy one has a handful.
	maxUnknown   = 32
	maxPerMember = 16
)

// Frame puts the framing of hashicorp/raft's NetworkTransport (a type byte and
// MessagePack) on a wire, which the transport then owns.
//
// The library's own Close leaves pooled and accepted connections open, and with
// them their goroutines and the calls that are out. Here Close closes every
// connection and pipeline, and waits for the handlers of accepted connections;
// a handler of heartbeats must therefore not call it. One flaw stays: with more
// than two messages in flight, a future of a pipeline that was closed may never
// get an answer, so wait for what Consumer delivers.
func Frame(wire core.Wire, opts FrameOptions) core.Transport {
	if opts.MaxInFlight < 1 {
		opts.MaxInFlight = raft.DefaultMaxRPCsInFlight
	}
	if opts.MaxPool < 1 {
		opts.MaxPool = DefaultMaxPool
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultFrameTimeout
	}
	if opts.MaxRequestBytes < 1 {
		opts.MaxRequestBytes = DefaultMaxRequestBytes
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	tracked := &trackedWire{Wire: wire, self: opts.self, maxRequestBytes: opts.MaxRequestBytes, logger: opts.Logger, live: make(map[*trackedConn]struct{})}
	return &framed{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Logger:          opts.Logger,
			Stream:          tracked,
			MaxPool:         opts.MaxPool,
			MaxRPCsInFlight: opts.MaxInFlight,
			Timeout:         opts.Timeout,
			// Both formats keep an AppendedAt exactly; the old one, which is the
			// library's default, encodes and decodes faster.
			MsgpackUseNewTimeFormat: false,
		}),
		wire:      tracked,
		pipelines: make(map[*framedPipeline]struct{}),
	}
}

var _ core.Transport = (*framed)(nil)

// framed is a NetworkTransport that closes all that it has opened.
type framed struct {
	*raft.NetworkTransport
	wire    *trackedWire
	closing sync.Once
	failure error // of Close

	mu        sync.Mutex
	closed    bool
	pipelines map[*framedPipeline]struct{} // open ones
}

// meant is a member where it is to be reached. The library keeps connections by
// address, and dials without saying for whom: so each call gives it both.
func (f *framed) meant(id raft.ServerID, at raft.ServerAddress) raft.ServerAddress {
	if f.wire.self == nil {
		return at
	}
	return at + "\x00" + raft.ServerAddress(id)
}

// AppendEntries implements raft.Transport.
func (f *framed) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return f.NetworkTransport.AppendEntries(id, f.meant(id, target), req, resp)
}

// RequestVote implements raft.Transport.
func (f *framed) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return f.NetworkTransport.RequestVote(id, f.meant(id, target), req, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (f *framed) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return f.NetworkTransport.RequestPreVote(id, f.meant(id, target), req, resp)
}

// InstallSnapshot implements raft.Transport.
func (f *framed) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return f.NetworkTransport.InstallSnapshot(id, f.meant(id, target), req, resp, data)
}

// TimeoutNow implements raft.Transport.
func (f *framed) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return f.NetworkTransport.TimeoutNow(id, f.meant(id, target), req, resp)
}

// AppendEntriesPipeline implements raft.Transport.
func (f *framed) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := f.NetworkTransport.AppendEntriesPipeline(id, f.meant(id, target))
	if err != nil {
		return nil, err
	}
	p := &framedPipeline{AppendPipeline: inner, owner: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.Join(closedError("open a pipeline", target), inner.Close())
	}
	f.pipelines[p] = struct{}{}
	return p, nil
}

// Close implements raft.WithClose.
func (f *framed) Close() error {
	f.closing.Do(func() {
		f.mu.Lock()
		f.closed = true
		open := f.pipelines
		f.pipelines = nil
		f.mu.Unlock()

		// First the library's: what fails from here on, it does not log.
		f.failure = f.NetworkTransport.Close()
		f.failure = errors.Join(f.failure, f.wire.closeAll())
		for p := range open {
			p.AppendPipeline.Close()
		}
		f.wire.handlers.Wait()
	})
	return f.failure
}

// framedPipeline is a pipeline that its transport closes.
type framedPipeline struct {
	raft.AppendPipeline
	owner *framed
}

// Close implements raft.AppendPipeline.
func (p *framedPipeline) Close() error {
	p.owner.mu.Lock()
	delete(p.owner.pipelines, p)
	p.owner.mu.Unlock()
	return p.AppendPipeline.Close()
}

func closedError(op string, at raft.ServerAddress) error {
	return fmt.Errorf("hashicorp: %s to %s: %w", op, at, core.ErrClosed)
}
