package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
)

// nightly are runs of one small experiment, a day apart, the last first.
func nightly(t *testing.T, runs int, change func(run int, s *synth)) (folders []*record.Folder) {
	t.Helper()
	for i := runs - 1; i >= 0; i-- {
		s := stores(func(s *synth) {
			s.trials, s.seed = 3, uint64(100+i)
			s.matrix = []experiment.Factor{factorOf(keyBackend, "bolt", "mdb")}
			s.past = func(x *record.Session) {
				x.Started = x.Started.AddDate(0, 0, i)
				if i >= 7 {
					x.Environment.Commit = "fedcba98-dirty"
				}
			}
		})
		if change != nil {
			change(i, &s)
		}
		folders = append(folders, s.folder(t))
	}
	return folders
}

func historyOf(t *testing.T, folders []*record.Folder, opts HistoryOptions) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := History(context.Background(), &out, catalog(), folders, opts)
	return out.String(), err
}

// TestHistoryFindsAChange: from run 8 on everything is slower by 40 %; one run is no good.
func TestHistoryFindsAChange(t *testing.T) {
	folders := nightly(t, 12, func(run int, s *synth) {
		if run >= 7 {
			s.slower = 1.4
		}
		if run == 7 {
			s.fail = func(c experiment.Cell, _ int) string {
				if c.Cluster.Backend == "mdb" {
					return "too slow"
				}
				return ""
			}
		}
	})
	text, err := historyOf(t, folders, HistoryOptions{Width: 120})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Changed between run 7 and run 8", "Changed between run 7 and run 9", "bolt: p50 3.", "1.4", "0123abcd → v0.1.0 fedcba98-dirty", "▁"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
	if text, err = historyOf(t, folders, HistoryOptions{Lang: Russian}); err != nil || !strings.Contains(text, "Изменилось между измерениями 7 и 8") {
		t.Errorf("%v:\n%s", err, text)
	}

	text, err = historyOf(t, folders, HistoryOptions{Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Runs   []struct{ Folder string }
		Series []struct {
			Quantity string
			Levels   map[string]string
			Values   []*float64
			Changes  []struct {
				Before int `json:"run_before"`
				After  int `json:"run_after"`
				Ratio  float64
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got.Runs[0].Folder != folders[11].Dir() {
		t.Errorf("the runs are not in the order of time: %v", got.Runs)
	}
	for _, s := range got.Series {
		after := 8
		if s.Levels["backend"] == "mdb" {
			after = 9
		}
		if len(s.Changes) != 1 || s.Changes[0].Before != 7 || s.Changes[0].After != after || s.Changes[0].Ratio > 0.8 && s.Changes[0].Ratio < 1.3 || (s.Values[7] == nil) != (after == 9) {
			t.Errorf("%s of %v: %+v", s.Quantity, s.Levels, s)
		}
	}

	text, err = historyOf(t, folders, HistoryOptions{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 1+12*len(got.Series) || !slices.Contains(rows[0], "backend") {
		t.Errorf("%v, %d rows:\n%s", err, len(rows), text)
	}
}

// TestHistoryOfTheSame: nothing changed, and too few runs decide nothing.
func TestHistoryOfTheSame(t *testing.T) {
	folders := nightly(t, 9, nil)
	text, err := historyOf(t, folders, HistoryOptions{})
	if err != nil || !strings.Contains(text, "No change is shown") || strings.Contains(text, "Changed between") {
		t.Errorf("%v:\n%s", err, text)
	}
	text, err = historyOf(t, folders[:7], HistoryOptions{})
	if err != nil || !strings.Contains(text, "Undecided: 7 runs are too few") {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestHistoryRefusesForeignRuns(t *testing.T) {
	folders := nightly(t, 2, nil)
	for _, x := range []struct {
		name  string
		other *record.Folder
		want  string
	}{
		{"another payload", stores(func(s *synth) { s.load.ValueSize = 1024 }).folder(t), "no cell in common; they differ in load.clients"},
		{"another kind", synth{name: "formation", trials: 1, forms: true, matrix: []experiment.Factor{factorOf("cluster.nodes", "3", "5")}}.folder(t), "measured formation"},
		{"twice", folders[0], "the same run"},
	} {
		_, err := historyOf(t, append(slices.Clone(folders), x.other), HistoryOptions{})
		if !errors.Is(err, ErrNotOneExperiment) || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), x.other.Dir()) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := History(canceled, &bytes.Buffer{}, catalog(), folders, HistoryOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := sparkline([]float64{1, 2, math.NaN(), 3}); got != "▁▅ █" {
		t.Errorf("sparkline %q", got)
	}
	if got := sparkline([]float64{100, 101, 99}); got != "▄▅▄" {
		t.Errorf("sparkline of chance %q", got)
	}
	if got := sparkline([]float64{0, 0}); got != "▁▁" {
		t.Errorf("sparkline of zeros %q", got)
	}
}
