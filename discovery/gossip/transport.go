package gossip

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Stats counts what gossip has sent and received since the start, as it was
// handed to UDP and TCP: the headers of these are not included.
type Stats struct {
	Sent, Received Traffic
}

// Traffic is one direction of Stats. A stream, opened (Sent) or accepted
// (Received), carries one request and one answer.
type Traffic struct {
	Packets, PacketBytes uint64
	Streams, StreamBytes uint64
}

// Bytes returns the sum of both ways to send.
func (t Traffic) Bytes() uint64 { return t.PacketBytes + t.StreamBytes }

// Messages returns the number of packets and streams.
func (t Traffic) Messages() uint64 { return t.Packets + t.Streams }

type traffic struct{ packets, packetBytes, streams, streamBytes atomic.Uint64 }

func (t *traffic) load() Traffic {
	return Traffic{t.packets.Load(), t.packetBytes.Load(), t.streams.Load(), t.streamBytes.Load()}
}

// transport counts what passes, and ends what is under way when it is shut
// down: memberlist itself waits for neither its dials nor its connections.
type transport struct {
	inner          memberlist.NodeAwareTransport
	packets        chan *memberlist.Packet
	streams        chan net.Conn
	sent, received traffic

	ctx    context.Context // ends with the transport
	cancel context.CancelFunc
	pumps  sync.WaitGroup

	mu    sync.Mutex
	conns map[*conn]struct{} // nil once shut down
}

var (
	_ memberlist.NodeAwareTransport = (*transport)(nil)

	errShutDown = errors.New("gossip is shut down")
)

func newTransport(inner memberlist.NodeAwareTransport) *transport {
	t := &transport{
		inner:   inner,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		conns:   map[*conn]struct{}{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.pumps.Go(func() {
		pump(t.ctx, inner.PacketCh(), t.packets, func(p *memberlist.Packet) (*memberlist.Packet, error) {
			t.received.packets.Add(1)
			t.received.packetBytes.Add(uint64(len(p.Buf)))
			return p, nil
		})
	})
	t.pumps.Go(func() {
		pump(t.ctx, inner.StreamCh(), t.streams, func(c net.Conn) (net.Conn, error) {
			t.received.streams.Add(1)
			return t.track(c)
		})
	})
	return t
}

func (t *transport) stats() Stats { return Stats{Sent: t.sent.load(), Received: t.received.load()} }

// pump hands on what the network delivers, until the transport is shut down or take fails.
func pump[T any](ctx context.Context, from <-chan T, to chan<- T, take func(T) (T, error)) {
	for {
		select {
		case in := <-from:
			in, err := take(in)
			if err != nil {
				return
			}
			select {
			case to <- in:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	return t.inner.FinalAdvertiseAddr(ip, port)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: address})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	at, err := t.inner.WriteToAddress(b, a)
	if err == nil {
		t.sent.packets.Add(1)
		t.sent.packetBytes.Add(uint64(len(b)))
	}
	return at, err
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport. It returns at once
// when the transport is shut down; the dial then ends by its timeout.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	type outcome struct {
		conn net.Conn
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		c, err := t.inner.DialAddressTimeout(a, timeout)
		done <- outcome{c, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, o.err
		}
		t.sent.streams.Add(1)
		return t.track(o.conn)
	case <-t.ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				_ = o.conn.Close()
			}
		}()
		return nil, errShutDown
	}
}

// track counts what passes c, and closes it with the transport.
func (t *transport) track(c net.Conn) (net.Conn, error) {
	counted := &conn{Conn: c, t: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		return nil, errors.Join(errShutDown, c.Close())
	}
	t.conns[counted] = struct{}{}
	return counted, nil
}

// Shutdown implements memberlist.Transport. The listeners end first, while the
// pumps still take what they deliver.
func (t *transport) Shutdown() error {
	err := t.inner.Shutdown()
	t.cancel()
	t.mu.Lock()
	open := t.conns
	t.conns = nil
	t.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close() // its user gets an error
	}
	t.pumps.Wait()
	return err
}

type conn struct {
	net.Conn
	t *transport
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.t.received.streamBytes.Add(uint64(n))
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.t.sent.streamBytes.Add(uint64(n))
	return n, err
}

func (c *conn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}
