package verify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/bench/until"
)

// checkExperiment reads the experiment file of the run again, with what was laid over it,
// and compares what comes out with what the manifest says was run.
func (v *Verification) checkExperiment(f *record.Folder, kinds measure.Catalog, known experiment.Known) {
	m := f.Manifest()
	source, err := f.ReadFile(record.ExperimentFile)
	if err != nil {
		v.differ(record.ExperimentFile, "", "no file that can be read", "the experiment as it was given")
		return
	}
	var overrides []experiment.Override
	for _, text := range m.Overrides {
		o, err := experiment.ParseOverride(text)
		if err != nil {
			v.differ(record.ManifestFile, "overrides", text, err)
			return
		}
		overrides = append(overrides, o)
	}
	e, err := experiment.Parse(record.ExperimentFile, source, known, overrides)
	if err != nil {
		v.differ(record.ExperimentFile, "", err, "an experiment that this program can run")
		return
	}
	if m.Quick {
		kinds.Quick(e)
	}
	given := experiment.Given(source, known, overrides)
	defaulted := func(key string) bool { // and defaults may have been others in an earlier raftlab
		if option, ok := strings.CutPrefix(key, "settings."); ok {
			key = m.Experiment.Measure + "." + option
		}
		table, _, ofTable := strings.Cut(key, ".")
		return (ofTable && table != "options" || key == "trials" || key == "seed") && !slices.Contains(given, key)
	}
	want, is := flat(e), flat(&m.Experiment)
	for _, key := range slices.Sorted(maps.Keys(both(want, is))) {
		switch {
		case want[key] == is[key]:
		case f.Format() < record.FormatVersion && defaulted(key):
			v.Notes = append(v.Notes, fmt.Sprintf("%s experiment.%s: %s, which %s does not say; today’s default is %s",
				record.ManifestFile, key, cmp.Or(is[key], "nothing"), record.ExperimentFile, cmp.Or(want[key], "nothing")))
		default:
			v.differ(record.ManifestFile, "experiment."+key, is[key], want[key])
		}
	}
}

func both(a, b map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// flat is the JSON form of a value, by dotted key; what has no members is text.
func flat(of any) map[string]string {
	out := map[string]string{}
	text, err := json.Marshal(of)
	if err != nil {
		return out
	}
	var add func(key string, value any)
	add = func(key string, value any) {
		switch x := value.(type) {
		case map[string]any:
			for name, below := range x {
				add(strings.TrimPrefix(key+"."+name, "."), below)
			}
		case []any:
			for i, below := range x {
				add(fmt.Sprintf("%s[%d]", key, i), below)
			}
		default:
			out[key] = fmt.Sprint(x)
		}
	}
	var decoded any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&decoded) == nil {
		add("", decoded)
	}
	return out
}

// checkCells looks whether the cells are those of the experiment, and what follows for each
// from all of them.
func (v *Verification) checkCells(kind *measure.Kind, m *record.Manifest) error {
	cells, err := m.Experiment.Expand()
	if err != nil {
		return fmt.Errorf("%s: %w", record.ManifestFile, err)
	}
	for i := range max(len(cells), len(m.Cells)) {
		var is, want map[string]string
		id := "none"
		if i < len(m.Cells) {
			is, id = flat(m.Cells[i].Cell), m.Cells[i].ID
		}
		if i < len(cells) {
			want = flat(cells[i])
		}
		for _, key := range slices.Sorted(maps.Keys(both(is, want))) {
			if is[key] != want[key] {
				v.differ(record.ManifestFile, "cells."+id+"."+key, is[key], want[key])
			}
		}
	}
	settled := slices.Clone(m.Cells)
	kind.SettleWarmup(settled, m.Quick)
	for i, c := range m.Cells {
		if want := settled[i].WarmupOperations; c.WarmupOperations != want {
			v.differ(record.ManifestFile, "cells."+c.ID+".warmup_operations", c.WarmupOperations, want)
		}
	}
	return nil
}

// checkOrder draws the order again.
func (v *Verification) checkOrder(m *record.Manifest) {
	want := record.Order(m.Cells, m.Rounds(), m.Experiment.Seed)
	for i := range max(len(want), len(m.Order)) {
		var is, should record.TrialID
		if i < len(m.Order) {
			is = m.Order[i]
		}
		if i < len(want) {
			should = want[i]
		}
		if is != should {
			v.differ(record.ManifestFile, fmt.Sprintf("order[%d]", i), is, should)
			return // the rest is moved along
		}
	}
}

// checkSessions looks whether sessions and extensions follow each other.
func (v *Verification) checkSessions(m *record.Manifest) {
	for i := 1; i < len(m.Sessions); i++ {
		if before := m.Sessions[i-1].Started; !m.Sessions[i].Started.After(before) {
			v.differ(record.ManifestFile, fmt.Sprintf("sessions[%d].started", i), m.Sessions[i].Started, "after "+before.String())
		}
	}
	for i, x := range m.Extended {
		if len(m.Sessions) > 0 && !x.At.After(m.Sessions[0].Started) {
			v.differ(record.ManifestFile, fmt.Sprintf("extended[%d].at", i), x.At, "after "+m.Sessions[0].Started.String())
		}
	}
}

// checkTimes looks whether the trials began within their sessions, in the order of the run:
// one runs after the other.
func (v *Verification) checkTimes(m *record.Manifest, trials []record.Trial) {
	byID := map[record.TrialID]*record.Trial{}
	for i := range trials {
		byID[trials[i].TrialID] = &trials[i]
	}
	var last *record.Trial
	for _, id := range m.Order {
		t := byID[id]
		if t == nil {
			continue
		}
		begun := m.Sessions[t.Session].Started
		switch {
		case t.Started.Before(begun):
			v.differ(id.File(), "started", t.Started, fmt.Sprintf("in session %d, so after %s", t.Session, begun))
		case t.Session+1 < len(m.Sessions) && t.Started.After(m.Sessions[t.Session+1].Started):
			v.differ(id.File(), "started", t.Started, fmt.Sprintf("in session %d, so before %s", t.Session, m.Sessions[t.Session+1].Started))
		case last != nil && last.Session == t.Session && !t.Started.After(last.Started):
			v.differ(id.File(), "started", t.Started, fmt.Sprintf("after %s, as %s ran before it", last.Started, last.File()))
		}
		last = t
	}
}

// checkLeftOut decides again which cells were known closely enough.
func (v *Verification) checkLeftOut(kind *measure.Kind, m *record.Manifest, trials []record.Trial) error {
	rule, err := until.NewRule(&m.Experiment, kind)
	if err != nil {
		return err
	}
	var want []record.LeftOut
	if rule != nil {
		for i := range trials {
			c := slices.IndexFunc(m.Cells, func(c record.CellInfo) bool { return c.ID == trials[i].Cell })
			if err := rule.See(&m.Cells[c], &trials[i]); err != nil {
				return err
			}
		}
		want = rule.LeftOut(m)
	}
	if !slices.Equal(want, m.LeftOut) {
		v.differ(record.ManifestFile, "left_out", m.LeftOut, want)
	}
	return nil
}

// checkTrial looks for contradictions that a single trial shows.
func (v *Verification) checkTrial(kind *measure.Kind, m *record.Manifest, t *record.Trial) {
	file := t.File()
	if want := record.TrialSeed(m.Experiment.Seed, t.Trial); t.Seed != 0 && t.Seed != want {
		v.differ(file, "seed", t.Seed, want)
	}
	seen := map[string]bool{}
	for _, g := range t.Gates {
		if want := g.Decide(); g.Verdict != want {
			v.differ(file, "gates."+g.Name, g.Verdict, want)
		}
		if limit, shared := measure.Limit(g.Name); shared && (g.Limit != limit || g.AtLeast) {
			v.differ(file, "gates."+g.Name+".limit", fmt.Sprintf("%g, at least: %t", g.Limit, g.AtLeast), fmt.Sprintf("%g, at most", limit))
		}
		if seen[g.Name] {
			v.differ(file, "gates."+g.Name, "there twice", "once")
		}
		seen[g.Name] = true
	}
	for _, name := range kind.Gates {
		if t.Failure == "" && !seen[name] {
			v.differ(file, "gates."+name, "", "a verdict")
		}
	}
	i := slices.IndexFunc(m.Cells, func(c record.CellInfo) bool { return c.ID == t.Cell })
	if t.Failure != "" || i < 0 || kind.Check == nil {
		return // broken off: the parts need not match up
	}
	values, err := kind.Read(&m.Cells[i], t)
	if err != nil {
		v.differ(file, kind.Name, err, "what can be read")
		return
	}
	for _, c := range kind.Check(&m.Cells[i], t, values) {
		if d := (report.Difference{File: file, Column: c.Field, Printed: c.Printed, Computed: c.Computed}); !slices.Contains(v.Differences, d) {
			v.Differences = append(v.Differences, d)
		}
	}
}
