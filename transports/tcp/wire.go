package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

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
