package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
)

// Map is what both clients do: [Client] over HTTP and [RESP] over the Redis protocol. An
// error means the same of both.
type Map interface {
	Get(ctx context.Context, key string, level Consistency) (Value, error)
	Set(ctx context.Context, key string, value []byte) (index uint64, err error)
	Delete(ctx context.Context, key string) (index uint64, err error)
	SetIfAbsent(ctx context.Context, key string, value []byte) (index uint64, err error)
	SetAll(ctx context.Context, pairs map[string][]byte) (index uint64, err error)
	Leader() string
	Opened() int64
	Close() error
}

var (
	_ Map = (*Client)(nil)
	_ Map = (*RESP)(nil)
)

// RESP is a client of the Redis protocol of a group of kvnodes (docs/resp.md). However many
// callers it has, it keeps a few connections to the leader ([Options].Connections), on which
// their requests go out together. It finds the leader, and sends no write twice, as [Client] does. The protocol
// tells no log indexes: those that it returns are 0. All methods are safe for concurrent use.
type RESP struct {
	timeout   time.Duration
	perNode   uint32 // lanes
	endpoints *endpoints
	group     atomic.Pointer[string] // nil: not known yet
	closed    atomic.Bool
	next      atomic.Uint32
	opened    atomic.Int64 // connections

	mu    sync.Mutex
	lanes map[lane]*pipe
}

// lane is what a connection is for: on one of writes, reads would have to wait.
type lane struct {
	endpoint string
	level    Consistency // of reads; empty: writes
	number   uint32
}

// defaultLanes is how many connections callers that write share, and as many those that
// read. One is least work; more lets a node's processors share it.
const defaultLanes = 2

// NewRESP returns a client of the group whose nodes serve the Redis protocol at the
// endpoints, host:port each. It connects to none of them yet.
func NewRESP(nodes []string, o Options) (*RESP, error) {
	e, err := newEndpoints(nodes, o.Stay)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	o.Timeout = cmp.Or(o.Timeout, api.DefaultTimeout)
	if o.Timeout < 0 || o.Timeout > api.MaxTimeout {
		return nil, fmt.Errorf("client: %w timeout %v: at most %v", ErrInvalid, o.Timeout, api.MaxTimeout)
	}
	if o.Connections < 0 {
		return nil, fmt.Errorf("client: %w connections %d: at least 1, or 0 for %d", ErrInvalid, o.Connections, defaultLanes)
	}
	c := &RESP{timeout: o.Timeout, perNode: uint32(cmp.Or(o.Connections, defaultLanes)), endpoints: e, lanes: map[lane]*pipe{}}
	if o.Group != "" {
		c.group.Store(&o.Group)
	}
	return c, nil
}

// Close closes all connections. Calls under way and later ones fail.
func (c *RESP) Close() error {
	c.closed.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.lanes {
		p.close()
	}
	return nil
}

// Opened returns how many connections the client has opened so far.
func (c *RESP) Opened() int64 { return c.opened.Load() }

// Leader returns where the leader serves the Redis protocol, as a node last named it; empty
// while none is known. It asks nobody.
func (c *RESP) Leader() string { return c.endpoints.knownLeader() }

// Get returns what the key holds; an [ErrNotFound] if there is no such key.
func (c *RESP) Get(ctx context.Context, key string, level Consistency) (Value, error) {
	r, err := c.do(ctx, cmp.Or(level, Linearizable), []byte("GET"), []byte(key))
	switch {
	case err != nil:
		return Value{}, fmt.Errorf("get %.40q: %w", key, err)
	case r.Null:
		return Value{}, fmt.Errorf("get %.40q: %w", key, ErrNotFound)
	}
	return Value{Data: r.Text}, nil
}

// Set sets the key.
func (c *RESP) Set(ctx context.Context, key string, value []byte) (uint64, error) {
	_, err := c.do(ctx, "", setWord, []byte(key), value)
	if err != nil {
		return 0, fmt.Errorf("set %.40q: %w", key, err)
	}
	return 0, nil
}

var setWord = []byte("SET")

// Delete deletes the key, which need not be there.
func (c *RESP) Delete(ctx context.Context, key string) (uint64, error) {
	_, err := c.do(ctx, "", []byte("DEL"), []byte(key))
	if err != nil {
		return 0, fmt.Errorf("delete %.40q: %w", key, err)
	}
	return 0, nil
}

// SetIfAbsent sets the key if there is none. Otherwise the error is an [ErrCondition].
func (c *RESP) SetIfAbsent(ctx context.Context, key string, value []byte) (uint64, error) {
	r, err := c.do(ctx, "", setWord, []byte(key), value, []byte("NX"))
	if err == nil && r.Null {
		err = ErrCondition
	}
	if err != nil {
		return 0, fmt.Errorf("set if absent %.40q: %w", key, err)
	}
	return 0, nil
}

// SetIfEqual sets the key if it holds old. Otherwise the error is an [ErrCondition].
func (c *RESP) SetIfEqual(ctx context.Context, key string, value, old []byte) error {
	r, err := c.do(ctx, "", setWord, []byte(key), value, []byte("IFEQ"), old)
	if err == nil && r.Null {
		err = ErrCondition
	}
	if err != nil {
		return fmt.Errorf("set if equal %.40q: %w", key, err)
	}
	return nil
}

// SetAll sets all keys in one log entry, all or none.
func (c *RESP) SetAll(ctx context.Context, pairs map[string][]byte) (uint64, error) {
	args := [][]byte{[]byte("MSET")}
	for key, value := range pairs {
		args = append(args, []byte(key), value)
	}
	if len(pairs) == 0 {
		return 0, nil
	}
	_, err := c.do(ctx, "", args...)
	return 0, failed("set all", err)
}

// RESPError is an answer that is an error: its first word says of which kind.
type RESPError struct {
	Endpoint string
	Prefix   string // ERR, TRYAGAIN, …
	Message  string
}

// Error implements error.
func (e *RESPError) Error() string {
	return fmt.Sprintf("%s answered %s %s", e.Endpoint, e.Prefix, e.Message)
}

// Is says which of the package's error kinds the answer is. A first word that this client
// does not know rules nothing out.
func (e *RESPError) Is(target error) bool {
	kind := map[string]error{
		"ERR": ErrInvalid, "TOOLARGE": ErrInvalid, "EXECABORT": ErrInvalid, "NOTLEADER": ErrNotLeader, "CLUSTERDOWN": ErrNotLeader,
		"TRYAGAIN": ErrNotReady, "TIMEOUT": context.DeadlineExceeded,
	}[e.Prefix]
	return target == cmp.Or(kind, ErrOutcomeUnknown)
}

// refused reports whether the answer says that nothing was done and that another node, or
// the same one later, may do it.
func (e *RESPError) refused() bool {
	switch e.Prefix {
	case "NOTLEADER", "CLUSTERDOWN", "TRYAGAIN", "TIMEOUT":
		return true
	}
	return false
}

// do sends a command to the leader, or a stale read to any node, until one has taken it,
// the deadline has come or it would not be safe to go on. A level makes it a read.
func (c *RESP) do(ctx context.Context, level Consistency, args ...[]byte) (Reply, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	var last error
	var tried []string
	wait := backoffMin
	for {
		endpoint, ok := c.endpoints.pick(level != Stale, tried)
		if c.closed.Load() {
			return Reply{}, fmt.Errorf("client: %w", ErrClosed)
		}
		if ctx.Err() != nil {
			return Reply{}, gaveUp(ctx, errors.As(last, new(*RESPError)), last)
		}
		if !ok { // all of them
			_ = poll.Sleep(ctx, wait/2+rand.N(wait/2)) // the loop looks at ctx next
			wait, tried = min(2*wait, backoffMax), tried[:0]
			continue
		}
		r, err := c.try(ctx, endpoint, level, args)
		if err == nil {
			return r, nil
		}
		var told *RESPError
		switch {
		case errors.As(err, &told) && told.refused():
			c.redirected(endpoint, told)
		case errors.As(err, &told):
			return Reply{}, err
		case level == "" && err.(*Unanswered).Sent:
			return Reply{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		tried, last = append(tried, endpoint), err
	}
}

// try sends the command to one node. The error is a *RESPError or an *Unanswered.
func (c *RESP) try(ctx context.Context, endpoint string, level Consistency, args [][]byte) (Reply, error) {
	p, err := c.pipe(ctx, lane{endpoint, level, c.next.Add(1) % c.perNode})
	if err != nil {
		c.endpoints.fails(endpoint)
		return Reply{}, err
	}
	if level != "" && len(c.endpoints.given) > 1 { // a read can leave a node that hangs
		var cancel context.CancelFunc
		deadline, _ := ctx.Deadline() // do has seen to it
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	r, sent, err := p.do(ctx, args...)
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // that would not be the node's fault
			c.endpoints.fails(endpoint)
		}
		return Reply{}, &Unanswered{Endpoint: endpoint, Sent: sent, Cause: err}
	}
	if r.Kind != '-' {
		if level != Stale && c.endpoints.knownLeader() != endpoint {
			c.endpoints.leads(endpoint)
			c.endpoints.works(endpoint)
		}
		return r, nil
	}
	return Reply{}, refusal(endpoint, r)
}

// refusal is the error that an answer is.
func refusal(endpoint string, r Reply) *RESPError {
	prefix, message, _ := strings.Cut(string(r.Text), " ")
	return &RESPError{Endpoint: endpoint, Prefix: prefix, Message: message}
}

// redirected takes in what a node says that did not take a command.
func (c *RESP) redirected(endpoint string, e *RESPError) {
	if e.Prefix != "NOTLEADER" {
		c.endpoints.fails(endpoint)
		return
	}
	_, at, _ := strings.Cut(e.Message, " ")
	c.endpoints.follows(endpoint, at)
}

// pipe returns a connection that works.
func (c *RESP) pipe(ctx context.Context, l lane) (*pipe, error) {
	c.mu.Lock()
	p := c.lanes[l]
	c.mu.Unlock()
	if p != nil && !p.broken() {
		return p, nil
	}
	made, err := c.dial(ctx, l)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.lanes[l]; p != nil && !p.broken() { // another caller was faster
		made.close()
		return p, nil
	}
	if c.closed.Load() {
		made.close()
	}
	c.lanes[l] = made
	return made, nil
}

// dial connects, and sees to it that what answers is a node of the group.
func (c *RESP) dial(ctx context.Context, l lane) (*pipe, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.endpoint)
	if err != nil {
		return nil, &Unanswered{Endpoint: l.endpoint, Cause: err}
	}
	c.opened.Add(1)
	p := newPipe(raw)
	name := map[Consistency]string{Leader: "lease", Stale: "stale"}[l.level]
	forward := "no"
	if c.endpoints.stay {
		forward = "yes"
	}
	greeting := [][]string{{"RAFT.FORWARD", forward}, {"RAFT.READLEVEL", cmp.Or(name, "linearizable")}, {"RAFT.STATUS"}}
	var r Reply
	for _, words := range greeting {
		args := make([][]byte, len(words))
		for i, word := range words {
			args[i] = []byte(word)
		}
		if r, _, err = p.do(ctx, args...); err == nil && r.Kind == '-' {
			err = fmt.Errorf("%w: %s: %s", errReply, words[0], r.Text)
		}
		if err != nil {
			p.close()
			return nil, &Unanswered{Endpoint: l.endpoint, Cause: err}
		}
	}
	if err := c.isOurs(r); err != nil {
		p.close()
		return nil, &Unanswered{Endpoint: l.endpoint, Cause: err}
	}
	return p, nil
}

// isOurs refuses a node of another group than the client's, by its status.
func (c *RESP) isOurs(status Reply) error {
	for i := 0; i+1 < len(status.Items); i += 2 {
		if string(status.Items[i].Text) != "group" {
			continue
		}
		group := string(status.Items[i+1].Text)
		if group == "" || c.group.CompareAndSwap(nil, &group) || *c.group.Load() == group {
			return nil
		}
		return fmt.Errorf("it is of group %.40s, and other nodes that this client was given are not: two groups are mixed up; leave the addresses of one of them out", group)
	}
	return errReply
}

// Conn is one connection of the Redis protocol to one node, for what is asked of that node
// and no other. Safe for concurrent use; what several callers send goes out together, and
// is answered in its order.
type Conn struct {
	endpoint string
	pipe     *pipe
}

// Dial connects to the node that serves the Redis protocol at the endpoint, host:port.
func Dial(ctx context.Context, endpoint string) (*Conn, error) {
	raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, &Unanswered{Endpoint: endpoint, Cause: err}
	}
	return &Conn{endpoint: endpoint, pipe: newPipe(raw)}, nil
}

// Do sends a command and returns its answer. The error is a *[RESPError] where that is one,
// and an *[Unanswered] where there is none. A connection that has failed stays so.
func (c *Conn) Do(ctx context.Context, words ...string) (Reply, error) {
	args := make([][]byte, len(words))
	for i, word := range words {
		args[i] = []byte(word)
	}
	r, sent, err := c.pipe.do(ctx, args...)
	switch {
	case err != nil:
		return Reply{}, &Unanswered{Endpoint: c.endpoint, Sent: sent, Cause: err}
	case r.Kind == '-':
		return Reply{}, refusal(c.endpoint, r)
	}
	return r, nil
}

// Close closes the connection; calls under way fail.
func (c *Conn) Close() error {
	c.pipe.close()
	return nil
}
