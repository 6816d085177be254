package engines_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/engines/hashicorp"
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
	if _, err := engines.New(engines.Builtin(), "ratis", nil); !errors.Is(err, core.ErrUnknownName) {
		t.Error(err)
	}
}

// TestEntriesSayTheirDefaults: they are in the reference of experiments.
func TestEntriesSayTheirDefaults(t *testing.T) {
	for _, name := range engines.Builtin().Names() {
		e, err := engines.Builtin().Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if e.Tuning.HeartbeatTimeout == 0 || e.Tuning.SnapshotThreshold == 0 || e.Tuning.StallLimit == 0 {
			t.Errorf("%s: %+v", name, e.Tuning)
		}
	}
	if err := engines.Builtin().Register("none", engines.Entry{}); err == nil {
		t.Error("an entry without New")
	}
}
