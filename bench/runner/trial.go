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
	"github.com/themilchenko/raftlab/kv"
)

// startTimeout bounds the start of a group: the leader is told to stand for
// election, so only a machine in trouble needs longer.
const startTimeout = 30 * time.Second

// dataPrefix begins the names of the members' folders in the data directory.
const dataPrefix = "data-"

// trial is one repetition of one cell: a new group in a new folder.
type trial struct {
	id       record.TrialID
	measures string // what the experiment measures
	parts    parts
	dataDir  string
	kvnode   string // the program, for members in processes of their own
	seed     uint64
	logger   *slog.Logger
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
	if t.measures == experiment.MeasureFormation {
		err = t.form(ctx, dir, &result)
		return result, err
	}
	group, err := t.start(ctx, dir)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	err = t.measure(ctx, group, &result) // a statement of its own: in a return, result might be read first
	return result, err
}

func (t *trial) start(ctx context.Context, dir string) (group, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if t.parts.info.Cluster.Mode == experiment.ModeProcess {
		return startProcesses(ctx, t, dir)
	}
	return startInProcess(ctx, t, dir)
}

// measure puts the load on the group and fills in the record.
func (t *trial) measure(ctx context.Context, g group, result *record.Trial) error {
	load := t.parts.info.Load
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopWatching := g.watch(cancel)
	defer stopWatching()

	if load.ReadRatio > 0 {
		if err := preload(ctx, g, load); err != nil {
			return failure(ctx, fmt.Errorf("write the keys before the load: %w", err))
		}
	}
	prepared, err := workload.Prepare(t.spec())
	if err != nil {
		return err
	}
	runtime.GC() // every trial begins with a clean heap, whatever ran before it

	before, err := g.observe(ctx)
	if err != nil {
		return failure(ctx, fmt.Errorf("look at the group before the load: %w", err))
	}
	result.Leader = before.leadership.id
	measured, err := prepared.Run(ctx, g.target(load.ReadLevel == experiment.ReadStale))
	if measured == nil || err != nil {
		if measured != nil {
			err = errors.Join(err, fill(result, measured))
		}
		return failure(ctx, fmt.Errorf("load: %w", err))
	}
	after, err := g.observe(ctx)
	if err != nil {
		return failure(ctx, fmt.Errorf("look at the group after the load: %w", err))
	}
	difference(result, before, after)
	if err := fill(result, measured); err != nil {
		return err
	}
	return failure(ctx, t.judge(ctx, g, result, measured, before, after))
}

// judge waits for the group to come to rest and passes the gates' verdicts.
func (t *trial) judge(ctx context.Context, g group, result *record.Trial, measured *workload.Result, before, after observation) error {
	convergence, err := convergenceGate(ctx, g)
	if err != nil {
		return err
	}
	rested, err := g.observe(ctx)
	if err != nil {
		return err
	}
	result.Gates = append(result.Gates,
		loadGate(*result),
		errorGate(*result),
		clientGate(measured.ClientCPU, measured.Elapsed, runtime.GOMAXPROCS(0)),
		leaderGate(before.leadership, after.leadership),
		convergence,
		acknowledgedGate(measured.Acknowledged(), rested.commands-before.commands),
		clockGate(measured.ClockDrift))
	return nil
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

// preload writes every key once, in batches that stay far below what a store or
// a transport takes as one entry, so that reads find them.
func preload(ctx context.Context, g group, load experiment.Load) error {
	const maxBatchKeys, maxBatchBytes = 128, 1 << 20
	batchKeys := max(1, min(maxBatchKeys, maxBatchBytes/max(1, load.ValueSize)))
	value := make([]byte, load.ValueSize)
	var batch []kv.Op
	for i := range load.Keys {
		batch = append(batch, kv.Op{Kind: kv.OpSet, Key: workload.Key(i), Value: value})
		if len(batch) < batchKeys && i < load.Keys-1 {
			continue
		}
		if err := g.set(ctx, batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return nil
}
