// Package tcp is a network of TCP connections, made with the standard library.
// It moves bytes and nothing else: the engine puts its framing on top, and the
// connections are neither encrypted nor authenticated, so it belongs on a
// network that is trusted.
package tcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Name is the network's name in the catalogue.
const Name = "tcp"

// defaultBind is where an empty bind listens: nobody outside this machine gets
// at a member by default.
const defaultBind = "127.0.0.1:0"

// Options of a network. The zero value has the defaults.
type Options struct {
	// Advertise is what other members dial instead of the address that is
	// listened on: "host:port", or "host" to keep the port. It is needed where
	// bind is 0.0.0.0 or ::, and behind address translation.
	Advertise string

	// Nagle lets the kernel hold small segments back to fill packets
	// (TCP_NODELAY off). Fewer packets, and up to one delayed acknowledgement
	// more latency per message. Off by default, as everywhere in Go.
	Nagle bool

	// KeepAlive is the time between the probes of an idle connection. 0 is Go's
	// default (15 s), negative turns them off.
	KeepAlive time.Duration
}

var _ core.Network = (*Network)(nil)

// Network listens and dials over TCP. It keeps no state of its own. Make one
// with [New].
type Network struct{ opts Options }

// New returns a network.
func New(opts Options) *Network { return &Network{opts: opts} }

// Info describes the network.
func Info() core.NetworkInfo { return core.NetworkInfo{Name: Name, Wire: true, Remote: true} }

// Describe implements core.Network.
func (n *Network) Describe() core.NetworkInfo { return Info() }

// Listen implements core.Network. bind is "host:port"; empty means a free port
// of 127.0.0.1. An address that other members cannot dial (0.0.0.0, ::) is
// refused with core.ErrInvalid unless Options.Advertise names another one.
func (n *Network) Listen(bind string) (core.Link, error) {
	bind = cmp.Or(bind, defaultBind)
	config := net.ListenConfig{KeepAlive: n.opts.KeepAlive}
	listener, err := config.Listen(context.Background(), "tcp", bind)
	if err != nil {
		return core.Link{}, fmt.Errorf("tcp: listen on %s: %w", bind, err)
	}
	addr, err := n.advertised(listener.Addr())
	if err != nil {
		listener.Close()
		return core.Link{}, fmt.Errorf("tcp: listen on %s: %w", bind, err)
	}
	return core.Link{Wire: newWire(listener, addr, n.opts)}, nil
}

// advertised returns the address that other members are to dial.
func (n *Network) advertised(bound net.Addr) (net.Addr, error) {
	if n.opts.Advertise == "" {
		if isUnspecified(bound.String()) {
			return nil, fmt.Errorf("%w: other members cannot dial %s: bind to one address, or set advertise", core.ErrInvalid, bound)
		}
		return bound, nil
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return nil, err
	}
	host := n.opts.Advertise
	if h, p, err := net.SplitHostPort(host); err == nil {
		host = h
		if p != "0" && p != "" {
			port = p
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || isUnspecified(net.JoinHostPort(host, port)) {
		return nil, fmt.Errorf("%w: advertise %q: want a host or host:port that other members can dial", core.ErrInvalid, n.opts.Advertise)
	}
	return address(net.JoinHostPort(host, strconv.FormatUint(number, 10))), nil
}

func isUnspecified(hostPort string) bool {
	a, err := netip.ParseAddrPort(hostPort)
	return err == nil && a.Addr().IsUnspecified()
}

// address is a host:port that is to be dialled as it stands, not resolved here.
type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

var _ core.Wire = (*wire)(nil)

// wire is one member's end of a Network.
type wire struct {
	listener net.Listener
	addr     net.Addr
	opts     Options

	open  context.Context // ends with Close, and dials under way with it
	close func() error    // idempotent
}

func newWire(listener net.Listener, addr net.Addr, opts Options) *wire {
	open, end := context.WithCancel(context.Background())
	return &wire{
		listener: listener, addr: addr, opts: opts, open: open,
		close: sync.OnceValue(func() error {
			end()
			return listener.Close()
		}),
	}
}

// Addr implements net.Listener: the address that other members dial.
func (w *wire) Addr() net.Addr { return w.addr }

// Accept implements net.Listener.
func (w *wire) Accept() (net.Conn, error) {
	conn, err := w.listener.Accept()
	if err != nil {
		return nil, w.failure("accept", w.addr.String(), err)
	}
	return w.tuned(conn)
}

// Dial implements core.Wire.
func (w *wire) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, KeepAlive: w.opts.KeepAlive}
	conn, err := dialer.DialContext(w.open, "tcp", string(target))
	if err != nil {
		return nil, w.failure("dial", string(target), err)
	}
	return w.tuned(conn)
}

// Close implements net.Listener. It also ends dials under way; connections that
// were made live on.
func (w *wire) Close() error { return w.close() }

// tuned applies the options that net sets otherwise.
func (w *wire) tuned(conn net.Conn) (net.Conn, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || !w.opts.Nagle {
		return conn, nil
	}
	if err := tcp.SetNoDelay(false); err != nil {
		return nil, errors.Join(w.failure("set options of the connection to", conn.RemoteAddr().String(), err), conn.Close())
	}
	return conn, nil
}

// failure wraps err, as core.ErrClosed where the wire is closed.
func (w *wire) failure(op, at string, err error) error {
	if w.open.Err() != nil {
		return fmt.Errorf("tcp: %s %s: %w", op, at, core.ErrClosed)
	}
	return fmt.Errorf("tcp: %s %s: %w", op, at, err)
}
