package etcd

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/links"
)

// Each replica dials each of the others, twice: entries and what answers them go out on one
// connection, heartbeats and votes on another, since those must not wait behind a message of
// many MiB. The other's come in on connections that the other has dialled. A snapshot has one of its
// own. A connection is between two incarnations, so what one has
// said never counts for another; and what waits to be sent when a connection breaks is
// dropped, as the library expects of a network.

const (
	// maxQueued is how many messages may wait for a member. Those beyond are dropped.
	maxQueued = 1024
	// minDialPause is the first pause after a member was not reached: messages are dropped
	// meanwhile.
	minDialPause = 20 * time.Millisecond
	// maxIdle is how long the sender to somebody stays who is sent nothing.
	maxIdle = time.Minute
)

// peers is the way to the others. Safe for concurrent use.
type peers struct {
	wire   core.Wire
	self   *identity.Self
	own    string // address
	routes *links.Routes
	logger *slog.Logger
	epoch  time.Time
	pause  time.Duration // the longest after a member was not reached
	// silence is after how long without a word from a member a connection to it counts as
	// dead: its packets may be lost, and the system tries those again only after ever longer pauses.
	silence time.Duration
	lost    func(uint64) // told of a member that messages are lost to

	running sync.WaitGroup
	quit    <-chan struct{}

	mu      sync.Mutex
	closed  bool
	senders map[lane]*sender
	heard   map[uint64]place // who has dialled in, and where it says that it is
	voices  map[uint64]*voice
	conns   map[net.Conn]struct{}
	members *configuration
}

// lane is what one connection carries.
type lane struct {
	to   uint64
	bulk bool // entries, and what answers them
}

func laneOf(m *pb.Message) lane {
	return lane{m.GetTo(), m.GetType() == pb.MsgApp || m.GetType() == pb.MsgAppResp}
}

// voice is when somebody was last heard, in nanoseconds since 1970.
type voice struct{ atomic.Int64 }

func (v *voice) now()                 { v.Store(time.Now().UnixNano()) }
func (v *voice) since() time.Duration { return time.Since(time.Unix(0, v.Load())) }

// voice returns that of a member.
func (p *peers) voice(n uint64) *voice {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.voices[n]
	if v == nil {
		if len(p.voices) >= maxHeard {
			clear(p.voices)
		}
		v = &voice{}
		p.voices[n] = v
	}
	return v
}

// place is who somebody is, and where.
type place struct {
	who core.Identity
	at  string
}

func (p *peers) name(n uint64) (place, bool) {
	if m, ok := p.members.numbered(n); ok {
		return place{core.Identity{ID: m.ID, Incarnation: m.Incarnation}, m.Address}, true
	}
	at, ok := p.heard[n]
	return at, ok
}

// locate returns where somebody last said that it is, and has proved who it is.
func (p *peers) locate(id string) (address string, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.members.find(id)
	if !ok {
		return "", false
	}
	at, ok := p.heard[number(m)]
	return at.at, ok
}

// configure takes in who the members are.
func (p *peers) configure(members *configuration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = members
}

// meet notes where somebody is who has dialled in.
func (p *peers) meet(who core.Identity, at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.heard) >= maxHeard {
		clear(p.heard) // those that are still there come again
	}
	p.heard[numberOf(identity.Name(who.ID, who.Incarnation))] = place{who, at}
}

const maxHeard = 256

// who returns who somebody is.
func (p *peers) who(n uint64) (core.Identity, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.name(n)
	return at.who, ok
}

// at returns where messages to a member go; empty: it is not known.
func (p *peers) at(n uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bulk := range []bool{false, true} {
		if s := p.senders[lane{n, bulk}]; s != nil && s.connected != "" {
			return s.connected
		}
	}
	to, _ := p.name(n)
	return to.at
}

// send queues a message. One that cannot be sent is dropped.
func (p *peers) send(f frame) {
	to := laneOf(f.Message)
	p.mu.Lock()
	s := p.senders[to]
	if s == nil {
		if _, known := p.name(to.to); !known || p.closed {
			p.mu.Unlock()
			return
		}
		s = &sender{peers: p, lane: to, queue: make(chan frame, maxQueued)}
		p.senders[to] = s
		p.running.Go(s.run)
	}
	select { // under the lock: a sender that ends takes no more
	case s.queue <- f:
		p.mu.Unlock()
	default:
		p.mu.Unlock()
		p.lost(to.to)
	}
}

// dial reaches a member, or somebody that has dialled in, and says what the connection is for.
func (p *peers) dial(n uint64, kind byte) (conn net.Conn, at string, err error) {
	p.mu.Lock()
	to, known := p.name(n)
	p.mu.Unlock()
	if !known {
		return nil, "", fmt.Errorf("member %x: %w", n, core.ErrNotFound)
	}
	name := identity.Name(to.who.ID, to.who.Incarnation)
	at = p.routes.Target(name, to.at)
	if at == p.own {
		err = fmt.Errorf("at %s, where %s should be, is this replica", at, name)
	} else {
		conn, err = p.introduce(to.who, at, time.Now().Add(p.silence))
	}
	if err != nil {
		p.routes.Failed(name, to.at, at)
		return nil, "", err
	}
	if err := writeHello(conn, kind, p.own); err != nil {
		p.discard(conn)
		return nil, "", err
	}
	return conn, at, nil
}

// introduce makes a connection to who at an address.
func (p *peers) introduce(who core.Identity, at string, deadline time.Time) (net.Conn, error) {
	conn, err := p.wire.Dial(hraft.ServerAddress(at), time.Until(deadline))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.conns[conn] = struct{}{}
	}
	p.mu.Unlock()
	if closed {
		return nil, errors.Join(core.ErrClosed, conn.Close())
	}
	found, err := handshake.Dial(conn, deadline, p.self.Identity(), who)
	if err != nil {
		p.discard(conn)
		var refused *handshake.RefusedError
		if errors.As(err, &refused) {
			p.self.Refusals.Say(p.logger, who, err)
		}
		return nil, fmt.Errorf("etcd: %s: %w", at, err)
	}
	p.self.Meets(found)
	return conn, nil
}

func (p *peers) discard(conn net.Conn) {
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	conn.Close()
}

// shut closes all connections and ends the senders; wait waits for them.
func (p *peers) shut() {
	p.mu.Lock()
	p.closed = true
	open := make([]net.Conn, 0, len(p.conns))
	for conn := range p.conns {
		open = append(open, conn)
	}
	p.mu.Unlock()
	for _, conn := range open {
		conn.Close()
	}
}

// sender sends messages of one lane.
type sender struct {
	peers *peers
	lane
	queue     chan frame
	connected string // address; empty: there is no connection. The lock of peers guards it.

	// The goroutine's own.
	conn  net.Conn
	gone  chan struct{} // closed once the other side has closed conn
	buf   []byte
	since time.Time // when conn was made
	pause time.Duration
	again time.Time // nobody is dialled before
	voice *voice
}

func (s *sender) run() {
	defer s.disconnect()
	idle := time.NewTimer(maxIdle)
	defer idle.Stop()
	for {
		select {
		case f := <-s.queue:
			idle.Reset(maxIdle)
			s.deliver(f)
		case <-s.gone:
			s.fail(io.EOF)
		case <-idle.C:
			if s.retire() {
				return
			}
			idle.Reset(maxIdle)
		case <-s.peers.quit:
			return
		}
	}
}

// retire ends the sender unless something waits.
func (s *sender) retire() bool {
	s.peers.mu.Lock()
	defer s.peers.mu.Unlock()
	if len(s.queue) > 0 {
		return false
	}
	delete(s.peers.senders, s.lane)
	return true
}

// deliver sends a message, and with it those that wait behind it.
func (s *sender) deliver(f frame) {
	if s.conn != nil && time.Since(s.since) > s.peers.silence && s.voice.since() > s.peers.silence {
		s.disconnect()
	}
	if s.conn == nil && !s.connect() {
		s.forget()
		s.peers.lost(s.to)
		return
	}
	if err := s.write(f); err != nil {
		s.fail(err)
	}
}

func (s *sender) write(f frame) (err error) {
	if err := s.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	s.buf = s.buf[:0]
	for more := true; more; {
		if s.buf, err = appendFrame(s.buf, f); err != nil {
			return err
		}
		more = false
		if len(s.buf) < bufferBytes {
			select {
			case f = <-s.queue:
				more = true
			default:
			}
		}
	}
	_, err = s.conn.Write(s.buf)
	if cap(s.buf) > 16*bufferBytes {
		s.buf = nil
	}
	return err
}

// connect makes a connection, unless it is too early for another try.
func (s *sender) connect() bool {
	if time.Now().Before(s.again) {
		return false
	}
	conn, at, err := s.peers.dial(s.to, forMessages)
	if err != nil {
		s.pause = min(max(2*s.pause, minDialPause), s.peers.pause)
		s.again = time.Now().Add(s.pause)
		s.peers.logger.Debug("a member is not reached", "error", err)
		return false
	}
	s.conn, s.since, s.pause, s.gone = conn, time.Now(), 0, make(chan struct{})
	s.voice = s.peers.voice(s.to)
	gone := s.gone
	s.peers.running.Go(func() { // nothing is said on it by the other side, but that it is over
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	})
	s.peers.mu.Lock()
	s.connected = at
	s.peers.mu.Unlock()
	return true
}

// fail drops the connection and what waits for it.
func (s *sender) fail(err error) {
	s.peers.logger.Debug("a connection has ended", "to", s.connected, "error", err)
	s.disconnect()
	s.forget()
	s.peers.lost(s.to)
}

// forget drops what waits.
func (s *sender) forget() {
	for {
		select {
		case <-s.queue:
		default:
			return
		}
	}
}

func (s *sender) disconnect() {
	if s.conn == nil {
		return
	}
	s.peers.discard(s.conn)
	s.conn, s.gone = nil, nil
	s.peers.mu.Lock()
	s.connected = ""
	s.peers.mu.Unlock()
}

// carries says whether a message tells followers that there is a leader.
func carries(t pb.MessageType) bool {
	return t == pb.MsgApp || t == pb.MsgHeartbeat || t == pb.MsgSnap
}
