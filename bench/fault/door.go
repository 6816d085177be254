package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 5 * time.Second
	chunkBytes  = 32 << 10
	maxHeld     = 256 // chunks of one connection; then the sender feels it
	// maxPacketBytes is more than any datagram has.
	maxPacketBytes = 64 << 10
)

// Door is an address of this machine that leads to a process, or to nobody: then
// connections are refused, and nobody else gets the address.
type Door struct {
	network *Network
	address netip.AddrPort
	holder  int // a socket that is bound and never listens

	mu       sync.Mutex
	owner    string
	target   netip.AddrPort
	listener net.Listener // nil: it leads to nobody
	packets  *net.UDPConn // nil: it has none
	pairs    map[*pair]struct{}
	closed   bool
	work     sync.WaitGroup
}

// pair is a connection that was made to a door, and its continuation.
type pair struct {
	dialled, served net.Conn
	from, to        string
	done            chan struct{}
	once            sync.Once
	broken          atomic.Bool // one side is gone, and what it had sent still arrives
}

// Open makes a door on a free port of 127.0.0.1 that leads to nobody. With packets it
// takes UDP on the same port as well.
func (n *Network) Open(packets bool) (*Door, error) {
	for range 100 { // a port that is free for TCP need not be so for UDP
		d, err := n.open(packets)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return d, err
		}
	}
	return nil, errors.New("open a door: no port is free for both TCP and UDP")
}

func (n *Network) open(packets bool) (*Door, error) {
	holder, err := bind(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("open a door: %w", err)
	}
	d := &Door{network: n, holder: holder, pairs: map[*pair]struct{}{}}
	name, err := unix.Getsockname(holder)
	if err == nil {
		d.address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
		if packets {
			d.packets, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(d.address))
		}
	}
	if err != nil {
		unix.Close(holder)
		return nil, fmt.Errorf("open a door: %w", err)
	}
	if packets {
		d.work.Go(d.relayPackets)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doors[d] = struct{}{}
	return d, nil
}

// bind keeps a port for sockets of this user that ask for SO_REUSEPORT.
func bind(address netip.AddrPort) (int, error) {
	syscall.ForkLock.RLock() // no child is to get it
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()})
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// Address is where the door is, as host:port.
func (d *Door) Address() string { return d.address.String() }

// Lead has the door lead to where the named process listens. Connections to whom it
// led before are ended.
func (d *Door) Lead(owner string, target netip.AddrPort) error {
	d.Shut()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failure)
	}}
	listener, err := config.Listen(context.Background(), "tcp4", d.address.String())
	if err != nil {
		return fmt.Errorf("door %s: %w", d.address, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		listener.Close()
		return net.ErrClosed
	}
	d.owner, d.target, d.listener = owner, target, listener
	d.work.Go(func() { d.accept(listener, owner, target) })
	return nil
}

// Shut has the door lead to nobody.
func (d *Door) Shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil {
		d.listener.Close()
		d.listener = nil
	}
	for p := range d.pairs {
		p.end()
	}
	d.target = netip.AddrPort{}
}

// Close gives the address back, and waits for what passes.
func (d *Door) Close() {
	d.Shut()
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	d.mu.Unlock()
	if !first {
		return
	}
	if d.packets != nil {
		d.packets.Close()
	}
	unix.Close(d.holder)
	d.work.Wait()
	d.network.mu.Lock()
	defer d.network.mu.Unlock()
	delete(d.network.doors, d)
}

func (d *Door) accept(listener net.Listener, owner string, target netip.AddrPort) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		d.work.Go(func() { d.pass(c, owner, target) })
	}
}

// pass carries one connection.
func (d *Door) pass(dialled net.Conn, to string, target netip.AddrPort) {
	defer dialled.Close()
	from, err := d.network.whose(dialled.RemoteAddr().(*net.TCPAddr).AddrPort(), d.address)
	if err != nil {
		return
	}
	served, err := net.DialTimeout("tcp4", target.String(), dialTimeout)
	if err != nil {
		_ = dialled.(*net.TCPConn).SetLinger(0) // refused, as far as that can be said late
		return
	}
	p := &pair{dialled: dialled, served: served, from: from, to: to, done: make(chan struct{})}
	defer p.end()
	d.mu.Lock()
	if d.closed || d.target != target {
		d.mu.Unlock()
		served.Close()
		return
	}
	d.pairs[p] = struct{}{}
	d.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { d.carry(p, dialled, served, link{from, to}) })
	both.Go(func() { d.carry(p, served, dialled, link{to, from}) })
	both.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pairs, p)
}

func (p *pair) end() {
	p.once.Do(func() {
		close(p.done)
		p.dialled.Close()
		p.served.Close()
	})
}

// carry moves bytes one way, as the link lets it, and then the news of their end. It
// takes them in meanwhile: what was sent is under way, whatever becomes of the sender.
func (d *Door) carry(p *pair, from, to net.Conn, l link) {
	held := make(chan []byte, maxHeld)
	var end error // set before held is closed
	d.work.Go(func() {
		defer close(held)
		for end == nil {
			chunk := make([]byte, chunkBytes)
			var n int
			n, end = from.Read(chunk)
			select {
			case held <- chunk[:n]:
			case <-p.done:
				return
			}
		}
	})
	for chunk := range held {
		if !d.admit(p, l) {
			return
		}
		if len(chunk) == 0 {
			continue
		}
		if _, err := to.Write(chunk); err != nil && !p.broken.Load() {
			p.end()
			return
		}
	}
	if errors.Is(end, io.EOF) || p.broken.Load() {
		_ = to.(*net.TCPConn).CloseWrite()
		return
	}
	p.end()
}

// admit waits until the link lets through what has arrived; false: the connection
// has ended before.
func (d *Door) admit(p *pair, l link) bool {
	s, changed := d.network.look(l)
	for s.cut {
		select {
		case <-changed:
			s, changed = d.network.look(l)
		case <-p.done:
			return false
		}
	}
	if s.delay > 0 {
		timer := time.NewTimer(s.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.done:
			return false
		}
	}
	return true
}

// breakOff resets the connections of one process to another for the first of the two.
func (d *Door) breakOff(l link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.pairs {
		var c net.Conn
		switch l {
		case link{p.from, p.to}:
			c = p.dialled
		case link{p.to, p.from}:
			c = p.served
		default:
			continue
		}
		p.broken.Store(true)
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// resetHeld ends the connections over cut links.
func (d *Door) resetHeld(links map[link]state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.pairs {
		if links[link{p.from, p.to}].cut || links[link{p.to, p.from}].cut {
			p.end()
		}
	}
}

// relayPackets moves datagrams to whom the door leads. Those on a cut link are lost.
func (d *Door) relayPackets() {
	buffer := make([]byte, maxPacketBytes)
	for {
		n, from, err := d.packets.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		d.mu.Lock()
		owner, target := d.owner, d.target
		d.mu.Unlock()
		s, _ := d.network.look(link{d.network.packetsOf(from), owner})
		if err != nil || !target.IsValid() || s.cut {
			continue
		}
		if s.delay == 0 {
			_, _ = d.packets.WriteToUDPAddrPort(buffer[:n], target) // a packet may be lost
			continue
		}
		packet := append([]byte(nil), buffer[:n]...)
		d.work.Go(func() {
			time.Sleep(s.delay)
			_, _ = d.packets.WriteToUDPAddrPort(packet, target)
		})
	}
}
