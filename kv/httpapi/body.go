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
	// presized is up to which Content-Length a buffer is made before the bytes
	// have come: a client can claim more than it sends.
	presized = 1 << 20
	// drainTime is how long net/http may wait for the rest of a body that nobody
	// wants any more before it answers.
	drainTime = 100 * time.Millisecond
	// maxAdminBytes bounds the bodies of /join and /transfer.
	maxAdminBytes = 64 << 10
)

// readBody reads the body, of at most limit bytes, within the request's deadline,
// and keeps it for forwarding. what names it in errors.
func (q *request) readBody(limit int64, what string) ([]byte, error) {
	if q.ContentLength > limit {
		return nil, tooLarge("%s of %d bytes: at most %d are allowed", what, q.ContentLength, limit)
	}
	readUntil(q.w, q.deadline) // and then the request is over anyway
	body, err := readAll(http.MaxBytesReader(q.w, q.Body, limit), q.ContentLength)
	if err == nil {
		q.body = body
		return body, nil
	}
	readUntil(q.w, time.Now().Add(drainTime))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, tooLarge("%s: at most %d bytes are allowed", what, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, timedOut("%s: it did not come within the deadline: %d bytes did", what, len(body))
	default:
		return nil, badRequest("%s: after %d bytes: %v", what, len(body), err)
	}
}

// readUntil bounds the reading of the request's body. A ResponseWriter that cannot
// do that has no connection that could hang.
func readUntil(w http.ResponseWriter, deadline time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}

// readAll reads all there is; size is how much is expected, -1 if that is not known.
func readAll(from io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	if size >= 0 {
		b.Grow(int(min(size, presized)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(from)
	return b.Bytes(), err
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
