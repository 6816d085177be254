package program_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/kv/respapi"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// standIn is the name of an engine whose program is this test, under that name: hashicorp/raft
// on bolt behind docs/engine-programs.md.
const standIn = "standin"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "raftlab-"+standIn {
		if err := beProgram(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// withStandIn is a catalogue with the stand-in, whose program is found, and one without any.
func withStandIn(t *testing.T) *engines.Catalog {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "raftlab-"+standIn)); err != nil {
		t.Fatal(err)
	}
	t.Setenv(program.Folders, dir)
	known := engines.Builtin()
	for _, name := range []string{standIn, "nowhere"} {
		if err := known.Register(name, engines.Entry{Program: &engines.Program{Library: "a stand-in", Needs: "nothing"}}); err != nil {
			t.Fatal(err)
		}
	}
	return known
}

func beProgram(args []string) error {
	f := flag.NewFlagSet("standin", flag.ContinueOnError)
	words := map[string]*string{}
	for _, name := range []string{"id", "raft", "resp", "data", "members", "resp-members", "settings"} {
		words[name] = f.String(name, "", "")
	}
	describes := len(args) > 0 && args[0] == "describe"
	if describes {
		args = args[1:]
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	tuning, runs, err := readSettings(*words["settings"])
	if err != nil {
		return err
	}
	if describes {
		return json.NewEncoder(os.Stdout).Encode(program.Description{
			Protocol: program.Protocol, Engine: standIn, Library: "hashicorp/raft", Version: "v1", Language: "Go",
			Storage: program.Part{Name: "bolt"}, Transport: program.Part{Name: "tcp", Library: "none", Version: "v0"},
			Durability: "disk", ReadLevels: []string{"linearizable", "stale"}, Reads: "read index", Features: []string{program.Transfer, program.Snapshot},
			Settings: map[string]program.Setting{
				"heartbeat_timeout": {Default: "1000000us", Doc: "election", Honoured: true},
				"max_append_bytes":  {Default: "8388608", Doc: "of a message"},
				"heap":              {Default: "64m", Doc: "a word, and no duration", Honoured: true},
			},
			Runs: runs, WarmupOperations: 7,
		})
	}
	return serve(*words["id"], *words["raft"], *words["resp"], *words["data"], *words["members"], *words["resp-members"], tuning)
}

func readSettings(file string) (tuning core.Tuning, runs map[string]string, err error) {
	runs = map[string]string{"max_append_bytes": "not honoured"}
	if file == "" {
		return tuning, runs, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return tuning, runs, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch key {
		case "heartbeat_timeout":
			if tuning.HeartbeatTimeout, err = time.ParseDuration(value); err != nil {
				return tuning, runs, err
			}
			runs[key] = value
		case "heap":
			runs[key] = value
		case "max_append_bytes":
			runs[key] = value + ": not honoured"
		default:
			return tuning, runs, fmt.Errorf("%s: unknown setting %q", file, key)
		}
	}
	return tuning, runs, nil
}

// node is what the protocol's server needs, with addresses that are known from the start.
type node struct {
	*httpapi.Server
	replica core.Replica
	resp    map[string]string
}

func (n *node) Leader(context.Context) (id, resp string) {
	id = n.replica.Status().LeaderID
	return id, n.resp[id]
}

func (n *node) RESPAddress(_ context.Context, id string) string { return n.resp[id] }

func addresses(list string) (ids []string, at map[string]string) {
	at = map[string]string{}
	for _, pair := range strings.Split(list, ",") {
		id, address, _ := strings.Cut(pair, "=")
		ids, at[id] = append(ids, id), address
	}
	return ids, at
}

func serve(id, raft, resp, dir, members, clients string, tuning core.Tuning) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	logs, err := bolt.Open(dir, bolt.Options{})
	if err != nil {
		return err
	}
	link, err := tcp.New(tcp.Options{}).Listen(raft)
	if err != nil {
		return err
	}
	engine, err := engines.New(engines.Builtin(), "hashicorp", nil)
	if err != nil {
		return err
	}
	store := kv.New()
	cfg := core.ReplicaConfig{ID: id, FSM: store, Logs: logs, Link: link, SnapshotDir: filepath.Join(dir, "snapshots"), Tuning: tuning}
	ids, at := addresses(members)
	for _, m := range ids {
		cfg.Bootstrap = append(cfg.Bootstrap, core.Member{ID: m, Address: at[m], Voter: true})
	}
	replica, err := engine.Start(cfg)
	if err != nil {
		return err
	}
	n := &node{replica: replica}
	_, n.resp = addresses(clients)
	if n.Server, err = httpapi.New(httpapi.Config{Replica: replica, Map: store, HTTPAddress: resp, RESPAddress: resp}); err != nil {
		return err
	}
	server, err := respapi.New(respapi.Config{Replica: replica, Map: store, Node: n})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", resp)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ending), <-served, n.Close(), replica.Close(), link.Close(), logs.Close())
}
