// Package httpapi is the HTTP interface of one kvnode: docs/http-api.md, served on
// top of a core.Replica and its kv.Store. It checks requests, finds the leader,
// forwards what only the leader can do, and answers.
//
// It never decides about consistency by itself: a write is answered when the
// replica says that it is applied, a read when the replica says that the map is
// fresh enough. It never listens, and never starts or stops the replica; both are
// the caller's.
//
// What may be tried again is tried again within a request's deadline: a read
// always, a write as long as it is certain that nobody has taken it. A write whose
// fate is not known is never sent a second time.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// Config is what a Server serves.
type Config struct {
	Replica core.Replica // required
	Map     *kv.Store    // required: the state machine of Replica
	Logger  *slog.Logger // nil: none
	Version string       // of the program, for /status and /metrics
	// HTTPAddress is where others reach this server, host:port.
	HTTPAddress string
	// RESPAddress is where others reach the node's Redis protocol; empty: nowhere.
	RESPAddress string
	Engine      string // name in the catalogue, for backups
	Store       core.StoreInfo
	Persistence string        // core.Tuning.Persistence of the replica
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
	peers   *client.Sender
	view    atomic.Pointer[view]
	resp    sync.Map // HTTP address of another node -> toldAddress of its Redis protocol
	caught  readiness
	// questions are for the leader as it was last known; nil: none was asked.
	questions atomic.Pointer[questions]
	budget    budget
	metrics   *metrics
	journal   *journal
	// changing is held while the configuration is changed step by step: one change at a time.
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
	cfg.Timeout = cmp.Or(cfg.Timeout, api.DefaultTimeout)
	if err := cfg.Limits.setDefaults(); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	cfg.Directory = cmp.Or[Directory](cfg.Directory, cfg.Map)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	status := cfg.Replica.Status()
	s := &Server{
		cfg:      cfg,
		id:       status.ID,
		self:     core.Identity{ID: status.ID, Incarnation: status.Incarnation},
		started:  time.Now(),
		caught:   readiness{own: status.LastIndex},
		budget:   budget{limit: cfg.Limits.HeldBytes},
		peers:    client.NewSender(),
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
	s.peers.CloseIdle()
	return nil
}

// answer is a response, ready to be written.
type answer struct {
	status int
	header http.Header // may be nil
	body   []byte
	stream func(io.Writer) error // writes the body in place of body, after the header; nil: none
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
		setUnlessEmpty(h, api.HeaderLeaderID, v.leader)
		address, _ := s.address(v.leader)
		setUnlessEmpty(h, api.HeaderLeader, address)
	}
	setUnlessEmpty(h, api.HeaderIncarnation, s.self.Incarnation)
	setUnlessEmpty(h, api.HeaderGroup, v.group)
	write(w, r, s.id, a, &s.cfg.Limits)
}

// setUnlessEmpty sets a header whose name is a constant of package api, in its canonical form.
func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h[name] = []string{value}
	}
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
		if m, met := a.Acquaintance(id); met && m.Service != "" {
			return m.Service, true
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

func (s *Server) stoppedProblem() *problem {
	err := s.cfg.Replica.Err()
	if err == nil {
		err = errors.New("it is shutting down")
	}
	return refuse(api.CodeStopped, "node %s has stopped: %v", s.id, err)
}

// route is one path of the interface.
type route struct {
	pattern string // what stands for {…} is the request's subject
	methods map[string]endpoint
}

// endpoint is what one method of a route does.
type endpoint struct {
	serve  func(context.Context, *request) (answer, error)
	params []string // query parameters beside timeout
	always bool     // served also once the replica has stopped
}

// readIndexPath is where nodes ask the leader for a read index.
const readIndexPath = "/internal/read-index"

// proposePath is where nodes have the leader propose a command of package kv.
const proposePath = "/internal/propose"

// table is the whole interface.
func (s *Server) table() []*route {
	get := func(e endpoint) map[string]endpoint {
		return map[string]endpoint{http.MethodGet: e, http.MethodHead: e}
	}
	post := func(serve func(context.Context, *request) (answer, error)) map[string]endpoint {
		return map[string]endpoint{http.MethodPost: {serve: serve}}
	}
	key := get(endpoint{serve: s.getKey, params: []string{"consistency"}})
	key[http.MethodPost] = endpoint{serve: s.setKey}
	key[http.MethodPut] = endpoint{serve: s.setKey}
	key[http.MethodDelete] = endpoint{serve: s.deleteKey}
	page := get(endpoint{serve: s.page, params: []string{"consistency", "prefix", "after", "limit"}})
	page[http.MethodPost] = endpoint{serve: s.setBatch}
	restore := map[string]endpoint{
		http.MethodPut:    {serve: s.stage, params: []string{"part"}},
		http.MethodPost:   {serve: s.commitRestore, params: []string{"keys", "content"}},
		http.MethodDelete: {serve: s.forgetRestore},
	}
	return []*route{
		{"/key/{key}", key},
		{"/key", page},
		{readIndexPath, get(endpoint{serve: s.readIndex})},
		{proposePath, post(s.proposeFor)},
		{"/status", get(endpoint{serve: s.status, always: true})},
		{"/members", get(endpoint{serve: s.members, always: true})},
		{"/members/{id}", map[string]endpoint{http.MethodDelete: {serve: s.removeMember}}},
		{"/join", post(s.join)},
		{"/leave", post(s.leave)},
		{"/transfer", post(s.transfer)},
		{"/snapshot", post(s.snapshot)},
		{"/digest", get(endpoint{serve: s.digest})},
		{"/backup", get(endpoint{serve: s.backup, params: []string{"consistency"}})},
		{"/restore/{id}", restore},
		{"/healthz", get(endpoint{serve: s.healthz, always: true})},
		{"/readyz", get(endpoint{serve: s.readyz, always: true})},
		{"/metrics", get(endpoint{serve: s.scrape, params: []string{"name[]"}, always: true})},
	}
}

// route finds the route of an escaped path and the subject in it. The path is
// taken as it came: a key may hold "//", "..", or an escaped slash.
func (s *Server) route(path string) (*route, string, error) {
	for _, r := range s.routes {
		prefix, _, hasSubject := strings.Cut(r.pattern, "{")
		if !hasSubject && path == prefix {
			return r, "", nil
		}
		if hasSubject && strings.HasPrefix(path, prefix) {
			subject, err := url.PathUnescape(path[len(prefix):])
			if err != nil {
				return nil, "", badRequest("path: %v", err)
			}
			return r, subject, nil
		}
	}
	return nil, "", refuse(api.CodeNotFound, "no such path: %.100q", path)
}

func (r *route) methodNotAllowed(method string) error {
	allowed := strings.Join(slices.Sorted(maps.Keys(r.methods)), ", ")
	p := refuse(api.CodeMethodNotAllowed, "%s takes %s, not %.20q", r.pattern, allowed, method)
	p.header.Set("Allow", allowed)
	return p
}

// warnEvery is how often failures of requests are logged at most: without a leader
// every request fails, and one line says as much as thousands.
const warnEvery = time.Second

// journal logs requests: each at debug level, and those that this side failed at
// warning level.
type journal struct {
	to *slog.Logger

	mu      sync.Mutex
	warned  time.Time
	skipped int // failures since then
}

// request logs one request that was answered.
func (j *journal) request(r *http.Request, pattern string, a answer, took time.Duration) {
	if !j.to.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	j.to.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelDebug, "request",
		slog.String("method", r.Method), slog.String("route", pattern), slog.String("path", shortPath(r)),
		slog.Int("status", a.status), slog.Int("bytes", len(a.body)), slog.Duration("took", took),
		slog.String("remote", r.RemoteAddr), slog.String("forwarded_by", r.Header.Get(api.HeaderForwarded)))
}

// problem logs a failure of this side. Not being ready, or not the leader, is none.
func (j *journal) problem(r *http.Request, p *problem) {
	if p.code.Status() < http.StatusInternalServerError || p.code == api.CodeNotReady || p.code == api.CodeNotLeader {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if now.Sub(j.warned) < warnEvery {
		j.skipped++
		return
	}
	j.to.Warn("request failed", "method", r.Method, "path", shortPath(r), "status", p.code.Status(), "code", p.code,
		"error", p.message, "not_logged_before", j.skipped)
	j.warned, j.skipped = now, 0
}

func shortPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	return path[:min(len(path), 200)]
}
