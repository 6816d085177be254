package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

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
		q.body = body
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

// decodeJoin reads the body of POST /join and checks it, but for what only the
// group knows.
func decodeJoin(body []byte) (api.Join, error) {
	var j api.Join
	err := eachField(body, func(name string, value any) error {
		switch name {
		case "id":
			return take(&j.ID, name, value)
		case "incarnation":
			return take(&j.Incarnation, name, value)
		case "group":
			return take(&j.Group, name, value)
		case "address":
			return take(&j.Address, name, value)
		case "http_address":
			return take(&j.HTTPAddress, name, value)
		case "nonvoter":
			return take(&j.Nonvoter, name, value)
		case "has_state":
			return take(&j.HasState, name, value)
		}
		return badRequest("body: there is no field %.40q; there are id, incarnation, group, address, http_address, nonvoter and has_state", name)
	})
	if err != nil {
		return api.Join{}, err
	}
	return j, checkJoin(j)
}

// decodeTransfer reads the body of POST /transfer, which may be empty.
func decodeTransfer(body []byte) (api.Transfer, error) {
	var t api.Transfer
	if len(bytes.TrimSpace(body)) == 0 {
		return t, nil
	}
	err := eachField(body, func(name string, value any) error {
		if name != "id" {
			return badRequest("body: there is no field %.40q; there is id", name)
		}
		return take(&t.ID, name, value)
	})
	return t, err
}

// take stores the value of a field that has to be a T.
func take[T string | bool](to *T, name string, value any) error {
	v, ok := value.(T)
	if !ok {
		return badRequest("body: %s: want a %T, not %s", name, *to, kindOf(value))
	}
	*to = v
	return nil
}
