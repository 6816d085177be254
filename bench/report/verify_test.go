package report

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/record"
)

// written returns a fresh folder with its reports written.
func written(t *testing.T, name string) *record.Folder {
	t.Helper()
	f := scenarios()[name].folder(t)
	if err := Write(t.Context(), f, catalog()); err != nil {
		t.Fatal(err)
	}
	return f
}

func verified(t *testing.T, f *record.Folder) []Difference {
	t.Helper()
	v, err := Verify(t.Context(), f, catalog())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Unchecked) > 0 {
		t.Errorf("not checked: %v", v.Unchecked)
	}
	return v.Differences
}

func TestVerifyFindsNothingToSay(t *testing.T) {
	for _, name := range []string{"one", "empty", "mixed"} {
		if diffs := verified(t, written(t, name)); len(diffs) > 0 {
			t.Errorf("%s: %v", name, diffs)
		}
	}
}

// differencesOf compares one file of the present form.
func differencesOf(name string, printed, computed []byte) []Difference {
	if name == csvFile {
		return csvDifferences(csvFile, printed, computed, false)
	}
	return []Difference{lineDifference(name, printed, computed)}
}

// TestVerifyFindsAnyEdit changes one figure anywhere in a printed file.
func TestVerifyFindsAnyEdit(t *testing.T) {
	files := scenario(t, "mixed").files
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "file")
		var digits []int
		for i, b := range files[name] {
			if unicode.IsDigit(rune(b)) {
				digits = append(digits, i)
			}
		}
		where := rapid.SampledFrom(digits).Draw(t, "offset")
		edited := slices.Clone(files[name])
		edited[where] = '0' + (edited[where]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "step")))%10
		diffs := differencesOf(name, edited, files[name])
		if len(diffs) != 1 {
			t.Fatalf("%d differences: %v", len(diffs), diffs)
		}
		line := 1 + strings.Count(string(files[name][:where]), "\n")
		if d := diffs[0]; d.File != name || d.Row != line || d.Printed == d.Computed {
			t.Errorf("edited line %d: %+v", line, d)
		}
		if name == csvFile && diffs[0].Column == "" {
			t.Errorf("no column: %+v", diffs[0])
		}
	})
}

func TestVerifyOnDisk(t *testing.T) {
	f := written(t, "rate")
	path := func(name string) string { return filepath.Join(f.Dir(), filepath.FromSlash(name)) }
	edit := func(name, old, new string) {
		t.Helper()
		data, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), old) {
			t.Fatalf("%s has no %q", name, old)
		}
		if err := os.WriteFile(path(name), []byte(strings.Replace(string(data), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit(csvFile, "3405.823", "1405.823")
	edit("report.ru.md", "1,47", "2,47")
	edit(summaryFile, "3405.823", "1405.823")
	edit(jsonFile, "0.00340", "0.00140")
	edit("plots/latency.svg", "<path", "<!-- hm --><path")
	if err := os.Remove(path("report.html")); err != nil {
		t.Fatal(err)
	}
	got := map[string]Difference{}
	for _, d := range verified(t, f) {
		got[d.File] = d
	}
	if d := got[csvFile]; d.Row != 2 || d.Column != "p50_us" || d.Printed != "1405.823" || d.Computed != "3405.823" {
		t.Errorf("csv: %+v", d)
	}
	if d := got["report.ru.md"]; !strings.Contains(d.Printed, "2,47") || !strings.Contains(d.Computed, "1,47") {
		t.Errorf("markdown: %+v", d)
	}
	if d := got["report.html"]; d.Row != 0 || !strings.Contains(d.String(), "report.html") {
		t.Errorf("missing file: %+v", d)
	}
	if len(got) != 6 {
		t.Errorf("%d files differ, want 6: %v", len(got), got)
	}
}

// earlier makes a folder one that was written before files had stamps: other texts, and
// a table with fewer columns in another order.
func earlier(t *testing.T) (f *record.Folder, edit func(name, old, new string)) {
	t.Helper()
	f = written(t, "rate")
	edit = func(name, old, new string) {
		t.Helper()
		data, err := f.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), old) {
			t.Fatalf("%s has no %q", name, old)
		}
		if err := f.WriteFile(name, []byte(strings.Replace(string(data), old, new, 1))); err != nil {
			t.Fatal(err)
		}
	}
	for name := range scenario(t, "rate").files {
		switch name {
		case csvFile:
		case summaryFile, jsonFile: // there was none
			if err := os.Remove(filepath.Join(f.Dir(), name)); err != nil {
				t.Fatal(err)
			}
		default:
			edit(name, "<!-- "+stamp()+" -->", "")
		}
	}
	data, err := f.ReadFile(csvFile)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readCSV(data)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows { // the last column first, and without the third
		rows[i] = slices.Concat(r[len(r)-1:], r[:2], r[3:len(r)-1])
	}
	var out bytes.Buffer
	if err := csv.NewWriter(&out).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile(csvFile, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	return f, edit
}

// TestVerifyEarlierForm: a folder whose report an earlier raftlab laid out is in order,
// with a word on what was not compared; its table is compared all the same.
func TestVerifyEarlierForm(t *testing.T) {
	f, edit := earlier(t)
	if err := os.Remove(filepath.Join(f.Dir(), "plots", "latency.svg")); err != nil { // it may have had others
		t.Fatal(err)
	}
	v, err := Verify(t.Context(), f, catalog())
	if err != nil || len(v.Differences) > 0 || len(v.Unchecked) < 7 || !slices.Contains(v.Unchecked, "report.ru.html") {
		t.Errorf("%+v, %v", v, err)
	}
	edit(csvFile, "3405.823", "1405.823")
	if v, err = Verify(t.Context(), f, catalog()); err != nil || len(v.Differences) != 1 || v.Differences[0].Column != "p50_us" || v.Differences[0].Row != 2 {
		t.Errorf("an edited field: %+v, %v", v, err)
	}
	edit(csvFile, "1405.823", "3405.823")
	edit(csvFile, ",p50_us", ",p49_us")
	if v, err = Verify(t.Context(), f, catalog()); err != nil || len(v.Differences) == 0 || v.Differences[0].Column != "p49_us" {
		t.Errorf("a column of another name: %+v, %v", v, err)
	}
	if err := os.Remove(filepath.Join(f.Dir(), "report.html")); err != nil {
		t.Fatal(err)
	}
	if v, _ = Verify(t.Context(), f, catalog()); !slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.File == "report.html" }) {
		t.Errorf("a missing page: %+v", v)
	}
}

// TestVerifyTellsAFileOfAnEarlierForm: one such file among those of the present form is
// told, and a stamp that no raftlab has written is a difference.
func TestVerifyTellsAFileOfAnEarlierForm(t *testing.T) {
	for old, want := range map[string][2]int{"form 1": {0, 1}, "form 9": {1, 0}, "form x": {1, 0}} {
		f := written(t, "one")
		data, err := f.ReadFile("report.html")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WriteFile("report.html", bytes.Replace(data, []byte(stamp()), []byte("raftlab report, "+old), 1)); err != nil {
			t.Fatal(err)
		}
		if v, err := Verify(t.Context(), f, catalog()); err != nil || len(v.Differences) != want[0] || len(v.Unchecked) != want[1] {
			t.Errorf("%s: %+v, %v", old, v, err)
		}
	}
}

// TestEarlierZeros: a trial that was broken off had zeros where it has nothing now.
func TestEarlierZeros(t *testing.T) {
	want := []byte("a,b,c\n1,,3\n")
	for printed, n := range map[string]int{"c,b\n3,0.00\n": 0, "c,b\n3,0.10\n": 1, "c,b\n0,0\n": 1, "c,b\n,\n": 1, "c,b\n3,\n3,\n": 1} {
		if diffs := csvDifferences(csvFile, []byte(printed), want, true); len(diffs) != n {
			t.Errorf("%q: %v", printed, diffs)
		}
	}
	if diffs := csvDifferences(csvFile, []byte("a,b,c\n1,0,3\n"), want, false); len(diffs) != 1 {
		t.Errorf("in the present form: %v", diffs)
	}
}

func TestCSVDifferences(t *testing.T) {
	want := []byte("a,b\n1,2\n3,4\n")
	for _, c := range []struct {
		printed string
		want    []Difference
	}{
		{"a,b\n1,2\n", []Difference{{csvFile, 3, "", "", "3,4"}}},
		{"a,b\n1,2\n3,4\n5,6\n", []Difference{{csvFile, 4, "", "5,6", ""}}},
		{"a,b\n1,7\n8,4\n", []Difference{{csvFile, 2, "b", "7", "2"}, {csvFile, 3, "a", "8", "3"}}},
		{"a,b,c\n1,2\n3,4\n", []Difference{{csvFile, 1, "", "c", ""}}},
		{"a,b\r\n1,2\n3,4\n", []Difference{{csvFile, 1, "", "a,b\r\n", "a,b\n"}}},
		{"a,b\n\"1,2\n3,4\n", []Difference{{csvFile, 2, "", "\"1,2\n", "1,2\n"}}},
	} {
		if got := csvDifferences(csvFile, []byte(c.printed), want, false); !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.printed, got, c.want)
		}
	}
}

func TestVerifyDamagedTrial(t *testing.T) {
	f := written(t, "one")
	path := filepath.Join(f.Dir(), "trials", "c01-t01.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), `"hist": "`)
	text, _, _ := strings.Cut(rest, `"`)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	spoilt := strings.Replace(string(data), text, base64.StdEncoding.EncodeToString(raw), 1)
	if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), f, catalog()); err == nil || !strings.Contains(err.Error(), "c01-t01.json") {
		t.Errorf("a damaged histogram: %v", err)
	}
}
