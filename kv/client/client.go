// Package client is the Go client of kvnode. It finds the leader, goes on to
// another node where one fails, and tells of every write whether it took effect,
// did not, or may have. It never sends a write a second time unless it is certain
// that the first try was not taken: no byte of it left this process, or the node
// said so.
//
// # What an error means
//
// Of a write, an error that is [ErrOutcomeUnknown] leaves its fate open: it
// may have taken effect, or may yet, even after later writes. With any other
// error nothing was written. Compare with [errors.Is]:
//
//   - [ErrNotFound]: no such key, or member
//   - [ErrCondition]: the condition did not hold; a *[ConditionError] has the details
//   - [ErrInvalid]: the request is malformed or too large
//   - [ErrUnreachable]: no node answered before the deadline
//   - [ErrNotLeader]: nodes answered until the deadline, but none found a leader
//   - [ErrStopped]: the node that answered last is stopping, or its store has failed
//   - [ErrNotReady]: the node that answered last has not caught up, or has no room
//   - [ErrClosed]: the Client was closed before
//
// What a node answered is an *[Error] in the chain. An answer without the header by
// which a kvnode says its id is none of a node, whatever its status: a read goes on to
// the next endpoint, and of a write it leaves the fate open.
//
// # Which node is asked
//
// Writes and reads that only the leader can confirm go to the leader first, as the
// nodes name it in their answers; anything else goes round. A node that failed is
// asked last for a while. A [Node] is one particular node: what is asked of it
// is sent there once and nowhere else.
package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/internal/hostport"
	"github.com/themilchenko/raftlab/kv/api"
)

// Options of a client. The zero value is fit for use.
type Options struct {
	// Timeout bounds a call whose context has no deadline, all tries and waits
	// included; 0: [api.DefaultTimeout]. It cannot exceed [api.MaxTimeout].
	Timeout time.Duration
	// Group is the id of the group that the client is for, as /status shows it; empty:
	// that of the first node that answers. Nodes of another group refuse the client's
	// requests, so that a node that is there by mistake takes no write. What is asked
	// of one [Node] is asked of it whatever its group.
	Group string
	// Connections is how many a [RESP] keeps to a node for writes, and as many for reads
	// of each level; 0: 2. A [Client] has one for each request under way, and keeps at most
	// so many to a node while they are idle; 0, or fewer than 512: 512.
	Connections int
	// Stay has the client ask only the nodes that it is given, in turn, whoever leads, and
	// leave it to them to forward what only the leader can do.
	Stay bool
}

// Client talks to a group of kvnodes. All methods are safe for concurrent use
// and block until the context ends at the latest. Close it once no call is under
// way.
type Client struct {
	timeout   time.Duration
	endpoints *endpoints
	sender    *Sender
	group     atomic.Pointer[string] // nil: not known yet
	closed    atomic.Bool
}

// New returns a client of the group that the nodes at the endpoints, host:port or
// http://host:port each, belong to. It connects to none of them yet. One endpoint
// is enough; with more the client survives the loss of some.
func New(nodes []string, o Options) (*Client, error) {
	e, err := newEndpoints(nodes, o.Stay)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	o.Timeout = cmp.Or(o.Timeout, api.DefaultTimeout)
	if o.Timeout < 0 || o.Timeout > api.MaxTimeout {
		return nil, fmt.Errorf("client: %w timeout %v: at most %v", ErrInvalid, o.Timeout, api.MaxTimeout)
	}
	c := &Client{timeout: o.Timeout, endpoints: e, sender: NewSender()}
	c.sender.keep = max(c.sender.keep, o.Connections)
	c.pin(o.Group)
	return c, nil
}

// pin makes the group that the client is for known, unless it is known.
func (c *Client) pin(group string) {
	if group != "" {
		c.group.CompareAndSwap(nil, &group)
	}
}

// Close closes the connections that are idle. Later calls fail with a
// [ErrClosed].
func (c *Client) Close() error {
	c.closed.Store(true)
	c.sender.CloseIdle()
	return nil
}

// Opened returns how many connections the client has opened so far.
func (c *Client) Opened() int64 { return c.sender.opened.Load() }

// Connect opens connections to a node until so many of them are idle, as far as the client
// keeps them: requests that come later need not.
func (c *Client) Connect(ctx context.Context, node string, idle int) error {
	endpoint, err := parseEndpoint(node)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	return failed("connect", c.sender.connect(ctx, endpoint, min(idle, c.sender.keep)))
}

// Leader returns the HTTP address of the leader as a node last named it; empty
// while none is known. It asks nobody.
func (c *Client) Leader() string { return c.endpoints.knownLeader() }

// bound gives ctx a deadline where it has none.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

// failureMemory is how long a node that failed is asked after all others.
const failureMemory = time.Second

// endpoints is what the client knows of the nodes: where they are, which one
// leads, which failed of late. Safe for concurrent use.
type endpoints struct {
	given []string // by the caller; never changes
	stay  bool     // who leads is of no interest

	mu      sync.Mutex
	learned []string // named as leaders by nodes and not given; left once they fail
	leader  string   // empty: not known
	next    int      // where the next round begins
	failed  map[string]time.Time
}

func newEndpoints(given []string, stay bool) (*endpoints, error) {
	e := &endpoints{stay: stay, failed: make(map[string]time.Time)}
	for _, s := range given {
		address, err := parseEndpoint(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(e.given, address) {
			e.given = append(e.given, address)
		}
	}
	if len(e.given) == 0 {
		return nil, fmt.Errorf("%w: no endpoints: give host:port of at least one node", ErrInvalid)
	}
	return e, nil
}

// parseEndpoint returns the host:port of an endpoint as users write it.
func parseEndpoint(s string) (string, error) {
	address := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	if host, port, err := hostport.Split(address); err != nil || host == "" || port == 0 {
		return "", fmt.Errorf("%w endpoint %q: write host:port or http://host:port", ErrInvalid, s)
	}
	return address, nil
}

// pick returns the node to ask next: the leader, if it is wanted, known and not
// failing, then the others in turn, those that failed of late last. It returns
// none once all were tried.
func (e *endpoints) pick(wantLeader bool, tried []string) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if wantLeader && e.leader != "" && !slices.Contains(tried, e.leader) && !e.failing(e.leader) {
		return e.leader, true
	}
	all := slices.Concat(e.given, e.learned)
	if len(tried) == 0 {
		e.next++
	}
	second := ""
	for i := range all {
		address := all[(e.next+i)%len(all)]
		switch {
		case slices.Contains(tried, address):
		case !e.failing(address):
			return address, true
		case second == "":
			second = address
		}
	}
	return second, second != ""
}

func (e *endpoints) failing(address string) bool {
	at, ok := e.failed[address]
	return ok && time.Since(at) < failureMemory
}

// works takes in that a node served a request.
func (e *endpoints) works(address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, address)
}

// fails takes in that a node could not serve.
func (e *endpoints) fails(address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader == address {
		e.leader = ""
	}
	if i := slices.Index(e.learned, address); i >= 0 {
		e.learned = slices.Delete(e.learned, i, i+1)
	}
	if slices.Contains(e.given, address) {
		e.failed[address] = time.Now()
	}
}

// leads takes in which leader a node names, "" if none.
func (e *endpoints) leads(leader string) {
	address, err := parseEndpoint(leader)
	if err != nil || e.stay {
		return // what a node advertises by mistake is no reason to fail
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leader = address
	if !slices.Contains(e.given, address) && !slices.Contains(e.learned, address) {
		e.learned = append(e.learned, address)
	}
}

// follows takes in that a node does not lead, and who it says does.
func (e *endpoints) follows(address, leader string) {
	e.mu.Lock()
	if e.leader == address {
		e.leader = ""
	}
	e.mu.Unlock()
	if leader != address {
		e.leads(leader)
	}
}

func (e *endpoints) knownLeader() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}
