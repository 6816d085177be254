package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/bench/experiment"
)

// TestData: what a kind recorded reads back, in a form that is known and whole.
func TestData(t *testing.T) {
	trial := trialOf(t, "c01", 1)
	var got measured
	if there, err := trial.Get("load", 1, &got); !there || err != nil || got.Hist != histogramText(t) {
		t.Errorf("%+v, %t, %v", got, there, err)
	}
	if there, err := trial.Get("formation", 1, &got); there || err != nil {
		t.Errorf("another kind: %t, %v", there, err)
	}
	if _, err := trial.Get("load", 0, &got); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer form: %v", err)
	}
	trial.Data["load"] = Data{1, json.RawMessage(`{"other":1}`)}
	if _, err := trial.Get("load", 1, &got); !errors.Is(err, ErrDamaged) {
		t.Errorf("members unknown: %v", err)
	}
}

// TestTrialsOfOlderFormats: what they measured is found where it is today.
func TestTrialsOfOlderFormats(t *testing.T) {
	const header = `"cell":"c01","trial":2,"started":"2026-01-02T03:05:00Z","session":0,"leader":"n1",` +
		`"probe":{"fdatasync_us":{"n":0,"min":0,"p50":0,"p90":0,"p99":0,"max":0},"work_us":{"n":0,"min":0,"p50":0,"p90":0,"p99":0,"max":0}},"gates":null`
	const flat = `,"window_ns":1,"writes":{"completed":0,"failed":0},"commands":7`
	for name, c := range map[string]struct{ kind, text, want string }{
		"load":                   {"load", header + flat, `{"commands":7,"window_ns":1,"writes":{"completed":0,"failed":0}}`},
		"formation":              {"formation", header + flat + `,"formation":{"poll_ns":5}`, `{"poll_ns":5}`},
		"failed formation":       {"formation", header + flat + `,"failure":"no leader"`, ""},
		"a load that failed":     {"load", header + flat + `,"failure":"full"`, `{"commands":7,"window_ns":1,"writes":{"completed":0,"failed":0}}`},
		"of this format already": {"load", header + `,"data":{"load":{"version":1,"measured":{"a":1}}}`, `{"a":1}`},
	} {
		trial, err := decodeTrial([]byte("{"+c.text+"}"), c.kind)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := string(trial.Data[c.kind].Measured); got != c.want || len(trial.Data) > 1 {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if trial.Trial != 2 || trial.Leader != "n1" {
			t.Errorf("%s: %+v", name, trial)
		}
	}
}

// TestFirstFormat: a folder of format 1 is read as one of today, and its
// experiment is the same as if it were parsed today.
func TestFirstFormat(t *testing.T) {
	want := manifestOf(session())
	want.Experiment.Measure, want.Experiment.Cluster.Discovery = experiment.MeasureLoad, experiment.DiscoveryStatic
	for i := range want.Cells {
		want.Cells[i].Cluster.Discovery = experiment.DiscoveryStatic
	}
	text, err := encodeJSON(want)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(text), fmt.Sprintf(`"format": %d`, FormatVersion), `"format": 1`, 1)
	old = strings.Replace(old, "\"measure\": \"load\",", "", 1)
	old = strings.ReplaceAll(old, ",\n      \"discovery\": \"static\"", "")
	old = strings.ReplaceAll(old, ",\n        \"discovery\": \"static\"", "")
	if strings.Contains(old, "discovery") || strings.Contains(old, "measure\"") {
		t.Fatalf("not of format 1:\n%s", old)
	}
	got, _, err := decodeManifest([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want.Experiment.Hash() != got.Experiment.Hash() {
		t.Error("another experiment: it could not be resumed")
	}
}
