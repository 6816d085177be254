// Package respapi is the Redis protocol of one kvnode: docs/resp.md, beside HTTP and with
// the same promises. It reads commands from connections, has the replica propose what they
// write, and answers in the order in which they came.
//
// Most writes are begun as soon as they have come (core.Proposer), so that one connection
// can have many under way; their answers go out together, by one write to the socket. All
// else waits until what came before it on its connection is answered.
//
// It never decides about consistency by itself, and never sends a write a second time
// whose fate is not known: what only the leader can do, and what may be tried again, is
// left to the Node, which is the HTTP interface's. It never starts or stops the replica.
package respapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// Node is what the node does for all its interfaces; *httpapi.Server is one.
type Node interface {
	Leads() bool
	Leader(context.Context) (id, resp string)
	RESPAddress(ctx context.Context, id string) string
	Barrier(ctx context.Context, level string) error
	Propose(ctx context.Context, command []byte) (uint64, kv.Result, error)
	Transfer(ctx context.Context, id string) error
	Problem(err error) (api.Code, string)
	Hold(bytes int) error
	Release(bytes int)
}

// Config is what a Server serves.
type Config struct {
	Replica core.Replica // required; begins writes if it is a core.Proposer
	Map     *kv.Store    // required: the state machine of Replica
	Node    Node         // required
	Logger  *slog.Logger // nil: none
	Version string       // of the program
	Store   core.StoreInfo
	// Persistence is core.Tuning.Persistence of the replica, for INFO.
	Persistence string
	// Timeout bounds each command; 0: api.DefaultTimeout.
	Timeout time.Duration
	// Connections is how many there may be; 0: api.MaxConnections. Beyond it the one that
	// has been idle for longest is closed to make room.
	Connections int
	// BytesPerS and Patience are how fast a client has to take answers and to send a
	// command that it has begun; 0: api.MinBytesPerS and api.Patience.
	BytesPerS int64
	Patience  time.Duration
}

const (
	// maxUnderWay is how many writes of one connection may be.
	maxUnderWay = 4096
	// maxUnsent is how much of answers waits for the client to take what came before.
	maxUnsent = 64 << 10
	// lookEvery is how often deadlines are looked at, and so how late one may be noticed.
	lookEvery = 50 * time.Millisecond
	// incrStripes is how many keys can be read, changed and written at the same time.
	incrStripes = 64
)

// Server is the Redis protocol of one node. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	proposer core.Proposer // nil: writes are proposed one at a time
	id       string
	started  time.Time
	stripes  [incrStripes]chan struct{}
	seed     maphash.Seed
	stats    stats
	table    map[string]*command
	sorted   []string // names of commands
	names    string   // the same, for an error

	ctx    context.Context // ends when the connections are cut off
	cutOff context.CancelFunc

	mu       sync.Mutex
	conns    map[*conn]struct{}
	listener net.Listener
	closing  bool
	nextID   int64
	serving  sync.WaitGroup
	watching sync.WaitGroup
	cursors  cursors
	counters counters
}

// New returns a server of cfg. An error is a core.ErrInvalid.
func New(cfg Config) (*Server, error) {
	if cfg.Replica == nil || cfg.Map == nil || cfg.Node == nil {
		return nil, fmt.Errorf("respapi: %w: a server needs a replica, its map and its node", core.ErrInvalid)
	}
	if cfg.Timeout < 0 || cfg.Timeout > api.MaxTimeout {
		return nil, fmt.Errorf("respapi: %w timeout %s: between 0 and %s", core.ErrInvalid, cfg.Timeout, api.MaxTimeout)
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, api.DefaultTimeout)
	cfg.Connections = cmp.Or(cfg.Connections, api.MaxConnections)
	cfg.BytesPerS = cmp.Or(cfg.BytesPerS, api.MinBytesPerS)
	cfg.Patience = cmp.Or(cfg.Patience, api.Patience)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	s := &Server{cfg: cfg, id: cfg.Replica.Status().ID, started: time.Now(), conns: map[*conn]struct{}{}}
	s.proposer, _ = cfg.Replica.(core.Proposer)
	s.table, s.seed = table(), maphash.MakeSeed()
	s.sorted = slices.Sorted(maps.Keys(s.table))
	s.names = strings.ToUpper(strings.Join(s.sorted, " "))
	s.counters.waiting = map[string][]increment{}
	for i := range s.stripes {
		s.stripes[i] = make(chan struct{}, 1)
	}
	s.ctx, s.cutOff = context.WithCancel(context.Background())
	return s, nil
}

// now is the time since the start: all deadlines are in it.
func (s *Server) now() time.Duration { return time.Since(s.started) }

// Serve answers on the connections that the listener accepts, and closes it when it
// returns: nil after Shutdown.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return errors.Join(l.Close())
	}
	s.listener = l
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	s.watching.Go(s.watch)
	for {
		c, err := l.Accept()
		if err != nil && s.isClosing() {
			return nil
		}
		if e, ok := err.(net.Error); ok && e.Timeout() || errors.Is(err, errTooManyFiles) {
			time.Sleep(lookEvery) // files will be closed; whoever ends the server closes the listener
			continue
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		s.enter(c)
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// enter takes in a connection, or refuses it.
func (s *Server) enter(raw net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		_ = raw.Close()
		return
	}
	if len(s.conns) >= s.cfg.Connections && !s.makeRoom() {
		s.stats.rejected.Add(1)
		_ = raw.SetWriteDeadline(time.Now().Add(lookEvery))
		_, _ = raw.Write([]byte("-ERR max number of clients reached\r\n"))
		_ = raw.Close()
		return
	}
	s.nextID++
	s.stats.connections.Add(1)
	c := newConn(s, raw, s.nextID)
	s.conns[c] = struct{}{}
	s.serving.Go(c.serve)
}

// makeRoom closes the connection that has been idle for longest.
func (s *Server) makeRoom() bool {
	var longest *conn
	for c := range s.conns {
		if c.isIdle() && s.now()-c.lastActive() > time.Second && (longest == nil || c.lastActive() < longest.lastActive()) {
			longest = c
		}
	}
	if longest == nil {
		return false
	}
	delete(s.conns, longest)
	_ = longest.net.Close()
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// watch looks at the deadlines of all connections: a timer for each command would cost
// more than the command.
func (s *Server) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		now := s.now()
		for _, c := range s.all() {
			c.expire(now)
		}
	}
}

// Shutdown lets no more connections in, has the commands that have come finished and their
// answers sent, and closes all. When ctx ends it cuts off what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.mu.Unlock()
	for _, c := range s.all() {
		c.finish()
	}
	finished := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(finished)
	}()
	var err error
	select {
	case <-finished:
	case <-ctx.Done():
		err = ctx.Err()
		s.cutOff()
		for _, c := range s.all() {
			_ = c.net.Close()
		}
		<-finished
	}
	s.cutOff()
	s.watching.Wait()
	return err
}
