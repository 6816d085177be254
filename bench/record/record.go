package record

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
)

// FormatVersion is the version of the run folder's format. A folder of a newer
// version is refused, one of an older version is read as if it had been written
// in this one:
//
//  1. the first.
//  2. Experiments say what they measure and how members find each other, trials
//     may hold a Formation. The version was raised because readers of 1 take
//     members that they do not know for damage. What 1 does not say was the only
//     choice then: a load, and static discovery.
const FormatVersion = 2

// Manifest says what a run was: written once before the first trial, and never
// changed except for Sessions, which gains an entry for each resumption.
type Manifest struct {
	Format     int                   `json:"format"`
	Experiment experiment.Experiment `json:"experiment"` // after --set, --quick, --trials
	Overrides  []string              `json:"overrides,omitempty"`
	Cells      []CellInfo            `json:"cells"`
	Order      []TrialID             `json:"order"` // the seeded shuffle in which trials run
	Sessions   []Session             `json:"sessions"`
}

// CellInfo is a cell with what its parts declare about themselves.
type CellInfo struct {
	experiment.Cell
	Engine    Part `json:"engine_info"`
	Backend   Part `json:"backend_info"`
	Transport Part `json:"transport_info"`

	Durability      string `json:"durability"`      // what a store write guarantees: "nothing", "os-buffer", "disk"
	Acknowledgement string `json:"acknowledgement"` // when a client's write returns
	ReadLevel       string `json:"read_level"`      // what a client's read may see; empty: no reads
	Wire            bool   `json:"wire"`            // the transport moves bytes
}

// UnmarshalJSON reads what encoding/json wrote, also of an older raftlab.
func (c *CellInfo) UnmarshalJSON(data []byte) error {
	type plain CellInfo // without this method
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode((*plain)(c)); err != nil {
		return err
	}
	return c.Upgrade(data)
}

// Part is one plugged-in part and the library behind it.
type Part struct {
	Name    string `json:"name"`
	Library string `json:"library,omitempty"`
	Version string `json:"version,omitempty"`
}

// TrialID names one repetition of one cell. Trial counts from 1.
type TrialID struct {
	Cell  string `json:"cell"`
	Trial int    `json:"trial"`
}

// Session is one invocation of the runner on the folder.
type Session struct {
	Started     time.Time   `json:"started"`
	Command     []string    `json:"command"`
	Environment Environment `json:"environment"`
	Calibration Calibration `json:"calibration"`
}

// Environment says where a session ran.
type Environment struct {
	Host           string            `json:"host"`
	OS             string            `json:"os"`
	Kernel         string            `json:"kernel"`
	Arch           string            `json:"arch"`
	CPU            string            `json:"cpu"`
	Cores          int               `json:"cores"` // usable by the process
	GOMAXPROCS     int               `json:"gomaxprocs"`
	MemoryBytes    uint64            `json:"memory_bytes"`
	DataFileSystem string            `json:"data_file_system"` // of the data directory: "ext4", "tmpfs", …
	DataDevice     string            `json:"data_device"`
	DataMemory     bool              `json:"data_memory"` // the data directory is in memory: fsync costs nothing there
	Go             string            `json:"go"`
	Raftlab        string            `json:"raftlab"` // version
	Commit         string            `json:"commit"`  // VCS revision, "-dirty" if the tree was changed; "unknown"
	Modules        map[string]string `json:"modules"` // path → version of what the cells use
}

// Calibration holds what the machine itself costs, measured before the run.
type Calibration struct {
	FsyncUS         Quantiles `json:"fsync_us"`            // append 4 KiB, fsync
	FdatasyncUS     Quantiles `json:"fdatasync_us"`        // append 4 KiB, fdatasync
	LoopbackUS      Quantiles `json:"loopback_rtt_us"`     // 64 B there and back over TCP
	TimerUS         Quantiles `json:"timer_overrun_us"`    // how late a 100 µs sleep wakes
	ClockResolution float64   `json:"clock_resolution_ns"` // smallest step of the clock seen
}

// Quantiles sums up repeated measurements of one thing, in the unit that the
// field's name says.
type Quantiles struct {
	N   int     `json:"n"`
	Min float64 `json:"min"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Trial is all that was measured in one trial: the raw data from which every
// printed number is computed.
type Trial struct {
	TrialID
	Started time.Time `json:"started"`
	Session int       `json:"session"` // index into Manifest.Sessions

	WindowNS   int64            `json:"window_ns"` // length of the measured window
	Writes     Kind             `json:"writes"`
	Reads      Kind             `json:"reads"`
	Errors     map[string]int64 `json:"errors,omitempty"` // text → how often, in the window
	IntervalNS int64            `json:"interval_ns"`
	Intervals  []int64          `json:"intervals"` // operations completed in each interval of the window

	Scheduled int64  `json:"scheduled,omitempty"` // open loop: operations intended to start in the window
	LagHist   string `json:"lag_hist,omitempty"`  // open loop: actual minus intended start, as Kind.Hist

	// Over the whole load, warm-up included:
	Commands     uint64   `json:"commands"`                 // commands that the leader applied
	SyncsPerNode []uint64 `json:"syncs_per_node,omitempty"` // flushes of each member's log store, where it counts them
	CPUNS        int64    `json:"cpu_ns"`                   // CPU time of the process, all members and clients
	LoadNS       int64    `json:"load_ns"`                  // length of the load

	// Formation is what was measured instead of a load where the experiment says
	// so; nil otherwise.
	Formation *Formation `json:"formation,omitempty"`

	Leader string `json:"leader"`
	Probe  Probe  `json:"probe"`
	Gates  []Gate `json:"gates"`

	// Failure is set where the trial could not be carried through (a store that
	// was full, a group without a leader). What was measured until then is kept,
	// and the cell's trial counts as invalid.
	Failure string `json:"failure,omitempty"`
}

// Kind is one kind of operation. Completed counts those that finished inside
// the window and makes the throughput; Hist holds the latency of those that
// started inside it.
type Kind struct {
	Completed int64  `json:"completed"`
	Failed    int64  `json:"failed"`
	Hist      string `json:"hist,omitempty"` // HdrHistogram V2, compressed, base64; nanoseconds; empty: none
}

// Probe is the machine as it was just before the trial, to see drift of a shared
// machine across a run and between runs.
type Probe struct {
	FdatasyncUS Quantiles `json:"fdatasync_us"`
	WorkUS      Quantiles `json:"work_us"` // a fixed piece of work on all processors at once
}

// Verdict is the outcome of a validity gate.
type Verdict string

// The verdicts. A trial with a FAIL is invalid; SKIP says the gate does not
// apply.
const (
	Pass Verdict = "PASS"
	Fail Verdict = "FAIL"
	Skip Verdict = "SKIP"
)

// Gate is one validity check of a trial with the figure it was decided on.
type Gate struct {
	Name    string  `json:"name"` // "load", "errors", "client", "convergence", "leader", "clock", "alive", "voters"
	Verdict Verdict `json:"verdict"`
	Figure  float64 `json:"figure"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least,omitempty"` // true: passes with Figure >= Limit; false: with Figure <= Limit
	Unit    string  `json:"unit"`               // "%", "ms", "replicas", "ops", …
	Reason  string  `json:"reason,omitempty"`   // why it failed or was skipped
}
