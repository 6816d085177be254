package report

import (
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// TestRounds: a report says that cells were left out, by which rule, and that trials were
// added.
func TestRounds(t *testing.T) {
	f := scenarios()["one"].folder(t)
	m, err := build(t.Context(), f, catalog())
	if err != nil {
		t.Fatal(err)
	}
	if text := newLanguage(English).leftOutText(m); text != "" {
		t.Errorf("of a run with nothing of the kind: %q", text)
	}
	m.manifest.Experiment.Until, m.manifest.Experiment.Trials = "p50 within 3%", 7
	m.manifest.LeftOut = []record.LeftOut{{Cell: "c02", After: 6}}
	m.manifest.Extended = []record.Extension{{At: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC), Trials: 9}, {At: time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC), Trials: 12}}
	for lang, wants := range map[Lang][]string{
		English: {"(p50 within 3%)", "Left out: 1 of ", "Planned were 7 trials", "on 2026-03-01 that was raised to 9. Planned were 9 trials"},
		Russian: {"(p50 within 3%)", "Исключено: 1 из ", "запланировано по 7 испытаний", "2026-03-02 их число увеличено до 12"},
	} {
		text := newLanguage(lang).leftOutText(m)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %q", lang, want, text)
			}
		}
	}
}
