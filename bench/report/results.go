package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Names of the tables of a run: a row for each trial, a row for each cell.
const (
	csvFile     = "results.csv"
	summaryFile = "summary.csv"
)

// dataColumn is one column of a table for programs. What a row does not have is an empty
// field.
type dataColumn[Row any] struct {
	name string
	of   func(Row) string
}

// dataTable has a row for each of the rows. Of columns of one name the first stays.
func dataTable[Row any](columns []dataColumn[Row], rows []Row) doc.Table {
	var t doc.Table
	var kept []dataColumn[Row]
	for _, c := range columns {
		if !slices.ContainsFunc(kept, func(k dataColumn[Row]) bool { return k.name == c.name }) {
			kept = append(kept, c)
			t.Columns = append(t.Columns, doc.Column{Head: c.name})
		}
	}
	for _, x := range rows {
		var r doc.Row
		for _, c := range kept {
			r.Cells = append(r.Cells, doc.Cell{Text: c.of(x)})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// results is the table of all trials that were run. docs/run-folder.md tells of its
// columns.
func results(m *model) doc.Table {
	columns := []dataColumn[*trial]{
		{"run", func(*trial) string { return record.ShortID(m.provenance) }},
		{"experiment", func(*trial) string { return record.ShortID(m.manifest.Experiment.Hash()) }},
		{"cell", func(t *trial) string { return t.Cell }},
		{"trial", func(t *trial) string { return strconv.Itoa(t.Trial) }},
	}
	for _, c := range m.settingColumns() {
		columns = append(columns, dataColumn[*trial]{c.name, func(t *trial) string { return c.of(t.cell) }})
	}
	for _, q := range m.columns() {
		columns = append(columns, dataColumn[*trial]{q.Column, func(t *trial) string {
			if v, there := t.values.Of(q); there {
				return fixed(q, v)
			}
			return ""
		}})
	}
	if m.kind.Main != "" {
		columns = append(columns, dataColumn[*trial]{"reliable_to", func(t *trial) string { return reliableTo(t, m.kind.Main) }})
	}
	return dataTable(append(columns, []dataColumn[*trial]{
		{"valid", func(t *trial) string { return strconv.FormatBool(t.reason == "") }},
		{"invalid_reason", func(t *trial) string { return t.reason }},
		{"levels", func(t *trial) string { return levels(t.cell) }},
		{"durability", func(t *trial) string { return t.cell.info.Durability }},
		{"acknowledgement", func(t *trial) string { return t.cell.info.Acknowledgement }},
		{"read_level", func(t *trial) string { return t.cell.info.ReadLevel }},
		{"probe_fdatasync_p50_us", func(t *trial) string {
			if t.probe.FdatasyncUS.P50 == 0 {
				return ""
			}
			return strconv.FormatFloat(t.probe.FdatasyncUS.P50, 'f', 3, 64)
		}},
		{"leader", func(t *trial) string { return t.leader }},
		{"session", func(t *trial) string { return strconv.Itoa(t.session + 1) }},
		{"started", func(t *trial) string { return t.started.UTC().Format(time.RFC3339) }},
	}...), m.trials)
}

// columns are the quantities that have a column; one that only some loads have, where some
// trial has it.
func (m *model) columns() []measure.Quantity {
	return slices.DeleteFunc(slices.Clone(m.kind.Quantities), func(q measure.Quantity) bool {
		return q.Column == "" || q.Some && !slices.ContainsFunc(m.trials, func(t *trial) bool { _, there := t.values.Of(q); return there })
	})
}

// settingColumns are the columns that say what a cell is: its parts, what the kind names,
// and then, by its qualified key, whatever else is set in any cell.
func (m *model) settingColumns() []dataColumn[*cell] {
	columns := []dataColumn[*cell]{
		{"engine", func(c *cell) string { return c.info.Engine.Name }},
		{"backend", func(c *cell) string { return c.info.Backend.Name }},
		{"transport", func(c *cell) string { return c.info.Transport.Name }},
		{"nodes", func(c *cell) string { return strconv.Itoa(c.info.Cluster.Nodes) }},
		{"mode", func(c *cell) string { return c.info.Cluster.Mode }},
		{"discovery", func(c *cell) string { return c.info.Cluster.Discovery }},
	}
	for _, s := range m.kind.Columns {
		columns = append(columns, dataColumn[*cell]{s.Column, func(c *cell) string { return s.Of(c.info) }})
	}
	known := slices.Clone(columns)
	for i, f := range m.manifest.Experiment.Matrix {
		if f.Sets != nil { // the levels' names; what they set stands in columns of its own
			columns = append(columns, dataColumn[*cell]{f.Name, func(c *cell) string { return c.info.Levels[i].Value }})
		}
	}
	keys := map[string]bool{}
	for _, c := range m.cells {
		for key := range c.settings.all() {
			table, name, _ := strings.Cut(key, ".")
			above := table != "raft" && table != "options" && slices.ContainsFunc(known, func(k dataColumn[*cell]) bool { return k.name == name })
			keys[key] = !above
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if keys[key] {
			columns = append(columns, dataColumn[*cell]{key, func(c *cell) string { return c.settings.all()[key] }})
		}
	}
	return columns
}

// all are the settings by their qualified keys, those of Raft apart.
func (s settings) all() map[string]string {
	out := maps.Clone(s.what)
	maps.Copy(out, s.how)
	var raft map[string]any
	if json.Unmarshal([]byte(out["raft"]), &raft) == nil {
		for key, value := range raft {
			out["raft."+key] = fmt.Sprint(value)
		}
	}
	delete(out, "raft")
	return out
}

// fixed writes a quantity with the decimals of its column. 15 digits take off what
// dividing by a power of ten may have added: they decide how a half is rounded.
func fixed(q measure.Quantity, v float64) string {
	if q.Scale != 0 {
		v /= q.Scale
	}
	if short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64); err == nil {
		v = short
	}
	return strconv.FormatFloat(v, 'f', q.Decimals, 64)
}

// levels names the levels of the matrix.
func levels(c *cell) string {
	var out []string
	for _, x := range c.info.Levels {
		out = append(out, x.Factor+"="+x.Value)
	}
	return strings.Join(out, ";")
}

// reliableTo is the highest of the usual percentiles that has enough samples beyond
// it.
func reliableTo(t *trial, distribution string) string {
	samples := t.values.Independent(distribution)
	for _, perMille := range []int{999, 990, 900, 500} {
		if stats.Reliable(perMille, samples) {
			return "p" + strconv.FormatFloat(float64(perMille)/10, 'f', -1, 64)
		}
	}
	return ""
}

// summary is the table of all cells: of each quantity that has a column in results.csv
// the median over the valid trials with its interval.
func summary(m *model) doc.Table {
	columns := []dataColumn[*cell]{
		{"run", func(*cell) string { return record.ShortID(m.provenance) }},
		{"experiment", func(*cell) string { return record.ShortID(m.manifest.Experiment.Hash()) }},
		{"cell", func(c *cell) string { return c.info.ID }},
	}
	columns = append(append(columns, m.settingColumns()...), []dataColumn[*cell]{
		{"levels", levels},
		{"durability", func(c *cell) string { return c.info.Durability }},
		{"trials", func(c *cell) string { return strconv.Itoa(len(c.run)) }},
		{"valid", func(c *cell) string { return strconv.Itoa(c.valid) }},
		{"invalid", func(c *cell) string { return strconv.FormatBool(c.invalid()) }},
		{"coverage", func(c *cell) string {
			sum := c.sums[m.headline().Key]
			if !sum.HasCI() {
				return ""
			}
			return strconv.FormatFloat(sum.Coverage, 'f', 4, 64)
		}},
	}...)
	for _, q := range m.columns() {
		number := func(of func(stats.Summary) float64, there func(stats.Summary) bool) func(*cell) string {
			return func(c *cell) string {
				if sum, measured := c.sums[q.Key]; measured && there(sum) {
					return fixed(q, of(sum))
				}
				return ""
			}
		}
		columns = append(columns,
			dataColumn[*cell]{q.Column, number(func(s stats.Summary) float64 { return s.Median }, func(stats.Summary) bool { return true })},
			dataColumn[*cell]{q.Column + "_low", number(func(s stats.Summary) float64 { return s.CI.Low }, stats.Summary.HasCI)},
			dataColumn[*cell]{q.Column + "_high", number(func(s stats.Summary) float64 { return s.CI.High }, stats.Summary.HasCI)})
	}
	return dataTable(columns, m.cells)
}
