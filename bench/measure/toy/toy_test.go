// Package toy is a kind of measurement in a test: how long does one entry with many keys
// take? It shows that a kind is one folder and one line of a catalogue.
package toy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/raftlab"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/kv"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// settings are the [batch] table of an experiment.
type settings struct {
	Keys   int `key:"keys" min:"1" max:"1000" doc:"in one entry"`
	Rounds int `key:"rounds" min:"1" doc:"entries; the fastest counts"`
}

type data struct {
	FastestNS int64  `json:"fastest_ns"`
	Keys      uint64 `json:"keys"`
}

func kind() *measure.Kind {
	return &measure.Kind{
		Name: "batch", Settings: settings{Keys: 10, Rounds: 3}, Run: run, Answer: []string{"batch"},
		Read: func(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
			var d data
			if there, err := t.Get("batch", 1, &d); !there || err != nil {
				return measure.Values{}, err
			}
			return measure.Values{Scalars: map[string]float64{"batch": time.Duration(d.FastestNS).Seconds(), "keys": float64(d.Keys)}}, nil
		},
		Quantities: []measure.Quantity{
			{Key: "batch", Name: measure.Text{En: "one entry", Ru: "одна запись"}, Unit: measure.Seconds, Role: measure.Compared,
				Column: "batch_us", Scale: 1e-6, Decimals: 1},
			{Key: "keys", Column: "keys_applied"},
		},
		Figures: []measure.Figure{{Name: "batch", Form: measure.ByLevel, Quantities: []string{"batch"},
			Title: measure.Text{En: "One entry", Ru: "Одна запись"}, Caption: measure.Text{En: "The fastest.", Ru: "Самая быстрая."}}},
	}
}

func run(ctx context.Context, t *measure.Trial) (err error) {
	var s settings
	if err := t.Cell.ReadSettings(&s); err != nil {
		return err
	}
	g, err := t.New(system.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := g.Start(ctx); err != nil {
		return err
	}
	if err := g.Lead(ctx); err != nil {
		return err
	}
	ops := make([]kv.Op, s.Keys)
	for i := range ops {
		ops[i] = kv.Op{Kind: kv.OpSet, Key: fmt.Sprint(i), Value: []byte("value")}
	}
	d := data{FastestNS: int64(time.Hour), Keys: uint64(len(ops))}
	for range s.Rounds {
		begin := time.Now()
		if err := g.Set(ctx, ops); err != nil {
			return err
		}
		d.FastestNS = min(d.FastestNS, int64(time.Since(begin)))
	}
	return t.Record.Put("batch", 1, d)
}

const question = `# How long does one entry take?

name     = "toy"
title    = "A toy"
title_ru = "Игрушка"
measure  = "batch"
trials   = 4

[batch]
rounds = 2

[matrix]
backend    = ["inmem", "bolt"]
batch.keys = [1, 100]
`

// TestToy: with its line in the catalogue the kind runs, is reported in both languages,
// verified, and compared with another run.
func TestToy(t *testing.T) {
	lab := raftlab.Builtin()
	lab.Kinds = append(lab.Kinds, kind()) // the line
	dir := t.TempDir()
	file, out, again := filepath.Join(dir, "toy.toml"), filepath.Join(dir, "out"), filepath.Join(dir, "again")
	if err := os.WriteFile(file, []byte(question), 0o600); err != nil {
		t.Fatal(err)
	}
	program := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := raftlab.Main(t.Context(), lab, args, &stdout, &stderr); code != 0 {
			t.Fatalf("raftlab %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
		}
		return stdout.String()
	}
	program("run", file, "--out", out)
	program("run", file, "--out", again)
	program("verify", out)
	if text := program("compare", out, again); !strings.Contains(text, "one entry") {
		t.Errorf("compared without a word of it:\n%s", text)
	}
	if text := program("help", "experiment"); !strings.Contains(text, "[batch]") {
		t.Errorf("no help on its settings:\n%s", text)
	}
	for name, wants := range map[string][]string{
		"results.csv":     {"batch_us", "keys_applied", ",100,"},
		"report.md":       {"one entry, ", "vs "},
		"report.ru.md":    {"одна запись, "},
		"report.html":     {"The fastest."},
		"plots/batch.svg": {"<svg"},
	} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not say %q:\n%.2000s", name, want, text)
			}
		}
	}
}
