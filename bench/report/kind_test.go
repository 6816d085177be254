package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

// snapshots is a kind of measurement that no other file knows: how long a snapshot takes.
func snapshots() *measure.Kind {
	type data struct{ TookNS, Bytes int64 }
	return &measure.Kind{
		Name: "snapshots", Answer: []string{"took"},
		Read: func(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
			var d data
			if there, err := t.Get("snapshots", 1, &d); !there || err != nil {
				return measure.Values{}, err
			}
			return measure.Values{Scalars: map[string]float64{"took": float64(d.TookNS) / 1e9, "size": float64(d.Bytes)}}, nil
		},
		Quantities: []measure.Quantity{
			{Key: "took", Name: measure.Text{En: "snapshot", Ru: "снимок"}, Unit: measure.Seconds, Role: measure.Compared, Column: "snapshot_ms", Scale: 1e-3, Decimals: 1},
			{Key: "size", Name: measure.Text{En: "size", Ru: "размер"}, Unit: measure.Bytes, Role: measure.Shown, Column: "snapshot_bytes"},
		},
		Figures: []measure.Figure{{Name: "snapshot", Form: measure.ByLevel, Quantities: []string{"took", "size"},
			Title: measure.Text{En: "Snapshots", Ru: "Снимки"}, Caption: measure.Text{En: "By store.", Ru: "По хранилищам."}}},
		Cautions: func([]*record.CellInfo) []measure.Text {
			return []measure.Text{{En: "It is a toy.", Ru: "Это игрушка."}}
		},
	}
}

// snapshotRun makes a run of that kind, in which bolt is slower by the factor.
func snapshotRun(t *testing.T, slower, size int64) *record.Folder {
	t.Helper()
	e := experiment.Experiment{
		Name: "toy", Title: "How long does a snapshot take?", TitleRu: "Сколько длится снимок?", Trials: 7, Measure: "snapshots",
		Cluster: experiment.Cluster{Nodes: 3, Engine: "hashicorp", Backend: "bolt", Transport: "tcp", Mode: experiment.ModeInProcess},
		Matrix:  []experiment.Factor{factorOf(keyBackend, "inmem", "bolt")},
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	m := record.Manifest{Format: record.FormatVersion, Experiment: e, Sessions: []record.Session{synth{}.session(0)}}
	for _, c := range cells {
		m.Cells = append(m.Cells, cellInfo(c))
		for n := range e.Trials {
			m.Order = append(m.Order, record.TrialID{Cell: c.ID, Trial: n + 1})
		}
	}
	f, err := record.Create(filepath.Join(t.TempDir(), "toy"), m, []byte("name = \"toy\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, id := range m.Order {
		took := int64(2e6) + int64(id.Trial)*1e4
		if id.Cell == "c02" {
			took *= slower
		}
		tr := record.Trial{TrialID: id, Started: m.Sessions[0].Started}
		if err := tr.Put("snapshots", 1, map[string]int64{"TookNS": took, "Bytes": size}); err != nil {
			t.Fatal(err)
		}
		if err := f.SaveTrial(tr); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// TestAnyKind: a kind that only its own code knows reaches every part of the report.
func TestAnyKind(t *testing.T) {
	catalog := measure.Catalog{snapshots()}
	f, slower := snapshotRun(t, 3, 4096), snapshotRun(t, 9, 4096)
	if err := Write(t.Context(), f, catalog); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"results.csv": {"snapshot_ms,snapshot_bytes", ",6.1,4096,"},
		"report.md":   {"Snapshot: 2.04 ms [2.01, 2.07] with inmem; 6.12 ms [6.03, 6.21] with bolt, 3.00× higher", " snapshot, ms |", "4096", "It is a toy.", "(snapshot)"},
		"report.ru.md": {
			"Снимок: с хранилищем inmem — 2,04 мс", "в 3,00 раза больше", "Это игрушка.", " снимок, мс |",
		},
		"report.html":        {`6.12 <span class="ci">[6.03, 6.21]</span>`, "By store."},
		"plots/snapshot.svg": {"inmem", "bolt", "<title>Snapshots</title>"},
	} {
		data, err := f.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(data), want) {
				t.Errorf("%s does not say %q:\n%s", name, want, data)
			}
		}
	}
	if v, err := Verify(t.Context(), f, catalog); err != nil || len(v.Differences) > 0 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	var out bytes.Buffer
	if err := Compare(t.Context(), &out, catalog, f, slower, CompareOptions{}); err != nil || !strings.Contains(out.String(), "3.00×") {
		t.Errorf("compare: %v\n%s", err, out.String())
	}
	if err := Write(t.Context(), f, measure.Catalog{}); err == nil || !strings.Contains(err.Error(), `no kind of measurement "snapshots"`) {
		t.Error(fmt.Sprint("an unknown kind: ", err))
	}
}

// TestTheReportNamesNoKind: what the report knows of a kind, it has from the catalogue.
func TestTheReportNamesNoKind(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range catalog() {
			if k.Name == "load" { // also a word for what clients do, and a table of settings
				continue
			}
			if bytes.Contains(bytes.ToLower(text), []byte(k.Name)) {
				t.Errorf("%s names %s", name, k.Name)
			}
		}
		if bytes.Contains(text, []byte("bench/measure/")) {
			t.Errorf("%s imports a kind", name)
		}
	}
}

// TestOlderThanAQuantity: a quantity that no trial of a run has is left out.
func TestOlderThanAQuantity(t *testing.T) {
	kind := snapshots()
	kind.Quantities = append(kind.Quantities, measure.Quantity{
		Key: "later", Name: measure.Text{En: "later", Ru: "позже"}, Role: measure.Compared, Column: "later",
	})
	f := snapshotRun(t, 3, 4096)
	if err := Write(t.Context(), f, measure.Catalog{kind}); err != nil {
		t.Fatal(err)
	}
	text, err := f.ReadFile("report.md")
	if err != nil || strings.Contains(string(text), "later") {
		t.Errorf("%v\n%s", err, text)
	}
	var compared bytes.Buffer
	if err := Compare(t.Context(), &compared, measure.Catalog{kind}, f, f, CompareOptions{}); err != nil || strings.Contains(compared.String(), "later") {
		t.Errorf("%v\n%s", err, compared.String())
	}
}

// TestInterrupted: whoever waits for a report of much can end it, and nothing is written.
func TestInterrupted(t *testing.T) {
	f := snapshotRun(t, 3, 4096)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Write(ctx, f, measure.Catalog{snapshots()}); !errors.Is(err, context.Canceled) {
		t.Errorf("a report: %v", err)
	}
	if err := Compare(ctx, &bytes.Buffer{}, measure.Catalog{snapshots()}, f, f, CompareOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a comparison: %v", err)
	}
	if _, err := f.ReadFile("report.md"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a report was written: %v", err)
	}
	n := 0
	err := atOnce(ctx, 1000, func(int) { n++ })
	if !errors.Is(err, context.Canceled) || n > 0 {
		t.Errorf("at once: %d done, %v", n, err)
	}
	done := make([]bool, 1000)
	if err := atOnce(t.Context(), len(done), func(i int) { done[i] = true }); err != nil || slices.Contains(done, false) {
		t.Errorf("at once: %v, %v", done, err)
	}
}
