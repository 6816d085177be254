package coretest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// wrappedWire is a TCP wire whose connections pass through conn.
type wrappedWire struct {
	core.Wire
	conn func(net.Conn) (net.Conn, error)
}

func (w wrappedWire) Accept() (net.Conn, error) {
	c, err := w.Wire.Accept()
	if err != nil {
		return nil, err
	}
	return w.conn(c)
}

func (w wrappedWire) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := w.Wire.Dial(target, timeout)
	if err != nil {
		return nil, err
	}
	return w.conn(c)
}

func testWire(t *testing.T, wrap func(core.Wire) core.Wire, opts ...Option) {
	listen := func(t *testing.T) core.Wire {
		link, err := tcp.New(tcp.Options{}).Listen("")
		if err != nil {
			t.Fatalf("Listen: %v", err)
		}
		return wrap(link.Wire)
	}
	TestWire(t, func(t *testing.T) (a, b core.Wire) { return listen(t), listen(t) }, opts...)
}

func correctWire(t *testing.T, opts ...Option) {
	testWire(t, func(w core.Wire) core.Wire { return w }, opts...)
}

func wireWith(property, defect string, wrap func(core.Wire) core.Wire) broken {
	return broken{property, defect, func(t *testing.T, opts ...Option) { testWire(t, wrap, opts...) }}
}

// connWith puts the same defect into every connection.
func connWith(property, defect string, wrap func(net.Conn) net.Conn) broken {
	return wireWith(property, defect, func(w core.Wire) core.Wire {
		return wrappedWire{w, func(c net.Conn) (net.Conn, error) { return wrap(c), nil }}
	})
}

type flipsByte struct{ net.Conn }

func (f flipsByte) Write(p []byte) (int, error) {
	if len(p) < 10_000 {
		return f.Conn.Write(p)
	}
	changed := append([]byte(nil), p...)
	changed[9999]++
	return f.Conn.Write(changed)
}

// oneWay loses what the acceptor writes.
type oneWay struct{ net.Conn }

func (o oneWay) Write(p []byte) (int, error) { return len(p), o.Conn.Close() }

type noReadDeadline struct{ net.Conn }

func (noReadDeadline) SetReadDeadline(time.Time) error { return nil }

type noWriteDeadline struct{ net.Conn }

func (noWriteDeadline) SetWriteDeadline(time.Time) error { return nil }

type staysConnected struct{ net.Conn }

func (staysConnected) Close() error { return nil }

// resets throws away on Close what was not sent yet.
type resets struct{ net.Conn }

func (r resets) Close() error {
	return errors.Join(r.Conn.(*net.TCPConn).SetLinger(0), r.Conn.Close())
}

type staysListening struct{ core.Wire }

func (staysListening) Close() error { return nil }

// takesConnections closes its connections together with itself.
type takesConnections struct {
	wrappedWire
	mu    *sync.Mutex
	conns *[]net.Conn
}

func (w takesConnections) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range *w.conns {
		c.Close()
	}
	return w.wrappedWire.Close()
}

func brokenWires() []broken {
	return []broken{
		wireWith("BothWays", "mute-acceptor", func(w core.Wire) core.Wire {
			return acceptWith(w, func(c net.Conn) (net.Conn, error) { return oneWay{c}, nil })
		}),
		connWith("Bytes", "flips-a-byte", func(c net.Conn) net.Conn { return flipsByte{c} }),
		connWith("Chunks", "flips-a-byte-of-a-chunk", func(c net.Conn) net.Conn { return flipsByte{c} }),
		connWith("CloseAfterWrite", "resets", func(c net.Conn) net.Conn { return resets{c} }),
		connWith("ReadDeadline", "no-read-deadline", func(c net.Conn) net.Conn { return noReadDeadline{c} }),
		connWith("WriteDeadline", "no-write-deadline", func(c net.Conn) net.Conn { return noWriteDeadline{c} }),
		connWith("CloseUnblocksRead", "stays-connected", func(c net.Conn) net.Conn { return staysConnected{c} }),
		wireWith("ManyConnections", "drops-the-third", func(w core.Wire) core.Wire {
			accepted := new(atomic.Int64)
			return acceptWith(w, func(c net.Conn) (net.Conn, error) {
				if accepted.Add(1) == 3 {
					c.Close()
				}
				return c, nil
			})
		}),
		wireWith("DialClosed", "listens-on", func(w core.Wire) core.Wire { return staysListening{w} }),
		wireWith("CloseUnblocksAccept", "accepts-on", func(w core.Wire) core.Wire { return staysListening{w} }),
		wireWith("ConnectionsOutliveWire", "takes-connections-along", func(w core.Wire) core.Wire {
			var mu sync.Mutex
			var conns []net.Conn
			return takesConnections{wrappedWire{w, func(c net.Conn) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, c)
				return c, nil
			}}, &mu, &conns}
		}),
	}
}

// acceptWith passes only accepted connections through conn.
func acceptWith(w core.Wire, conn func(net.Conn) (net.Conn, error)) core.Wire {
	return acceptsWrapped{w, wrappedWire{w, conn}}
}

type acceptsWrapped struct {
	core.Wire
	accepting wrappedWire
}

func (a acceptsWrapped) Accept() (net.Conn, error) { return a.accepting.Accept() }

// changedNetwork is a network with some of its methods replaced.
type changedNetwork struct {
	core.Network
	listen func(n core.Network, bind string) (core.Link, error)
	info   func(core.NetworkInfo) core.NetworkInfo
}

func (c changedNetwork) Listen(bind string) (core.Link, error) {
	if c.listen == nil {
		return c.Network.Listen(bind)
	}
	return c.listen(c.Network, bind)
}

func (c changedNetwork) Describe() core.NetworkInfo {
	if c.info == nil {
		return c.Network.Describe()
	}
	return c.info(c.Network.Describe())
}

func correctNetwork(t *testing.T, opts ...Option) {
	TestNetwork(t, func() core.Network { return inmem.New(inmem.Options{}) }, opts...)
}

func networkWith(property, defect string, change changedNetwork) broken {
	return broken{property, defect, func(t *testing.T, opts ...Option) {
		TestNetwork(t, func() core.Network {
			n := change
			n.Network = inmem.New(inmem.Options{})
			return n
		}, opts...)
	}}
}

func brokenNetworks() []broken {
	return []broken{
		networkWith("Describe", "no-name", changedNetwork{info: func(core.NetworkInfo) core.NetworkInfo { return core.NetworkInfo{} }}),
		networkWith("Describe", "no-version", changedNetwork{info: func(i core.NetworkInfo) core.NetworkInfo { i.Library = "some/library"; return i }}),
		networkWith("OneEnd", "claims-a-wire", changedNetwork{info: func(i core.NetworkInfo) core.NetworkInfo { i.Wire = true; return i }}),
		networkWith("ChoosesAddress", "chooses-the-same", changedNetwork{listen: func(n core.Network, bind string) (core.Link, error) {
			if bind == "" {
				bind = "the-one"
			}
			return n.Listen(bind)
		}}),
		networkWith("AddressTaken", "chooses-another", changedNetwork{listen: func(n core.Network, bind string) (core.Link, error) {
			link, err := n.Listen(bind)
			if err != nil {
				return n.Listen("")
			}
			return link, nil
		}}),
		networkWith("AddressTaken", "does-not-say-which", changedNetwork{listen: func(n core.Network, bind string) (core.Link, error) {
			link, err := n.Listen(bind)
			if err != nil {
				err = errors.New("taken")
			}
			return link, err
		}}),
		networkWith("AddressFreed", "keeps-addresses", changedNetwork{listen: func(n core.Network, bind string) (core.Link, error) {
			link, err := n.Listen(bind)
			if err == nil {
				link.Transport = staysOpen{link.Transport}
			}
			return link, err
		}}),
		networkWith("Remote", "claims-to-be-remote", changedNetwork{info: func(i core.NetworkInfo) core.NetworkInfo { i.Remote = true; return i }}),
		{"Apart", "one-network-for-all", func(t *testing.T, opts ...Option) {
			n := inmem.New(inmem.Options{})
			TestNetwork(t, func() core.Network { return n }, opts...)
		}},
	}
}
