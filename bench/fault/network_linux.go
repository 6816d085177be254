// Package fault does harm to processes, to the connections between them and to
// their files, without privileges. It knows neither Raft nor kvnode, but for the
// messages that it forges.
//
// A [Network] stands between processes on this machine: each listens where the
// system lets it, tells the others the address of a [Proxy], and all that is sent to
// the proxy passes through here. Who has made a connection is looked up in /proc, so
// a link can be cut or slowed one way between two of them, whatever they say on it.
//
// It works on Linux only.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client is whoever uses a proxy and is none of the network's processes.
const Client = ""

// link is one direction between two processes.
type link struct{ from, to string }

// state of a link. The zero value is a good one.
type state struct {
	cut   bool
	delay time.Duration
}

// Network is the links between processes, each under a name. A new one does no harm.
// Its methods may be called concurrently.
type Network struct {
	mu      sync.Mutex
	pids    map[string]int
	packets map[netip.AddrPort]string // whose packets come from there
	links   map[link]state
	changed chan struct{} // closed and renewed with every change of links
	proxies map[*Proxy]struct{}
}

// NewNetwork returns a network without processes.
func NewNetwork() *Network {
	return &Network{
		pids: map[string]int{}, packets: map[netip.AddrPort]string{}, links: map[link]state{},
		changed: make(chan struct{}), proxies: map[*Proxy]struct{}{},
	}
}

// Process says which process has a name from now on, and where its packets come from.
func (n *Network) Process(name string, pid int, packets ...netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pids[name] = pid
	for _, address := range packets {
		n.packets[address] = name
	}
}

// Cut holds back all that goes from one process to another: it is neither delivered
// nor refused.
func (n *Network) Cut(from, to string) { n.set(from, to, func(s *state) { s.cut = true }) }

// Slow delays all that goes from one process to another.
func (n *Network) Slow(from, to string, delay time.Duration) {
	n.set(from, to, func(s *state) { s.delay = delay })
}

func (n *Network) set(from, to string, change func(*state)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.links[link{from, to}]
	change(&s)
	n.links[link{from, to}] = s
	n.announce()
}

// Break resets all connections between two processes for the first of them. The other
// does not learn of it before it has got all that was sent, which on a cut link is when
// that heals.
func (n *Network) Break(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.proxies {
		d.breakOff(link{from, to})
	}
}

// Heal makes all links good. What was held back is delivered, however late, or, with
// reset, lost together with the connections that it was on.
func (n *Network) Heal(reset bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.proxies {
		if reset {
			d.resetCut(n.links)
		}
	}
	n.links = map[link]state{}
	n.announce()
}

func (n *Network) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// look returns the state of a link, and a channel that is closed once it may be another.
func (n *Network) look(l link) (state, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[l], n.changed
}

func (n *Network) packetsOf(from netip.AddrPort) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.packets[from]
}

// Close closes all proxies and waits until nothing passes any more.
func (n *Network) Close() {
	n.mu.Lock()
	proxies := slices.Collect(maps.Keys(n.proxies))
	n.mu.Unlock()
	for _, d := range proxies {
		d.Close()
	}
}

const (
	dialTimeout = 5 * time.Second
	chunkBytes  = 32 << 10
	maxHeld     = 256 // chunks of one connection; then the sender feels it
	// maxPacketBytes is more than any datagram has.
	maxPacketBytes = 64 << 10
)

// Proxy is an address of this machine that leads to a process, or to nobody: then
// connections are refused, and nobody else gets the address.
type Proxy struct {
	network *Network
	address netip.AddrPort
	holder  int // a socket that is bound and never listens

	mu          sync.Mutex
	owner       string
	target      netip.AddrPort
	listener    net.Listener // nil: it leads to nobody
	packets     *net.UDPConn // nil: it has none
	connections map[*connection]struct{}
	closed      bool
	work        sync.WaitGroup
}

// connection is one that was made to a proxy, and its continuation.
type connection struct {
	dialled, served net.Conn
	from, to        string
	done            chan struct{}
	once            sync.Once
	broken          atomic.Bool // one side is gone, and what it had sent still arrives
}

// Open makes a proxy on a free port of 127.0.0.1 that leads to nobody. With packets it
// takes UDP on the same port as well.
func (n *Network) Open(packets bool) (*Proxy, error) {
	for range 100 { // a port that is free for TCP need not be so for UDP
		d, err := n.open(packets)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return d, err
		}
	}
	return nil, errors.New("open a proxy: no port is free for both TCP and UDP")
}

func (n *Network) open(packets bool) (*Proxy, error) {
	holder, err := bind(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("open a proxy: %w", err)
	}
	d := &Proxy{network: n, holder: holder, connections: map[*connection]struct{}{}}
	name, err := unix.Getsockname(holder)
	if err == nil {
		d.address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
		if packets {
			d.packets, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(d.address))
		}
	}
	if err != nil {
		unix.Close(holder)
		return nil, fmt.Errorf("open a proxy: %w", err)
	}
	if packets {
		d.work.Go(d.relayPackets)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proxies[d] = struct{}{}
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

// Address is where the proxy is, as host:port.
func (d *Proxy) Address() string { return d.address.String() }

// Forward has the proxy lead to where the named process listens. Connections to where
// it led before are ended.
func (d *Proxy) Forward(owner string, target netip.AddrPort) error {
	d.Refuse()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failure)
	}}
	listener, err := config.Listen(context.Background(), "tcp4", d.address.String())
	if err != nil {
		return fmt.Errorf("proxy %s: %w", d.address, err)
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

// Refuse has the proxy lead to nobody.
func (d *Proxy) Refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil {
		d.listener.Close()
		d.listener = nil
	}
	for p := range d.connections {
		p.end()
	}
	d.target = netip.AddrPort{}
}

// Close gives the address back, and waits for what passes.
func (d *Proxy) Close() {
	d.Refuse()
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
	delete(d.network.proxies, d)
}

func (d *Proxy) accept(listener net.Listener, owner string, target netip.AddrPort) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		d.work.Go(func() { d.pass(c, owner, target) })
	}
}

// pass carries one connection.
func (d *Proxy) pass(dialled net.Conn, to string, target netip.AddrPort) {
	defer dialled.Close()
	from, err := d.network.dialler(dialled.RemoteAddr().(*net.TCPAddr).AddrPort(), d.address)
	if err != nil {
		return
	}
	served, err := net.DialTimeout("tcp4", target.String(), dialTimeout)
	if err != nil {
		_ = dialled.(*net.TCPConn).SetLinger(0) // refused, as far as that can be said late
		return
	}
	p := &connection{dialled: dialled, served: served, from: from, to: to, done: make(chan struct{})}
	defer p.end()
	d.mu.Lock()
	if d.closed || d.target != target {
		d.mu.Unlock()
		served.Close()
		return
	}
	d.connections[p] = struct{}{}
	d.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { d.carry(p, dialled, served, link{from, to}) })
	both.Go(func() { d.carry(p, served, dialled, link{to, from}) })
	both.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.connections, p)
}

func (p *connection) end() {
	p.once.Do(func() {
		close(p.done)
		p.dialled.Close()
		p.served.Close()
	})
}

// carry moves bytes one way, as the link lets it, and then the news of their end. It
// takes them in meanwhile: what was sent is under way, whatever becomes of the sender.
func (d *Proxy) carry(p *connection, from, to net.Conn, l link) {
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
func (d *Proxy) admit(p *connection, l link) bool {
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
func (d *Proxy) breakOff(l link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.connections {
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

// resetCut ends the connections over cut links.
func (d *Proxy) resetCut(links map[link]state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.connections {
		if links[link{p.from, p.to}].cut || links[link{p.to, p.from}].cut {
			p.end()
		}
	}
}

// relayPackets moves datagrams to whom the proxy leads. Those on a cut link are lost.
func (d *Proxy) relayPackets() {
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
