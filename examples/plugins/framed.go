package plugins

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports"
)

// framed is a network whose links take messages as structs, since the library's own
// transport frames them.
type framed struct{ timeout time.Duration }

func (framed) Describe() core.NetworkInfo {
	const library = "github.com/hashicorp/raft"
	return core.NetworkInfo{Name: "framed", Library: library, Version: core.ModuleVersion(library), Remote: true}
}

func (f framed) Listen(bind string) (core.Link, error) {
	if bind == "" {
		bind = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", bind)
	if err != nil {
		return core.Link{}, fmt.Errorf("framed: listen on %s: %w", bind, err)
	}
	const pooled = 3
	layer := &connections{Listener: listener, open: map[net.Conn]bool{}}
	library := raft.NewNetworkTransport(layer, pooled, f.timeout, nil)
	return core.Link{Transport: &framedTransport{NetworkTransport: library, pipelines: map[raft.ServerAddress]raft.AppendPipeline{}}}, nil
}

// framedTransport ends its pipelines when it is closed; the library leaves them, and
// those who wait in them.
type framedTransport struct {
	*raft.NetworkTransport
	mu        sync.Mutex
	pipelines map[raft.ServerAddress]raft.AppendPipeline // the last to each member
}

func (t *framedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pipelines[target] = p
	return p, nil
}

func (t *framedTransport) Close() error {
	err := t.NetworkTransport.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pipelines {
		p.Close()
	}
	return err
}

// connections is how the library connects. All are closed with it, so that calls end that
// are out, and none is answered any more; the library leaves them open.
type connections struct {
	net.Listener
	mu   sync.Mutex
	open map[net.Conn]bool // nil: closed
}

func (c *connections) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return c.keep(net.DialTimeout("tcp", string(target), timeout))
}

func (c *connections) Accept() (net.Conn, error) { return c.keep(c.Listener.Accept()) }

func (c *connections) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		conn.Close()
		return nil, core.ErrClosed
	}
	c.open[conn] = true
	return forgetting{conn, c}, nil
}

func (c *connections) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.Close()
	}
	c.open = nil
	return c.Listener.Close()
}

// forgetting is a connection that is forgotten once it is closed.
type forgetting struct {
	net.Conn
	of *connections
}

func (f forgetting) Close() error {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	delete(f.of.open, f.Conn)
	return f.Conn.Close()
}

// framedEntry is the catalogue's entry.
func framedEntry() transports.Transport {
	timeout := func(o core.Options) (framed, error) {
		r := o.Read("framed")
		return framed{timeout: r.Duration("timeout", 10*time.Second)}, r.Err()
	}
	return transports.Transport{
		Summary: "TCP with the framing of hashicorp/raft",
		Options: []string{"timeout"},
		Info:    func(o core.Options) (core.NetworkInfo, error) { n, err := timeout(o); return n.Describe(), err },
		New:     func(o core.Options) (core.Network, error) { return timeout(o) },
	}
}
