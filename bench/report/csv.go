package report

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/stats"
)

// csvFile is the name of the table of trials.
const csvFile = "results.csv"

// csvColumn is one column of results.csv. A figure that a trial does not have is
// an empty field.
type csvColumn struct {
	name string
	of   func(r stats.Row) string
}

// csvColumns are the columns of results.csv. Latencies are microseconds, with
// the three significant digits of the histograms.
func csvColumns() []csvColumn {
	columns := append(cellColumns(), []csvColumn{
		{"clients", func(r stats.Row) string { return strconv.Itoa(r.Cell.Load.Clients) }},
		{"rate", func(r stats.Row) string { return plain(r.Cell.Load.Rate) }},
		{"value_size", func(r stats.Row) string { return strconv.Itoa(r.Cell.Load.ValueSize) }},
		{"read_ratio", func(r stats.Row) string { return plain(r.Cell.Load.ReadRatio) }},
		{"ops", func(r stats.Row) string { return whole(r.Ops) }},
		{"errors", func(r stats.Row) string { return whole(r.Errors) }},
		{"duration_s", func(r stats.Row) string { return fixed(r.Window.Seconds(), 3) }},
		{"throughput_ops", func(r stats.Row) string { return fixed(r.Throughput, 2) }},
	}...)
	columns = append(columns, latencyColumns("", func(r stats.Row) stats.Latency { return r.All })...)
	columns = append(columns, validColumns()...)
	columns = append(columns,
		csvColumn{"acknowledgement", func(r stats.Row) string { return r.Cell.Acknowledgement }},
		csvColumn{"read_level", func(r stats.Row) string { return r.Cell.ReadLevel }},
		csvColumn{"samples", func(r stats.Row) string { return whole(r.All.Samples) }},
		csvColumn{"reliable_to", reliableTo},
		csvColumn{"writes", func(r stats.Row) string { return whole(r.Writes.Ops) }},
		csvColumn{"write_errors", func(r stats.Row) string { return whole(r.Writes.Errors) }})
	columns = append(columns, latencyColumns("write_", func(r stats.Row) stats.Latency { return r.Writes.Latency })...)
	columns = append(columns,
		csvColumn{"reads", func(r stats.Row) string { return whole(r.Reads.Ops) }},
		csvColumn{"read_errors", func(r stats.Row) string { return whole(r.Reads.Errors) }})
	columns = append(columns, latencyColumns("read_", func(r stats.Row) stats.Latency { return r.Reads.Latency })...)
	columns = append(columns,
		csvColumn{"scheduled", func(r stats.Row) string { return optional(whole(r.Scheduled), r.Scheduled > 0) }},
		csvColumn{"lag_p99_us", func(r stats.Row) string { return optional(micros(r.Lag.P99), r.Lag.Samples > 0) }},
		csvColumn{"syncs_per_command", func(r stats.Row) string { return optional(fixed(r.SyncsPerCommand, 4), r.HasSyncs) }},
		csvColumn{"cpu_cores", func(r stats.Row) string { return optional(fixed(r.CPUCores, 3), r.CPUCores > 0) }})
	return append(columns, trialColumns()...)
}

// cellColumns say which trial a line is of.
func cellColumns() []csvColumn {
	return []csvColumn{
		{"cell", func(r stats.Row) string { return r.ID.Cell }},
		{"trial", func(r stats.Row) string { return strconv.Itoa(r.ID.Trial) }},
		{"engine", func(r stats.Row) string { return r.Cell.Cluster.Engine }},
		{"backend", func(r stats.Row) string { return r.Cell.Cluster.Backend }},
		{"transport", func(r stats.Row) string { return r.Cell.Cluster.Transport }},
		{"nodes", func(r stats.Row) string { return strconv.Itoa(r.Cell.Cluster.Nodes) }},
	}
}

// validColumns say whether a trial counts, and what it is a trial of.
func validColumns() []csvColumn {
	return []csvColumn{
		{"valid", func(r stats.Row) string { return strconv.FormatBool(r.Valid) }},
		{"invalid_reason", func(r stats.Row) string { return r.Reason }},
		{"levels", levels},
		{"durability", func(r stats.Row) string { return r.Cell.Durability }},
	}
}

// trialColumns say under what circumstances a trial ran.
func trialColumns() []csvColumn {
	return []csvColumn{
		{"probe_fdatasync_p50_us", func(r stats.Row) string { return optional(fixed(r.ProbeUS, 3), r.ProbeUS > 0) }},
		{"leader", func(r stats.Row) string { return r.Leader }},
		{"session", func(r stats.Row) string { return strconv.Itoa(r.Session + 1) }},
		{"started", func(r stats.Row) string { return r.Started.UTC().Format(time.RFC3339) }},
	}
}

func latencyColumns(prefix string, of func(stats.Row) stats.Latency) []csvColumn {
	column := func(name string, figure func(stats.Latency) string) csvColumn {
		return csvColumn{prefix + name, func(r stats.Row) string {
			x := of(r)
			return optional(figure(x), x.Samples > 0)
		}}
	}
	return []csvColumn{
		column("mean_us", func(x stats.Latency) string { return fixed(x.Mean/1e3, 3) }),
		column("p50_us", func(x stats.Latency) string { return micros(x.P50) }),
		column("p90_us", func(x stats.Latency) string { return micros(x.P90) }),
		column("p99_us", func(x stats.Latency) string { return micros(x.P99) }),
		column("p999_us", func(x stats.Latency) string { return micros(x.P999) }),
		column("max_us", func(x stats.Latency) string { return micros(x.Max) }),
	}
}

// levels names the levels of the matrix, for factors without a column.
func levels(r stats.Row) string {
	var out []string
	for _, x := range r.Cell.Levels {
		out = append(out, x.Factor+"="+x.Value)
	}
	return strings.Join(out, ";")
}

// reliableTo is the highest percentile among the columns that has enough
// samples beyond it.
func reliableTo(r stats.Row) string {
	for _, perMille := range []int{999, 990, 900, 500} {
		if r.All.Samples > 0 && len(stats.CheckTail(perMille, r.All.Samples)) == 0 {
			return stats.PercentileName(perMille)
		}
	}
	return ""
}

// csvTable returns the header and one record per trial that was run.
func csvTable(m *model) [][]string {
	columns := csvColumns()
	if m.formation {
		columns = formationColumns()
	}
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	out := [][]string{header}
	for _, r := range m.rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			line[i] = c.of(r)
		}
		out = append(out, line)
	}
	return out
}

func renderCSV(m *model) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	if err := w.WriteAll(csvTable(m)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func fixed(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }

// micros writes nanoseconds as microseconds, exactly.
func micros(ns int64) string { return fixed(float64(ns)/1e3, 3) }

func optional(text string, there bool) string {
	if !there {
		return ""
	}
	return text
}
