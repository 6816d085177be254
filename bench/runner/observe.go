package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// difference records what happened between two observations.
func difference(result *record.Trial, before, after observation) {
	result.Commands = after.commands - before.commands
	result.CPUNS = int64(after.cpu - before.cpu)
	result.LoadNS = int64(after.at.Sub(before.at))
	result.SyncsPerNode = slices.Clone(after.syncs)
	for i := range before.syncs {
		result.SyncsPerNode[i] -= before.syncs[i]
	}
}

// convergenceGate waits until all members hold the same state.
func convergenceGate(ctx context.Context, g group) (record.Gate, error) {
	within, cancel := context.WithTimeout(ctx, convergenceTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		behind, err := g.disagreeing(ctx)
		if err != nil {
			return record.Gate{}, fmt.Errorf("compare the members: %w", err)
		}
		if behind == 0 {
			return atMost("convergence", "replicas", 0, 0, ""), nil
		}
		select {
		case <-tick.C:
		case <-within.Done():
			return atMost("convergence", "replicas", float64(behind), 0,
				fmt.Sprintf("%d replicas differ from the leader %s after the load", behind, convergenceTimeout)), nil
		}
	}
}

// fill copies what the load saw into the record.
func fill(result *record.Trial, m *workload.Result) error {
	result.WindowNS = int64(m.Window)
	result.Errors = m.Errors
	result.IntervalNS = int64(m.Interval)
	result.Intervals = m.Intervals
	result.Scheduled = m.Scheduled
	var err error
	if result.Writes, err = kind(m.Writes); err != nil {
		return err
	}
	if result.Reads, err = kind(m.Reads); err != nil {
		return err
	}
	if m.Lag != nil {
		result.LagHist, err = record.EncodeHistogram(m.Lag)
	}
	return err
}

func kind(k workload.KindResult) (record.Kind, error) {
	out := record.Kind{Completed: k.Completed, Failed: k.Failed}
	if k.Latency == nil || k.Latency.TotalCount() == 0 {
		return out, nil
	}
	var err error
	out.Hist, err = record.EncodeHistogram(k.Latency)
	return out, err
}
