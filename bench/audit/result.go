package audit

import (
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a load has seen.
type Result struct {
	Prefix       string  `json:"prefix"` // of its keys
	ElapsedS     float64 `json:"elapsed_s"`
	Acknowledged uint64  `json:"acknowledged"` // writes; a batch is one
	Unknown      uint64  `json:"unknown"`
	Refused      uint64  `json:"refused"`

	// LongestStallMS is the longest time without an acknowledgement to any
	// worker, from the begin of the load to its end; it began LongestStallAtS
	// after the begin.
	LongestStallMS  float64 `json:"longest_stall_ms"`
	LongestStallAtS float64 `json:"longest_stall_at_s"`
	// LongestWriteMS is that of the acknowledged ones.
	LongestWriteMS float64 `json:"longest_write_ms"`

	LatencyMS Latency  `json:"latency_ms"`
	Seconds   []Second `json:"seconds"`

	// Histogram holds the latency of acknowledged writes in nanoseconds, with
	// three significant digits.
	Histogram *hdrhistogram.Histogram `json:"-"`
}

// Latency sums the latency of acknowledged writes up, in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
}

// Second is what became known in one second of a load.
type Second struct {
	Acknowledged uint64  `json:"acknowledged"`
	Unknown      uint64  `json:"unknown"`
	Refused      uint64  `json:"refused"`
	MaxLatencyMS float64 `json:"max_latency_ms"` // of the acknowledged ones
}

// maxLatency is where the histogram ends; a write cannot take longer than
// api.MaxTimeout.
const maxLatency = 10 * time.Minute

// meter gathers a Result. Safe for concurrent use.
type meter struct {
	mu           sync.Mutex
	started      time.Time
	lastAck      time.Time // or the begin
	longestStall time.Duration
	stallBegan   time.Time
	longestWrite time.Duration
	latency      *hdrhistogram.Histogram
	total        Second
	seconds      []Second
}

func newMeter() *meter {
	now := time.Now()
	return &meter{started: now, lastAck: now, stallBegan: now, latency: hdrhistogram.New(1, int64(maxLatency), 3)}
}

// ended counts a write that began at started and has ended now.
func (m *meter) ended(end string, started time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now() // under the lock, so that acknowledgements come in order
	second := m.second(now)
	switch end {
	case endUnknown:
		m.total.Unknown++
		second.Unknown++
	case endRefused:
		m.total.Refused++
		second.Refused++
	case endAcknowledged:
		m.total.Acknowledged++
		second.Acknowledged++
		m.acknowledged(now, now.Sub(started), second)
	}
}

func (m *meter) acknowledged(now time.Time, took time.Duration, second *Second) {
	m.stall(now)
	m.lastAck = now
	m.longestWrite = max(m.longestWrite, took)
	second.MaxLatencyMS = max(second.MaxLatencyMS, ms(took))
	// The only error is a value out of range, which min and max rule out.
	_ = m.latency.RecordValue(min(max(int64(took), 1), int64(maxLatency)))
}

// stall notes the time since the last acknowledgement if it is the longest.
func (m *meter) stall(now time.Time) {
	if gap := now.Sub(m.lastAck); gap > m.longestStall {
		m.longestStall, m.stallBegan = gap, m.lastAck
	}
}

// second returns the second that now lies in.
func (m *meter) second(now time.Time) *Second {
	i := int(now.Sub(m.started) / time.Second)
	for len(m.seconds) <= i {
		m.seconds = append(m.seconds, Second{})
	}
	return &m.seconds[i]
}

// report tells every second once it is over.
func (m *meter) report(tell func(Second), over <-chan struct{}) {
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
}

// after returns the full seconds but the first n.
func (m *meter) after(n int) []Second {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.second(now) // also of seconds without a write
	return slices.Clone(m.seconds[n : now.Sub(m.started)/time.Second])
}

// result ends the measurement.
func (m *meter) result(prefix string) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.stall(now)
	m.second(now)
	at := func(percentile float64) float64 {
		return ms(time.Duration(m.latency.ValueAtPercentile(percentile)))
	}
	return Result{
		Prefix:          prefix,
		ElapsedS:        now.Sub(m.started).Seconds(),
		Acknowledged:    m.total.Acknowledged,
		Unknown:         m.total.Unknown,
		Refused:         m.total.Refused,
		LongestStallMS:  ms(m.longestStall),
		LongestStallAtS: m.stallBegan.Sub(m.started).Seconds(),
		LongestWriteMS:  ms(m.longestWrite),
		LatencyMS:       Latency{Mean: m.latency.Mean() / 1e6, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9)},
		Seconds:         m.seconds,
		Histogram:       m.latency,
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
