package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

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
	p := &problem{
		status:  http.StatusPreconditionFailed,
		code:    api.CodeConditionFailed,
		message: failed.Error(),
		header:  http.Header{api.HeaderIndex: {strconv.FormatUint(index, 10)}},
	}
	if failed.Index > 0 {
		p.header["Etag"] = []string{asJSON.etag(failed.Index)}
	}
	return p
}

// propose replicates a command and returns its index. It proposes once, and an
// error of the proposal that does not tell is one of unknown outcome. What the
// map has to say against the command comes together with the index.
func (s *Server) propose(ctx context.Context, command []byte) (uint64, error) {
	if err := ctx.Err(); err != nil { // certainly not proposed
		return 0, fmt.Errorf("nothing was written: %w", err)
	}
	applied, err := s.cfg.Replica.Propose(ctx, command)
	switch {
	case err == nil:
	case errors.Is(err, core.ErrOutcomeUnknown), errors.Is(err, core.ErrNotLeader), errors.Is(err, core.ErrClosed):
		return 0, err
	default:
		return 0, fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	}
	result, ok := applied.Result.(kv.Result)
	if !ok {
		return applied.Index, fmt.Errorf("the state machine is no kv.Store: it returned a %T", applied.Result)
	}
	return applied.Index, result.Err
}
