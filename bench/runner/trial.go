package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/themilchenko/raftlab/bench/calibrate"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// startTimeout bounds the start of a group: the leader is told to stand for
// election, so only a machine in trouble needs longer.
const startTimeout = 30 * time.Second

// dataPrefix begins the names of the members' folders in the data directory.
const dataPrefix = "data-"

// trial is one repetition of one cell: a new group in a new folder.
type trial struct {
	id      record.TrialID
	parts   parts
	dataDir string
	seed    uint64
	logger  *slog.Logger
}

// run carries the trial through. With an error, the record holds what was
// measured until then.
func (t *trial) run(ctx context.Context) (result record.Trial, err error) {
	result = record.Trial{TrialID: t.id, Started: time.Now().UTC()}
	dir, err := os.MkdirTemp(t.dataDir, fmt.Sprintf(dataPrefix+"%s-t%02d-*", t.id.Cell, t.id.Trial))
	if err != nil {
		return result, fmt.Errorf("data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	result.Probe, err = calibrate.Probe(ctx, dir)
	if err != nil {
		return result, fmt.Errorf("probe the disk: %w", err)
	}
	group, err := t.start(ctx, dir)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	err = t.measure(ctx, group, &result) // a statement of its own: in a return, result might be read first
	return result, err
}

func (t *trial) start(ctx context.Context, dir string) (*cluster.InProcess, error) {
	network, err := t.parts.transport.New(t.parts.netOpts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return cluster.StartInProcess(ctx, cluster.Spec{
		Nodes:   t.parts.info.Cluster.Nodes,
		Engine:  t.parts.engine,
		Network: network,
		OpenStore: func(dir string) (core.LogStore, error) {
			return t.parts.backend.Open(dir, t.parts.options)
		},
		Dir:               dir,
		SnapshotsInMemory: t.parts.info.Durability == string(core.DurableNothing),
		Tuning:            tuning(t.parts.info.Raft),
		Logger:            t.logger,
	})
}

// measure puts the load on the group and fills in the record.
func (t *trial) measure(ctx context.Context, group *cluster.InProcess, result *record.Trial) error {
	leader := group.Nodes[0]
	load := t.parts.info.Load
	result.Leader = leader.ID
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopWatching := watch(group, cancel)
	defer stopWatching()

	if load.ReadRatio > 0 {
		if err := preload(ctx, leader, load); err != nil {
			return failure(ctx, fmt.Errorf("write the keys before the load: %w", err))
		}
	}
	prepared, err := workload.Prepare(t.spec())
	if err != nil {
		return err
	}
	runtime.GC() // every trial begins with a clean heap, whatever ran before it

	before := t.observe(group)
	measured, err := prepared.Run(ctx, &target{leader: leader, stale: load.ReadLevel == experiment.ReadStale})
	after := t.observe(group)
	if measured != nil {
		difference(result, before, after)
		err = errors.Join(err, fill(result, measured))
	}
	if err != nil {
		return failure(ctx, fmt.Errorf("load: %w", err))
	}
	result.Gates = append(result.Gates,
		loadGate(*result),
		errorGate(*result),
		clientGate(measured.ClientCPU, measured.Elapsed, runtime.GOMAXPROCS(0)),
		leaderGate(before.leadership, after.leadership),
		convergenceGate(ctx, group),
		acknowledgedGate(measured.Acknowledged(), leader.Map.Applied()-before.commands),
		clockGate(measured.ClockDrift))
	return failure(ctx, nil)
}

// spec is the load of the cell. The seed differs from trial to trial, so that
// trials repeat the measurement and not one stream of operations.
func (t *trial) spec() workload.Spec {
	l := t.parts.info.Load
	return workload.Spec{
		Clients:         l.Clients,
		Rate:            l.Rate,
		Arrival:         l.Arrival,
		Warmup:          time.Duration(l.Warmup),
		Duration:        time.Duration(l.Duration),
		OpTimeout:       time.Duration(l.OpTimeout),
		ValueBytes:      l.ValueSize,
		Keys:            l.Keys,
		KeyDistribution: l.KeyDistribution,
		ReadRatio:       l.ReadRatio,
		Seed:            rand.NewPCG(t.seed, uint64(t.id.Trial)).Uint64(),
	}
}

// failure prefers the cause that ended the context (a replica that stopped) to
// the errors that followed from it.
func failure(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// watch ends the trial when a replica stops on its own. The returned func ends
// the watching and waits for it.
func watch(group *cluster.InProcess, cancel context.CancelCauseFunc) func() {
	quit := make(chan struct{})
	done := make(chan struct{}, len(group.Nodes))
	for _, n := range group.Nodes {
		go func() {
			defer func() { done <- struct{}{} }()
			select {
			case <-n.Replica.Done():
				cancel(fmt.Errorf("%s stopped: %w", n.ID, n.Replica.Err()))
			case <-quit:
			}
		}()
	}
	return func() {
		close(quit)
		for range group.Nodes {
			<-done
		}
	}
}

// preload writes every key once, in batches that stay far below what a store or
// a transport takes as one entry, so that reads find them.
func preload(ctx context.Context, leader *cluster.Node, load experiment.Load) error {
	const maxBatchKeys, maxBatchBytes = 128, 1 << 20
	batchKeys := max(1, min(maxBatchKeys, maxBatchBytes/max(1, load.ValueSize)))
	value := make([]byte, load.ValueSize)
	var batch []kv.Op
	for i := range load.Keys {
		batch = append(batch, kv.Op{Kind: kv.OpSet, Key: workload.Key(i), Value: value})
		if len(batch) < batchKeys && i < load.Keys-1 {
			continue
		}
		command, err := kv.EncodeBatch(batch)
		if err != nil {
			return err
		}
		applied, err := leader.Replica.Propose(ctx, command)
		if err != nil {
			return err
		}
		if err := refusal(applied.Result); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return nil
}
