package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// maxPageBytes is about how many bytes of keys and values a page has at most.
const maxPageBytes = 8 << 20

// getKey is GET and HEAD /key/{key}.
func (s *Server) getKey(ctx context.Context, q *request) (answer, error) {
	key, err := q.key()
	if err != nil {
		return answer{}, err
	}
	has, err := noneMatch(q.Header)
	if err != nil {
		return answer{}, err
	}
	bare := octets(q.Header)
	return s.read(ctx, q, func() (answer, error) {
		value, index, ok := s.cfg.Map.Get(key)
		return valueOf(key, value, index, ok, bare, has(index)), nil
	})
}

func valueOf(key string, value []byte, index uint64, ok, bare, has bool) answer {
	status := http.StatusOK
	if !ok {
		status = http.StatusNotFound
	}
	var a answer
	switch {
	case ok && has:
		a = answer{status: http.StatusNotModified, header: http.Header{}}
	case bare:
		a = bytesAnswer(status, value)
	default:
		a = valueAnswer(status, key, value)
	}
	a.header["Vary"] = []string{"Accept"}
	if ok {
		a.header["Etag"] = []string{etag(index)}
	}
	return a
}

// page is GET and HEAD /key.
func (s *Server) page(ctx context.Context, q *request) (answer, error) {
	if err := unconditional(q.Header); err != nil {
		return answer{}, err
	}
	limit, err := parseLimit(q.query)
	if err != nil {
		return answer{}, err
	}
	return s.read(ctx, q, func() (answer, error) {
		page := s.scan(q.query.Get("prefix"), q.query.Get("after"), limit)
		return jsonAnswer(http.StatusOK, page), nil
	})
}

// scan takes one page of the map.
func (s *Server) scan(prefix, after string, limit int) api.Page {
	page := api.Page{Pairs: []api.Pair{}}
	last, size := "", 0
	for _, p := range s.cfg.Map.Scan(prefix, after, limit+1) { // one more tells whether there is another page
		if n := len(page.Pairs); n == limit || n > 0 && size+len(p.Value) > maxPageBytes {
			page.Next = escape(last)
			break
		}
		page.Pairs = append(page.Pairs, pair(p))
		last, size = p.Key, size+len(p.Key)+len(p.Value)
	}
	return page
}

// read answers by local, a look at the map, as fresh as the request asks for.
func (s *Server) read(ctx context.Context, q *request, local func() (answer, error)) (answer, error) {
	switch q.consistency {
	case api.Stale:
		return local()
	case api.Leader:
		return s.onLeader(ctx, q, func() (answer, error) {
			if err := s.cfg.Replica.LeaseBarrier(ctx); err != nil {
				return answer{}, readFailed(err)
			}
			return local()
		})
	}
	if err := s.barrier(ctx, q); err != nil {
		return answer{}, err
	}
	return local()
}

// barrier returns once this node has applied all that was acknowledged, anywhere
// in the group, before the call.
func (s *Server) barrier(ctx context.Context, q *request) error {
	return s.retry(ctx, func() error {
		to, err := s.leader(q)
		if err != nil {
			return err
		}
		if to == nil {
			return s.deposed(q, readFailed(s.cfg.Replica.ReadBarrier(ctx)))
		}
		index, err := s.askReadIndex(ctx, *to)
		if err != nil {
			return readAgain(err)
		}
		return readFailed(s.cfg.Replica.WaitApplied(ctx, index))
	})
}

// readFailed makes an error of the replica one of a read: it has no effect, so
// that whatever it failed for it may be tried again, but on another node if this
// one does not lead, and not at all once it has stopped.
func readFailed(err error) error {
	if err == nil || errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrClosed) {
		return err
	}
	return &again{code: api.CodeTimeout, cause: err}
}

// readIndex is GET /internal/read-index.
func (s *Server) readIndex(ctx context.Context, q *request) (answer, error) {
	index, err := s.cfg.Replica.ReadIndex(ctx)
	if errors.Is(err, core.ErrNotLeader) {
		s.lookAgain()
		return answer{}, s.notLeader("%v", err)
	}
	if err != nil {
		return answer{}, err
	}
	return jsonAnswer(http.StatusOK, api.ReadIndex{Index: index}), nil
}
