package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// Config is what a Server serves.
type Config struct {
	Replica core.Replica // required
	Map     *kv.Store    // required: the state machine of Replica
	Logger  *slog.Logger // nil: none
	Version string       // of the program, for /status and /metrics
	// HTTPAddress is where others reach this server, host:port.
	HTTPAddress string
	Store       core.StoreInfo
	Syncs       func() uint64 // flushes of the store since the start; nil: it does not count
	Transport   string        // name in the catalogue
	// Timeout is the deadline of a request that gives none; 0: api.DefaultTimeout.
	Timeout time.Duration
	Limits  Limits
	// Directory knows the HTTP addresses of members; nil: Map.
	Directory Directory
	// Gossip is shown by /status and /metrics; nil: the node does not gossip.
	Gossip Gossip
	// Leave takes the node out of its group for good, and then ends it. An error
	// that is core.ErrInvalid or core.ErrUnavailable says that it did neither.
	// Nil: the node has to be removed by others.
	Leave func(context.Context) error
}

// Directory tells where members answer HTTP that have not told the replica (see
// core.Acquainted). It is asked concurrently.
type Directory interface {
	HTTPAddress(id string) (address string, ok bool)
}

// Server is the HTTP interface of one node: an http.Handler, safe for concurrent
// use. It is no http.ServeMux, and must not stand behind one: that would tidy up
// the paths that keys are taken from.
type Server struct {
	cfg     Config
	id      string
	self    core.Identity // without the group, which may come later
	started time.Time
	routes  []*route
	peers   *http.Transport
	view    atomic.Pointer[view]
	caught  readiness
	budget  budget
	metrics *metrics
	journal *journal
	// changing is held by who changes the configuration step by step: one at a time.
	changing chan struct{}
}

// New returns a server of cfg. An error is a core.ErrInvalid.
func New(cfg Config) (*Server, error) {
	if cfg.Replica == nil || cfg.Map == nil {
		return nil, fmt.Errorf("httpapi: %w: a server needs a replica and its map", core.ErrInvalid)
	}
	if cfg.Timeout < 0 || cfg.Timeout > api.MaxTimeout {
		return nil, fmt.Errorf("httpapi: %w timeout %s: between 0 and %s", core.ErrInvalid, cfg.Timeout, api.MaxTimeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = api.DefaultTimeout
	}
	if err := cfg.Limits.setDefaults(); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	if cfg.Directory == nil {
		cfg.Directory = cfg.Map
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	status := cfg.Replica.Status()
	s := &Server{
		cfg:      cfg,
		id:       status.ID,
		self:     core.Identity{ID: status.ID, Incarnation: status.Incarnation},
		started:  time.Now(),
		caught:   readiness{own: status.LastIndex},
		budget:   budget{limit: cfg.Limits.HeldBytes},
		peers:    newTransport(),
		journal:  &journal{to: cfg.Logger},
		changing: make(chan struct{}, 1),
	}
	if err := checkID(s.id); err != nil {
		return nil, fmt.Errorf("httpapi: %w id of the replica: %w", core.ErrInvalid, err)
	}
	s.metrics = newMetrics(s)
	s.routes = s.table()
	return s, nil
}

// Close closes the connections to other nodes. Call it once no request is under
// way any more; later ones fail to reach the others or open new connections.
func (s *Server) Close() error {
	s.peers.CloseIdleConnections()
	return nil
}

// answer is a response, ready to be written.
type answer struct {
	status int
	header http.Header // may be nil
	body   []byte
}

// ServeHTTP implements http.Handler. It bounds the reading of bodies and the writing
// of answers by itself, by the deadline of each request and by Limits, and leaves no
// deadline behind on the connection: of an http.Server's timeouts, ReadHeaderTimeout
// and IdleTimeout are worth setting. Keys of 64 KiB need a MaxHeaderBytes of 256 KiB or
// more; net/http's default is enough. BoundConnections bounds the connections.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()
	held := &share{of: &s.budget}
	defer held.shrink(0)
	pattern, a := "other", answer{}
	route, subject, err := s.route(r.URL.EscapedPath())
	if err == nil {
		pattern = route.pattern
		a, err = s.dispatch(w, r, route, subject, held)
	}
	if err != nil {
		p := s.problemOf(err)
		s.journal.problem(r, p)
		a = p.answer()
	}
	s.respond(w, r, a)
	took := time.Since(begun)
	s.metrics.observe(r.Method, pattern, a.status, took)
	s.journal.request(r, pattern, a, took)
}

// dispatch checks what all requests have in common and has the request served.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, route *route, subject string, held *share) (answer, error) {
	endpoint, ok := route.methods[r.Method]
	if !ok {
		return answer{}, route.methodNotAllowed(r.Method)
	}
	if !endpoint.always && s.stopped() {
		return answer{}, s.stoppedProblem()
	}
	if err := checkOrigin(r); err != nil {
		return answer{}, err
	}
	if !endpoint.always && surplus(r.Context()) {
		return answer{}, overloaded("the node has as many connections as it may: close some, or try another node")
	}
	q, err := s.parse(w, r, subject, endpoint)
	if err != nil {
		return answer{}, err
	}
	q.share = held
	ctx, cancel := q.context()
	defer cancel()
	return endpoint.serve(ctx, q)
}

// respond writes the answer with the headers that all answers have.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, a answer) {
	v := s.look()
	h := w.Header()
	if v.leader != "" {
		h.Set(api.HeaderLeaderID, v.leader)
		address, _ := s.address(v.leader)
		setUnlessEmpty(h, api.HeaderLeader, address)
	}
	setUnlessEmpty(h, api.HeaderIncarnation, s.self.Incarnation)
	setUnlessEmpty(h, api.HeaderGroup, v.group)
	write(w, r, s.id, a, &s.cfg.Limits)
}

func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// write writes the answer of the node id, at the reader's pace as long as that is
// within the limits.
func write(w http.ResponseWriter, r *http.Request, id string, a answer, limits *Limits) {
	leave(w, r)
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set(api.HeaderNode, id)
	if a.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	if surplus(r.Context()) {
		h.Set("Connection", "close")
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		a.body = nil
	}
	_ = send(w, a.body, limits) // the client's going is no news
}

// send writes the body of an answer. A ResponseWriter that knows no deadlines has no
// connection that could hang.
//
// A small answer goes out in one piece when the request ends; the server's own
// WriteTimeout bounds that.
func send(w http.ResponseWriter, body []byte, limits *Limits) error {
	const small, chunk = 2 << 10, 256 << 10
	if len(body) <= small {
		_, err := w.Write(body)
		return err
	}
	to, begun, sent := http.NewResponseController(w), time.Now(), 0
	for {
		_ = to.SetWriteDeadline(limits.pace(begun, sent))
		if sent == len(body) {
			break
		}
		n, err := w.Write(body[sent:min(sent+chunk, len(body))])
		if sent += n; err != nil {
			return err
		}
	}
	if err := to.Flush(); err != nil {
		return err
	}
	return to.SetWriteDeadline(time.Time{}) // it was for this answer
}

// address returns where the member answers HTTP. A leader and a follower are connected
// by Raft, and each has told the other where it is, as the member that it is. Of others,
// and where Raft has no connections, what is said of a member has to do.
func (s *Server) address(id string) (string, bool) {
	if id == s.id {
		return s.cfg.HTTPAddress, s.cfg.HTTPAddress != ""
	}
	a, ok := s.cfg.Replica.(core.Acquainted)
	if v := s.look(); ok && (v.self || v.leader == id) {
		if who, met := a.Acquaintance(id); met && who.Service != "" {
			return who.Service, true
		}
	}
	return s.cfg.Directory.HTTPAddress(id)
}

// stopped reports whether the replica has stopped, for whatever reason.
func (s *Server) stopped() bool {
	select {
	case <-s.cfg.Replica.Done():
		return true
	default:
		return false
	}
}

func (s *Server) stoppedProblem() error {
	err := s.cfg.Replica.Err()
	if err == nil {
		err = errors.New("it is shutting down")
	}
	return unavailable(api.CodeStopped, "node %s has stopped: %v", s.id, err)
}
