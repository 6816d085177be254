package report

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/formation"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// synth describes a run folder to make up: what it measures and how its trials
// come out. The same synth gives the same folder.
type synth struct {
	name     string
	titleRu  string
	matrix   []experiment.Factor
	trials   int
	load     experiment.Load
	forms    bool // groups come into being; there is no load
	seed     uint64
	slower   float64 // multiplies every latency; 0: 1
	slowDisk float64 // multiplies the probes; 0: 1
	fail     func(cell experiment.Cell, trial int) string
	skip     func(cell experiment.Cell, trial int) bool // trials not run
	change   func(*record.Trial, any)                   // the trial and what its kind measured
	sessions int
	memory   bool
	flushes  []record.Flushes // that were calibrated
	question string
	past     func(*record.Session) // changes what is said of a session
	baseline string
	family   string
}

func factorOf(key string, levels ...string) experiment.Factor {
	name := key
	for i := range key {
		if key[i] == '.' {
			name = key[i+1:]
		}
	}
	return experiment.Factor{Key: key, Name: name, Levels: levels}
}

func closedLoop() experiment.Load {
	return experiment.Load{
		Clients: 16, Arrival: "constant", Duration: experiment.Duration(2 * time.Second), Warmup: experiment.Duration(500 * time.Millisecond),
		ValueSize: 256, Keys: 10000, KeyDistribution: "uniform", ReadLevel: "linearizable", OpTimeout: experiment.Duration(5 * time.Second),
	}
}

// threeFactors is the usual experiment: 12 cells of 5 trials.
func threeFactors() synth {
	return synth{
		name: "backends", titleRu: "Задержка фиксации в зависимости от хранилища журнала", trials: 7, load: closedLoop(), seed: 1,
		question: "How much of the latency of a committed write is the log store?",
		matrix: []experiment.Factor{
			factorOf(keyBackend, "mdb", "bolt", "inmem"),
			factorOf(keyTransport, "inmem", "tcp"),
			factorOf(keyClients, "1", "16"),
		},
	}
}

// folder makes the run folder.
func (s synth) folder(t testing.TB) *record.Folder {
	t.Helper()
	return s.folderIn(t, t.TempDir())
}

func (s synth) folderIn(t testing.TB, dir string) *record.Folder {
	t.Helper()
	f := s.create(t, dir)
	m := f.Manifest()
	for i := range m.Cells {
		cell := m.Cells[i]
		for trial := 1; trial <= s.trials; trial++ {
			if s.skip != nil && s.skip(cell.Cell, trial) {
				continue
			}
			if err := f.SaveTrial(s.trial(t, cell, trial)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return f
}

func (s synth) create(t testing.TB, dir string) *record.Folder {
	t.Helper()
	e := experiment.Experiment{
		Name: s.name, Title: "Commit latency by " + s.name, TitleRu: s.titleRu, Question: s.question, Seed: s.seed, Trials: s.trials, Baseline: s.baseline,
		Cluster: experiment.Cluster{Nodes: 3, Engine: "hashicorp", Backend: "bolt", Transport: "tcp", Mode: experiment.ModeInProcess, Family: s.family},
		Measure: experiment.MeasureLoad, Load: s.load, Matrix: s.matrix,
	}
	if s.forms {
		e.Measure, e.Cluster.Mode, e.Cluster.Discovery = experiment.MeasureFormation, experiment.ModeProcess, experiment.DiscoveryStatic
		e.Formation = experiment.Formation{Settle: experiment.Duration(5 * time.Second), Rest: experiment.Duration(30 * time.Second), Timeout: experiment.Duration(time.Minute)}
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	m := record.Manifest{Format: record.FormatVersion, Experiment: e}
	for _, c := range cells {
		m.Cells = append(m.Cells, cellInfo(c))
		for trial := 1; trial <= s.trials; trial++ {
			m.Order = append(m.Order, record.TrialID{Cell: c.ID, Trial: trial})
		}
	}
	for i := range max(1, s.sessions) {
		m.Sessions = append(m.Sessions, s.session(i))
	}
	f, err := record.Create(filepath.Join(dir, s.name), m, []byte("name = \""+s.name+"\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func cellInfo(c experiment.Cell) record.CellInfo {
	info := record.CellInfo{
		Cell:            c,
		Engine:          record.Part{Name: "hashicorp", Library: "github.com/hashicorp/raft", Version: "v1.7.3", Ours: "framing, reads"},
		Backend:         record.Part{Name: c.Cluster.Backend},
		Transport:       record.Part{Name: c.Cluster.Transport},
		Durability:      "disk",
		Acknowledgement: "committed by a majority, applied on the leader",
		Wire:            c.Cluster.Transport == "tcp",
	}
	switch c.Cluster.Backend {
	case "inmem":
		info.Durability = "nothing"
	case "bolt":
		info.Backend.Library, info.Backend.Version = "github.com/hashicorp/raft-boltdb/v2", "v2.3.1"
	case "mdb":
		info.Backend.Library, info.Backend.Version = "github.com/hashicorp/raft-mdb", "v0.0.0-20260220095904-29a69d9a0225"
	}
	if c.Load.ReadRatio > 0 {
		info.ReadLevel = c.Load.ReadLevel
	}
	return info
}

func (s synth) session(i int) record.Session {
	quantiles := func(p50 float64) record.Quantiles {
		return record.Quantiles{N: 200, Min: p50 * 0.8, P50: p50, P90: p50 * 1.3, P99: p50 * 2.1, Max: p50 * 9}
	}
	disk := or1(s.slowDisk)
	out := record.Session{
		Started: time.Date(2026, 3, 14, 9, 26+60*i, 53, 0, time.FixedZone("", 3*3600)),
		Command: []string{"raftlab", "run", "experiments/" + s.name + ".toml", "--set", "matrix.clients=[1, 16]"},
		Environment: record.Environment{
			Host: "lab", OS: "linux", Kernel: "6.12.0", Arch: "amd64", CPU: "Example CPU @ 3.00GHz", Cores: 8, GOMAXPROCS: 8,
			MemoryBytes: 16<<30 - 12345, DataFileSystem: "ext4", DataDevice: "nvme0n1", DataMemory: s.memory, Go: "go1.26.0", Raftlab: "v0.1.0", Commit: "0123abcd",
			Modules: map[string]string{"github.com/hashicorp/raft": "v1.7.3", "go.etcd.io/bbolt": "v1.5.0"},
		},
		Calibration: record.Calibration{
			FsyncUS: quantiles(812 * disk), FdatasyncUS: quantiles(604 * disk), LoopbackUS: quantiles(21.5), TimerUS: quantiles(58), ClockResolution: 31, Flushes: s.flushes,
		},
	}
	if s.past != nil {
		s.past(&out)
	}
	return out
}

func or1(v float64) float64 {
	if v == 0 {
		return 1
	}
	return v
}

// trial makes up one trial. Only whole numbers go in, so that every machine
// makes the same one.
func (s synth) trial(t testing.TB, c record.CellInfo, number int) record.Trial {
	t.Helper()
	index, err := strconv.Atoi(c.ID[1:])
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(s.seed, uint64(1000*index+number)))
	if s.forms {
		return s.formation(t, c, number, random)
	}
	base := s.typical(c) * int64(970+random.IntN(60)) / 1000
	clients := int64(c.Load.Clients)
	window := int64(c.Load.Duration)
	ops := max(50, clients*window/(base*11/10))
	if c.Load.Rate > 0 {
		ops = int64(c.Load.Rate+c.Load.RateTo) * window / 1e9
	}
	if c.Load.Ramps() {
		ops /= 2
	}
	readShare := int64(c.Load.Shares().Reads() * 1000)
	reads := ops * readShare / 1000
	d := &load.Data{
		WindowNS: window, IntervalNS: int64(100 * time.Millisecond),
		Writes: load.Operations{Completed: ops - reads, Hist: latencies(t, random, base, ops-reads)},
		Reads:  load.Operations{Completed: reads, Hist: latencies(t, random, base/9+1, reads)},
		LoadNS: window * 5 / 4, CPUNS: window * 3 / 2, MembersCPUNS: window, Operations: ops * 5 / 4, Commands: uint64(ops), Acknowledged: uint64(ops - reads),
	}
	if c.Cluster.Mode == experiment.ModeProcess {
		for i := range c.Cluster.Nodes {
			d.Members = append(d.Members, load.Member{CPUNS: window / int64(2+i), PeakBytes: int64(80-i) << 20, Threads: 14 - i})
		}
	}
	tr := record.Trial{
		TrialID: record.TrialID{Cell: c.ID, Trial: number}, Started: time.Date(2026, 3, 14, 6, 30+number, index, 0, time.UTC), Leader: "n1",
	}
	tr.Probe = s.probe(random)
	if c.Durability == "disk" {
		for range c.Cluster.Nodes {
			d.SyncsPerNode = append(d.SyncsPerNode, uint64(ops/min(clients, 6)))
		}
	}
	if c.Load.Ramps() {
		d.Ramp = rampOf(&c.Load, base, ops)
	}
	if c.Load.Rate > 0 {
		d.Scheduled = ops
		d.LagHist = latencies(t, random, 5000, ops)
	}
	steps := window / d.IntervalNS
	for i := range steps {
		n := ops*(i+1)/steps - ops*i/steps
		if c.Load.Ramps() {
			n = ops*(i+1)*(i+1)/(steps*steps) - ops*i*i/(steps*steps)
		}
		d.Intervals = append(d.Intervals, n)
	}
	tr.Gates = gatesOf(ops)
	if c.Load.Rate > 0 {
		tr.Gates[0] = record.Gate{Name: "load", Verdict: record.Pass, Figure: 100, Limit: 95, AtLeast: true, Unit: "%"}
	}
	if s.fail != nil {
		if reason := s.fail(c.Cell, number); reason != "" {
			tr.Gates[0] = record.Gate{Name: "load", Verdict: record.Fail, Figure: 82.4, Limit: 95, AtLeast: true, Unit: "%", Reason: reason}
		}
	}
	return s.put(t, tr, load.Name, d)
}

// rampOf is a ramp whose latency takes off once more is due than a group of such a latency takes.
func rampOf(l *experiment.Load, base, ops int64) *load.Timeline {
	const steps = 10
	t := &load.Timeline{StepNS: int64(l.Duration) / steps}
	takes, backlog, due, done := 5e9/base*t.StepNS/1e9, int64(0), int64(0), int64(0)
	for i := range int64(steps) {
		n := int64(l.Rate+(l.RateTo-l.Rate)*float64(2*i+1)/(2*steps)) * t.StepNS / 1e9
		if i == steps-1 {
			n = ops - due
		}
		us := float64(base/1000 + 100*max(0, n+backlog-takes))
		completed := min(n+backlog, takes)
		if i == steps-1 {
			completed = ops - done
		}
		backlog, due, done = backlog+n-completed, due+n, done+completed
		t.Due, t.Completed, t.Failed, t.Slow = append(t.Due, n), append(t.Completed, completed), append(t.Failed, 0), append(t.Slow, 0)
		t.P50US, t.P99US, t.LagP99US = append(t.P50US, us), append(t.P99US, 2*us), append(t.LagP99US, 5)
	}
	return t
}

// put changes a trial and what it measured as the test wants it.
func (s synth) put(t testing.TB, tr record.Trial, kind string, data any) record.Trial {
	t.Helper()
	if s.change != nil {
		s.change(&tr, data)
	}
	if err := tr.Put(kind, 1, data); err != nil {
		t.Fatal(err)
	}
	return tr
}

func (s synth) probe(random *rand.Rand) record.Probe {
	probe := (600 + float64(random.IntN(30))) * or1(s.slowDisk)
	work := 2000 + float64(random.IntN(20))
	return record.Probe{
		Flushes:     s.flushes,
		FdatasyncUS: record.Quantiles{N: 50, Min: probe - 100, P50: probe, P90: probe + 50, P99: probe + 200, Max: probe + 900},
		WorkUS:      record.Quantiles{N: 20, Min: work - 30, P50: work, P90: work + 40, P99: work + 90, Max: work + 300},
	}
}

func gatesOf(ops int64) []record.Gate {
	return []record.Gate{
		{Name: "load", Verdict: record.Pass, Figure: float64(ops), Limit: 50, AtLeast: true, Unit: "ops"},
		{Name: "errors", Verdict: record.Pass, Figure: 0, Limit: 0.1, Unit: "%"},
		{Name: "client", Verdict: record.Pass, Figure: 3.25, Limit: 20, Unit: "%"},
		{Name: "leader", Verdict: record.Pass, Figure: 0, Limit: 0, Unit: "changes"},
		{Name: "convergence", Verdict: record.Pass, Unit: "replicas"},
		{Name: "acknowledged", Verdict: record.Pass, Unit: "lost"},
		{Name: "clock", Verdict: record.Skip, Unit: "ms", Reason: "no second clock"},
	}
}

// typical is the latency that a cell is to have, in nanoseconds.
func (s synth) typical(c record.CellInfo) int64 {
	ns := map[string]int64{"inmem": 40_000, "wal": 700_000, "mdb": 1_400_000, "pebble": 1_900_000, "bolt": 2_900_000}[c.Cluster.Backend]
	if c.Cluster.Transport == "tcp" {
		ns += 90_000
	}
	ns += int64(c.Load.ValueSize) * 20
	ns = ns * int64(4+c.Cluster.Nodes) / 7
	ns += int64(c.Load.Clients) * 9_000
	if c.Load.Rate > 0 {
		ns += int64(c.Load.Rate) * 500
	}
	return int64(float64(ns) * or1(s.slower))
}

// latencies draws a distribution with a tail: 400 values, each standing for many
// operations, n in all.
func latencies(t testing.TB, random *rand.Rand, base, n int64) string {
	t.Helper()
	h := record.NewHistogram()
	const draws = 400
	for i := range int64(draws) {
		u := random.Int64N(1 << 16)
		v := base*(800+400*u/(1<<16))/1000 + base*30/(1+u/8)
		if err := h.RecordValues(max(1, v), n*(i+1)/draws-n*i/draws); err != nil {
			t.Fatal(err)
		}
	}
	text, err := record.EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// splitWrites makes some of the writes of a trial inserts.
func splitWrites(_ *record.Trial, data any) {
	d := data.(*load.Data)
	inserts := load.Operations{Completed: d.Writes.Completed / 200, Hist: d.Writes.Hist}
	writes := load.Operations{Completed: d.Writes.Completed - inserts.Completed, Hist: d.Writes.Hist}
	d.Kinds = map[workload.Kind]load.Operations{workload.Read: d.Reads, workload.Insert: inserts, workload.Write: writes}
}

// catalog is what the made up runs measured.
func catalog() measure.Catalog { return measure.Catalog{load.Kind(), formation.Kind()} }

// made is a scenario's folder with what is made of it. The tests share it and
// must not change it.
type made struct {
	folder *record.Folder
	model  *model
	files  map[string][]byte
}

// library makes each scenario once for all tests.
type library struct {
	mu   sync.Mutex
	dir  string
	made map[string]*made
}

var shared = library{made: map[string]*made{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		panic(err)
	}
	shared.dir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

func scenario(t testing.TB, name string) *made {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if x := shared.made[name]; x != nil {
		return x
	}
	s, ok := scenarios()[name]
	if !ok {
		t.Fatalf("no scenario %q", name)
	}
	x := &made{folder: s.folderIn(t, shared.dir)}
	var err error
	if x.model, err = build(t.Context(), x.folder, catalog()); err != nil {
		t.Fatal(err)
	}
	x.files = rendered(t, x.folder)
	shared.made[name] = x
	return x
}

// scenarios are the runs that the tests of all formats go through.
func scenarios() map[string]synth {
	mixed := closedLoop()
	mixed.ReadRatio = 0.5
	invalid := threeFactors()
	invalid.name = "invalid"
	invalid.fail = func(c experiment.Cell, trial int) string {
		if c.ID == "c05" || (c.ID == "c12" && trial == 2) {
			return "82.4 % of the scheduled rate was reached"
		}
		return ""
	}
	quick := threeFactors()
	quick.name, quick.trials = "quick", 1
	free := threeFactors()
	free.name, free.baseline = "free", "inmem"
	partial := threeFactors()
	partial.name, partial.sessions = "partial", 2
	partial.matrix = partial.matrix[:2]
	partial.skip = func(c experiment.Cell, trial int) bool { return c.ID > "c04" || trial > 3 }
	forming := synth{name: "formation", titleRu: "Образование группы", trials: 7, seed: 10, forms: true,
		question: "How long does a group take to come into being?",
		matrix:   []experiment.Factor{factorOf(keyDiscovery, "static", "gossip"), factorOf(keyNodes, "3", "5", "9")}}
	stopped := forming
	stopped.name, stopped.seed, stopped.trials = "stopped", 11, 5
	stopped.matrix = []experiment.Factor{factorOf(keyDiscovery, "static", "gossip")}
	stopped.change = stopOne
	alone := forming
	alone.name, alone.seed, alone.matrix = "alone", 12, nil
	open := closedLoop()
	ramp := closedLoop()
	ramp.Rate, ramp.RateTo = 100, 5100
	kinds := closedLoop()
	kinds.Mix = workload.Mix{Read: 0.5, Insert: 0.3, Write: 0.2}
	return map[string]synth{
		"formation": forming, "stopped": stopped, "alone": alone,
		"backends": threeFactors(),
		"invalid":  invalid,
		"quick":    quick,
		"free":     free,
		"partial":  partial,
		"nodes": {name: "nodes", titleRu: "Узлы", trials: 7, load: closedLoop(), seed: 2,
			matrix: []experiment.Factor{factorOf(keyNodes, "1", "3", "7"), factorOf(keyClients, "1", "16")}},
		"load": {name: "load", trials: 7, load: closedLoop(), seed: 3,
			matrix: []experiment.Factor{factorOf(keyClients, "1", "4", "64"), factorOf(keyBackend, "bolt", "mdb")}},
		"rate": {name: "rate", titleRu: "Нагрузка", trials: 4, load: open, seed: 4,
			matrix: []experiment.Factor{factorOf(keyRate, "50", "800", "3200")}},
		"ramp": {name: "ramp", titleRu: "Нарастание", trials: 7, load: ramp, seed: 13,
			matrix: []experiment.Factor{factorOf(keyBackend, "bolt", "mdb", "inmem")}},
		"kinds": {name: "kinds", titleRu: "Виды операций", trials: 7, load: kinds, seed: 14, change: splitWrites,
			matrix: []experiment.Factor{factorOf(keyBackend, "bolt", "mdb")}},
		"payload": {name: "payload", titleRu: "Размер", trials: 10, load: closedLoop(), seed: 5,
			matrix: []experiment.Factor{factorOf(keyValueSize, "64", "1024", "65536")}},
		"mixed": {name: "mixed", titleRu: "Чтения", trials: 7, load: mixed, seed: 6, memory: true,
			matrix: []experiment.Factor{factorOf(keyTransport, "inmem", "tcp")}},
		"one": {name: "one", trials: 3, load: closedLoop(), seed: 7},
		"empty": {name: "empty", titleRu: "Пусто", trials: 5, load: closedLoop(), seed: 8,
			matrix: []experiment.Factor{factorOf(keyBackend, "bolt", "mdb")},
			skip:   func(experiment.Cell, int) bool { return true }},
		"batch": {name: "batch", titleRu: "Пакеты", trials: 8, load: closedLoop(), seed: 9,
			matrix: []experiment.Factor{factorOf("raft.batch_apply", "false", "true")}},
	}
}
