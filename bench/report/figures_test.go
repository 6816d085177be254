package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// TestFiguresDoNotOverlap: no text of any figure is on top of another, in both languages.
func TestFiguresDoNotOverlap(t *testing.T) {
	for _, name := range names() {
		for _, lang := range []Lang{English, Russian} {
			figures, err := newLanguage(lang).figures(scenario(t, name).model, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range figures {
				for _, c := range doc.Collisions(f) {
					t.Errorf("%s in %s: %s", name, lang, c)
				}
			}
		}
	}
}

// TestStyles: a name has the same style whatever it is set beside, and no two levels of a
// factor share one.
func TestStyles(t *testing.T) {
	for _, name := range []string{"bolt", "etcd", "kvnode, HTTP"} {
		alone := styleOf(factor{experiment.Factor{Levels: []string{name}}, 0}, name)
		for _, others := range [][]string{{"wal", "anything", name}, {name, "raft-engine", "sled"}} {
			if got := styleOf(factor{experiment.Factor{Levels: others}, 0}, name); got != alone {
				t.Errorf("%s among %s has style %d, alone %d", name, others, got, alone)
			}
		}
	}
	known := []string{"bolt", "mdb", "wal", "pebble", "inmem", "16", "1"}
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.OneOf(rapid.SampledFrom(known), rapid.StringN(1, 6, 12))
		f := factor{experiment.Factor{Levels: rapid.SliceOfNDistinct(level, 1, 12, rapid.ID[string]).Draw(t, "levels")}, 0}
		styles, colours := map[int]bool{}, map[int]bool{}
		for _, l := range f.Levels {
			styles[styleOf(f, l)], colours[styleOf(f, l)%doc.Colours] = true, true
		}
		if len(styles) != len(f.Levels) || len(colours) < min(len(f.Levels), doc.Colours) {
			t.Errorf("%q have %d styles of %d colours", f.Levels, len(styles), len(colours))
		}
	})
}

// TestWhatStandsAlongTheAxis: amounts do, the compared ones first; names do where there is
// nothing else, and no line connects them.
func TestWhatStandsAlongTheAxis(t *testing.T) {
	for name, want := range map[string]struct {
		label     string
		scale     doc.Scale
		panels    []string
		lines     []string
		connected bool
	}{
		"backends": {"clients", doc.Log, []string{"p50 over inmem", "p50 over tcp", "p99 over inmem", "p99 over tcp"}, []string{"mdb", "bolt", "inmem"}, true},
		"nodes":    {"nodes", doc.Linear, []string{"p50", "p99"}, []string{"1 client", "16 clients"}, true},
		"payload":  {"value size, B", doc.Log, []string{"p50", "p99"}, []string{""}, true},
		"rate":     {"rate, op/s", doc.Log, []string{"p50", "p99"}, []string{""}, true},
		"mixed":    {"transport", doc.Linear, []string{"p50", "p99"}, []string{"", ""}, false},
	} {
		figures, err := newLanguage(English).figures(scenario(t, name).model, "")
		if err != nil {
			t.Fatal(err)
		}
		var panels, lines []string
		for _, p := range figures[0].Panels {
			panels = append(panels, p.Title)
		}
		p := figures[0].Panels[0]
		for _, s := range p.Series {
			lines = append(lines, s.Label)
			if connected := len(s.Line) > 1; connected != want.connected {
				t.Errorf("%s: a line through %d points", name, len(s.Line))
			}
		}
		if p.X.Label != want.label || p.X.Scale != want.scale || !slices.Equal(panels, want.panels) || !slices.Equal(lines, want.lines) {
			t.Errorf("%s: %q on scale %d, panels %q, lines %q", name, p.X.Label, p.X.Scale, panels, lines)
		}
		if !strings.HasSuffix(p.Y.Label, ", ms") {
			t.Errorf("%s: %q has no unit", name, p.Y.Label)
		}
		for _, tick := range slices.Concat(p.X.Ticks, p.Y.Ticks) {
			if strings.ContainsAny(tick.Label, " µ") {
				t.Errorf("%s: a unit at a tick: %q", name, tick.Label)
			}
		}
	}
}

// TestAlongTheLoad: a step is the median of the trials and reaches from the lowest to the
// highest; one that no trial has a value of is a gap.
func TestAlongTheLoad(t *testing.T) {
	nan := func() float64 { var zero float64; return zero / zero }()
	c := &cell{}
	for _, line := range [][]float64{{1, 10, nan, 4}, {3, 30, nan, 2}, {2, 20, nan, 9}} {
		c.used = append(c.used, &trial{values: measure.Values{Timeline: &measure.Timeline{
			Begin: -100 * time.Millisecond, Step: 100 * time.Millisecond, Lines: map[string][]float64{"a": line},
		}}})
	}
	c.used = append(c.used, &trial{}) // measured before there were timelines
	got := c.along("a")
	if len(got) != 4 {
		t.Fatalf("%v", got)
	}
	for i, want := range []moment{{-0.05, 0.05, 2, 1, 3}, {0.05, 0.05, 20, 10, 30}, {}, {0.25, 0.05, 4, 2, 9}} {
		if d := got[i].seconds - want.seconds; i != 2 && (d*d > 1e-18 || got[i].middle != want.middle || got[i].low != want.low || got[i].high != want.high) {
			t.Errorf("step %d: %v, want %v", i, got[i], want)
		}
	}
	if got[2].middle == got[2].middle {
		t.Errorf("a gap has the value %v", got[2].middle)
	}
	if c.along("b") != nil {
		t.Error("a line that no trial has")
	}
}

// TestPagesAreAccessible checks what an accessibility checker would: the language, one main
// heading and no level left out, ids that are unique, heads that say of what they are, and
// a name for every drawing and every area that scrolls by keyboard.
func TestPagesAreAccessible(t *testing.T) {
	for _, name := range names() {
		for file, data := range scenario(t, name).files {
			if strings.HasSuffix(file, ".html") {
				want := "en"
				if strings.Contains(file, ".ru.") {
					want = "ru"
				}
				for _, fault := range barriers(t, data, want) {
					t.Errorf("%s/%s: %s", name, file, fault)
				}
			}
		}
	}
}

func barriers(t *testing.T, page []byte, lang string) (faults []string) {
	t.Helper()
	fault := func(text ...string) { faults = append(faults, strings.Join(text, " ")) }
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	level, ids, untitled := 0, map[string]bool{}, false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return faults
		}
		if err != nil {
			t.Fatal(err)
		}
		start, is := token.(xml.StartElement)
		if !is {
			continue
		}
		if untitled {
			text, _ := d.Token()
			if said, is := text.(xml.CharData); start.Name.Local != "title" || !is || len(bytes.TrimSpace(said)) == 0 {
				fault("an image without a title")
			}
		}
		with := map[string]string{}
		for _, a := range start.Attr {
			with[a.Name.Local] = a.Value
		}
		untitled = with["role"] == "img"
		if id, there := with["id"]; there && ids[id] {
			fault("twice the id", id)
		}
		ids[with["id"]] = true
		switch tag := start.Name.Local; tag {
		case "html":
			if with["lang"] != lang {
				fault("the language is", with["lang"])
			}
		case "h1", "h2", "h3", "h4":
			if now := int(tag[1] - '0'); now > level+1 || now == 1 && level > 0 {
				fault("a", tag, "after level", string(rune('0'+level)))
			} else {
				level = now
			}
		case "th":
			if with["scope"] == "" {
				fault("a head without a scope")
			}
		case "svg":
			if with["role"] != "img" && with["aria-hidden"] != "true" {
				fault("a drawing that is neither an image nor hidden")
			}
		}
	}
}
