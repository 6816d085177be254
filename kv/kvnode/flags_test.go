package kvnode

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv/node"
)

func TestDoubleDashes(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"-id node1 -haddr=:1 -inmem data", "--id node1 --haddr=:1 --inmem data"},
		{"--id node1 -h", "--id node1 -h"},
		{"-id -raddr data", "--id -raddr data"}, // a value is left alone
		{"-inmem -raddr :1", "--inmem --raddr :1"},
		{"--config -x.toml -inmem", "--config -x.toml --inmem"},
		{"-nonsense data", "--nonsense data"},
		{"-id=a -- -inmem", "--id=a -- -inmem"},
		{"- data", "- data"},
		{"-id", "--id"},
		{"", ""},
	} {
		args := strings.Fields(test.in)
		if got := strings.Join(newLine(t).doubleDashes(args), " "); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.in, got, test.want)
		}
		if strings.Join(args, " ") != test.in {
			t.Errorf("%q was changed in place", test.in)
		}
	}
}

func TestDefaults(t *testing.T) {
	s := mustParse(t, "", "data")
	if s.HTTPBind != "localhost:11000" || s.RaftBind != "localhost:12000" || s.ID != "" || s.Backend != "wal" || s.InMemory ||
		s.RequestTimeout != 5*time.Second || s.Data != "data" || s.Network.Describe().Name != "tcp" || s.Engine.Describe().Name != "hashicorp" {
		t.Errorf("%+v", s)
	}
	lan, _ := node.ProfileOf(node.LAN)
	want := lan.Tuned(core.Tuning{SnapshotThreshold: 8192, MaxAppendEntries: 256, Persistence: core.Overlapped})
	if s.Tuning != want || ownOptions(s).TrailingLogs != 1024 || !ownOptions(s).BatchApply {
		t.Errorf("tuning %+v, %+v", s.Tuning, s.Engine)
	}
	settings := s.parts().Settings
	for key, value := range map[string]string{
		"raft.persistence": "overlapped", "raft.max_append_entries": "256", "raft.max_in_flight": "2", "raft.heartbeat_timeout": "300ms",
		"raft.election_timeout": "", // follows
		"hashicorp.batch_apply": "true", "hashicorp.trailing_logs": "1024",
	} {
		if settings[key] != value {
			t.Errorf("it says %s = %q, want %q", key, settings[key], value)
		}
	}
	if inmem := mustParse(t, "", "--inmem", "data"); inmem.Tuning.Persistence != core.Serial {
		t.Errorf("without a disk: %s", inmem.Tuning.Persistence)
	}
	if serial := mustParse(t, "", "--raft-option", "persistence=serial", "data"); serial.Tuning.Persistence != core.Serial || serial.parts().Settings["raft.persistence"] != core.Serial {
		t.Errorf("as told: %s", serial.Tuning.Persistence)
	}
}

// ownOptions are those of the engine.
func ownOptions(s settings) hashicorp.Options { return s.Engine.(hashicorp.Engine).Options }

const full = `
data = "file-data"
id = "from-file"
haddr = "0.0.0.0:11001"
raddr = "localhost:12001"
advertise_http = "db1:0"
join = ["a:1", "b:2"]
nonvoter = true
backend = "mdb"
request-timeout = "7s"
log_level = "warn"
log-format = "json"

[backend-options]
map_size = "1GiB"
[transport_options]
no-delay = false
[raft]
heartbeat_timeout = "500ms"
election_timeout = "600ms"
leader_lease_timeout = "400ms"
commit_timeout = "10ms"
max_append_entries = 128
max_in_flight = 4
persistence = "overlapped"
batch_apply = true
log_cache = -1
disable_pre_vote = true
snapshot_interval = "30s"
snapshot_threshold = 100
trailing_logs = 10
stall_timeout = "2s"
stall_limit = "1m"
`

func TestConfig(t *testing.T) {
	s := mustParse(t, full)
	want := core.Tuning{
		HeartbeatTimeout: 500 * time.Millisecond, ElectionTimeout: 600 * time.Millisecond,
		LeaderLeaseTimeout: 400 * time.Millisecond, CommitTimeout: 10 * time.Millisecond,
		MaxAppendEntries: 128, MaxInFlight: 4, Persistence: core.Overlapped,
		SnapshotInterval: 30 * time.Second, SnapshotThreshold: 100,
		StallTimeout: 2 * time.Second, StallLimit: time.Minute,
	}
	if diff := cmp.Diff(want, s.Tuning); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(hashicorp.Options{BatchApply: true, LogCache: -1, DisablePreVote: true, TrailingLogs: 10}, ownOptions(s)); diff != "" {
		t.Error(diff)
	}
	if s.Data != "file-data" || s.ID != "from-file" || s.HTTPBind != "0.0.0.0:11001" || s.HTTPAdvertise != "db1:0" || !s.Nonvoter ||
		!slices.Equal(s.Join, []string{"a:1", "b:2"}) || s.Backend != "mdb" || s.RequestTimeout != 7*time.Second ||
		s.log.level.String() != "WARN" || s.log.format != "json" {
		t.Errorf("%+v", s)
	}
	if got := backendOptions(t, full)["map_size"]; got != "1GiB" {
		t.Errorf("map_size %v", got)
	}
}

// TestZeroOption: 0 stands for the default of kvnode, wherever it is written.
func TestZeroOption(t *testing.T) {
	for file, args := range map[string][]string{
		"":                                    {"--raft-option", "trailing_logs=0"},
		"[raft]\ntrailing_logs = 0":           nil,
		"[engine-options]\ntrailing-logs = 0": nil,
	} {
		if got := ownOptions(mustParse(t, file, append(args, "data")...)).TrailingLogs; got != defaultTrailingLogs {
			t.Errorf("%s %q: %d", file, args, got)
		}
	}
	if got := mustParse(t, "[raft]\nsnapshot_interval = \"48h\"", "data").Tuning.SnapshotInterval; got != 48*time.Hour {
		t.Error(got)
	}
}

func TestGossipConfig(t *testing.T) {
	if s := mustParse(t, "", "data"); s.Gossip != nil {
		t.Errorf("%+v", s.Gossip)
	}
	want := node.Gossip{Bind: "localhost:0", Cluster: "raftlab", RemoveFailedAfter: 72 * time.Hour}
	if s := mustParse(t, "", "--gossip", "localhost:0", "data"); !reflect.DeepEqual(s.Gossip, &want) || s.Profile.Name != node.LAN {
		t.Errorf("%+v, %+v", s.Gossip, s.Profile)
	}
	s := mustParse(t, `
data = "data"
gossip = "localhost:7946"
gossip_advertise = "db1:0"
gossip_join = ["a:1", "b:2"]
bootstrap_expect = 3
cluster = "one"
gossip_profile = "local"
remove_failed_after = "0"
leave_on_stop = true
`, "--bootstrap-expect", "5")
	want = node.Gossip{
		Bind: "localhost:7946", Advertise: "db1:0", Join: []string{"a:1", "b:2"}, Expect: 5,
		Cluster: "one", LeaveOnStop: true,
	}
	if !reflect.DeepEqual(s.Gossip, &want) || s.Profile.Name != node.Local {
		t.Errorf("%+v, %+v", s.Gossip, s.Profile)
	}
}

// TestProfile: one name sets the timings of Raft and of gossip; what is set by itself wins.
func TestProfile(t *testing.T) {
	wan, _ := node.ProfileOf(node.WAN)
	for name, args := range map[string][]string{"by its name": {"--profile", "wan"}, "by the old one": {"--gossip", "localhost:0", "--gossip-profile", "wan"}} {
		s := mustParse(t, "", append(args, "--raft-option", "commit_timeout=70ms", "data")...)
		if s.Profile != wan || s.Tuning.HeartbeatTimeout != wan.Raft.HeartbeatTimeout || s.Tuning.CommitTimeout != 70*time.Millisecond {
			t.Errorf("%s: %+v, %+v", name, s.Profile, s.Tuning)
		}
	}
	s := mustParse(t, "profile = \"wan\"\n[raft]\nheartbeat_timeout = \"100ms\"\n", "data")
	if s.Profile != wan || s.Tuning.HeartbeatTimeout != 100*time.Millisecond || s.Tuning.LeaderLeaseTimeout != 0 {
		t.Errorf("with a heartbeat timeout of its own: %+v", s.Tuning)
	}
}

// TestHereByDefault: an address to dial that names no host is on this machine.
func TestHereByDefault(t *testing.T) {
	s := mustParse(t, `peers = ["node2=:12002", "a=b=db3:12003"]`, "-join", ":11000", "--join", "db2:1, :2", "--peers", "node2=:12001,node3=db3:12002", "data")
	if !slices.Equal(s.Join, []string{"localhost:11000", "db2:1", "localhost:2"}) {
		t.Errorf("join %v", s.Join)
	}
	if want := (peerList{"node2": "localhost:12001", "node3": "db3:12002"}); !maps.Equal(s.Peers, want) {
		t.Errorf("peers %v", s.Peers)
	}
	s = mustParse(t, "gossip = \":0\"\ngossip-join = [\":7946\"]", "--id", "node1", "data")
	if !slices.Equal(s.Gossip.Join, []string{"localhost:7946"}) {
		t.Errorf("gossip-join %v", s.Gossip.Join)
	}
	s = mustParse(t, `peers = ["node2=:12002", "a=b=db3:12003"]`, "data")
	if want := (peerList{"node2": "localhost:12002", "a=b": "db3:12003"}); !maps.Equal(s.Peers, want) {
		t.Errorf("peers %v", s.Peers)
	}
}

func TestCommandLineWins(t *testing.T) {
	s := mustParse(t, full, "--id", "me", "--join", "c:3", "--join", "d:4,e:5", "--nonvoter=false", "--raft-option", "trailing-logs=11",
		"--backend-option", "map_size=2GiB", "mine")
	if s.ID != "me" || s.Data != "mine" || s.Nonvoter || !slices.Equal(s.Join, []string{"c:3", "d:4", "e:5"}) ||
		ownOptions(s).TrailingLogs != 11 || s.Tuning.SnapshotThreshold != 100 || backendOptions(t, full, "--backend-option", "map_size=2GiB")["map_size"] != "2GiB" {
		t.Errorf("%+v", s)
	}
}

// TestInMemory: of --inmem and --backend, the nearer to the user wins.
func TestInMemory(t *testing.T) {
	for _, test := range []struct {
		file, args string
		want       string // backend; empty: refused
	}{
		{"", "--inmem", "inmem"},
		{"", "--backend inmem", "inmem"},
		{"", "--inmem --backend inmem", "inmem"},
		{"", "--inmem --backend bolt", ""},
		{`backend = "bolt"`, "--inmem", "inmem"},
		{`inmem = true`, "", "inmem"},
		{`inmem = true`, "--backend bolt", "bolt"},
		{`inmem = true`, "--inmem=false", "wal"},
		{"inmem = true\nbackend = \"bolt\"", "", ""},
	} {
		s, err := parseWith(t, test.file, append(strings.Fields(test.args), "data")...)
		if test.want == "" {
			if err == nil || !strings.Contains(err.Error(), "--inmem and --backend bolt") {
				t.Errorf("%q, %q: %v", test.file, test.args, err)
			}
		} else if err != nil || s.Backend != test.want || s.InMemory != (test.want == "inmem") {
			t.Errorf("%q, %q: %s, %v", test.file, test.args, s.Backend, err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"unknown key":        {"\nidd = 1", []string{`node.toml:2: unknown key "idd" at the top level; did you mean "id"?`}},
		"unknown table":      {"[rafft]\nx = 1", []string{`node.toml:1: unknown table [rafft]; did you mean "raft"?`}},
		"nothing near":       {"xyzzy = 1", []string{`node.toml:1: unknown key "xyzzy" at the top level; known are data, id, haddr`}},
		"syntax":             {"id = \"a\"\nid", []string{"node.toml:2: not TOML"}},
		"type of text":       {"id = 5", []string{"node.toml:1: id = 5: want text in quotes"}},
		"table for text":     {"[id]\na = 1", []string{"node.toml:1: id = a table: want text in quotes"}},
		"type of a switch":   {"inmem = \"yes\"", []string{`node.toml:1: inmem = "yes": want true or false, without quotes`}},
		"type of join":       {"join = [1]", []string{`node.toml:1: join = […]: want a list such as ["localhost:11000"]`}},
		"type of a number":   {"gossip = \"a:0\"\nbootstrap_expect = true", []string{"node.toml:2: bootstrap-expect = true: want a whole number"}},
		"number":             {"bootstrap_expect = 99", []string{`node.toml:1: bootstrap-expect = 99: want a whole number from 0 to 15`}},
		"no gossip":          {"bootstrap_expect = 3", []string{"--bootstrap-expect: means nothing without gossip"}},
		"one of several":     {`join = ["a:1", "b"]`, []string{`node.toml:1: join = […]: "b": want host:port`}},
		"one of the peers":   {`peers = ["a=h:1", "b=h"]`, []string{`node.toml:1: peers = […]: "b=h": want host:port`}},
		"no join":            {"join = []", []string{"node.toml:1: join = […]: want a list such as"}},
		"value":              {"\n\nhaddr = \"x\"", []string{`node.toml:3: haddr = "x": want host:port`}},
		"backend":            {`backend = "bold"`, []string{"node.toml:1: backend", `one of "bolt", "inmem", "mdb", "pebble", "wal"; did you mean "bolt"?`}},
		"twice":              {"log_level = \"info\"\nlog-level = \"warn\"", []string{"node.toml:2: log-level is given twice, first on line 1"}},
		"command line only":  {`config = "x"`, []string{"node.toml:1: config: this is for the command line only"}},
		"flag for table":     {`raft-option = "a=b"`, []string{"node.toml:1: raft-option: write a table: [raft]"}},
		"options flag":       {`backend_option = "a=b"`, []string{"node.toml:1: backend-option: write a table: [backend-options]"}},
		"value for table":    {"raft = 1", []string{"node.toml:1: raft = 1: want a table: write [raft]"}},
		"list of tables":     {"[[raft]]\na = 1", []string{"node.toml:1: raft is a list of tables: write [raft] once"}},
		"data":               {"data = 1", []string{"node.toml:1: data = 1: want text in quotes"}},
		"raft key outside":   {`snapshot_threshold = 1`, []string{"node.toml:1: ", "belongs in [raft]"}},
		"option outside":     {`trailing_logs = 1`, []string{"node.toml:1: ", "belongs in [engine-options]"}},
		"option near":        {`trailin_logs = 1`, []string{`did you mean "trailing_logs"?`}},
		"case in raft":       {"[raft]\nHeartbeat_timeout = \"1s\"", []string{`did you mean "heartbeat_timeout"?`}},
		"old raft key, near": {"[raft]\ntrailng_logs = 1", []string{`node.toml:2: raft has no key "trailng_logs"; did you mean "trailing_logs"?`}},
		"known tables":       {"[xyzzy]\nx = 1", []string{"unknown table [xyzzy]; known are raft, backend-options, engine-options, transport-options"}},
		"known keys":         {"xyzzy = 1", []string{"backend, transport, engine, request-timeout"}},
		"list for a value":   {"[raft]\nheartbeat_timeout = [1]", []string{"node.toml:2: raft.heartbeat_timeout = […]: want a duration in quotes"}},
		"engine option":      {"[engine-options]\nlog_cach = 1", []string{"node.toml:2: ", `"log_cach"`, `"log_cache"`}},
		"unknown raft key":   {"[raft]\n\nheartbeat = \"1s\"", []string{"node.toml:3: ", `"heartbeat"`, "heartbeat_timeout"}},
		"raft value":         {"[raft]\ncommit_timeout = 5", []string{"node.toml:2: ", "commit_timeout", "duration"}},
		"raft range":         {"[raft]\nlog_cache = -2", []string{"node.toml:2: ", "from -1 to"}},
		"unknown option":     {"[backend-options]\nmap_size = 1", []string{"node.toml:2: ", "map_size", "segment_size"}},
		"option value":       {"[transport-options]\nno_delay = \"x\"", []string{"node.toml:2: ", "no_delay", "true or false"}},
		"table in a table":   {"[raft.commit_timeout]\na = 1", []string{"node.toml:1: ", "commit_timeout"}},
		"several, in order":  {"haddr = 1\nidd = 2", []string{"node.toml:1: haddr = 1: want text in quotes\nnode.toml:2: unknown key"}},
		"too long":           {strings.Repeat("#\n", maxConfigBytes), []string{"node.toml:1: longer than 16 KiB"}},
		"wrong in two parts": {"[raft]\nx = 1\ny = 2", []string{"node.toml:2: ", "node.toml:3: "}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseWith(t, test.file, "data")
			if err == nil {
				t.Fatal("accepted")
			}
			got := regexp.MustCompile(`\S*/node.toml`).ReplaceAllString(err.Error(), "node.toml")
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
}

func mustParse(t *testing.T, file string, args ...string) settings {
	t.Helper()
	s, err := parseWith(t, file, args...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parseWith parses a command line with a settings file, unless that is empty.
func parseWith(t *testing.T, file string, args ...string) (settings, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "node.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	return newLine(t).parse(args)
}

func newLine(t *testing.T) *commandLine {
	t.Helper()
	c, err := newCommandLine(cluster.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// backendOptions are those that a command line and a settings file give the log store.
func backendOptions(t *testing.T, file string, args ...string) core.Options {
	t.Helper()
	c := newLine(t)
	if err := errors.Join(c.flags.Parse(args), c.applyConfig("node.toml", []byte(file))); err != nil {
		t.Fatal(err)
	}
	return c.BackendOptions.plain()
}

func FuzzConfig(f *testing.F) {
	f.Add(full)
	for _, seed := range []string{"", "id = 5", "[raft]\nx = 1", "[[raft]]", "join = [1]", "a.b.c = 1", "raft = {log_cache = 3}", "\xef\xbb\xbfid = 'a'", "id"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		c := newLine(t)
		err := c.applyConfig("node.toml", []byte(source))
		lines := strings.Count(source, "\n") + 1
		for _, e := range flatten(err) {
			var place *conf.Mistake
			if !errors.As(e, &place) || place.File != "node.toml" || place.Line < 1 || place.Line > lines {
				t.Fatalf("%q: no place in %v", source, e)
			}
		}
		if err == nil {
			c.Data = "data"
			_, _ = c.settings() // must not panic
		}
	})
}

// flatten takes a joined error apart.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// TestHelpFitsTheTerminal: no help text is wider than a terminal of the usual width.
func TestHelpFitsTheTerminal(t *testing.T) {
	for _, word := range []string{"", restoreWord, "migrate", "recover", "dump", "inspect"} {
		var out bytes.Buffer
		log := newLogQueue(&out)
		code := run(t.Context(), cluster.Builtin(), append(strings.Fields(word), "--help"), nil, &out, log)
		log.close(patience)
		if code != exitOK || !strings.HasPrefix(out.String(), "Usage: kvnode") {
			t.Fatalf("kvnode %s --help: exit code %d\n%s", word, code, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
				t.Errorf("kvnode %s --help: %d columns: %s", word, n, line)
			}
		}
	}
}
