package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
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
	wanted := accepted(q.Header)
	has, err := noneMatch(q.Header, wanted)
	if err != nil {
		return answer{}, err
	}
	return s.read(ctx, q, func() (answer, error) {
		value, index, ok := s.cfg.Map.Get(key)
		a, err := valueOf(key, value, ok, ok && has(index), wanted, q.share)
		if ok && err == nil {
			a.header["Etag"] = []string{wanted.etag(index)}
		}
		return a, err
	})
}

// valueOf is the answer to a read of a key, which the client may have already.
func valueOf(key string, value []byte, ok, has bool, wanted representation, share *share) (answer, error) {
	status := http.StatusOK
	if !ok {
		status = http.StatusNotFound
	}
	var a answer
	switch {
	case has:
		a = answer{status: http.StatusNotModified, header: http.Header{}}
	case wanted == asOctets: // the map's own bytes, but for how long?
		if err := share.take(len(value)); err != nil {
			return answer{}, err
		}
		a = bytesAnswer(status, value)
	default:
		var err error
		a, err = share.encode(len(value)+jsonCopies*encodedBytes(value), func() answer { return valueAnswer(status, key, value) })
		if err != nil {
			return answer{}, err
		}
	}
	a.header["Vary"] = []string{"Accept"}
	return a, nil
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
		pairs, more := s.scan(q.query.Get("prefix"), q.query.Get("after"), limit)
		return pageOf(pairs, more, q.share)
	})
}

// scan takes one page of the map, and tells whether there is another.
func (s *Server) scan(prefix, after string, limit int) (pairs []kv.Pair, more bool) {
	pairs = s.cfg.Map.Scan(prefix, after, limit+1) // one more than asked for
	size := 0
	for i, p := range pairs {
		if i == limit || i > 0 && size+len(p.Value) > maxPageBytes {
			return pairs[:i], true
		}
		size += len(p.Key) + len(p.Value)
	}
	return pairs, false
}

// pageOf is the answer to a read of a page.
func pageOf(pairs []kv.Pair, more bool, share *share) (answer, error) {
	bytes := 0
	for _, p := range pairs {
		bytes += len(p.Value) + jsonCopies*(encodedBytes(p.Value)+encodedBytes([]byte(p.Key))+pairBytes)
	}
	return share.encode(bytes, func() answer {
		page := api.Page{Pairs: make([]api.Pair, len(pairs))}
		for i, p := range pairs {
			page.Pairs[i] = PairOf(p)
		}
		if more {
			page.Next = escape(pairs[len(pairs)-1].Key)
		}
		return jsonAnswer(http.StatusOK, page)
	})
}

// read answers by local, a look at the map, as fresh as the request asks for.
func (s *Server) read(ctx context.Context, q *request, local func() (answer, error)) (answer, error) {
	switch q.consistency {
	case api.Stale:
		if err := s.hasCaughtUp(ctx, q); err != nil {
			return answer{}, err
		}
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
			return settle(err, false)
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
	return &retryable{code: api.CodeTimeout, cause: err}
}

// readIndex is GET /internal/read-index.
func (s *Server) readIndex(ctx context.Context, q *request) (answer, error) {
	index, err := s.cfg.Replica.ReadIndex(ctx)
	if errors.Is(err, core.ErrNotLeader) {
		s.refresh()
		return answer{}, s.notLeader("%v", err)
	}
	if err != nil {
		return answer{}, err
	}
	return jsonAnswer(http.StatusOK, api.ReadIndex{Index: index}), nil
}

// setKey is POST and PUT /key/{key}.
func (s *Server) setKey(ctx context.Context, q *request) (answer, error) {
	key, err := q.key()
	if err != nil {
		return answer{}, err
	}
	cond, err := condition(q.Header)
	if err != nil {
		return answer{}, err
	}
	value, err := q.readBody(api.MaxValueBytes, valueCopies, "the value")
	if err != nil {
		return answer{}, err
	}
	return s.onLeader(ctx, q, func() (answer, error) {
		index, err := s.change(ctx, cond, kv.Op{Kind: kv.OpSet, Key: key, Value: value})
		if err != nil {
			return answer{}, err
		}
		a := written(index)
		a.header["Etag"] = []string{asJSON.etag(index)}
		return a, nil
	})
}

// deleteKey is DELETE /key/{key}.
func (s *Server) deleteKey(ctx context.Context, q *request) (answer, error) {
	key, err := q.key()
	if err != nil {
		return answer{}, err
	}
	cond, err := condition(q.Header)
	if err != nil {
		return answer{}, err
	}
	return s.onLeader(ctx, q, func() (answer, error) {
		index, err := s.change(ctx, cond, kv.Op{Kind: kv.OpDelete, Key: key})
		return written(index), err
	})
}

// setBatch is POST /key.
func (s *Server) setBatch(ctx context.Context, q *request) (answer, error) {
	if err := unconditional(q.Header); err != nil {
		return answer{}, err
	}
	body, err := q.readBody(api.MaxBatchBytes, batchCopies, "the body")
	if err != nil {
		return answer{}, err
	}
	if err := q.share.take(pairBytes * min(bytes.Count(body, []byte{'"'})/4, kv.MaxBatchOps)); err != nil {
		return answer{}, err
	}
	ops, err := decodeBatch(body)
	if err != nil {
		return answer{}, err
	}
	return s.onLeader(ctx, q, func() (answer, error) {
		command, err := kv.EncodeBatch(ops)
		if err != nil {
			return answer{}, err
		}
		index, err := s.propose(ctx, command)
		return written(index), err
	})
}

// written is the answer to a write that the entry at index has carried out.
func written(index uint64) answer {
	return answer{
		status: http.StatusOK,
		header: http.Header{api.HeaderIndex: {strconv.FormatUint(index, 10)}},
	}
}

// change proposes op under cond. A condition that did not hold is a problem.
func (s *Server) change(ctx context.Context, cond kv.Condition, op kv.Op) (uint64, error) {
	command, err := kv.EncodeIf(cond, op)
	if err != nil {
		return 0, err
	}
	index, err := s.propose(ctx, command)
	var failed *kv.ConditionError
	if errors.As(err, &failed) {
		return 0, conditionFailed(index, failed)
	}
	return index, err
}

func conditionFailed(index uint64, failed *kv.ConditionError) error {
	p := refuse(api.CodeConditionFailed, "%s", failed)
	p.header.Set(api.HeaderIndex, strconv.FormatUint(index, 10))
	if failed.Index > 0 {
		p.header["Etag"] = []string{asJSON.etag(failed.Index)}
	}
	return p
}

// propose replicates a command and returns its index. What the map has to say against
// the command comes together with the index.
func (s *Server) propose(ctx context.Context, command []byte) (uint64, error) {
	index, result, err := s.proposeHere(ctx, command)
	return index, cmp.Or(err, result.Err)
}

// proposeHere proposes once, on this node.
func (s *Server) proposeHere(ctx context.Context, command []byte) (uint64, kv.Result, error) {
	if err := ctx.Err(); err != nil { // certainly not proposed
		return 0, kv.Result{}, fmt.Errorf("nothing was written: %w", err)
	}
	applied, err := s.cfg.Replica.Propose(ctx, command)
	if err != nil {
		return 0, kv.Result{}, core.OfProposal(err)
	}
	result, ok := applied.Result.(kv.Result)
	if !ok {
		return applied.Index, result, fmt.Errorf("%w: the state machine is no kv.Store: it returned a %T", core.ErrOutcomeUnknown, applied.Result)
	}
	return applied.Index, result, nil
}
