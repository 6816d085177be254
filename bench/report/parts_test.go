package report

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

// parted is the kind snapshots with what a snapshot's time is made up of: a quarter to
// read, the rest to write. Cells with inmem were not looked into where only is set.
func parted(only bool) *measure.Kind {
	k := snapshots()
	read := k.Read
	k.Read = func(c *record.CellInfo, t *record.Trial) (measure.Values, error) {
		v, err := read(c, t)
		if err == nil && !(only && c.Cluster.Backend == "inmem") {
			v.Scalars["reading"], v.Scalars["writing"] = v.Scalars["took"]/4, v.Scalars["took"]*3/4
		}
		return v, err
	}
	for _, key := range []string{"reading", "writing"} {
		k.Quantities = append(k.Quantities, measure.Quantity{Key: key, Unit: measure.Seconds})
	}
	k.Parts = &measure.Parts{
		Title: measure.Text{En: "Made up of", Ru: "Из чего состоит"}, Whole: "took",
		List: []measure.Part{{Name: measure.Text{En: "reading", Ru: "чтение"}, Mean: "reading", P50: "reading"}, {Name: measure.Text{En: "writing", Ru: "запись"}, Mean: "writing"}},
	}
	for name, form := range map[string]measure.Form{"stacked": measure.Stacked, "waterfall": measure.Waterfall} {
		k.Figures = append(k.Figures, measure.Figure{Name: name, Form: form, Title: measure.Text{En: name, Ru: name}, Axis: measure.Text{En: "time", Ru: "время"}})
	}
	return k
}

// TestParts: the parts of each cell add up to the whole, in the table and end to end in
// the figures; a cell without them is left out of both.
func TestParts(t *testing.T) {
	for _, only := range []bool{false, true} {
		kind := parted(only)
		f := snapshotRun(t, 3, 4096)
		m, err := build(t.Context(), f, measure.Catalog{kind})
		if err != nil {
			t.Fatal(err)
		}
		cells := 2
		if only {
			cells = 1
		}
		l := newLanguage(English)
		table := l.partsTable(m)
		if len(table.Rows) != 3*cells {
			t.Fatalf("%d rows", len(table.Rows))
		}
		if mean := table.Rows[2].Cells[1].Value.X; !only && math.Abs(mean-2040) > 1e-6 {
			t.Errorf("a mean of %v µs, want 2040", mean)
		}
		for rows := range slices.Chunk(table.Rows, 3) {
			for column, want := range []float64{1: rows[2].Cells[1].Value.X, 2: 100} {
				if column == 0 {
					continue
				}
				if sum := rows[0].Cells[column].Value.X + rows[1].Cells[column].Value.X; math.Abs(sum-want) > 1e-9*want {
					t.Errorf("%s: column %d adds up to %v, want %v", rows[0].Title, column, sum, want)
				}
			}
		}
		figures, err := l.figures(m, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, figure := range figures {
			switch figure.Title {
			case "stacked":
				bars := figure.Panels[0].Series
				if len(figure.Panels) != 1 || len(figure.Panels[0].Y.Ticks) != cells || len(bars[0].Bars) != cells || bars[0].Bars[0].To != bars[1].Bars[0].From || bars[0].Bars[0].From != 0 {
					t.Errorf("%+v", figure.Panels)
				}
			case "waterfall":
				if len(figure.Panels) != cells || figure.Panels[0].Series[0].Bars[0].Label == "" || figure.Panels[0].Series[1].Bars[0].Y != 0 {
					t.Errorf("%+v", figure.Panels)
				}
			}
		}
		if err := Write(t.Context(), f, measure.Catalog{kind}); err != nil {
			t.Fatal(err)
		}
		for name, wants := range map[string][]string{
			"report.md": {"Made up of", "| reading "}, "report.ru.md": {"Из чего состоит", "| запись "},
			"plots/stacked.svg": {"reading", ">2<"}, "plots/waterfall.svg": {"writing"}, "report.html": {"<title>waterfall: "},
		} {
			text, err := f.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range wants {
				if !strings.Contains(string(text), want) {
					t.Errorf("%s does not say %q", name, want)
				}
			}
		}
	}
}
