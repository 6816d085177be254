package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// inProcess is a group whose members run in this process.
type inProcess struct{ *cluster.InProcess }

var _ group = inProcess{}

func startInProcess(ctx context.Context, t *trial, dir string) (group, error) {
	network, err := t.parts.transport.New(t.parts.netOpts)
	if err != nil {
		return nil, err
	}
	g, err := cluster.StartInProcess(ctx, cluster.Spec{
		Nodes:   t.parts.info.Cluster.Nodes,
		Engine:  t.parts.engine,
		Network: network,
		OpenStore: func(dir string) (core.LogStore, error) {
			return t.parts.backend.Open(dir, t.parts.options)
		},
		Dir:               dir,
		SnapshotsInMemory: t.parts.info.Durability == string(core.DurableNothing),
		Tuning:            core.Tuning(t.parts.info.Raft),
		Logger:            t.logger,
	})
	if err != nil {
		return nil, err
	}
	return inProcess{g}, nil
}

func (g inProcess) leader() *cluster.Node { return g.Nodes[0] }

func (g inProcess) target(stale bool) workload.Target { return &callTarget{g.leader(), stale} }

func (g inProcess) set(ctx context.Context, ops []kv.Op) error {
	command, err := kv.EncodeBatch(ops)
	if err != nil {
		return err
	}
	applied, err := g.leader().Replica.Propose(ctx, command)
	if err != nil {
		return err
	}
	return refusal(applied.Result)
}

func (g inProcess) observe(context.Context) (observation, error) {
	o := observation{at: time.Now(), cpu: processCPU(), commands: g.leader().Map.Applied()}
	if n := g.Leader(); n != nil {
		o.leadership = leadership{n.ID, n.Replica.Status().Term}
	}
	for _, n := range g.Nodes {
		if c, ok := core.As[core.SyncCounter](n.Logs); ok {
			o.syncs = append(o.syncs, c.SyncCount())
		}
	}
	return o, nil
}

func (g inProcess) disagreeing(context.Context) (behind int, err error) {
	first := g.leader().Map
	for _, n := range g.Nodes[1:] {
		if n.Map.Applied() != first.Applied() {
			behind++ // cheap to see: nothing is hashed while they catch up
		}
	}
	if behind > 0 {
		return behind, nil
	}
	index, sum := first.Digest()
	for _, n := range g.Nodes[1:] {
		if i, s := n.Map.Digest(); i != index || s != sum {
			behind++
		}
	}
	return behind, nil
}

func (g inProcess) watch(failed func(error)) func() {
	quit := make(chan struct{})
	done := make(chan struct{}, len(g.Nodes))
	for _, n := range g.Nodes {
		go func() {
			defer func() { done <- struct{}{} }()
			select {
			case <-n.Replica.Done():
				failed(fmt.Errorf("%s stopped: %w", n.ID, n.Replica.Err()))
			case <-quit:
			}
		}()
	}
	return func() {
		close(quit)
		for range g.Nodes {
			<-done
		}
	}
}

// callTarget drives the leader by function calls, as a client that knows it.
type callTarget struct {
	leader *cluster.Node
	stale  bool // reads skip the barrier
}

// Do implements workload.Target.
func (t *callTarget) Do(ctx context.Context, op *workload.Op) error {
	if op.Kind == workload.Read {
		return t.read(ctx, op)
	}
	applied, err := t.leader.Replica.Propose(ctx, kv.EncodeSet(op.Key, op.Value))
	if err != nil {
		return err
	}
	return refusal(applied.Result)
}

func (t *callTarget) read(ctx context.Context, op *workload.Op) error {
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
