package coretest

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// routes is a network of which single routes, each in one direction, can be cut or held.
// What is sent on a route that is cut is lost, silently on a wire; what has arrived on
// one that is held is kept until it is released, in order.
type routes struct {
	core.Network

	mu    sync.Mutex
	cut   map[route]bool
	held  map[route]chan struct{}
	known map[string]bool // addresses
	conns map[*routedConn]bool
}

// route is from an address to another one.
type route struct{ from, to string }

var errCut = errors.New("the route is cut")

func newRoutes(n core.Network) *routes {
	return &routes{Network: n, cut: map[route]bool{}, held: map[route]chan struct{}{}, known: map[string]bool{}, conns: map[*routedConn]bool{}}
}

// lose cuts a route.
func (r *routes) lose(from, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut[route{from, to}] = true
}

// hold keeps back what arrives on a route.
func (r *routes) hold(from, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[route{from, to}] == nil {
		r.held[route{from, to}] = make(chan struct{})
	}
}

// release lets everything that was held arrive.
func (r *routes) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for way, arrives := range r.held {
		close(arrives)
		delete(r.held, way)
	}
}

// heal mends all routes. Connections that have lost something end.
func (r *routes) heal() {
	r.release()
	r.mu.Lock()
	clear(r.cut)
	var broken []*routedConn
	for c := range r.conns {
		if c.lost {
			broken = append(broken, c)
		}
	}
	r.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// loses says whether a route is cut. conn, which may be nil, remembers it.
func (r *routes) loses(way route, conn *routedConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut[way] && conn != nil {
		conn.lost = true
	}
	return r.cut[way]
}

// arrives waits while a route is held, at most until closed.
func (r *routes) arrives(way route, closed <-chan struct{}) {
	r.mu.Lock()
	held := r.held[way]
	r.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-closed:
	}
}

// Listen implements core.Network. It chooses no address twice: a member keeps its own while
// nobody listens there.
func (r *routes) Listen(bind string) (core.Link, error) {
	link, err := r.Network.Listen(bind)
	if err != nil {
		return link, err
	}
	r.mu.Lock()
	taken := r.known[link.Address()]
	r.known[link.Address()] = true
	r.mu.Unlock()
	if bind == "" && taken {
		return r.another(link)
	}
	if link.Wire != nil {
		return core.Link{Wire: routedWire{link.Wire, r, link.Address()}}, nil
	}
	t := &routedTransport{Transport: link.Transport, routes: r, self: link.Address(), closed: make(chan struct{})}
	return core.Link{Transport: t}, nil
}

// another listens where nobody has yet, in place of link.
func (r *routes) another(link core.Link) (core.Link, error) {
	defer link.Close()
	return r.Listen("")
}

// routedWire is a core.Wire of routes. Both directions of a connection are looked after by
// the side that dialled it.
type routedWire struct {
	core.Wire
	routes *routes
	self   string
}

// Dial implements core.Wire.
func (w routedWire) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	there, back := route{w.self, string(address)}, route{string(address), w.self}
	if w.routes.loses(there, nil) || w.routes.loses(back, nil) {
		return nil, errCut
	}
	conn, err := w.Wire.Dial(address, timeout)
	if err != nil {
		return nil, err
	}
	c := &routedConn{Conn: conn, routes: w.routes, there: there, back: back, closed: make(chan struct{})}
	w.routes.mu.Lock()
	defer w.routes.mu.Unlock()
	w.routes.conns[c] = true
	return c, nil
}

// routedConn is a connection that was dialled.
type routedConn struct {
	net.Conn
	routes      *routes
	there, back route
	lost        bool // something; guarded by routes.mu
	once        sync.Once
	closed      chan struct{}
}

// Read implements net.Conn.
func (c *routedConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 && c.routes.loses(c.back, c) {
			n = 0
		}
		if n > 0 || err != nil {
			c.routes.arrives(c.back, c.closed)
			return n, err
		}
	}
}

// Write implements net.Conn.
func (c *routedConn) Write(p []byte) (int, error) {
	if c.routes.loses(c.there, c) {
		return len(p), nil
	}
	c.routes.arrives(c.there, c.closed)
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *routedConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.routes.mu.Lock()
		delete(c.routes.conns, c)
		c.routes.mu.Unlock()
	})
	return c.Conn.Close()
}

// routedTransport is a core.Transport of routes, without pipelines.
type routedTransport struct {
	core.Transport
	routes *routes
	self   string
	once   sync.Once
	closed chan struct{}
}

// Unwrap makes the abilities of the transport known: see core.As.
func (t *routedTransport) Unwrap() core.Transport { return t.Transport }

// call runs a call to target under what its routes do to request and answer.
func (t *routedTransport) call(target raft.ServerAddress, call func() error) error {
	there, back := route{t.self, string(target)}, route{string(target), t.self}
	if t.routes.loses(there, nil) {
		return errCut
	}
	t.routes.arrives(there, t.closed)
	err := call()
	if t.routes.loses(back, nil) {
		return errCut
	}
	t.routes.arrives(back, t.closed)
	return err
}

// AppendEntriesPipeline implements raft.Transport.
func (t *routedTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements raft.Transport.
func (t *routedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.call(target, func() error { return t.Transport.AppendEntries(id, target, req, resp) })
}

// RequestVote implements raft.Transport.
func (t *routedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.call(target, func() error { return t.Transport.RequestVote(id, target, req, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t *routedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.call(target, func() error { return t.Transport.RequestPreVote(id, target, req, resp) })
}

// InstallSnapshot implements raft.Transport.
func (t *routedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.call(target, func() error { return t.Transport.InstallSnapshot(id, target, req, resp, data) })
}

// TimeoutNow implements raft.Transport.
func (t *routedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.call(target, func() error { return t.Transport.TimeoutNow(id, target, req, resp) })
}

// Close implements raft.WithClose.
func (t *routedTransport) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.Transport.Close()
}
