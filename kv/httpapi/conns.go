package httpapi

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// surplusConns is how many connections beyond the limit are held for as long as it
// takes to refuse a request on each. What comes on top of them is closed unheard.
const surplusConns = 64

// firstRequest is how long a new connection is left alone for its first request.
const firstRequest = time.Second

// connections bounds those of one http.Server. Safe for concurrent use.
type connections struct {
	limit int

	mu   sync.Mutex
	open map[net.Conn]*connection
}

type connection struct {
	state   http.ConnState // StateNew: no request has come yet
	since   time.Time      // of the state
	surplus bool           // only told that there are too many
}

// BoundConnections has server hold at most limit connections, 0 standing for
// [api.MaxConnections] or, where the system allows the process few files, half of
// those. Beyond it the connection that has waited longest for a request is closed to
// make room. Where none waits, a Server refuses requests on the new one, but for those
// of its state. It takes the server's ConnContext, and its ConnState beside the one that
// is there; call it before Serve.
func BoundConnections(server *http.Server, limit int) {
	if limit == 0 {
		limit = min(api.MaxConnections, max(maxFiles()/2, 1))
	}
	c := &connections{limit: limit, open: map[net.Conn]*connection{}}
	also := server.ConnState
	server.ConnContext = c.enter
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		c.track(conn, state)
		if also != nil {
			also(conn, state)
		}
	}
}

type surplusKey struct{}

// surplus reports whether a connection is one too many.
func surplus(ctx context.Context) bool { return ctx.Value(surplusKey{}) != nil }

// enter takes in a new connection; net/http calls it from one goroutine.
func (c *connections) enter(ctx context.Context, conn net.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	entered := &connection{state: http.StateNew, since: time.Now()}
	if len(c.open) >= c.limit && !c.makeRoom() {
		entered.surplus = true
		ctx = context.WithValue(ctx, surplusKey{}, true)
	}
	c.open[conn] = entered
	if len(c.open) > c.limit+surplusConns {
		_ = conn.Close()
	}
	return ctx
}

// makeRoom closes the connection that has waited longest for a request: one that has
// had some rather than one whose first may be on its way.
func (c *connections) makeRoom() bool {
	for _, state := range []http.ConnState{http.StateIdle, http.StateNew} {
		var longest net.Conn
		for conn, is := range c.open {
			old := state == http.StateIdle || time.Since(is.since) > firstRequest
			if is.state == state && old && (longest == nil || is.since.Before(c.open[longest].since)) {
				longest = conn
			}
		}
		if longest != nil {
			delete(c.open, longest)
			_ = longest.Close()
			return true
		}
	}
	return false
}

func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is, ok := c.open[conn]
	switch {
	case !ok: // closed to make room
	case state == http.StateClosed, state == http.StateHijacked:
		delete(c.open, conn)
	default:
		is.state, is.since = state, time.Now()
	}
}
