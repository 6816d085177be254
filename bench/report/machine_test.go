package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/record"
)

// calibrated is a run of which it is known what flushes cost.
func calibrated(t *testing.T) *record.Folder {
	s := threeFactors()
	h := record.NewHistogram()
	for us := int64(500); us < 700; us++ {
		if err := h.RecordValue(us * 1000); err != nil {
			t.Fatal(err)
		}
	}
	text, err := record.EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, bytes := range []int{512, 4096} {
		for _, writers := range []int{1, 3} {
			s.flushes = append(s.flushes, record.Flushes{Bytes: bytes, Writers: writers, EachHist: text, PerSecond: 1600 * float64(writers)})
		}
	}
	return s.folder(t)
}

// TestAgainstTheMachine: durable cells, and only those, are set against the machine, in
// both languages; verify computes that again.
func TestAgainstTheMachine(t *testing.T) {
	f := calibrated(t)
	if err := Write(t.Context(), f, catalog()); err != nil {
		t.Fatal(err)
	}
	files := rendered(t, f)
	for name, want := range map[string][]string{
		"report.md":    {"Against the machine**", "| p50 to floor |", "nearest roof", "**Against the machine.** L is", "fdatasync in place, 4 KiB, writers: 3"},
		"report.ru.md": {"Сравнение с возможностями машины**", "p50 к нижней границе", "ближайшее ограничение", "L — сброс"},
	} {
		for _, text := range want {
			if !bytes.Contains(files[name], []byte(text)) {
				t.Errorf("%s does not say %q", name, text)
			}
		}
	}
	table, err := readCSV(files[csvFile])
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{"durability", "clients", "floor_us", "floor_ratio", "expected_low_us", "expected_high_us", "expected_error_percent", "roof_cpu_percent"}
	for _, row := range table[1:] {
		x := inOrder(row, table[0], wanted)
		durable := x[0] == "disk"
		for i, text := range x[2:] {
			is := text != ""
			if alone := x[1] == "1"; wanted[i+2] == "expected_error_percent" && !alone {
				is = !is && durable // told of one client only
			}
			if is != durable {
				t.Errorf("%s, %s clients: %s = %q", x[0], x[1], wanted[i+2], text)
			}
		}
	}
	if v, err := Verify(t.Context(), f, catalog()); err != nil || len(v.Differences) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	i := strings.Index(string(files[csvFile]), inOrder(table[2], table[0], []string{"floor_us"})[0])
	forged := bytes.Clone(files[csvFile])
	forged[i]++
	if err := f.WriteFile(csvFile, forged); err != nil {
		t.Fatal(err)
	}
	if v, err := Verify(t.Context(), f, catalog()); err != nil || len(v.Differences) == 0 {
		t.Errorf("a forged floor: %+v, %v", v, err)
	}
}

// TestNotCalibrated: of a run of an earlier raftlab nothing is said of the machine.
func TestNotCalibrated(t *testing.T) {
	files := rendered(t, threeFactors().folder(t))
	for _, name := range []string{"report.md", "report.ru.md"} {
		for _, text := range []string{"Against the machine", "Сравнение с возможностями"} {
			if bytes.Contains(files[name], []byte(text)) {
				t.Errorf("%s says %q", name, text)
			}
		}
	}
}
