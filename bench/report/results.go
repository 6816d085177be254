package report

import (
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// csvFile is the name of the table of trials.
const csvFile = "results.csv"

// resultsColumn is one column of results.csv. What a trial does not have is an empty
// field.
type resultsColumn struct {
	name string
	of   func(*trial) string
}

// results is the table of all trials that were run.
func results(m *model) doc.Table {
	var t doc.Table
	columns := resultsColumns(m.kind)
	for _, c := range columns {
		t.Columns = append(t.Columns, doc.Column{Head: c.name})
	}
	for _, x := range m.trials {
		var r doc.Row
		for _, c := range columns {
			r.Cells = append(r.Cells, doc.Cell{Text: c.of(x)})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func resultsColumns(kind *measure.Kind) []resultsColumn {
	columns := []resultsColumn{
		{"cell", func(t *trial) string { return t.Cell }},
		{"trial", func(t *trial) string { return strconv.Itoa(t.Trial) }},
		{"engine", func(t *trial) string { return t.cell.info.Cluster.Engine }},
		{"backend", func(t *trial) string { return t.cell.info.Cluster.Backend }},
		{"transport", func(t *trial) string { return t.cell.info.Cluster.Transport }},
		{"nodes", func(t *trial) string { return strconv.Itoa(t.cell.info.Cluster.Nodes) }},
		{"discovery", func(t *trial) string { return t.cell.info.Cluster.Discovery }},
	}
	for _, s := range kind.Columns {
		columns = append(columns, resultsColumn{s.Column, func(t *trial) string { return s.Of(t.cell.info) }})
	}
	for _, q := range kind.Quantities {
		if q.Column != "" {
			columns = append(columns, resultsColumn{q.Column, func(t *trial) string { return fixed(t, q) }})
		}
	}
	if kind.Main != "" {
		columns = append(columns, resultsColumn{"reliable_to", func(t *trial) string { return reliableTo(t, kind.Main) }})
	}
	return append(columns, []resultsColumn{
		{"valid", func(t *trial) string { return strconv.FormatBool(t.reason == "") }},
		{"invalid_reason", func(t *trial) string { return t.reason }},
		{"levels", levels},
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
	}...)
}

// fixed writes a quantity with the decimals of its column. 15 digits take off what
// dividing by a power of ten may have added: they decide how a half is rounded.
func fixed(t *trial, q measure.Quantity) string {
	v, there := t.values.Of(q)
	if !there {
		return ""
	}
	if q.Scale != 0 {
		v /= q.Scale
	}
	if short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64); err == nil {
		v = short
	}
	return strconv.FormatFloat(v, 'f', q.Decimals, 64)
}

// levels names the levels of the matrix, for factors without a column.
func levels(t *trial) string {
	var out []string
	for _, x := range t.cell.info.Levels {
		out = append(out, x.Factor+"="+x.Value)
	}
	return strings.Join(out, ";")
}

// reliableTo is the highest of the usual percentiles that has enough samples beyond
// it.
func reliableTo(t *trial, distribution string) string {
	h := t.values.Distributions[distribution]
	for _, perMille := range []int{999, 990, 900, 500} {
		if h != nil && stats.Reliable(perMille, h.TotalCount()) {
			return "p" + strconv.FormatFloat(float64(perMille)/10, 'f', -1, 64)
		}
	}
	return ""
}
