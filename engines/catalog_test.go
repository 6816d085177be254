package engines_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestOptions(t *testing.T) {
	e, err := engines.New(engines.Builtin(), hashicorp.Name, core.Options{"log_cache": int64(-1), "batch_apply": true, "trailing_logs": 7.0})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.(hashicorp.Engine).Options, (hashicorp.Options{LogCache: -1, BatchApply: true, TrailingLogs: 7}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for key, want := range map[string]string{"log_cach": `did you mean "log_cache"?`, "trailing_logs": "want a whole number of at least 0"} {
		_, err := engines.New(engines.Builtin(), hashicorp.Name, core.Options{key: int64(-1)})
		if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := engines.New(engines.Builtin(), "viewstamped", nil); !errors.Is(err, core.ErrUnknownName) {
		t.Error(err)
	}
	if _, err := engines.New(engines.Builtin(), "ratis", nil); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "raftlab-ratis") {
		t.Errorf("a program: %v", err)
	}
}

// TestEntriesSayTheirDefaults: they are in the reference of experiments.
func TestEntriesSayTheirDefaults(t *testing.T) {
	for _, name := range engines.Libraries(engines.Builtin()) {
		e, err := engines.Builtin().Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if e.Tuning.HeartbeatTimeout == 0 || e.Tuning.SnapshotThreshold == 0 || e.Tuning.StallLimit == 0 {
			t.Errorf("%s: %+v", name, e.Tuning)
		}
	}
	if err := engines.Builtin().Register("none", engines.Entry{}); err == nil {
		t.Error("an entry that is nothing")
	}
	if err := engines.Builtin().Register("mine", engines.Entry{Program: &engines.Program{Library: "mine", Needs: "nothing"}}); err != nil {
		t.Errorf("a program of somebody else: %v", err)
	}
}

// TestAnothersLog: a log that one engine has written is state to the other, which refuses it
// and says which engine to take.
func TestAnothersLog(t *testing.T) {
	for name, other := range map[string]string{hashicorp.Name: "etcd", "etcd": hashicorp.Name} {
		logs := inmem.New()
		var err error
		if name == "etcd" {
			err = logs.Set([]byte("raftlab.engine"), []byte("etcd"))
		} else {
			err = errors.Join(logs.SetUint64([]byte("CurrentTerm"), 1), logs.StoreLog(&raft.Log{Index: 1, Term: 1}))
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := engines.New(engines.Builtin(), other, nil)
		if err != nil {
			t.Fatal(err)
		}
		if held, err := e.HasState(logs, ""); !held || err != nil {
			t.Errorf("%s finds no state of %s: %v", other, name, err)
		}
		if _, err := e.(core.Offline).Remains(t.Context(), logs, ""); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "--engine "+name) {
			t.Errorf("%s reads what %s has left: %v", other, name, err)
		}
		link, err := tcp.New(tcp.Options{}).Listen("")
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Start(core.ReplicaConfig{ID: "n1", FSM: kv.New(), Logs: logs, Link: link})
		if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "--engine "+name) {
			t.Errorf("%s on a log of %s: %v", other, name, err)
		}
		if err := errors.Join(link.Close(), logs.Close()); err != nil {
			t.Error(err)
		}
	}
}
