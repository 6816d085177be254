package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

// Verification is what [Verify] found.
type Verification struct {
	Differences []Difference
	Unchecked   []string // files that were laid out by an earlier raftlab, so that their text was not compared
	Made        []string // the files that a report consists of
}

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
// and tells what differs: of results.csv every field, of a report or plot the
// first line. Missing files differ. What the trials themselves say is for package verify.
//
// A file that was laid out by an earlier raftlab says the same in other words: its
// text is not compared. Of the results.csv beside it, every field is, by the name of
// its column.
func Verify(ctx context.Context, f *record.Folder, catalog measure.Catalog) (Verification, error) {
	var v Verification
	files, err := render(ctx, f, catalog)
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	report, _ := f.ReadFile("report.md")
	earlier := report != nil && formOf(report) < form
	for _, x := range files {
		v.Made = append(v.Made, x.name)
		printed, err := f.ReadFile(x.name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && earlier && (path.Dir(x.name) == record.PlotsDir || formOf(report) < x.since): // it may have had other plots
		case errors.Is(err, fs.ErrNotExist):
			v.Differences = append(v.Differences, Difference{File: x.name, Printed: "no such file", Computed: "a file"})
		case err != nil:
			return v, fmt.Errorf("verify: %w", err)
		case bytes.Equal(printed, x.data):
		case x.format == CSV:
			v.Differences = append(v.Differences, csvDifferences(x.name, printed, x.data, earlier)...)
		case formOf(printed) < form:
			v.Unchecked = append(v.Unchecked, x.name)
		default:
			v.Differences = append(v.Differences, lineDifference(x.name, printed, x.data))
		}
	}
	return v, nil
}

// formOf reads the stamp at the end of a file. The first form had none.
func formOf(data []byte) int {
	name, _, _ := strings.Cut(stamp(), strconv.Itoa(form))
	_, number, found := bytes.Cut(data[max(0, len(data)-80):], []byte(name))
	if !found {
		return 1
	}
	if i := bytes.IndexAny(number, ` "`); i >= 0 { // behind it a comment ends, or a string
		number = number[:i]
	}
	n, err := strconv.Atoi(string(number))
	if err != nil {
		return form // and no such stamp: the text will differ
	}
	return n
}

// csvDifferences compares field by field, and by lines where the fields cannot
// tell. A table of an earlier form may lack columns, have them in another order, and
// have a zero where nothing was measured.
func csvDifferences(name string, printed, computed []byte, earlier bool) []Difference {
	is, err1 := readCSV(printed)
	want, err2 := readCSV(computed)
	if err1 != nil || err2 != nil || len(is) == 0 {
		return []Difference{lineDifference(name, printed, computed)}
	}
	head := want[0]
	if earlier {
		for row := range want {
			want[row] = inOrder(want[row], head, is[0])
		}
		head = is[0]
	}
	var diffs []Difference
	for row := range max(len(is), len(want)) {
		a, b := at(is, row), at(want, row)
		if a == nil || b == nil {
			diffs = append(diffs, Difference{name, row + 1, "", strings.Join(a, ","), strings.Join(b, ",")})
			continue
		}
		for i := range max(len(a), len(b)) {
			if x, y := at(a, i), at(b, i); x != y && !(earlier && y == "" && isZero(x)) {
				diffs = append(diffs, Difference{name, row + 1, at(head, i), x, y})
			}
		}
	}
	if diffs == nil && !earlier {
		diffs = append(diffs, lineDifference(name, printed, computed))
	}
	return diffs
}

func isZero(text string) bool { return text != "" && strings.Trim(text, "0.") == "" }

// inOrder takes the fields of the columns that are wanted; one that there is not is
// empty.
func inOrder(fields, names, wanted []string) []string {
	out := make([]string, len(wanted))
	for i, name := range wanted {
		if j := slices.Index(names, name); j >= 0 {
			out[i] = fields[j]
		}
	}
	return out
}

func readCSV(data []byte) ([][]string, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	return r.ReadAll()
}

// at returns an element, the zero one where there is none.
func at[T any](of []T, i int) (x T) {
	if i < len(of) {
		x = of[i]
	}
	return x
}

// lineDifference returns the first line that differs. There is one.
func lineDifference(name string, printed, computed []byte) Difference {
	is, want := strings.SplitAfter(string(printed), "\n"), strings.SplitAfter(string(computed), "\n")
	for i := range max(len(is), len(want)) {
		if a, b := at(is, i), at(want, i); a != b {
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
