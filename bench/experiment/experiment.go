package experiment

import (
	"time"
)

// Experiment is one experiment file, checked and with all defaults filled in.
// Its JSON form goes into the manifest of the run and reads back the same.
type Experiment struct {
	Name       string `json:"name"`
	Title      string `json:"title"`
	TitleRu    string `json:"title_ru,omitempty"`
	Question   string `json:"question,omitempty"` // the file's header comment, as one paragraph
	QuestionRu string `json:"question_ru,omitempty"`
	Seed       uint64 `json:"seed"`
	Trials     int    `json:"trials"`  // repetitions of each cell
	Measure    string `json:"measure"` // MeasureLoad or MeasureFormation

	Cluster   Cluster   `json:"cluster"`
	Raft      Raft      `json:"raft"`
	Load      Load      `json:"load,omitzero"`      // zero where no load is measured
	Formation Formation `json:"formation,omitzero"` // zero where no formation is measured
	Matrix    []Factor  `json:"matrix"`             // in the order of the file; the first is the one the report compares

	// Options holds [options.NAME] for the backend or transport NAME, as TOML
	// gave it.
	Options map[string]map[string]any `json:"options,omitempty"`
}

// What an experiment measures.
const (
	// MeasureLoad: how a group serves clients.
	MeasureLoad = "load"
	// MeasureFormation: how a group comes into being, and what it says to find
	// its members when all is quiet.
	MeasureFormation = "formation"
)

// Cluster says what is measured: the [cluster] table.
type Cluster struct {
	Nodes     int    `json:"nodes"` // voters
	Engine    string `json:"engine"`
	Backend   string `json:"backend"`
	Transport string `json:"transport"`
	Mode      string `json:"mode"`      // ModeInProcess or ModeProcess
	Discovery string `json:"discovery"` // DiscoveryStatic or DiscoveryGossip
}

// Modes: where the members of the group run.
const (
	// ModeInProcess: inside the runner, called as functions.
	ModeInProcess = "inprocess"
	// ModeProcess: each in a kvnode process of its own, asked over HTTP.
	ModeProcess = "process"
)

// Discovery: how the members find each other.
const (
	// DiscoveryStatic: one founds the group, the others are told its address.
	DiscoveryStatic = "static"
	// DiscoveryGossip: each is told the address of another, and they gossip.
	DiscoveryGossip = "gossip"
)

// Read levels: what a read may see.
const (
	// ReadLinearizable sees every write that was acknowledged before it began.
	ReadLinearizable = "linearizable"
	// ReadStale sees what the member it asks happens to have applied.
	ReadStale = "stale"
)

// Raft holds the engine's knobs: the [raft] table. Zero means the engine's own
// default; core.Tuning says what each does.
type Raft struct {
	HeartbeatTimeout   Duration `json:"heartbeat_timeout,omitempty"`
	ElectionTimeout    Duration `json:"election_timeout,omitempty"`
	LeaderLeaseTimeout Duration `json:"leader_lease_timeout,omitempty"`
	CommitTimeout      Duration `json:"commit_timeout,omitempty"`
	MaxAppendEntries   int      `json:"max_append_entries,omitempty"`
	MaxInFlight        int      `json:"max_in_flight,omitempty"`
	BatchApply         bool     `json:"batch_apply,omitempty"`
	LogCache           int      `json:"log_cache,omitempty"` // entries; negative: none
	DisablePreVote     bool     `json:"disable_pre_vote,omitempty"`
	SnapshotInterval   Duration `json:"snapshot_interval,omitempty"`
	SnapshotThreshold  uint64   `json:"snapshot_threshold,omitempty"`
	TrailingLogs       uint64   `json:"trailing_logs,omitempty"`
	StallTimeout       Duration `json:"stall_timeout,omitempty"`
	StallLimit         Duration `json:"stall_limit,omitempty"`
}

// Load says what the clients do: the [load] table. Rate 0 is a closed loop of
// Clients; otherwise an open loop of Rate operations per second, and Clients is
// only the number of workers to begin with.
type Load struct {
	Clients         int      `json:"clients"`
	Rate            float64  `json:"rate"`    // operations per second; 0: closed loop
	Arrival         string   `json:"arrival"` // open loop: "constant" or "poisson"
	Duration        Duration `json:"duration"`
	Warmup          Duration `json:"warmup"`
	ValueSize       int      `json:"value_size"` // bytes
	Keys            int      `json:"keys"`
	KeyDistribution string   `json:"key_distribution"` // "uniform", "zipf" or "sequential"
	ReadRatio       float64  `json:"read_ratio"`       // 0: writes only; 1: reads only
	ReadLevel       string   `json:"read_level"`       // "linearizable" or "stale"
	OpTimeout       Duration `json:"op_timeout"`
}

// Formation says how a group's coming into being is watched: the [formation]
// table.
type Formation struct {
	Settle  Duration `json:"settle"`  // from a whole group until the traffic is counted: news still go round
	Rest    Duration `json:"rest"`    // how long it is counted then
	Timeout Duration `json:"timeout"` // from the first start to a whole group: beyond it the trial fails
}

// Factor is one line of [matrix]: a scalar of the tables above, by its
// qualified key ("cluster.backend"), and the values it takes.
type Factor struct {
	Key    string   `json:"key"`    // qualified, e.g. "load.clients"
	Name   string   `json:"name"`   // as written in the file, e.g. "clients"
	Levels []string `json:"levels"` // as text, in the order of the file
}

// Cell is one combination of the matrix: what is run Trials times.
type Cell struct {
	ID     string  `json:"id"`     // "c01", "c02", …, in the order of expansion
	Levels []Level `json:"levels"` // one per factor, in the order of the matrix

	Cluster   Cluster   `json:"cluster"`
	Raft      Raft      `json:"raft"`
	Load      Load      `json:"load,omitzero"`
	Formation Formation `json:"formation,omitzero"`

	Options map[string]map[string]any `json:"options,omitempty"`
}

// Planned is how long a trial of the cell lasts at least.
func (c *Cell) Planned() time.Duration {
	return time.Duration(c.Load.Warmup + c.Load.Duration + c.Formation.Settle + c.Formation.Rest)
}

// Level is the value that one factor has in a cell.
type Level struct {
	Factor string `json:"factor"` // Factor.Name
	Value  string `json:"value"`
}

// Duration is a time.Duration that reads and writes as text ("1.5s").
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// String implements fmt.Stringer.
func (d Duration) String() string { return time.Duration(d).String() }
