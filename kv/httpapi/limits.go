//go:build unix

package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// Limits bound what clients together can make a node hold, and how slowly they may
// send and read. A zero field stands for its default.
type Limits struct {
	// HeldBytes bounds the memory for bodies and answers of all requests under way;
	// 0: [api.MaxHeldBytes]. A request that does not fit is refused.
	HeldBytes int64
	// BytesPerS is how fast a body has to come and an answer has to be taken, on
	// average once Patience is over; 0: [api.MinBytesPerS].
	BytesPerS int64
	// Patience is what a sender or reader may waste beyond that; 0: [api.Patience].
	Patience time.Duration
}

func (l *Limits) setDefaults() error {
	if l.HeldBytes < 0 || l.BytesPerS < 0 || l.Patience < 0 {
		return fmt.Errorf("%w limits %+v: none can be negative", core.ErrInvalid, *l)
	}
	l.HeldBytes = cmp.Or(l.HeldBytes, api.MaxHeldBytes)
	l.BytesPerS = cmp.Or(l.BytesPerS, api.MinBytesPerS)
	l.Patience = cmp.Or(l.Patience, api.Patience)
	return nil
}

// pace returns until when so many bytes have to have moved that began to at begun.
func (l *Limits) pace(begun time.Time, bytes int) time.Time {
	return begun.Add(l.Patience + time.Duration(float64(bytes)/float64(l.BytesPerS)*float64(time.Second)))
}

// How often what came or goes is in memory at the same time, at most.
const (
	valueCopies = 3 // as it came, in the command, and in the engine
	batchCopies = 5 // and as JSON tokens and as operations
	pairBytes   = 160
	jsonCopies  = 3 // the answer, and the encoder's buffer, which grows by doubling
)

// budget is what is left of Limits.HeldBytes. Nobody waits for it: a request that
// waited would hold what it has, and all might.
type budget struct {
	limit int64
	held  atomic.Int64
}

// share is what one request holds of the budget; its goroutine alone uses it.
type share struct {
	of   *budget
	held int64
}

// take makes the share larger by so many bytes, or refuses the request.
func (s *share) take(bytes int) error {
	if held := s.of.held.Add(int64(bytes)); held > s.of.limit {
		s.of.held.Add(-int64(bytes))
		return overloaded("the node holds %d bytes for requests under way, and this one takes %d more: at most %d are allowed",
			held-int64(bytes), bytes, s.of.limit)
	}
	s.held += int64(bytes)
	return nil
}

// shrink makes the share as large as it once was.
func (s *share) shrink(to int64) {
	if to < s.held {
		s.of.held.Add(to - s.held)
		s.held = to
	}
}

// encode makes an answer that takes so many bytes until it is made, and then, while the
// client takes it, those of its body.
func (s *share) encode(bytes int, make func() answer) (answer, error) {
	before := s.held
	if err := s.take(bytes); err != nil {
		return answer{}, err
	}
	a := make()
	s.shrink(before + int64(cap(a.body)))
	return a, nil
}

// overloaded refuses a request that would take more than the node has.
func overloaded(format string, args ...any) error {
	return refuse(api.CodeOverloaded, format, args...)
}

const (
	// firstRead is for how much of a body room is made before it has come: a client
	// can claim more than it sends.
	firstRead = 64 << 10
	// drainTime and drainBytes are how long and how much is read of a body that nobody
	// wants: a client that is still sending would not see the answer.
	drainTime  = 100 * time.Millisecond
	drainBytes = 256 << 10
	// maxAdminBytes bounds the bodies of /join and /transfer.
	maxAdminBytes = 64 << 10
)

// readBody reads the body, of at most limit bytes, within the request's deadline and
// not too slowly, and keeps it for forwarding. what names it in errors; copies is how
// often it will be in memory.
func (q *request) readBody(limit int64, copies int, what string) ([]byte, error) {
	if q.ContentLength > limit {
		return nil, tooLarge("%s of %d bytes: at most %d are allowed", what, q.ContentLength, limit)
	}
	if q.Body == http.NoBody { // net/http is reading already, for the client's going
		return nil, nil
	}
	in := &intake{from: http.MaxBytesReader(q.w, q.Body, limit), q: q, begun: time.Now()}
	body, err := readAll(in, q.ContentLength, func(bytes int) error { return q.share.take(copies * bytes) })
	var refused *problem
	switch {
	case err == nil:
		// From now on net/http reads, for the client's going. If a deadline ended that,
		// the client would be gone, for this request and all later ones.
		readUntil(q.w, time.Time{})
		q.body, q.Body = body, http.NoBody // so that nothing is left to drain
		return body, nil
	case errors.As(err, &refused):
		return nil, err
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, tooLarge("%s: at most %d bytes are allowed", what, limit)
	case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(q.deadline):
		return nil, timedOut("%s: it came too slowly, %d bytes in %s: send %d bytes a second or more",
			what, in.got, time.Since(in.begun).Round(time.Millisecond), q.limits.BytesPerS)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, timedOut("%s: it did not come within the deadline: %d bytes did", what, in.got)
	default:
		return nil, badRequest("%s: after %d bytes: %v", what, in.got, err)
	}
}

// intake reads a body and bounds each read by the pace and the request's deadline.
type intake struct {
	from  io.Reader
	q     *request
	begun time.Time
	got   int
}

// Read implements io.Reader.
func (in *intake) Read(b []byte) (int, error) {
	until := in.q.limits.pace(in.begun, in.got)
	if until.After(in.q.deadline) {
		until = in.q.deadline
	}
	readUntil(in.q.w, until)
	n, err := in.from.Read(b)
	in.got += n
	return n, err
}

// readUntil bounds the reading from the request's connection. A ResponseWriter that
// cannot do that has none that could hang.
func readUntil(w http.ResponseWriter, deadline time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}

// leave has done with a request's body before the answer is written. A connection on
// which the rest does not come ends with the answer, and so does one whose context has
// ended: the client sends no more, and if it does, its next request is not to suffer.
func leave(w http.ResponseWriter, r *http.Request) {
	if r.Body != http.NoBody && r.Header.Get("Expect") == "" { // to read would be to ask for it
		readUntil(w, time.Now().Add(drainTime))
		if _, err := io.CopyN(io.Discard, r.Body, drainBytes); errors.Is(err, io.EOF) {
			readUntil(w, time.Time{})
		} else {
			w.Header().Set("Connection", "close")
		}
	}
	if r.Context().Err() != nil {
		w.Header().Set("Connection", "close")
	}
}

// readAll reads all there is; size is how much is expected, -1 if that is not known.
// Room is made as the bytes come, after hold has agreed to so many more.
func readAll(from io.Reader, size int64, hold func(bytes int) error) ([]byte, error) {
	room := firstRead
	if size >= 0 {
		room = int(min(size+1, firstRead)) // one more, for the end to be seen
	} else {
		room = bytes.MinRead
	}
	var body []byte
	for {
		if len(body) == cap(body) {
			if err := hold(room - cap(body)); err != nil {
				return body, err
			}
			grown := make([]byte, len(body), room)
			copy(grown, body)
			body = grown
			if room *= 2; size >= 0 {
				room = int(min(int64(room), max(size+1, int64(cap(body))+1)))
			}
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return body, err
		}
	}
}

// write writes the answer of the node id, at the reader's pace as long as that is
// within the limits.
func write(w http.ResponseWriter, r *http.Request, id string, a answer, limits *Limits) {
	leave(w, r)
	h := w.Header()
	maps.Copy(h, a.header)
	h[api.HeaderNode] = []string{id}
	if a.status != http.StatusNotModified && a.stream == nil {
		h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	if surplus(r.Context()) {
		h.Set("Connection", "close")
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return
	}
	if a.stream != nil {
		_ = sendAll(w, a.stream, limits) // a client sees by the checksum at its end whether it has all
		return
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
	return sendAll(w, func(to io.Writer) error {
		for len(body) > 0 {
			n, err := to.Write(body[:min(chunk, len(body))])
			if err != nil {
				return err
			}
			body = body[n:]
		}
		return nil
	}, limits)
}

// sendAll has stream write the body of an answer, as fast as the limits ask.
func sendAll(w http.ResponseWriter, stream func(io.Writer) error, limits *Limits) error {
	to := &paced{w: w, control: http.NewResponseController(w), limits: limits, begun: time.Now()}
	if err := stream(to); err != nil {
		return err
	}
	to.allow()
	if err := to.control.Flush(); err != nil {
		return err
	}
	return to.control.SetWriteDeadline(time.Time{}) // it was for this answer
}

// paced writes an answer as long as the client takes it fast enough.
type paced struct {
	w       http.ResponseWriter
	control *http.ResponseController
	limits  *Limits
	begun   time.Time
	sent    int
}

func (p *paced) allow() { _ = p.control.SetWriteDeadline(p.limits.pace(p.begun, p.sent)) }

// Write implements io.Writer.
func (p *paced) Write(b []byte) (int, error) {
	p.allow()
	n, err := p.w.Write(b)
	p.sent += n
	return n, err
}

// surplusConns is how many connections beyond the limit are held for as long as it
// takes to refuse a request on each. What comes on top of them is closed unheard.
const surplusConns = 64

const (
	// firstRequest is how long a new connection is left alone for its first request.
	firstRequest = time.Second
	// unusedTimeout is how long that may take of a server that shuts down.
	unusedTimeout = 500 * time.Millisecond
)

// connections bounds those of one http.Server. Safe for concurrent use.
type connections struct {
	limit int

	mu   sync.Mutex
	open map[net.Conn]*connection
}

type connection struct {
	state http.ConnState // StateNew: no request has come yet
	since time.Time      // of the state
}

// BoundConnections has server hold at most limit connections, 0 standing for
// [api.MaxConnections] or, where the system allows the process few files, half of
// those. Beyond it the connection that has waited longest for a request is closed to
// make room. Where none waits, a Server refuses requests on the new one, but for those
// of its state.
//
// It also has a server that shuts down wait for the first request of a connection no
// longer than half a second: clients open some that they turn out not to need, and
// net/http would wait 5 s for each. It takes the server's ConnContext, and its ConnState
// beside the one that is there; call it before Serve.
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
	server.RegisterOnShutdown(func() { time.AfterFunc(unusedTimeout, c.closeUnused) })
}

// closeUnused closes the connections on which no request has come yet.
func (c *connections) closeUnused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, is := range c.open {
		if is.state == http.StateNew {
			_ = conn.Close()
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
	if len(c.open) >= c.limit && !c.makeRoom() {
		ctx = context.WithValue(ctx, surplusKey{}, true)
	}
	c.open[conn] = &connection{state: http.StateNew, since: time.Now()}
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

// maxFiles returns how many files and connections the process may have open.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt
	}
	return int(min(uint64(limit.Cur), math.MaxInt))
}
