package hashicorp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// pipeNet joins wires in memory, so that a test can run in virtual time and
// count the connections.
type pipeNet struct {
	mu    sync.Mutex
	wires map[raft.ServerAddress]*pipeWire
	open  atomic.Int64 // ends of connections that are not closed
}

type pipeWire struct {
	net      *pipeNet
	addr     pipeAddr
	incoming chan net.Conn
	done     chan struct{}
	once     sync.Once
	closeErr error
}

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

type countedConn struct {
	net.Conn
	once sync.Once
	open *atomic.Int64
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func (n *pipeNet) listen(addr raft.ServerAddress) *pipeWire {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wires == nil {
		n.wires = make(map[raft.ServerAddress]*pipeWire)
	}
	w := &pipeWire{net: n, addr: pipeAddr(addr), incoming: make(chan net.Conn), done: make(chan struct{})}
	n.wires[addr] = w
	return w
}

func (w *pipeWire) Addr() net.Addr { return w.addr }

func (w *pipeWire) Accept() (net.Conn, error) {
	select {
	case c := <-w.incoming:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *pipeWire) Dial(target raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	w.net.mu.Lock()
	peer := w.net.wires[target]
	w.net.mu.Unlock()
	if peer == nil {
		return nil, fmt.Errorf("nobody at %s", target)
	}
	x, y := net.Pipe()
	w.net.open.Add(2)
	select {
	case peer.incoming <- &countedConn{Conn: y, open: &w.net.open}:
		return &countedConn{Conn: x, open: &w.net.open}, nil
	case <-peer.done:
		w.net.open.Add(-2)
		return nil, net.ErrClosed
	}
}

func (w *pipeWire) Close() error {
	w.once.Do(func() { close(w.done) })
	return w.closeErr
}

func framedPair(n *pipeNet, opts hashicorp.FrameOptions) (a, b core.Transport) {
	return hashicorp.Frame(n.listen("a"), opts), hashicorp.Frame(n.listen("b"), opts)
}

func TestFrame(t *testing.T) {
	running := goleak.IgnoreCurrent()
	for _, maxInFlight := range []int{1, 2} {
		t.Run(fmt.Sprintf("InFlight%d", maxInFlight), func(t *testing.T) {
			coretest.TestTransport(t, func(t *testing.T) (a, b core.Transport) {
				n := new(pipeNet)
				t.Cleanup(func() { // runs after the suite has closed both
					if open := n.open.Load(); open != 0 {
						t.Errorf("%d ends of connections are open after Close", open)
					}
				})
				return framedPair(n, hashicorp.FrameOptions{MaxInFlight: maxInFlight, Timeout: time.Hour})
			})
		})
	}
	t.Run("InFlight16", func(t *testing.T) { // on a wire that takes requests which nobody reads yet
		coretest.TestTransport(t, func(t *testing.T) (a, b core.Transport) {
			opts := hashicorp.FrameOptions{MaxInFlight: 16, Timeout: time.Hour}
			return hashicorp.Frame(listen(t), opts), hashicorp.Frame(listen(t), opts)
		})
	})
	goleak.VerifyNone(t, running)
}

func TestFrameKeepsAppendedAt(t *testing.T) {
	a, b := framedPair(new(pipeNet), hashicorp.FrameOptions{})
	defer a.Close()
	defer b.Close()
	for _, at := range []time.Time{
		{},
		time.Unix(0, 0),
		time.Date(2026, 3, 1, 4, 5, 6, 789_123_456, time.FixedZone("", 5*60*60+30*60)),
		time.Date(2026, 3, 1, 4, 5, 6, 1, time.FixedZone("", -(60*60+1))), // an offset of seconds
	} {
		req := &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, AppendedAt: at}}}
		done := make(chan error, 1)
		go func() { done <- a.AppendEntries("b", "b", req, new(raft.AppendEntriesResponse)) }()
		select {
		case rpc := <-b.Consumer():
			if got := rpc.Command.(*raft.AppendEntriesRequest).Entries[0].AppendedAt; !got.Equal(at) {
				t.Errorf("AppendedAt %v arrived as %v", at, got)
			}
			rpc.Respond(new(raft.AppendEntriesResponse), nil)
			if err := <-done; err != nil {
				t.Errorf("AppendEntries: %v", err)
			}
		case err := <-done:
			t.Errorf("an entry appended at %v cannot be sent: %v", at, err)
		}
	}
}

func TestFramePipeliningOff(t *testing.T) {
	a, b := framedPair(new(pipeNet), hashicorp.FrameOptions{MaxInFlight: 1})
	defer a.Close()
	defer b.Close()
	if _, err := a.AppendEntriesPipeline("b", "b"); err != raft.ErrPipelineReplicationNotSupported {
		t.Errorf("pipeline with one message in flight: %v, want raft.ErrPipelineReplicationNotSupported itself", err)
	}
}

func TestFrameCloseTellsTheWiresError(t *testing.T) {
	w := new(pipeNet).listen("a")
	w.closeErr = errors.New("the wire is stuck")
	tr := hashicorp.Frame(w, hashicorp.FrameOptions{})
	for range 2 {
		if err := tr.Close(); !errors.Is(err, w.closeErr) {
			t.Errorf("Close: %v, want the wire's error", err)
		}
	}
}

func TestFrameDefaultTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := framedPair(new(pipeNet), hashicorp.FrameOptions{})
		defer a.Close()
		defer b.Close()
		begin := time.Now()
		err := a.TimeoutNow("b", "b", new(raft.TimeoutNowRequest), new(raft.TimeoutNowResponse))
		if err == nil || time.Since(begin) != hashicorp.DefaultFrameTimeout {
			t.Errorf("call that nobody answers: %v after %v, want an error after %v", err, time.Since(begin), hashicorp.DefaultFrameTimeout)
		}
	})
}

// TestFrameCloseWaitsForHandlers: a handler of an accepted connection is gone
// when Close returns.
func TestFrameCloseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := framedPair(new(pipeNet), hashicorp.FrameOptions{})
		release, call, closed := make(chan struct{}), make(chan error, 1), make(chan struct{})
		b.SetHeartbeatHandler(func(raft.RPC) { <-release })
		go func() {
			beat := &raft.AppendEntriesRequest{Term: 1, Leader: []byte("a")}
			call <- a.AppendEntries("b", "b", beat, new(raft.AppendEntriesResponse))
		}()
		synctest.Wait()
		go func() { b.Close(); close(closed) }()
		synctest.Wait()
		select {
		case err := <-call:
			if err == nil {
				t.Error("heartbeat to a peer that closes: no error")
			}
		default:
			t.Error("the caller waits on after its peer has closed the connection")
		}
		select {
		case <-closed:
			t.Error("Close has not waited for the handler")
		default:
		}
		close(release)
		<-closed
		a.Close()
	})
}

// TestRequestsAreBounded: a request that goes on and on is not taken in, a snapshot of
// that size is.
func TestRequestsAreBounded(t *testing.T) {
	wire := func() core.Wire {
		link, err := tcp.New(tcp.Options{}).Listen("")
		if err != nil {
			t.Fatal(err)
		}
		return link.Wire
	}
	const bound, size = 1 << 20, 4 << 20
	to := hashicorp.Frame(wire(), hashicorp.FrameOptions{MaxRequestBytes: bound})
	from := hashicorp.Frame(wire(), hashicorp.FrameOptions{})
	stop := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			select {
			case rpc := <-to.Consumer():
				if rpc.Reader != nil {
					_, _ = io.Copy(io.Discard, rpc.Reader)
					rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
				} else {
					rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
				}
			case <-stop:
				return
			}
		}
	})
	defer serving.Wait()
	defer close(stop)
	defer to.Close()
	defer from.Close()
	send := func(bytes int) error {
		entry := &raft.Log{Index: 1, Term: 1, Data: make([]byte, bytes)}
		request := raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{entry}}
		return from.AppendEntries("to", to.LocalAddr(), &request, new(raft.AppendEntriesResponse))
	}
	for range 3 {
		if err := send(bound / 2); err != nil {
			t.Error(err)
		}
	}
	if err := send(size); err == nil {
		t.Errorf("a request of %d bytes was taken, more than %d", size, bound)
	}
	request := raft.InstallSnapshotRequest{Term: 1, Size: size}
	var response raft.InstallSnapshotResponse
	if err := from.InstallSnapshot("to", to.LocalAddr(), &request, &response, bytes.NewReader(make([]byte, size))); err != nil || !response.Success {
		t.Errorf("a snapshot: %v", err)
	}
}

// half makes a connection to b and sends what does not go on.
func half(t *testing.T, n *pipeNet, what []byte) net.Conn {
	t.Helper()
	conn, err := n.listen("half").Dial("b", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(what); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestFrameHalfARequest: a request that has begun must go on; a connection may be idle.
func TestFrameHalfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(pipeNet)
		b := hashicorp.Frame(n.listen("b"), hashicorp.FrameOptions{Timeout: time.Second})
		defer b.Close()
		conn := half(t, n, nil)
		defer conn.Close()
		time.Sleep(time.Hour)
		begin := time.Now()
		if _, err := conn.Write([]byte{0, 0x81}); err != nil {
			t.Fatalf("an idle connection was closed: %v", err)
		}
		_, err := conn.Read(make([]byte, 1))
		if waited := time.Since(begin); err != io.EOF || waited != time.Second {
			t.Errorf("half a request: %v after %v", err, waited)
		}
	})
}

// TestFrameHalfASnapshot: the library reads a snapshot in its main goroutine, which must
// not wait for who sends no more.
func TestFrameHalfASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(pipeNet)
		b := hashicorp.Frame(n.listen("b"), hashicorp.FrameOptions{Timeout: time.Second})
		defer b.Close()
		conn := half(t, n, append([]byte("\x02\x81\xa4Size\x64"), "some of the hundred bytes"...))
		defer conn.Close()
		rpc := <-b.Consumer()
		begin := time.Now()
		data, err := io.ReadAll(rpc.Reader)
		if waited := time.Since(begin); err == nil || waited != time.Second {
			t.Errorf("half a snapshot: %q, %v after %v", data, err, waited)
		}
		rpc.Respond(nil, err)
	})
}

// TestFrameUnreadSnapshot: a request that was answered before its snapshot was read does
// not spoil the next one.
func TestFrameUnreadSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(pipeNet)
		b := hashicorp.Frame(n.listen("b"), hashicorp.FrameOptions{})
		defer b.Close()
		conn := half(t, n, []byte("\x02\x81\xa4Size\x04\x80"))
		defer conn.Close()
		rpc := <-b.Consumer()
		go func() { conn.Write([]byte("\x80\x80\x80\x03\x80")) }()
		rpc.Respond(nil, errors.New("not now"))
		if _, err := io.ReadFull(conn, make([]byte, len("\xa7not now\xc0"))); err != nil {
			t.Fatal(err)
		}
		rpc = <-b.Consumer()
		if _, ok := rpc.Command.(*raft.TimeoutNowRequest); !ok {
			t.Errorf("the next request is %+v", rpc.Command)
		}
		rpc.Respond(new(raft.TimeoutNowResponse), nil)
	})
}

// TestFrameDeadConnections: connections to a peer that is back are as dead as the one
// that was used first.
func TestFrameDeadConnections(t *testing.T) {
	n := new(pipeNet)
	a, b := framedPair(n, hashicorp.FrameOptions{})
	defer a.Close()
	vote := func() error {
		return a.RequestVote("b", "b", new(raft.RequestVoteRequest), new(raft.RequestVoteResponse))
	}
	answers := make(chan error, hashicorp.DefaultMaxPool)
	var asked []raft.RPC
	for range hashicorp.DefaultMaxPool {
		go func() { answers <- vote() }()
		asked = append(asked, <-b.Consumer())
	}
	for _, rpc := range asked {
		rpc.Respond(new(raft.RequestVoteResponse), nil)
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	b = hashicorp.Frame(n.listen("b"), hashicorp.FrameOptions{})
	defer b.Close()
	go func() {
		for rpc := range b.Consumer() {
			rpc.Respond(new(raft.RequestVoteResponse), nil)
			return
		}
	}()
	if err := vote(); err == nil {
		t.Fatal("a call over a dead connection: no error")
	}
	if err := vote(); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// TestFrameFutures: each request that is under way when its pipeline is closed fails.
func TestFrameFutures(t *testing.T) {
	opts := hashicorp.FrameOptions{MaxInFlight: 16, Timeout: time.Hour}
	a, b := hashicorp.Frame(listen(t), opts), hashicorp.Frame(listen(t), opts) // nobody answers for b
	defer a.Close()
	defer b.Close()
	p, err := a.AppendEntriesPipeline("b", b.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	var futures []raft.AppendFuture
	for range opts.MaxInFlight - 1 { // one more would wait for an answer
		f, err := p.AppendEntries(entriesTo(1, 1, 1), new(raft.AppendEntriesResponse))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	failed := make(chan error)
	for i, f := range futures {
		go func() { failed <- f.Error() }()
		select {
		case err := <-failed:
			if err == nil {
				t.Errorf("request %d: no error", i)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("request %d has no end", i)
		}
	}
}
