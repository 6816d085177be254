package experiment

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/internal/conf"
)

// catalogue is what the program would know.
func catalogue() Known {
	return Known{
		PluginOf(KindEngine, "hashicorp", engineOptions{}),
		{Kind: KindBackend, Name: "inmem"},
		{Kind: KindBackend, Name: "bolt", Options: []string{"no_freelist_sync"}},
		{Kind: KindBackend, Name: "mdb", Options: []string{"map_size", "no_sync", "label"}},
		{Kind: KindBackend, Name: "wal"},
		{Kind: KindTransport, Name: "inmem"},
		{Kind: KindTransport, Name: "tcp"},
		{Kind: KindSystem, Name: "inprocess"},
		{Kind: KindSystem, Name: "process"},
		{Kind: KindSystem, Name: "etcd"},
	}
}

// engineOptions are those that the engine of the catalogue takes.
type engineOptions struct {
	BatchApply     bool   `key:"batch_apply"`
	LogCache       int    `key:"log_cache" min:"-1"`
	DisablePreVote bool   `key:"disable_pre_vote"`
	TrailingLogs   uint64 `key:"trailing_logs"`
}

const full = `# Does it read?
#
#   All of it, that is.

# Not this.
name     = "full"
title    = "A  title"
title_ru = "Название"
question_ru = "Читается ли?"
seed     = 7
trials   = 3
baseline = "bolt"
[cluster]
nodes = 5
engine = "hashicorp"
backend = "mdb"
transport = "inmem"
mode = "inprocess"
[raft]
heartbeat_timeout = "1s"
leader_lease_timeout = "500ms"
batch_apply = true
log_cache = -1
trailing_logs = 128
persistence = "overlapped"
stall_timeout = "700ms"
stall_limit = "20s"
[load]
rate = 2000
arrival = "poisson"
duration = "5s"
warmup = "0s"
value_size = 64
keys = 10
key_distribution = "zipf"
read_ratio = 0.5
read_level = "stale"
op_timeout = "90s"
[options.mdb]
map_size = "1GiB"
no_sync = false
[matrix]
backend = ["bolt", "mdb"]
raft.heartbeat_timeout = ["1s", "60s"]
"options.mdb.map_size" = ["1GiB", 4096, "4096"]
`

func TestParseReadsEveryKey(t *testing.T) {
	got, err := Parse("full.toml", []byte(full), catalogue(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Experiment{
		Name: "full", Title: "A title", TitleRu: "Название",
		Question: "Does it read? All of it, that is.", QuestionRu: "Читается ли?",
		Seed: 7, Trials: 3, Measure: "load", Baseline: "bolt",
		Cluster: Cluster{Nodes: 5, Engine: "hashicorp", Backend: "mdb", Transport: "inmem", Mode: "inprocess", Discovery: "static"},
		Raft: Raft{
			HeartbeatTimeout: time.Second, LeaderLeaseTimeout: 500 * time.Millisecond,
			Persistence:  "overlapped",
			StallTimeout: 700 * time.Millisecond, StallLimit: 20 * time.Second,
		},
		Load: Load{
			Clients: 16, Rate: 2000, Arrival: "poisson", Duration: Duration(5 * time.Second),
			ValueSize: 64, Keys: 10, KeyDistribution: "zipf", ReadRatio: 0.5, ReadLevel: "stale",
			OpTimeout: Duration(90 * time.Second),
		},
		Matrix: []Factor{
			{Key: "cluster.backend", Name: "backend", Levels: []string{"bolt", "mdb"}},
			{Key: "raft.heartbeat_timeout", Name: "raft.heartbeat_timeout", Levels: []string{"1s", "1m0s"}},
			{Key: "options.mdb.map_size", Name: "options.mdb.map_size", Levels: []string{"1GiB", "4096", `"4096"`}},
		},
		Options: Options{
			"hashicorp": {"batch_apply": true, "log_cache": int64(-1), "trailing_logs": int64(128)},
			"mdb":       {"map_size": "1GiB", "no_sync": false},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseDefaults(t *testing.T) {
	got, err := Parse("d.toml", []byte(`name = "d"`), catalogue(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Experiment{
		Name: "d", Title: "d", Seed: 1, Trials: 7, Measure: "load",
		Cluster: Cluster{Nodes: 3, Engine: "hashicorp", Backend: "wal", Transport: "tcp", Mode: "inprocess", Discovery: "static"},
		Load: Load{
			Clients: 16, Arrival: "constant", Duration: Duration(5 * time.Second), Warmup: Duration(time.Second),
			ValueSize: 256, Keys: 10_000, KeyDistribution: "uniform", ReadLevel: "linearizable",
			OpTimeout: Duration(10 * time.Second),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseErrors(t *testing.T) {
	const head = "name = \"x\"\n" // line 1
	tests := []struct {
		name, file string
		want       []string // whole messages, in order
	}{
		{"unknown key", head + "[cluster]\nbackand = \"bolt\"", []string{
			`x.toml:3: unknown key "backand" in [cluster]; did you mean "backend"?`}},
		{"unknown key, swapped letters", head + "[load]\nekys = 1", []string{
			`x.toml:3: unknown key "ekys" in [load]; did you mean "keys"?`}},
		{"unknown key, nothing near", head + "[cluster]\nzzzzzz = 1", []string{
			`x.toml:3: unknown key "zzzzzz" in [cluster]; known are …`}},
		{"key of another table", head + "[cluster]\nclients = 1", []string{
			`x.toml:3: unknown key "clients" in [cluster]; it belongs in [load]`}},
		{"key in capitals", head + "[load]\nClients = 1", []string{
			`x.toml:3: unknown key "Clients" in [load]; did you mean "clients"?`}},
		{"old key of [raft] elsewhere", head + "trailing_logs = 1\n[load]\nbatch_apply = true\n[raft]\ntrailing_log = 1\n[matrix]\nraft.trailng_logs = [1]", []string{
			`x.toml:2: unknown key "trailing_logs" at the top level; it belongs in [options.hashicorp]`,
			`x.toml:4: unknown key "batch_apply" in [load]; it belongs in [options.hashicorp]`,
			`x.toml:6: unknown key "trailing_log" in [raft]; did you mean "trailing_logs"?`,
			`x.toml:8: unknown key "raft.trailng_logs" in [matrix]; did you mean "raft.trailing_logs"?`}},
		{"list for an option", head + "[raft]\nbatch_apply = [true]\ntrailing_logs = nan", []string{
			`x.toml:3: options.hashicorp.batch_apply = […]: want true or false, without quotes`,
			`x.toml:4: options.hashicorp.trailing_logs = NaN: want a whole number of at least 0, without quotes`}},
		{"top-level key below a table", "[load]\nname = \"x\"\n", []string{
			`x.toml:1: the key "name" is missing: add a line such as name = "backends" above the first table`,
			`x.toml:2: unknown key "name" in [load]; it belongs at the top of the file, above the first table`}},
		{"unknown top-level key", head + "trails = 1", []string{
			`x.toml:2: unknown key "trails" at the top level; did you mean "trials"?`}},
		{"question as a key", head + "question = \"?\"", []string{
			`x.toml:2: unknown key "question": the question is the comment at the very top of the file`}},
		{"unknown table", head + "[custer]\nnodes = 3", []string{
			`x.toml:2: unknown table [custer]; did you mean "cluster"?`}},
		{"unknown dotted and quoted keys", head + "cluster.backand = 1\n\"load.clients\" = 1\n[load]\n'key s' = 1", []string{
			`x.toml:2: unknown key "backand" in [cluster]; did you mean "backend"?`,
			`x.toml:3: unknown key "load.clients" at the top level; known are …`,
			`x.toml:5: unknown key "key s" in [load]; did you mean "keys"?`}},
		{"after a multi-line string", head + "title = \"\"\"a\nb\n\"\"\"\ntrails = 1", []string{
			`x.toml:5: unknown key "trails" at the top level; did you mean "trials"?`}},
		{"inside a multi-line array", head + "[matrix]\nnodes = [\n1,\n3,\n]\nclinets = [1]", []string{
			`x.toml:7: unknown key "clinets" in [matrix]; did you mean "clients"?`}},
		{"unknown backend", head + "[cluster]\nbackend = \"blot\"", []string{
			`x.toml:3: cluster.backend = "blot": want one of "inmem", "bolt", "mdb", "wal"; did you mean "bolt"?`}},
		{"unknown engine", head + "[cluster]\nengine = \"etcd\"", []string{
			`x.toml:3: cluster.engine = "etcd": want "hashicorp"`}},
		{"unknown level", head + "[matrix]\ntransport = [\"tcp\", \"tpc\"]", []string{
			`x.toml:3: level "tpc" of matrix.transport: want one of "inmem", "tcp"; did you mean "tcp"?`}},
		{"unknown mode", head + "[cluster]\nmode = \"proces\"", []string{
			`x.toml:3: cluster.mode = "proces": want one of "inprocess", "process", "etcd"; did you mean "process"?`}},
		{"no duration", head + "[load]\nduration = \"5 parsecs\"", []string{
			`x.toml:3: load.duration = "5 parsecs": want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`}},
		{"bare number for a duration", head + "[load]\nduration = 5", []string{
			`x.toml:3: load.duration = 5: want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`}},
		{"durations out of range", head + "[load]\nduration = \"0s\"\nwarmup = \"-1s\"", []string{
			`x.toml:3: load.duration = "0s": want a duration from 100ms to 24h`,
			`x.toml:4: load.warmup = "-1s": want a duration from 0s to 24h`}},
		{"numbers out of range", head + "trials = 0\nseed = -1\n[cluster]\nnodes = 0\n[load]\nread_ratio = 1.5\nrate = nan\n[raft]\nmax_in_flight = -1", []string{
			`x.toml:2: trials = 0: want a whole number from 1 to 9999, without quotes`,
			`x.toml:3: seed = -1: want a whole number of at least 0, without quotes`,
			`x.toml:5: cluster.nodes = 0: want a whole number from 1 to 99, without quotes`,
			`x.toml:7: load.read_ratio = 1.5: want a share from 0 to 1, such as 0.95 or "95%"`,
			`x.toml:8: load.rate = NaN: want a number from 0 to 10000000, without quotes`,
			`x.toml:10: raft.max_in_flight = -1: want a whole number from 0 to 2147483647, without quotes`}},
		{"wrong types", "name = 5\nseed.x = 1\n[load]\nclients = \"16\"\nread_level = [1]\nkeys = 1.5\n[raft]\nbatch_apply = \"true\"\ncommit_timeout = 2020-01-01", []string{
			`x.toml:1: name = 5: want text in quotes`,
			`x.toml:2: seed = a table: want a whole number of at least 0, without quotes`,
			`x.toml:4: load.clients = "16": want a whole number from 1 to 100000, without quotes`,
			`x.toml:5: load.read_level = […]: want text in quotes`,
			`x.toml:6: load.keys = 1.5: want a whole number from 1 to 1000000000, without quotes`,
			`x.toml:8: options.hashicorp.batch_apply = "true": want true or false, without quotes`,
			`x.toml:9: raft.commit_timeout = a date or time: want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`}},
		{"read level", head + "[load]\nread_level = \"linear\"", []string{
			`x.toml:3: load.read_level = "linear": want one of "linearizable", "lease", "stale"`}},
		{"tables that are none", head + "load = 3\n[[cluster]]\n[options]\nmdb = 1\n", []string{
			`x.toml:2: load = 3: want a table: write [load] on a line of its own`,
			`x.toml:3: cluster is a list of tables: write [cluster] once, in single brackets`,
			`x.toml:5: options.mdb = 1: want a table: write [options.mdb] on a line of its own`}},
		{"name that is no folder", `name = "a/b"`, []string{
			`x.toml:1: name = "a/b": want the name of a folder, of a-z, 0-9 and "-" only, such as "backends"`}},
		{"no name", "\n\n", []string{
			`x.toml:1: the key "name" is missing: add a line such as name = "backends" above the first table`}},
		{"empty matrix", head + "[matrix]\n", []string{
			`x.toml:2: [matrix] is empty: add a factor such as backend = ["inmem", "bolt"], or remove the table for a single cell`}},
		{"empty factor", head + "[matrix]\nbackend = []\n", []string{
			`x.toml:3: matrix.backend is empty: list at least one value, or remove the line`}},
		{"duplicate levels", head + "[matrix]\nduration = [\"1s\", \"1000ms\"]\nread_ratio = [0, 0.5, -0.0]\nread_level = [\"stale\"]", []string{
			`x.toml:3: level "1000ms" of matrix.duration is there twice: remove one`,
			`x.toml:4: level -0 of matrix.read_ratio is there twice: remove one`}},
		{"one factor twice", head + "[matrix]\nclients = [1]\nload.clients = [2]\n", []string{
			`x.toml:4: matrix.load.clients is the same key as clients on line 3: remove one`}},
		{"factor that is no scalar", head + "[matrix]\ncluster = [1]\ntrials = [1, 2]\nclients = 4\nraft = {}", []string{
			`x.toml:3: unknown key "cluster" in [matrix]; see 'raftlab help experiment'`,
			`x.toml:4: "trials" is the same for all cells and cannot be a factor; factors are the keys of [cluster], [raft], [load] and [formation], and options`,
			`x.toml:5: matrix.clients = 4: want a list of values, such as clients = [4]`,
			`x.toml:6: [matrix.raft] is empty: add a factor such as backend = ["inmem", "bolt"], or remove the table for a single cell`}},
		{"dotted factors", head + "[matrix]\nraft.hearbeat_timeout = [\"1s\"]\n\"load.clinets\" = [1]", []string{
			`x.toml:3: unknown key "raft.hearbeat_timeout" in [matrix]; did you mean "raft.heartbeat_timeout"?`,
			`x.toml:4: unknown key "load.clinets" in [matrix]; did you mean "load.clients"?`}},
		{"bare option as a factor", head + "[matrix]\nmap_size = [\"1GiB\"]", []string{
			`x.toml:3: unknown key "map_size" in [matrix]; write options.mdb.map_size`}},
		{"unknown options", head + "[options.mbd]\nmap_size = 1\n[options.mdb]\nmapsize = 1\n[options.tcp]\nx = 1", []string{
			`x.toml:2: [options.mbd]: there is no engine, backend or transport "mbd"; did you mean "mdb"?`,
			`x.toml:5: unknown key "mapsize" in [options.mdb]; did you mean "map_size"?`,
			`x.toml:7: unknown key "x" in [options.tcp]; it takes none`}},
		{"option values", head + "[options.mdb]\nmap_size = [1]\nno_sync = inf\nlabel = 9007199254740993", []string{
			`x.toml:3: options.mdb.map_size = […]: want text in quotes, a number, true or false`,
			`x.toml:4: options.mdb.no_sync = +Inf: want a number within ±9007199254740992`,
			`x.toml:5: options.mdb.label = 9007199254740993: want a number within ±9007199254740992`}},
		{"lease longer than heartbeat", head + "[raft]\nheartbeat_timeout = \"1s\"\nleader_lease_timeout = \"2s\"", []string{
			`x.toml:4: raft.leader_lease_timeout = 2s exceeds raft.heartbeat_timeout = 1s: a leader would outlive its lease; lower the one or raise the other`}},
		{"lease longer than heartbeat in a cell", head + "[raft]\nheartbeat_timeout = \"1s\"\n[matrix]\nnodes = [1, 3]\nleader_lease_timeout = [\"1s\", \"2s\"]", []string{
			`x.toml:6: raft.leader_lease_timeout = 2s exceeds raft.heartbeat_timeout = 1s (cell c02: nodes = 1, leader_lease_timeout = 2s): a leader would outlive its lease; lower the one or raise the other`}},
		{"rate below one operation", head + "[load]\nrate = 0.1\nduration = \"1s\"", []string{
			`x.toml:3: load.rate = 0.1 for load.duration = 1s is less than one operation: raise the one or the other`}},
		{"arrival without rate", head + "[load]\narrival = \"poisson\"", []string{
			`x.toml:3: load.arrival is for an open loop, and there is no rate: set load.rate to operations per second, or remove load.arrival`}},
		{"baseline that is no level", head + "baseline = \"blot\"\n[matrix]\nnodes = [3]\nbackend = [\"inmem\", \"bolt\"]\nclients = [1, 16]", []string{
			`x.toml:2: baseline = "blot" is no level of matrix.backend, the factor that is compared; did you mean "bolt"?`}},
		{"baseline of another factor", head + "baseline = \"16\"\n[matrix]\nbackend = [\"inmem\", \"bolt\"]\nclients = [1, 16]", []string{
			`x.toml:2: baseline = "16" is no level of matrix.backend, the factor that is compared; known are …`}},
		{"baseline of nothing", head + "baseline = \"bolt\"\n[matrix]\nbackend = [\"bolt\"]", []string{
			`x.toml:2: baseline = "bolt": no factor of the matrix has several levels, so nothing is compared: remove baseline, or add levels`}},
		{"too many cells", head + "[matrix]\n" + manyLevels("clients", 101) + manyLevels("keys", 100), []string{
			`x.toml:2: the matrix has more than 10000 cells; take levels or factors away`}},
		{"syntax", head + "[cluster\n", []string{
			`x.toml:2: not TOML: expected ']' to close table name`}},
		{"string without end", head + "title = \"a\nseed = 1\n", []string{
			`x.toml:2: not TOML: basic strings cannot have new lines`}},
		{"list without end", head + "[matrix]\nnodes = [1,\n3\nkeys = [1]\n", []string{
			`x.toml:5: not TOML: expected ',' or ']' after array value`}},
		{"two keys on a line", head + "seed = 1 trials = 2\n", []string{
			`x.toml:2: not TOML: expected newline but got U+0074 't'`}},
		{"key twice", head + "seed = 1\nseed = 2\n", []string{
			`x.toml:3: seed is given twice, first on line 2: remove one`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.toml", []byte(tt.file), catalogue(), nil)
			if err == nil {
				t.Fatal("no error")
			}
			got := regexp.MustCompile("known are .*").ReplaceAllString(err.Error(), "known are …")
			if diff := cmp.Diff(strings.Join(tt.want, "\n"), got); diff != "" {
				t.Error(diff)
			}
			checkErrorChain(t, err)
		})
	}
}

// TestBaseline: it has the normal form of its level, and coupled levels are known by name.
func TestBaseline(t *testing.T) {
	for _, c := range []struct{ baseline, matrix, want string }{
		{`"16"`, "[matrix]\nclients = [1, 16]", "16"},
		{`"1000ms"`, "[matrix]\nraft.heartbeat_timeout = [\"2s\", \"1s\"]", "1s"},
		{`"b"`, "[[matrix.s]]\nname = \"a\"\n[[matrix.s]]\nname = \"b\"\nnodes = 1", "b"},
		{`""`, "[matrix]\nclients = [1, 16]", ""},
	} {
		e, err := Parse("x.toml", []byte("name = \"x\"\nbaseline = "+c.baseline+"\n"+c.matrix), catalogue(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Baseline != c.want {
			t.Errorf("baseline = %s: %q, want %q", c.baseline, e.Baseline, c.want)
		}
	}
}

// TestKnownAre: an unknown key that is near none is told what there is: of a table its
// keys, where they are few, and else the command that lists all.
func TestKnownAre(t *testing.T) {
	_, err := Parse("x.toml", []byte("name = 'x'\n[cluster]\nzzzzzz = 1\n[load]\nsize = 1\n[matrix]\nzzzzzz = [1]"), catalogue(), nil)
	if err == nil {
		t.Fatal("no error")
	}
	want := `x.toml:3: unknown key "zzzzzz" in [cluster]; known are nodes, engine, backend, transport, mode, discovery, profile, durability, family
x.toml:5: unknown key "size" in [load]; did you mean "key_size" or "value_size" or "batch_size"? See 'raftlab help experiment'
x.toml:7: unknown key "zzzzzz" in [matrix]; see 'raftlab help experiment'`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

// checkErrorChain checks that callers can tell a mistake and where it is.
func checkErrorChain(t *testing.T, err error) {
	t.Helper()
	var mistake *Error
	if !errors.As(err, &mistake) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("%T is no *Error or not ErrInvalid", err)
	}
	if mistake.Line < 1 && !strings.HasPrefix(mistake.File, "override ") {
		t.Errorf("%v has no line", mistake)
	}
}

func manyLevels(key string, n int) string {
	var b strings.Builder
	b.WriteString(key + " = [1")
	for i := 2; i <= n; i++ {
		b.WriteString(", " + conf.LiteralText(int64(i)))
	}
	return b.String() + "]\n"
}

func TestMostCellsAllowed(t *testing.T) {
	file := "name = \"x\"\n[matrix]\n" + manyLevels("clients", 100) + manyLevels("keys", 100)
	e, err := Parse("x.toml", []byte(file), catalogue(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := e.Expand()
	if err != nil || len(cells) != 10_000 || cells[0].ID != "c00001" || cells[9999].ID != "c10000" {
		t.Errorf("%d cells, error %v", len(cells), err)
	}
}

func TestByteOrderMarkAndLineEnds(t *testing.T) {
	file := "\xef\xbb\xbf# Why?\r\n\r\nname = \"x\"\r\n[load]\r\nkey = 1\r\n"
	_, err := Parse("x.toml", []byte(file), catalogue(), nil)
	if err == nil || err.Error() != `x.toml:5: unknown key "key" in [load]; did you mean "keys"?` {
		t.Error(err)
	}
	e, err := Parse("x.toml", []byte(strings.ReplaceAll(file, "key", "keys")), catalogue(), nil)
	if err != nil || e.Question != "Why?" {
		t.Errorf("question %q, error %v", e.Question, err)
	}
}

func TestFileTooLong(t *testing.T) {
	_, err := Parse("x.toml", make([]byte, maxFileBytes+1), catalogue(), nil)
	if !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestBareKeysAreUnique: a factor is named by its bare key.
func TestBareKeysAreUnique(t *testing.T) {
	seen := make(map[string]string)
	for _, f := range Schema(nil).Fields() {
		if other := seen[f.Name]; other != "" {
			t.Errorf("%s and %s", other, f.Key())
		}
		seen[f.Name] = f.Key()
	}
}
