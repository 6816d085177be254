package audit

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core"
)

// Counts are of writes, by what became of them; a batch is one.
type Counts struct{ Acknowledged, Unknown, Refused uint64 }

func (c *Counts) add(end string) {
	switch end {
	case endAcknowledged:
		c.Acknowledged++
	case endUnknown:
		c.Unknown++
	case endRefused:
		c.Refused++
	}
}

// Result is what a load has seen.
type Result struct {
	Counts
	Elapsed time.Duration

	// LongestStall is the longest time without an acknowledgement to any worker,
	// from the begin of the load to its end; it began StallBegan after the begin.
	LongestStall, StallBegan time.Duration

	// Of acknowledged writes: the longest, and a histogram of all in nanoseconds,
	// with three significant digits.
	LongestWrite time.Duration
	Latency      *hdrhistogram.Histogram

	Seconds []Counts // what became known in each second of the load
}

// meter is the recorder of all workers that gathers a Result. Safe for concurrent use.
type meter struct {
	mu      sync.Mutex
	started time.Time
	lastAck time.Time // or the begin
	seen    Result
}

func newMeter() *meter {
	now := time.Now()
	return &meter{started: now, lastAck: now, seen: Result{Latency: workload.NewHistogram()}}
}

// Begin implements workload.Recorder.
func (m *meter) Begin(*workload.Op) error { return nil }

// End implements workload.Recorder. There is no use in going on where a node calls
// a write invalid.
func (m *meter) End(_ *workload.Op, at workload.Times, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now() // under the lock, so that acknowledgements come in order
	end := endOf(err)
	m.seen.add(end)
	m.second(now).add(end)
	if end == endAcknowledged {
		took := at.End.Sub(at.Start)
		m.stall(now)
		m.lastAck = now
		m.seen.LongestWrite = max(m.seen.LongestWrite, took)
		workload.Record(m.seen.Latency, took)
	}
	if errors.Is(err, core.ErrInvalid) {
		return err
	}
	return nil
}

// stall notes the time since the last acknowledgement if it is the longest.
func (m *meter) stall(now time.Time) {
	if gap := now.Sub(m.lastAck); gap > m.seen.LongestStall {
		m.seen.LongestStall, m.seen.StallBegan = gap, m.lastAck.Sub(m.started)
	}
}

// second returns the second that now lies in.
func (m *meter) second(now time.Time) *Counts {
	i := int(now.Sub(m.started) / time.Second)
	for len(m.seen.Seconds) <= i {
		m.seen.Seconds = append(m.seen.Seconds, Counts{})
	}
	return &m.seen.Seconds[i]
}

// report tells every second once it is over, until stop is called, which waits.
func (m *meter) report(tell func(Counts)) (stop func()) {
	if tell == nil {
		return func() {}
	}
	over := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for told := 0; ; {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			for _, s := range m.after(told) {
				tell(s)
				told++
			}
		}
	})
	return func() {
		close(over)
		reporter.Wait()
	}
}

// after returns the full seconds but the first n.
func (m *meter) after(n int) []Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.second(now) // also of seconds without a write
	return slices.Clone(m.seen.Seconds[n : now.Sub(m.started)/time.Second])
}

// result ends the measurement.
func (m *meter) result() Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.stall(now)
	m.second(now)
	m.seen.Elapsed = now.Sub(m.started)
	return m.seen
}
