// Package record is the run folder: what a run was and all that it measured,
// as files that can be read, judged and reported on again years later. It
// writes and reads those files and checks that they are whole; it never
// measures, summarises or prints.
//
// # Layout
//
//	manifest.json            what was asked for, on which machine, in which order
//	experiment.toml          the experiment file, byte for byte as it was given
//	trials/<cell>-t<NN>.json one file for each finished trial: the raw data
//	results.csv              everything from here on is made from the above
//	report.md  report.html   (and report.ru.md, report.ru.html)
//	plots/*.svg
//	raft.log                 what the engines logged; never read again
//	.lock                    held by the runner that writes to the folder
//
// A file appears under its name only once it is complete and flushed: it is
// written beside, synced and renamed. So whatever kills a run leaves whole
// trials only, and a resumed run finds by the names what is still missing.
//
// # Histograms
//
// Latency is kept as HdrHistogram, in nanoseconds, with three significant
// digits: a value read back is off by at most 0.1 %. Use [NewHistogram] so that
// all histograms of a run can be merged without loss.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
)

// Error kinds. Compare with [errors.Is]; every error names the folder or file.
var (
	// ErrExists says that a folder to be created holds files of a run already.
	ErrExists = errors.New("already holds a run")

	// ErrNotRun says that a folder is not a run folder.
	ErrNotRun = errors.New("not a run folder")

	// ErrNewer says that a run folder was written by a newer raftlab.
	ErrNewer = errors.New("written by a newer version of raftlab")

	// ErrDamaged says that a file of the run is not what was once written: cut
	// off, edited into nonsense or not of this run.
	ErrDamaged = errors.New("damaged")

	// ErrInvalid says that a manifest or trial contradicts itself.
	ErrInvalid = errors.New("invalid")

	// ErrLocked says that another runner is writing to the folder.
	ErrLocked = errors.New("in use by another runner")

	// ErrReadOnly says that the folder was opened for reading.
	ErrReadOnly = errors.New("opened for reading only")
)

// FormatVersion is the version of the run folder's format. A folder of a newer
// version is refused, one of an older version is read as if it had been written
// in this one:
//
//  1. the first.
//  2. Experiments say what they measure and how members find each other, trials
//     may hold a formation. The version was raised because readers of 1 take
//     members that they do not know for damage. What 1 does not say was the only
//     choice then: a load, and static discovery.
//  3. What a trial measured lies in Data, by the kind of measurement, so that a new
//     kind needs no new format. Trials of 1 and 2 have it among their own members.
//  4. Levels of a factor may set several keys, cells say their persistence, sessions and
//     probes what flushes of several writers cost. Raised as 2 was; what 3 does not say
//     was not there.
//  5. Manifests say all that was laid over the experiment file, what was added to a run
//     and which cells were left out of later rounds; trials say their seed. What 4 laid
//     over the file stands in its first command. From here on a raftlab whose defaults
//     for experiments are others has another format, too: verify takes them for given.
//  6. Engines may bring their log store and network ("own"); experiments may demand a
//     durability and name a family of settings; parts say what of them is raftlab's.
//     Raised as 2 was; what 5 does not say was not there.
const FormatVersion = 6

// Manifest says what a run was: written once before the first trial, and never
// changed except for Sessions, which gains an entry for each resumption, and for what
// an extension or a cell that is left out adds.
type Manifest struct {
	Format     int                   `json:"format"`
	Experiment experiment.Experiment `json:"experiment"` // as it began: after the overrides and --quick
	Overrides  []string              `json:"overrides,omitempty"`
	Quick      bool                  `json:"quick,omitempty"` // cut down to a trial run
	Cells      []CellInfo            `json:"cells"`
	Order      []TrialID             `json:"order"` // the seeded shuffle in which trials run, see [Order]
	Extended   []Extension           `json:"extended,omitempty"`
	LeftOut    []LeftOut             `json:"left_out,omitempty"`
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
	// Protocol is that between clients and members: "http", "resp", "grpc"; empty where
	// members are called as functions.
	Protocol string `json:"protocol,omitempty"`
	Wire     bool   `json:"wire"` // the transport moves bytes

	// Runs is what members run with, their own defaults included, where the system says
	// so: settings of Raft ("raft.persistence") and of the engine, as text.
	Runs map[string]string `json:"runs,omitempty"`

	// WarmAfter is how many operations a member serves until it is as fast as it gets, as its
	// program says; 0: it says nothing of the kind.
	WarmAfter int64 `json:"warm_after,omitempty"`
	// WarmupOperations come before the warm-up: load.warmup_operations, or what follows from
	// the WarmAfter of all cells.
	WarmupOperations int64 `json:"warmup_operations,omitempty"`
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
	// Ours is what of an engine is raftlab's code and not the library's: words, separated by
	// commas. Empty: it is not told.
	Ours string `json:"ours,omitempty"`
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
	Raftlab        string            `json:"raftlab"` // version; with the hash of the executable where that and Commit do not tell the code: core.Identify
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

	// For bench/model; not there in folders of an earlier raftlab.
	Flushes        []Flushes `json:"flushes,omitempty"` // by their bytes, then by the number of writers, ascending
	WriteBytesPerS Quantiles `json:"write_bytes_per_s,omitzero"`
	Loopback64KUS  Quantiles `json:"loopback_64k_us,omitzero"`     // 64 KiB there and back over TCP
	WakeUS         Quantiles `json:"wake_us,omitzero"`             // a goroutine that waits on a channel goes on
	WakeAfterUS    Quantiles `json:"wake_after_flush_us,omitzero"` // the same, if it has slept through a flush
}

// Flushes is what flushes of so many writers at a time cost: an append of so many bytes to
// a file that has its room already, and fdatasync.
type Flushes struct {
	Bytes     int       `json:"bytes"`
	Writers   int       `json:"writers"`
	EachUS    Quantiles `json:"each_us"`   // of one writer, where all begin at once
	EachHist  string    `json:"each_hist"` // the same, as EncodeHistogram; nanoseconds
	PerSecond float64   `json:"per_s"`     // of all together, where each begins when it can; 0: not measured
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

// Trial is one trial: what all kinds of measurement record alike, and the raw data
// of the one that was made, from which every printed number is computed.
type Trial struct {
	TrialID
	Started time.Time `json:"started"`
	Session int       `json:"session"`        // index into Manifest.Sessions
	Seed    uint64    `json:"seed,omitempty"` // as [TrialSeed]; 0 in folders of an earlier raftlab

	Leader string `json:"leader"`
	Probe  Probe  `json:"probe"`
	Gates  []Gate `json:"gates"`

	// Failure is set where the trial could not be carried through (a store that
	// was full, a group without a leader). What was measured until then is kept,
	// and the cell's trial counts as invalid.
	Failure string `json:"failure,omitempty"`

	// Data is what was measured, by kind. Use Put and Get.
	Data map[string]Data `json:"data,omitempty"`
}

// Data is what one kind of measurement recorded, in its own form.
type Data struct {
	Version  int             `json:"version"` // of the form
	Measured json.RawMessage `json:"measured"`
}

// Put records what a kind measured.
func (t *Trial) Put(kind string, version int, measured any) error {
	text, err := json.Marshal(measured)
	if err != nil {
		return fmt.Errorf("record the %s: %w", kind, err)
	}
	if t.Data == nil {
		t.Data = map[string]Data{}
	}
	t.Data[kind] = Data{version, text}
	return nil
}

// Get reads what a kind measured, in a form of at most that version, into measured,
// and tells whether the trial has any. The error is an [ErrNewer] or [ErrDamaged].
func (t *Trial) Get(kind string, version int, measured any) (there bool, err error) {
	data, there := t.Data[kind]
	switch {
	case !there:
		return false, nil
	case data.Version > version:
		return true, fmt.Errorf("%w: its %s has form %d, this one reads up to %d", ErrNewer, kind, data.Version, version)
	}
	return true, decodeJSON(data.Measured, measured)
}

// Probe is the machine as it was just before the trial, to see drift of a shared
// machine across a run and between runs.
type Probe struct {
	FdatasyncUS Quantiles `json:"fdatasync_us"`
	WorkUS      Quantiles `json:"work_us"` // a fixed piece of work on all processors at once
	// Flushes are those that begin together, as in Calibration but without PerSecond;
	// empty: the cell writes nothing to a disk.
	Flushes []Flushes `json:"flushes,omitempty"`
	Commits []Commits `json:"commits,omitempty"` // as Flushes; not there in folders of an earlier raftlab
}

// Commits are rounds of a group that does nothing else: its leader flushes an append of so
// many bytes, before it sends a small message to the others or beside it; they flush and
// answer; and it goes on once a majority has. Histograms are as EncodeHistogram, in
// nanoseconds.
type Commits struct {
	Bytes        int    `json:"bytes"`
	Members      int    `json:"members"`
	Overlapped   bool   `json:"overlapped,omitempty"`
	LeaderHist   string `json:"leader_hist"`   // the leader's flush
	FollowerHist string `json:"follower_hist"` // that of the answer which made the majority
	MessagesHist string `json:"messages_hist"` // from when the message was sent until that answer had come, less that flush
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
	Name    string  `json:"name"` // "leader", "clock", …
	Verdict Verdict `json:"verdict"`
	Figure  float64 `json:"figure"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least,omitempty"` // true: passes with Figure >= Limit; false: with Figure <= Limit
	Unit    string  `json:"unit"`               // "%", "ms", "replicas", "ops", …
	Reason  string  `json:"reason,omitempty"`   // why it failed or was skipped
}

// maxTrials bounds a trial's number: it must fit the file name and be sane.
const maxTrials = 9999

// Validate checks that the manifest is one that a runner can have written. The
// error is an [ErrInvalid] or [ErrNewer].
func (m *Manifest) Validate() error {
	if m.Format > FormatVersion {
		return fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewer, m.Format, FormatVersion)
	}
	if m.Format != FormatVersion {
		return fmt.Errorf("%w: format %d, want %d", ErrInvalid, m.Format, FormatVersion)
	}
	if len(m.Cells) == 0 {
		return fmt.Errorf("%w: no cells", ErrInvalid)
	}
	seen := make(map[string]bool, len(m.Cells))
	for i := range m.Cells {
		c := &m.Cells[i]
		if seen[c.ID] {
			return fmt.Errorf("%w: cell %s is there twice", ErrInvalid, c.ID)
		}
		seen[c.ID] = true
		if err := m.checkCell(c); err != nil {
			return err
		}
	}
	if err := m.checkAdded(seen); err != nil {
		return err
	}
	planned := make(map[TrialID]bool, len(m.Order))
	for _, id := range m.Order {
		switch {
		case !seen[id.Cell]:
			return fmt.Errorf("%w: the order names the unknown cell %q", ErrInvalid, id.Cell)
		case id.Trial < 1 || id.Trial > maxTrials:
			return fmt.Errorf("%w: the order names trial %d of cell %s", ErrInvalid, id.Trial, id.Cell)
		case planned[id]:
			return fmt.Errorf("%w: the order names trial %d of cell %s twice", ErrInvalid, id.Trial, id.Cell)
		}
		planned[id] = true
	}
	return nil
}

// checkAdded checks the order's length, and what was added after the run began.
func (m *Manifest) checkAdded(cells map[string]bool) error {
	if len(m.Order) > MaxTrials {
		return fmt.Errorf("%w: %d trials, a run has at most %d", ErrInvalid, len(m.Order), MaxTrials)
	}
	before := m.Experiment.Trials
	for _, x := range m.Extended {
		if x.Trials <= before {
			return fmt.Errorf("%w: extended from %d trials to %d", ErrInvalid, before, x.Trials)
		}
		before = x.Trials
	}
	out := map[string]bool{}
	for _, l := range m.LeftOut {
		if !cells[l.Cell] || out[l.Cell] || l.After < 1 {
			return fmt.Errorf("%w: cell %q left out after round %d", ErrInvalid, l.Cell, l.After)
		}
		out[l.Cell] = true
	}
	return nil
}

func (m *Manifest) checkCell(c *CellInfo) error {
	if !validCellID(c.ID) {
		return fmt.Errorf("%w: cell id %q: want a lower-case letter, then letters and digits", ErrInvalid, c.ID)
	}
	if len(c.Levels) != len(m.Experiment.Matrix) {
		return fmt.Errorf("%w: cell %s has %d levels for %d factors", ErrInvalid, c.ID, len(c.Levels), len(m.Experiment.Matrix))
	}
	for i, f := range m.Experiment.Matrix {
		if c.Levels[i].Factor != f.Name || !slices.Contains(f.Levels, c.Levels[i].Value) {
			return fmt.Errorf("%w: cell %s: level %s = %q is not in the matrix", ErrInvalid, c.ID, c.Levels[i].Factor, c.Levels[i].Value)
		}
	}
	return nil
}

// validCellID keeps an id fit for a file name on every system.
func validCellID(id string) bool {
	return id != "" && len(id) <= 32 && id[0] >= 'a' && id[0] <= 'z' &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// Validate checks what all trials say alike; what was measured is for its kind to
// check. The error is an [ErrInvalid]. It does not judge the measurement: a trial with
// a failed gate is as valid here as any other.
func (t *Trial) Validate() error {
	if !validCellID(t.Cell) || t.Trial < 1 || t.Trial > maxTrials {
		return fmt.Errorf("%w: trial %d of cell %q", ErrInvalid, t.Trial, t.Cell)
	}
	if t.Session < 0 {
		return fmt.Errorf("%w: a session below zero", ErrInvalid)
	}
	if t.Failure == "" && len(t.Data) == 0 {
		return fmt.Errorf("%w: nothing measured and no failure", ErrInvalid)
	}
	if err := t.Probe.FdatasyncUS.validate("probe.fdatasync_us"); err != nil {
		return err
	}
	if err := t.Probe.WorkUS.validate("probe.work_us"); err != nil {
		return err
	}
	for _, g := range t.Gates {
		if err := g.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (q Quantiles) validate(name string) error {
	inOrder := q.Min <= q.P50 && q.P50 <= q.P90 && q.P90 <= q.P99 && q.P99 <= q.Max
	if q.N < 0 || q.Min < 0 || !inOrder {
		return fmt.Errorf("%w: %s: quantiles out of order", ErrInvalid, name)
	}
	return nil
}

func (g Gate) validate() error {
	if g.Name == "" {
		return fmt.Errorf("%w: a gate without a name", ErrInvalid)
	}
	switch g.Verdict {
	case Pass, Fail, Skip:
		return nil
	default:
		return fmt.Errorf("%w: gate %s: verdict %q", ErrInvalid, g.Name, g.Verdict)
	}
}

// Decide returns the verdict that the gate's own figure and limit give; a
// skipped gate stays skipped.
func (g Gate) Decide() Verdict {
	switch {
	case g.Verdict == Skip:
		return Skip
	case g.AtLeast && g.Figure >= g.Limit, !g.AtLeast && g.Figure <= g.Limit:
		return Pass
	default:
		return Fail
	}
}

// InvalidReason says in a few words why the trial must not be used: its failure
// or the gates it failed. It is empty for a valid trial.
func (t *Trial) InvalidReason() string {
	if t.Failure != "" {
		return t.Failure
	}
	var reasons []string
	for _, g := range t.Gates {
		if g.Verdict != Fail {
			continue
		}
		reason := g.Name
		if g.Reason != "" {
			reason += ": " + g.Reason
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; ")
}
