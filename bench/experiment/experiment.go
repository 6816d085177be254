package experiment

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/conf"
)

// Experiment is one experiment file, checked and with all defaults filled in.
// Its JSON form goes into the manifest of the run and reads back the same. The JSON
// names are the keys of the file; what the other tags say, package conf tells.
type Experiment struct {
	Name       string `json:"name" doc:"names the run folder: a-z, 0-9 and \"-\"; must be given"`
	Title      string `json:"title" zero:"the name" doc:"heads the report"`
	TitleRu    string `json:"title_ru,omitempty" doc:"the title in Russian; at the head of the Russian report"`
	Question   string `json:"question,omitempty" key:"-"` // the file's header comment, as one paragraph
	QuestionRu string `json:"question_ru,omitempty" doc:"the question in Russian"`
	Seed       uint64 `json:"seed" default:"1" doc:"of keys, values and the order of trials"`
	Trials     int    `json:"trials" default:"7" min:"1" max:"9999" doc:"repetitions of each cell"`
	Measure    string `json:"measure" default:"load" oneof:"load formation" doc:"how a group serves clients, how it comes into being, what a kill of its leader costs, what the size of its state costs, where the time of its writes goes, or which rate it sustains"`

	Until    string `json:"until,omitempty" zero:"all trials are run" doc:"leaves a cell out of further rounds, from six on, once it is known closely enough, such as \"p50 within 3%\": its interval reaches no farther to either side; trials is the most then. A baseline stays while a cell that is set against it does"`
	Baseline string `json:"baseline,omitempty" zero:"its first level" doc:"the level of the compared factor, the first of [matrix], that the report sets the others against"`

	Cluster   Cluster   `json:"cluster"`
	Raft      Raft      `json:"raft"`
	Load      Load      `json:"load,omitzero"`      // zero where no load is measured
	Formation Formation `json:"formation,omitzero"` // zero where no formation is measured
	Matrix    []Factor  `json:"matrix" key:"-"`     // in the order of the file; the first is the one the report compares

	// Exclude are combinations that are left out: levels by factors' names, of which a cell
	// has all. The others keep their ids.
	Exclude []map[string]string `json:"exclude,omitempty" key:"-"`

	// Own are the engines that cells have which bring their log store and transport: where
	// nothing is said of these, they are [Own] there.
	Own []string `json:"own,omitempty" key:"-"`

	Options Options `json:"options,omitempty" key:"-"`
	// Settings of what is measured, where that is neither a load nor a formation.
	Settings map[string]any `json:"settings,omitempty" key:"-"`
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
	Nodes     int    `json:"nodes" default:"3" min:"1" max:"99" doc:"voters"`
	Engine    string `json:"engine" default:"hashicorp" doc:"implementation of Raft"`
	Backend   string `json:"backend" default:"wal" doc:"log store; an engine that is a program has its own, and is told none"`
	Transport string `json:"transport" default:"tcp" doc:"network of Raft; an engine that is a program has its own"`
	Mode      string `json:"mode" default:"inprocess" doc:"the system: all members within the runner, called as functions (inprocess), or each a process of kvnode, or of the engine where that is a program, which takes its own defaults for what is left out (process); etcd is one that raftlab-peers has"`
	Discovery string `json:"discovery" default:"static" oneof:"static gossip" doc:"one founds the group and the others are told its address, or they find each other; gossip needs mode = \"process\""`
	Profile   string `json:"profile,omitempty" oneof:"local lan wan" zero:"what kvnode takes for its own: lan" doc:"timings of Raft and of gossip, as of kvnode --profile; needs mode = \"process\""`

	Durability string `json:"durability,omitempty" oneof:"disk os-buffer nothing" zero:"any" doc:"what every cell has to keep of an acknowledged write, by what its parts say: disk, os-buffer (it survives a crash of the process) or nothing; a cell that keeps another is refused before the first trial"`
	Family     string `json:"family,omitempty" oneof:"aligned recommended" zero:"none" doc:"in which settings engines are set against each other: all with the same (aligned: where [raft] says nothing else, heartbeat_timeout 1s, max_append_entries 1024, max_in_flight 64 and no snapshots), or each as its library recommends (recommended: [raft] says nothing); never both in one experiment, nor compared"`
}

// Own is the log store and the transport of an engine that brings them.
const Own = "own"

// places are the keys of what some engines bring, with what a cluster has there.
func (c *Cluster) places() map[string]*string {
	return map[string]*string{"cluster.backend": &c.Backend, "cluster.transport": &c.Transport}
}

// Modes: where the members of the group run.
const (
	// ModeInProcess: inside the runner, called as functions.
	ModeInProcess = "inprocess"
	// ModeProcess: each in a kvnode process of its own. Settings that are left out
	// are kvnode's own, not the engine's.
	ModeProcess = "process"
)

// Discovery: how the members find each other.
const (
	// DiscoveryStatic: one founds the group, the others are told its address.
	DiscoveryStatic = "static"
	// DiscoveryGossip: each is told the address of another, and they gossip.
	DiscoveryGossip = "gossip"
)

// Protocols of clients, of processes only.
const (
	ClientHTTP = "http"
	ClientRESP = "resp"
)

// Read levels: what a read may see.
const (
	// ReadLinearizable sees every write that was acknowledged before it began.
	ReadLinearizable = "linearizable"
	// ReadLease is linearizable as long as the leader's clock is sane.
	ReadLease = "lease"
	// ReadStale sees what the member it asks happens to have applied.
	ReadStale = "stale"
)

// Raft holds the knobs that every engine has: the [raft] table. Zero means the
// engine's own default.
type Raft core.Tuning

// Load says what the clients do: the [load] table. Without Rate and PeakShare it is a closed
// loop of Clients; otherwise an open loop, and Clients says nothing of it.
type Load struct {
	Preset           string       `json:"preset,omitempty" oneof:"ycsb-a ycsb-b ycsb-c ycsb-d ycsb-e ycsb-f" doc:"a workload of YCSB (Cooper et al., Benchmarking Cloud Serving Systems with YCSB, SoCC 2010): its mix, its key_distribution, and value_size 1000, for a record is one value here, which an update writes whole; what the file says of these itself holds"`
	Clients          int          `json:"clients" default:"16" min:"1" max:"100000" doc:"of a closed loop, each with one operation at a time"`
	Rate             float64      `json:"rate" max:"10000000" unit:"operations per second" zero:"closed loop" doc:"open loop at this rate"`
	RateTo           float64      `json:"rate_to,omitempty" max:"10000000" unit:"operations per second" zero:"the rate stays" doc:"a ramp: the rate goes in a straight line from rate, which the warm-up has, to this at the end of duration; the report says up to which rate latency holds. For steps, give rate several levels in the matrix"`
	PeakShare        float64      `json:"peak_share,omitempty" max:"2" unit:"share" zero:"rate counts" doc:"instead of a rate: open loop at this share of the peak, which is the throughput of a closed loop of clients that each trial begins with, for warmup and duration"`
	Arrival          string       `json:"arrival" default:"constant" oneof:"constant poisson" doc:"when the operations of an open loop start"`
	Duration         Duration     `json:"duration" default:"5s" min:"100ms" doc:"measured"`
	Operations       int64        `json:"operations,omitempty" max:"1000000000000" zero:"duration counts" doc:"instead of a duration: measured until so many have ended"`
	Warmup           Duration     `json:"warmup" default:"1s" doc:"before that, cut off"`
	WarmupOperations *int64       `json:"warmup_operations,omitempty" max:"1000000000" zero:"what the engine asks for that asks for the most, of all in the experiment: a program that is compiled while it runs says after how many it is as fast as it gets" doc:"before warmup too: so many operations of this load, which count for nothing, in a closed loop of 64 clients, or of clients where those are more; 0: none"`
	ValueSize        int          `json:"value_size" default:"256" min:"1" max:"67108864" unit:"bytes" doc:"of what is written"`
	ValueSizes       string       `json:"value_sizes,omitempty" zero:"all of value_size" doc:"instead of value_size, a distribution: a range (64B..4KiB), lognormal median 1KiB sigma 1.5 max 64KiB, or several with their shares (90% 64B, 10% 1KiB..4KiB)"`
	Keys             int          `json:"keys" default:"10000" min:"1" max:"1000000000" doc:"how many different ones, before any are inserted"`
	KeySize          int          `json:"key_size,omitempty" max:"65536" unit:"bytes" zero:"16" doc:"of each key"`
	KeyDistribution  string       `json:"key_distribution" default:"uniform" oneof:"uniform zipf latest hot-spot sequential" doc:"which key an operation takes: zipf has a few popular ones, scattered over all keys, as YCSB does; latest is zipf by age, the newest first; hot-spot has a part of the keys that gets a part of the operations"`
	ZipfExponent     float64      `json:"zipf_exponent,omitempty" max:"10" zero:"0.99, that of YCSB" doc:"of zipf and latest: the key of rank r gets a share in proportion to r to the power of minus this"`
	HotKeys          float64      `json:"hot_keys,omitempty" max:"1" unit:"share" zero:"0.2" doc:"of hot-spot: the share of keys that is hot, neighbours"`
	HotOperations    float64      `json:"hot_operations,omitempty" max:"1" unit:"share" zero:"0.8" doc:"of hot-spot: the share of operations that goes to those"`
	HotMoves         Duration     `json:"hot_moves,omitempty" zero:"it stays" doc:"of hot-spot: how long until the keys that follow are hot instead"`
	ReadRatio        float64      `json:"read_ratio" max:"1" unit:"share" doc:"reads: 0 writes only, 1 reads only; the short form of a mix of the two"`
	Mix              workload.Mix `json:"mix,omitzero"`
	ScanLength       string       `json:"scan_length,omitempty" zero:"1..100, as YCSB" doc:"of scans, up to 1000 keys, as value_sizes says it"`
	BatchSize        int          `json:"batch_size,omitempty" max:"65536" zero:"10" doc:"keys of each batch"`
	ReadLevel        string       `json:"read_level" default:"linearizable" oneof:"linearizable lease stale" doc:"what a read may see: every write acknowledged before it began; the same as long as the leader's clock is sane; or what the member happens to have applied"`
	Target           string       `json:"target,omitempty" oneof:"leader followers all" zero:"leader" doc:"whom the clients ask, each its own member: a follower forwards what only the leader can do"`
	Client           string       `json:"client,omitempty" oneof:"http resp" zero:"http" doc:"protocol of the clients of processes: HTTP, or the Redis protocol"`
	Connections      int          `json:"connections,omitempty" max:"100000" zero:"two for writes and two for reads" doc:"over the Redis protocol, which the clients share; as many as clients: each has its own"`
	SnapshotEvery    Duration     `json:"snapshot_every,omitempty" zero:"as [raft] has it" doc:"all members are told to write a snapshot, so long after the load has begun, and again and again"`
	OpTimeout        Duration     `json:"op_timeout" default:"10s" min:"1ms" doc:"after which an operation has failed"`
}

// Whom clients ask.
const (
	TargetLeader    = "leader"
	TargetFollowers = "followers"
	TargetAll       = "all"
)

// Defaults of what is only read where it is used.
const (
	DefaultScanLength    = "1..100"
	DefaultBatchSize     = 10
	DefaultHotKeys       = 0.2
	DefaultHotOperations = 0.8
)

// maxScanLength is what kvnode gives at once.
const maxScanLength = 1000

// Open reports whether it is an open loop.
func (l *Load) Open() bool { return l.Rate > 0 || l.PeakShare > 0 }

// Ramps reports whether it is an open loop whose rate changes.
func (l *Load) Ramps() bool { return l.RateTo > 0 }

// TopRate is the greatest rate that there is; of a closed loop, or at a share of the peak, 0.
func (l *Load) TopRate() float64 { return max(l.Rate, l.RateTo) }

// Shares is which kinds of operations there are, and how many of each: the mix, or what
// its short form stands for.
func (l *Load) Shares() workload.Mix {
	if l.Mix == (workload.Mix{}) {
		return workload.Mix{Read: l.ReadRatio, Write: 1 - l.ReadRatio}
	}
	return l.Mix
}

// Sizes is the distribution of the sizes of values.
func (l *Load) Sizes() (workload.Sizes, error) {
	return workload.ParseSizes(cmp.Or(l.ValueSizes, strconv.Itoa(l.ValueSize)))
}

// Spec is the load as the generator takes it.
func (l *Load) Spec(seed uint64) (workload.Spec, error) {
	sizes, err := l.Sizes()
	if err != nil {
		return workload.Spec{}, fmt.Errorf("load.value_sizes = %q: %w", l.ValueSizes, err)
	}
	lengths, err := workload.ParseSizes(cmp.Or(l.ScanLength, DefaultScanLength))
	if err != nil {
		return workload.Spec{}, fmt.Errorf("load.scan_length = %q: %w", l.ScanLength, err)
	}
	return workload.Spec{
		Clients:         l.Clients,
		Rate:            l.Rate,
		RateTo:          l.RateTo,
		Arrival:         l.Arrival,
		Warmup:          time.Duration(l.Warmup),
		Duration:        time.Duration(l.Duration),
		Operations:      l.Operations,
		OpTimeout:       time.Duration(l.OpTimeout),
		Mix:             l.Shares(),
		ScanLength:      lengths,
		BatchSize:       cmp.Or(l.BatchSize, DefaultBatchSize),
		ValueSizes:      sizes,
		Keys:            l.Keys,
		KeyBytes:        l.KeySize,
		KeyDistribution: l.KeyDistribution,
		ZipfExponent:    l.ZipfExponent,
		HotKeys:         cmp.Or(l.HotKeys, DefaultHotKeys),
		HotOperations:   cmp.Or(l.HotOperations, DefaultHotOperations),
		HotMoves:        time.Duration(l.HotMoves),
		Seed:            seed,
	}, nil
}

// settle gives the settings that follow from others their values: a load of so many
// operations has no duration, and value_size is the mean where there is a distribution.
func (l *Load) settle() {
	if l.Operations > 0 {
		l.Duration = 0
	}
	if sizes, err := l.Sizes(); err == nil && l.ValueSizes != "" {
		l.ValueSize = max(1, int(math.Round(sizes.Mean())))
	}
}

// Formation says how a group's coming into being is watched: the [formation]
// table.
type Formation struct {
	Settle  Duration `json:"settle" default:"5s" doc:"from a whole group until the traffic is counted: news still go round"`
	Rest    Duration `json:"rest" default:"5s" min:"100ms" doc:"how long traffic is counted then"`
	Timeout Duration `json:"timeout" default:"1m" min:"1s" doc:"from the first start to a whole group; beyond it the trial fails"`
}

// Factor is one line of [matrix]: a scalar of the tables above, by its
// qualified key ("cluster.backend"), and the values it takes. Or it is a list of tables
// [[matrix.NAME]], each a level with a name and several settings that go together.
type Factor struct {
	Key    string   `json:"key,omitempty"` // qualified, e.g. "load.clients"; empty where a level sets several
	Name   string   `json:"name"`          // as written in the file, e.g. "clients"
	Levels []string `json:"levels"`        // as text, or the names of levels that set several; in the order of the file
	// Sets is what each of the Levels sets, as text by qualified key, where there may be
	// several keys; nil: Key alone.
	Sets []map[string]string `json:"sets,omitempty"`
}

// sets returns what one level sets, as text by qualified key.
func (f *Factor) sets(level int) map[string]string {
	if f.Sets == nil {
		return map[string]string{f.Key: f.Levels[level]}
	}
	return f.Sets[level]
}

// Cell is one combination of the matrix: what is run Trials times.
type Cell struct {
	ID     string  `json:"id"`     // "c01", "c02", …, in the order of expansion
	Levels []Level `json:"levels"` // one per factor, in the order of the matrix

	Cluster   Cluster   `json:"cluster"`
	Raft      Raft      `json:"raft"`
	Load      Load      `json:"load,omitzero"`
	Formation Formation `json:"formation,omitzero"`

	Options  Options        `json:"options,omitempty"`
	Settings map[string]any `json:"settings,omitempty"`
}

// ReadSettings reads the settings of what is measured into the struct that target points
// to, which has the type that the caller of Parse has described ([PluginOf]).
func (c *Cell) ReadSettings(target any) error { return conf.FromMap(target, c.Settings, "settings") }

// Planned is how long a trial of the cell lasts at least.
func (c *Cell) Planned() time.Duration {
	load := time.Duration(c.Load.Duration)
	if c.Load.Operations > 0 && c.Load.Rate > 0 { // of a closed loop nobody knows
		const most = 1e6 * time.Hour // of more there is no telling in a Duration
		load = time.Duration(min(float64(c.Load.Operations)/c.Load.Rate*float64(time.Second), float64(most)))
	}
	load += time.Duration(c.Load.Warmup)
	if c.Load.PeakShare > 0 {
		load *= 2 // the closed loop before
	}
	return load + time.Duration(c.Formation.Settle+c.Formation.Rest)
}

// Level is the value that one factor has in a cell.
type Level struct {
	Factor string `json:"factor"` // Factor.Name
	Value  string `json:"value"`
}

// Duration is a time.Duration that reads and writes as text ("1.5s").
type Duration = conf.Duration
