package hashicorp

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/links"
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
	// Timeout bounds every step of a call on the wire, also for who answers: once a
	// request has begun to come in, it has to go on. A snapshot has that long per
	// 256 KiB. Not above 0 means DefaultFrameTimeout.
	Timeout time.Duration
	// MaxRequestBytes bounds what comes in as one request, but for the snapshot behind
	// it; less than 1 means DefaultMaxRequestBytes. A request other than AppendEntries
	// has 1 MiB at most.
	MaxRequestBytes int
	// Logger takes log lines. Nil is quiet.
	Logger hclog.Logger

	self      *persona             // nil: nobody is introduced
	intercept func(*raft.RPC) bool // as of core.Interceptor, from the first request on; nil: nobody looks at them
	hear      hear                 // called with each answer of a pipeline; nil: it is handed on as it is
}

// Frame puts requests and answers on a wire, which the transport then owns. It speaks
// as raft.NetworkTransport does, and with it: a request is a byte that says which it is
// and the library's struct in MessagePack, a snapshot follows its request; an answer is
// the text of an error and a struct. The requests of one connection are dealt with in
// their order, one at a time.
//
// Close closes every connection and pipeline, ends the calls that are out, and waits
// for the handlers of accepted connections; a handler of heartbeats must therefore not
// call it.
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
	f := &framed{
		opts: opts, wire: wire, consumer: make(chan raft.RPC), done: make(chan struct{}),
		dialled: map[*dialled]struct{}{},
		idle:    map[peer][]*dialled{}, pipelines: map[*pipeline]struct{}{},
	}
	var self *identity.Self
	if opts.self != nil {
		self = opts.self.Self
	}
	f.door = links.Open(wire, self, opts.Logger, f.serve)
	return f
}

var _ core.Transport = (*framed)(nil)

// framed is a transport of messages on a wire: it answers (serve.go) and asks (call.go).
type framed struct {
	opts     FrameOptions
	wire     core.Wire
	consumer chan raft.RPC
	beats    atomic.Pointer[func(raft.RPC)]
	door     *links.Door // has a handler for each accepted connection

	closing sync.Once
	done    chan struct{} // closed when Close begins
	failure error         // of Close

	mu        sync.Mutex
	closed    bool
	dialled   map[*dialled]struct{} // those in use, the idle ones and those of pipelines
	idle      map[peer][]*dialled   // the one used last is the last
	pipelines map[*pipeline]struct{}
}

// LocalAddr implements raft.Transport.
func (f *framed) LocalAddr() raft.ServerAddress { return raft.ServerAddress(f.wire.Addr().String()) }

// EncodePeer implements raft.Transport.
func (f *framed) EncodePeer(_ raft.ServerID, at raft.ServerAddress) []byte { return []byte(at) }

// DecodePeer implements raft.Transport.
func (f *framed) DecodePeer(encoded []byte) raft.ServerAddress { return raft.ServerAddress(encoded) }

// Consumer implements raft.Transport.
func (f *framed) Consumer() <-chan raft.RPC { return f.consumer }

// SetHeartbeatHandler implements raft.Transport.
func (f *framed) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		f.beats.Store(nil)
		return
	}
	f.beats.Store(&handle)
}

// Close implements raft.WithClose.
func (f *framed) Close() error {
	f.closing.Do(func() {
		f.mu.Lock()
		f.closed = true
		close(f.done)
		var open []net.Conn
		for c := range f.dialled {
			open = append(open, c.Conn)
		}
		pipelines := f.pipelines
		f.pipelines = map[*pipeline]struct{}{}
		f.mu.Unlock()

		f.failure = f.door.Shut()
		for _, c := range open {
			c.Close() // one that was dead already is no failure
		}
		for p := range pipelines {
			p.end()
		}
		f.door.Wait()
	})
	return f.failure
}

func closedError(op string, at raft.ServerAddress) error {
	return fmt.Errorf("hashicorp: %s to %s: %w", op, at, core.ErrClosed)
}
