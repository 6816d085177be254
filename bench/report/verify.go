package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Difference is one figure, line or file that is not what the trials give.
type Difference struct {
	File     string // in the run folder
	Row      int    // line of the file, from 1; 0: the file as a whole
	Column   string // of results.csv, or the field of a trial; empty: the line as a whole
	Printed  string // what the file says
	Computed string // what the raw data give
}

// String implements fmt.Stringer.
func (d Difference) String() string {
	where := d.File
	if d.Row > 0 {
		where += fmt.Sprintf(":%d", d.Row)
	}
	if d.Column != "" {
		where += " " + d.Column
	}
	return fmt.Sprintf("%s: says %q, the raw data give %q", where, d.Printed, d.Computed)
}

// Verify computes everything that is printed about a run again from its trials
// and returns what differs: of results.csv every field, of a report or plot the
// first line. Missing files differ. The trials themselves are checked for
// contradictions: counts that cannot be, verdicts that their figures do not
// bear out.
//
// It shows that the printed figures follow from the raw data. Whether the raw
// data were measured as recorded, it cannot show.
func Verify(f *record.Folder) ([]Difference, error) {
	files, err := render(f)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	trials, err := f.Trials()
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var diffs []Difference
	for _, t := range trials {
		diffs = append(diffs, checkTrial(f.Manifest(), t)...)
	}
	for _, x := range files {
		printed, err := f.ReadFile(x.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			diffs = append(diffs, Difference{File: x.name, Printed: "no such file", Computed: "a file"})
		case err != nil:
			return nil, fmt.Errorf("verify: %w", err)
		default:
			diffs = append(diffs, differences(x.name, printed, x.data)...)
		}
	}
	return diffs, nil
}

// differences compares one file with what it should be.
func differences(name string, printed, computed []byte) []Difference {
	switch {
	case bytes.Equal(printed, computed):
		return nil
	case name == csvFile:
		return csvDifferences(printed, computed)
	default:
		return []Difference{lineDifference(name, printed, computed)}
	}
}

// csvDifferences compares field by field, and by lines where the fields cannot
// tell.
func csvDifferences(printed, computed []byte) []Difference {
	is, err1 := readCSV(printed)
	want, err2 := readCSV(computed)
	if err1 != nil || err2 != nil {
		return []Difference{lineDifference(csvFile, printed, computed)}
	}
	var diffs []Difference
	for row := range max(len(is), len(want)) {
		a, b := at(is, row), at(want, row)
		if a == nil || b == nil {
			diffs = append(diffs, Difference{csvFile, row + 1, "", strings.Join(a, ","), strings.Join(b, ",")})
			continue
		}
		for i := range max(len(a), len(b)) {
			if x, y := field(a, i), field(b, i); x != y {
				diffs = append(diffs, Difference{csvFile, row + 1, field(want[0], i), x, y})
			}
		}
	}
	if diffs == nil {
		diffs = append(diffs, lineDifference(csvFile, printed, computed))
	}
	return diffs
}

func readCSV(data []byte) ([][]string, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	return r.ReadAll()
}

func at(records [][]string, i int) []string {
	if i < len(records) {
		return records[i]
	}
	return nil
}

func field(record []string, i int) string {
	if i >= 0 && i < len(record) {
		return record[i]
	}
	return ""
}

// lineDifference returns the first line that differs. There is one.
func lineDifference(name string, printed, computed []byte) Difference {
	is, want := strings.SplitAfter(string(printed), "\n"), strings.SplitAfter(string(computed), "\n")
	for i := range max(len(is), len(want)) {
		if a, b := field(is, i), field(want, i); a != b {
			a, b = excerpt(a, b)
			return Difference{File: name, Row: i + 1, Printed: a, Computed: b}
		}
	}
	return Difference{File: name}
}

// excerpt cuts two different lines down to where they part.
func excerpt(a, b string) (string, string) {
	const before, after = 20, 60
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	cut := func(s string) string {
		from, to := max(0, same-before), min(len(s), same+after)
		text := strings.ToValidUTF8(s[from:to], "")
		if from > 0 {
			text = "…" + text
		}
		if to < len(s) {
			text += "…"
		}
		return text
	}
	return cut(a), cut(b)
}

// checkTrial looks for contradictions that a single trial shows.
func checkTrial(m record.Manifest, t record.Trial) []Difference {
	name := fmt.Sprintf("%s/%s-t%02d.json", record.TrialsDir, t.Cell, t.Trial)
	var diffs []Difference
	add := func(field, printed, computed string) {
		diffs = append(diffs, Difference{File: name, Column: field, Printed: printed, Computed: computed})
	}
	for _, g := range t.Gates {
		if want := g.Decide(); g.Verdict != want {
			add("gates."+g.Name, string(g.Verdict), string(want))
		}
	}
	var cell *record.CellInfo
	for i := range m.Cells {
		if m.Cells[i].ID == t.Cell {
			cell = &m.Cells[i]
		}
	}
	if t.Failure != "" || cell == nil {
		return diffs // broken off: the parts need not match up
	}
	if t.Formation != nil {
		checkFormation(cell, t, add)
		return diffs
	}
	if window := time.Duration(t.WindowNS); window != time.Duration(cell.Load.Duration) {
		add("window_ns", window.String(), cell.Load.Duration.String())
	}
	row, err := stats.NewRow(cell, &t)
	if err != nil {
		add("hist", err.Error(), "a histogram")
		return diffs
	}
	samples := row.All.Samples
	if clients := int64(cell.Load.Clients); cell.Load.Rate == 0 {
		// Those that completed in the window and those that started in it differ
		// by what was under way at its two ends: one operation per client.
		if samples < row.Ops-clients || samples > row.Ops+clients {
			add("hist", fmt.Sprintf("%d samples", samples), fmt.Sprintf("%d operations, give or take %d", row.Ops, clients))
		}
	} else if samples+row.Errors > t.Scheduled {
		add("scheduled", fmt.Sprint(t.Scheduled), fmt.Sprintf("%d samples and %d errors", samples, row.Errors))
	}
	return diffs
}
