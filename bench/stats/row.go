package stats

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/themilchenko/raftlab/bench/record"
)

// Latency sums up a histogram. All values but Samples are nanoseconds, with the
// three significant digits of the histogram. The percentile p of n samples is
// the sample of rank p*n, rounded to the nearest whole rank, as HdrHistogram has
// it; of the values that the histogram cannot tell from it, the largest is given.
type Latency struct {
	Samples int64
	Mean    float64
	P50     int64
	P90     int64
	P99     int64
	P999    int64
	Max     int64
}

// Row is one trial in numbers: all that the reports print about a trial comes
// from here.
type Row struct {
	ID      record.TrialID
	Cell    *record.CellInfo
	Session int
	Started time.Time
	Leader  string

	Ops        int64         // completed inside the window; makes Throughput
	Errors     int64         // failed inside the window
	Window     time.Duration // measured
	Throughput float64       // operations per second
	Writes     Kind
	Reads      Kind
	All        Latency // of writes and reads, one merged histogram

	Scheduled int64   // open loop: operations meant to start in the window
	Lag       Latency // open loop: how late they started

	// SyncsPerCommand is the mean over the members of flushes per command that
	// was applied, over the whole load with its warm-up; where HasSyncs.
	SyncsPerCommand float64
	HasSyncs        bool
	// CPUCores is how many cores the process kept busy over the whole load,
	// members, clients and runtime alike; 0: not measured.
	CPUCores float64

	Formation *Formation // nil: the trial measured a load

	ProbeUS   float64      // median fdatasync just before the trial, µs; 0: not probed
	Probe     record.Probe // all of the probe
	Intervals []int64
	Gates     []record.Gate

	Valid  bool
	Reason string // why it is not valid
}

// Kind is one kind of operation in a trial.
type Kind struct {
	Ops     int64
	Errors  int64
	Latency Latency
}

// NewRow computes the row of trial t of cell. The row keeps the cell and the
// trial's slices, which must not change.
func NewRow(cell *record.CellInfo, t *record.Trial) (Row, error) {
	writes, err := t.Writes.Histogram()
	if err != nil {
		return Row{}, fmt.Errorf("trial %d of cell %s: writes: %w", t.Trial, t.Cell, err)
	}
	reads, err := t.Reads.Histogram()
	if err != nil {
		return Row{}, fmt.Errorf("trial %d of cell %s: reads: %w", t.Trial, t.Cell, err)
	}
	lag, err := record.DecodeHistogram(t.LagHist)
	if err != nil {
		return Row{}, fmt.Errorf("trial %d of cell %s: lag: %w", t.Trial, t.Cell, err)
	}
	all := writes
	if reads.TotalCount() > 0 {
		if all, err = record.MergeHistograms(writes, reads); err != nil {
			return Row{}, fmt.Errorf("trial %d of cell %s: %w", t.Trial, t.Cell, err)
		}
	}
	reason := t.InvalidReason()
	row := Row{
		ID: t.TrialID, Cell: cell, Session: t.Session, Started: t.Started, Leader: t.Leader,
		Ops:    t.Writes.Completed + t.Reads.Completed,
		Errors: t.Writes.Failed + t.Reads.Failed,
		Window: time.Duration(t.WindowNS),
		Writes: Kind{t.Writes.Completed, t.Writes.Failed, LatencyOf(writes)},
		Reads:  Kind{t.Reads.Completed, t.Reads.Failed, LatencyOf(reads)},
		All:    LatencyOf(all), Scheduled: t.Scheduled, Lag: LatencyOf(lag), Formation: newFormation(t.Formation),
		ProbeUS: t.Probe.FdatasyncUS.P50, Probe: t.Probe, Intervals: t.Intervals, Gates: t.Gates,
		Valid: reason == "", Reason: reason,
	}
	if t.WindowNS > 0 {
		row.Throughput = float64(row.Ops) / row.Window.Seconds()
	}
	if len(t.SyncsPerNode) > 0 && t.Commands > 0 {
		syncs := 0.0
		for _, n := range t.SyncsPerNode {
			syncs += float64(n)
		}
		row.SyncsPerCommand = syncs / float64(len(t.SyncsPerNode)) / float64(t.Commands)
		row.HasSyncs = true
	}
	if t.LoadNS > 0 {
		row.CPUCores = float64(t.CPUNS) / float64(t.LoadNS)
	}
	return row, nil
}

// LatencyOf sums up h, whose values are nanoseconds.
func LatencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9, 100}) // in one walk
	return Latency{
		Samples: h.TotalCount(),
		Mean:    h.Mean(),
		P50:     at[0],
		P90:     at[1],
		P99:     at[2],
		P999:    at[3],
		Max:     at[4],
	}
}

// Pool merges the latencies of several trials into one distribution, to draw
// it: percentiles to compare are taken of each trial instead.
func Pool(trials []record.Trial) (*hdrhistogram.Histogram, error) {
	var hs []*hdrhistogram.Histogram
	for _, t := range trials {
		for _, kind := range []record.Kind{t.Writes, t.Reads} {
			h, err := kind.Histogram()
			if err != nil {
				return nil, fmt.Errorf("trial %d of cell %s: %w", t.Trial, t.Cell, err)
			}
			hs = append(hs, h)
		}
	}
	return record.MergeHistograms(hs...)
}
