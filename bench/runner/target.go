package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/kv"
)

// target drives the leader of an in-process group, as a client that knows it.
type target struct {
	leader *cluster.Node
	stale  bool // reads skip the barrier
}

var _ workload.Target = (*target)(nil)

// Do implements workload.Target.
func (t *target) Do(ctx context.Context, op *workload.Op) error {
	if op.Kind == workload.Read {
		return t.read(ctx, op)
	}
	applied, err := t.leader.Replica.Propose(ctx, kv.EncodeSet(op.Key, op.Value))
	if err != nil {
		return err
	}
	return refusal(applied.Result)
}

func (t *target) read(ctx context.Context, op *workload.Op) error {
	if !t.stale {
		if err := t.leader.Replica.ReadBarrier(ctx); err != nil {
			return err
		}
	}
	if _, _, ok := t.leader.Map.Get(op.Key); !ok {
		return fmt.Errorf("read %s: %w", op.Key, errMissing)
	}
	return nil
}

// errMissing: all keys are written before a load with reads begins.
var errMissing = errors.New("a key that was written is not there")

func refusal(result any) error {
	r, ok := result.(kv.Result)
	if !ok {
		return fmt.Errorf("unexpected result of the state machine: %T", result)
	}
	return r.Err
}
