package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

const (
	dialTimeout = time.Second
	// idleTimeout is shorter than a kvnode keeps an idle connection, so that a
	// write seldom meets one that is just being closed.
	idleTimeout  = 30 * time.Second
	maxIdleConns = 512 // per node
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
}

// Client talks to a group of kvnodes. All methods are safe for concurrent use
// and block until the context ends at the latest. Close it once no call is under
// way.
type Client struct {
	timeout   time.Duration
	endpoints *endpoints
	transport *http.Transport
	group     atomic.Pointer[string] // nil: not known yet
	closed    atomic.Bool
}

// New returns a client of the group that the nodes at the endpoints, host:port or
// http://host:port each, belong to. It connects to none of them yet. One endpoint
// is enough; with more the client survives the loss of some.
func New(nodes []string, o Options) (*Client, error) {
	e, err := newEndpoints(nodes)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if o.Timeout == 0 {
		o.Timeout = api.DefaultTimeout
	}
	if o.Timeout < 0 || o.Timeout > api.MaxTimeout {
		return nil, fmt.Errorf("client: %w timeout %v: at most %v", ErrInvalid, o.Timeout, api.MaxTimeout)
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	c := &Client{
		timeout:   o.Timeout,
		endpoints: e,
		transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &conn{Conn: c}, nil
			},
			MaxIdleConnsPerHost: maxIdleConns,
			IdleConnTimeout:     idleTimeout,
			DisableCompression:  true,
		},
	}
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
	c.transport.CloseIdleConnections()
	return nil
}

// Endpoints returns the endpoints that New was given, as host:port.
func (c *Client) Endpoints() []string { return append([]string(nil), c.endpoints.given...) }

// Leader returns the HTTP address of the leader as a node last named it; empty
// while none is known. It asks nobody.
func (c *Client) Leader() string { return c.endpoints.knownLeader() }

// bound gives ctx a deadline where it has none.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.timeout)
}
