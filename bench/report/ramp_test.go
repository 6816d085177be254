package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestRampIsTold: step by step, and of the whole only up to where p99 holds.
func TestRampIsTold(t *testing.T) {
	x := scenario(t, "ramp")
	page := string(x.files["report.md"])
	for _, want := range []string{
		"The rate up to which p99 holds: ", "Along the ramp**", "| c01  | bolt    |                350 |", "| c03  | inmem   |               4850 |", "plots/ramp.svg",
		"Percentiles and throughput over the whole window would be of a mix of rates", "a rate that goes from 100 to 5100 op/s over the window",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("report.md does not have %q", want)
		}
	}
	for name := range x.files {
		if strings.HasPrefix(name, "plots/latency") || strings.HasPrefix(name, "plots/throughput") {
			t.Errorf("%s is of a mix of rates", name)
		}
	}
	if n := strings.Count(string(x.files["plots/ramp.svg"]), "<title>"); n == 0 {
		t.Error("the figure has no title")
	}
	for _, c := range x.model.cells {
		if len(c.warnings) > 0 {
			t.Errorf("%s: %+v", c.info.ID, c.warnings)
		}
		if p50, samples := c.ramp("latency.p50"), c.ramp("samples"); len(p50) != 10 || len(samples) != 10 || p50[9].N != 7 {
			t.Errorf("%s: %d steps with p50, %d with samples", c.info.ID, len(p50), len(samples))
		}
		if !c.unsureAt(x.model.kind.Line("latency.p99"), 0) || c.unsureAt(x.model.kind.Line("latency.p50"), 0) || c.unsureAt(x.model.kind.Line("throughput"), 0) {
			t.Errorf("%s: what 70 operations say", c.info.ID)
		}
	}
	base, bound := x.model.cells[0], x.model.cells[2]
	q := x.model.headline()
	if q.Key != "held" || base.atLeast(q) || !bound.atLeast(q) || len(bound.byRound(q)) > 0 {
		t.Errorf("%s: a lower bound that is compared: %v", q.Key, bound.byRound(q))
	}
}

// TestKindsAreTold in every format, and only where there are any.
func TestKindsAreTold(t *testing.T) {
	x := scenario(t, "kinds")
	for file, want := range map[string][]string{
		"report.md": {"By kind of operation**", "| inserts ", "| reads ", "| writes "}, "report.ru.md": {"– По видам операций**", "| вставки ", "| чтения ", "| записи "},
	} {
		for _, text := range want {
			if !strings.Contains(string(x.files[file]), text) {
				t.Errorf("%s does not have %q", file, text)
			}
		}
	}
	column := func(name, file, column string) (values []string) {
		rows, err := csv.NewReader(bytes.NewReader(scenario(t, name).files[file])).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.Index(rows[0], column); i >= 0 {
			for _, r := range rows[1:] {
				values = append(values, r[i])
			}
		}
		return values
	}
	for _, file := range []string{csvFile, summaryFile} {
		for _, name := range []string{"kind_insert_p50_us", "kind_insert_p99_us", "kind_insert_ops", "kind_read_p99_us"} {
			if values := column("kinds", file, name); len(values) == 0 || slices.Contains(values, "") {
				t.Errorf("%s: %s: %v", file, name, values)
			}
		}
		if values := column("kinds", file, "kind_scan_ops"); values != nil {
			t.Errorf("%s: scans: %v", file, values)
		}
		if values := column("load", file, "kind_write_ops"); values != nil {
			t.Errorf("%s of one kind: %v", file, values)
		}
	}
	var report jsonReport
	if err := json.Unmarshal(x.files[jsonFile], &report); err != nil {
		t.Fatal(err)
	}
	if v := report.Cells[0].Values["kind.insert.p99"]; v.N != 7 || v.Median <= 0 {
		t.Errorf("p99 of inserts: %+v", v)
	}
}
