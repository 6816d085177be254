package report

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// ErrNotOneExperiment says that runs do not belong together.
var ErrNotOneExperiment = errors.New("not of one experiment")

// HistoryFormats are the formats of [History].
var HistoryFormats = []string{"text", "csv", "json"}

// HistoryOptions says how a history is printed.
type HistoryOptions struct {
	Format string // of HistoryFormats; empty: text
	Lang   Lang   // of text; empty: English
	Width  int    // columns of the terminal; 0: 80
}

// History lines up runs of one experiment by their time and prints the course of each
// compared quantity of each cell, and between which runs it changed ([stats.Changes]).
// Cells belong together if they agree in all settings but for how long something is done.
// Folders that have no cell in common with the first run are refused: the error is an
// ErrNotOneExperiment and says in what they differ.
func History(ctx context.Context, w io.Writer, catalog measure.Catalog, folders []*record.Folder, opts HistoryOptions) error {
	h, err := readHistory(ctx, catalog, folders)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	l := newLanguage(opts.Lang)
	switch opts.Format {
	case "csv":
		err = h.csv(w)
	case "json":
		err = h.json(w)
	default:
		err = doc.Terminal(w, l.history(h), cmp.Or(opts.Width, 80))
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// history is many runs of one experiment.
type history struct {
	kind   *measure.Kind
	runs   []pastRun // by their start
	series []course
	lone   []string // labels of cells that not every run has, in English
}

// pastRun is a run, without what its trials measured.
type pastRun struct {
	*model
	dir     string
	started time.Time
}

// environment is that of the run's first session.
func (r pastRun) environment() record.Environment { return r.manifest.Sessions[0].Environment }

// course is a quantity of a cell over the runs.
type course struct {
	stats.Course
	cell     *cell // of the first run
	quantity measure.Quantity
	values   []float64 // by run, medians of its trials; NaN where there is none, or no valid one
}

func readHistory(ctx context.Context, catalog measure.Catalog, folders []*record.Folder) (*history, error) {
	h := &history{}
	for _, f := range folders {
		m, err := build(ctx, f, catalog)
		if err != nil {
			return nil, err
		}
		if len(m.manifest.Sessions) == 0 {
			return nil, fmt.Errorf("%s: the run was never started; leave it out", f.Dir())
		}
		for _, t := range m.trials {
			t.values = measure.Values{} // their histograms are large, and summed up already
		}
		h.runs = append(h.runs, pastRun{m, f.Dir(), m.manifest.Sessions[0].Started})
	}
	if err := h.belongTogether(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(h.runs, func(a, b pastRun) int { return a.started.Compare(b.started) })
	h.kind = h.runs[0].kind
	h.lineUp()
	var series [][]float64
	for _, s := range h.series {
		series = append(series, s.values)
	}
	for i, c := range stats.Changes(series) {
		h.series[i].Course = c
	}
	return h, nil
}

// belongTogether holds all runs to the first one given.
func (h *history) belongTogether() error {
	first := h.runs[0]
	for i, r := range h.runs[1:] {
		if r.kind != first.kind {
			return fmt.Errorf("%w: %s measured %s, %s measured %s", ErrNotOneExperiment, first.dir, first.kind.Name, r.dir, r.kind.Name)
		}
		if !slices.ContainsFunc(first.cells, func(c *cell) bool { return r.find(c) != nil }) {
			return fmt.Errorf("%w: %s and %s have no cell in common; they differ in %s", ErrNotOneExperiment, first.dir, r.dir, differences(first.model, r.model))
		}
		for _, other := range h.runs[:i+1] {
			if other.started.Equal(r.started) && other.manifest.Experiment.Seed == r.manifest.Experiment.Seed {
				return fmt.Errorf("%w: %s and %s are the same run, of %s", ErrNotOneExperiment, other.dir, r.dir, r.started.UTC().Format(time.RFC3339))
			}
		}
	}
	return nil
}

// find returns the cell of m that has the settings of c, nil if there is none.
func (m *model) find(c *cell) *cell {
	for _, x := range m.cells {
		if maps.Equal(x.settings.what, c.settings.what) {
			return x
		}
	}
	return nil
}

// differences lists the settings of which the cells of two runs have not the same values.
func differences(a, b *model) string {
	keys := map[string]bool{}
	for _, m := range []*model{a, b} {
		for _, c := range m.cells {
			for key := range c.settings.what {
				keys[key] = true
			}
		}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if x, y := slices.Sorted(slices.Values(a.setting(key))), slices.Sorted(slices.Values(b.setting(key))); !slices.Equal(x, y) {
			out = append(out, fmt.Sprintf("%s (%q against %q)", key, x, y)) // quoted, as a stranger may have written them
		}
	}
	return cmp.Or(strings.Join(out, "; "), "how values of settings are combined")
}

// lineUp makes the series of those cells that every run has.
func (h *history) lineUp() {
	english := newLanguage(English)
	first := h.runs[0]
	for _, r := range h.runs {
		for _, c := range r.cells {
			if slices.ContainsFunc(h.runs, func(other pastRun) bool { return other.find(c) == nil }) {
				h.lone = appendNew(h.lone, english.fullLabel(r.factors, c.info))
			}
		}
	}
	for _, c := range first.cells {
		if slices.ContainsFunc(h.runs, func(r pastRun) bool { return r.find(c) == nil }) {
			continue
		}
		for _, q := range h.kind.With(measure.Compared) {
			s := course{cell: c, quantity: q}
			measured := false
			for _, r := range h.runs {
				value, x := math.NaN(), r.find(c)
				if sum := x.sums[q.Key]; sum.N > 0 {
					if measured = true; !x.invalid() {
						value = sum.Median
					}
				}
				s.values = append(s.values, value)
			}
			if measured {
				h.series = append(h.series, s)
			}
		}
	}
}

// before returns the last run before i of which the series has a value.
func (s course) before(i int) int {
	for i--; i > 0 && math.IsNaN(s.values[i]); i-- {
	}
	return i
}

// history is what is printed.
func (l *language) history(h *history) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.title(h.runs[len(h.runs)-1].model)}
	found := l.changes(h)
	switch {
	case len(h.runs) < stats.MinRuns:
		d.Add(doc.Paragraph{Class: doc.Headline, Text: l.fill("Undecided: %d runs are too few to find a change; it takes %d.",
			"Не решено: измерений (%d) слишком мало, чтобы обнаружить изменение; нужно %d.", len(h.runs), stats.MinRuns)})
	case len(found) == 0:
		d.Add(doc.Paragraph{Class: doc.Headline, Text: l.fill("No change is shown in %d series of %d runs; one that is not well above the scatter of the runs would stay unseen.",
			"Изменений не показано (рядов: %d, измерений: %d); изменение, не превосходящее заметно разброс измерений, осталось бы незамеченным.", len(h.series), len(h.runs))})
	default:
		d.Add(found...)
	}
	d.Add(l.coursesTable(h), l.runsTable(h), doc.List{Title: l.say("Left out, as not every run has them", "Опущены, так как есть не во всех измерениях"), Items: h.lone})
	d.Add(doc.Paragraph{Text: l.say(
		"Change points: E-divisive on the logarithms of the runs’ medians (Matteson & James, 2014), orders of the runs permuted jointly over all series (Westfall & Young, 1993): with a probability of at least 95 % none is found where nothing changed. The machine is part of what changes.",
		"Точки изменения: E-divisive по логарифмам медиан измерений (Matteson, James, 2014), порядок измерений переставляется совместно по всем рядам (Westfall, Young, 1993): если ничего не менялось, то с вероятностью не менее 95 % не обнаруживается ни одной. Машина — часть того, что меняется.")})
	return d
}

// changes has a list for each two runs between which something changed.
func (l *language) changes(h *history) []doc.Block {
	var out []doc.Block
	for after := 1; after < len(h.runs); after++ {
		items := map[int][]string{} // by the run before: a series may lack some
		for _, s := range h.series {
			for _, c := range s.Changes {
				if c.At == after {
					before := s.before(after)
					items[before] = append(items[before], l.fill("%s: %s %s → %s, %s (p = %s)", "%s: %s %s → %s, %s (p = %s)",
						l.fullLabel(h.runs[0].factors, s.cell.info), l.Say(s.quantity.Name),
						l.amount(s.quantity.Unit, c.Before), l.amount(s.quantity.Unit, c.After), l.ratio(c.After/c.Before), l.pValue(c.P)))
				}
			}
		}
		for _, before := range slices.Sorted(maps.Keys(items)) {
			differ := l.machineDifferences(h.runs[before].model, h.runs[after].model)
			if a, b := h.runs[before].environment().Host, h.runs[after].environment().Host; a != b {
				differ = append(differ, l.say("host", "узел")+": "+a+" → "+b)
			}
			text := l.say("nothing that was recorded of the runs differs", "из записанного об измерениях ничто не различается")
			if len(differ) > 0 {
				text = l.say("the runs differ in ", "измерения различаются: ") + strings.Join(differ, "; ")
			}
			out = append(out, doc.List{
				Title: l.fill("Changed between run %d and run %d", "Изменилось между измерениями %d и %d", before+1, after+1),
				Items: append(items[before], text)})
		}
	}
	return out
}

// coursesTable has a group of rows for each cell, one for each quantity.
func (l *language) coursesTable(h *history) doc.Table {
	t := doc.Table{Columns: []doc.Column{{}, {Head: l.say("course", "ход")}, {Head: l.say("first", "первое"), Number: true},
		{Head: l.say("last", "последнее"), Number: true}, {Head: l.say("scatter", "разброс"), Unit: "%", Number: true}}}
	for i, s := range h.series {
		r := doc.Row{First: i == 0 || h.series[i-1].cell != s.cell}
		if r.First {
			r.Title = l.fullLabel(h.runs[0].factors, s.cell.info)
		}
		last := len(s.values) - 1
		r.Cells = []doc.Cell{{Text: "  " + l.Say(s.quantity.Name)}, {Text: sparkline(s.values)}, {Text: markNone}, {Text: markNone},
			{Text: markNone}}
		if s.Scatter > 0 {
			r.Cells[4].Text = l.Locale.Number(100*s.Scatter, 1)
		}
		for column, at := range map[int]int{2: 0, 3: last} {
			if !math.IsNaN(s.values[at]) {
				r.Cells[column].Text = l.amount(s.quantity.Unit, s.values[at])
			}
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// runsTable has the runs by their numbers.
func (l *language) runsTable(h *history) doc.Table {
	t := doc.Table{Columns: []doc.Column{{Head: l.say("run", "измерение"), Number: true}, {Head: l.say("started", "начато")},
		{Head: "raftlab"}, {Head: l.say("host", "узел")}, {Head: l.say("folder", "каталог")}}}
	for i, r := range h.runs {
		e := r.environment()
		commit, _, _ := strings.Cut(e.Commit, "-")
		t.Rows = append(t.Rows, doc.Row{First: i == 0, Cells: []doc.Cell{{Text: strconv.Itoa(i + 1)}, {Text: r.started.UTC().Format("2006-01-02 15:04")},
			{Text: strings.TrimSpace(e.Raftlab + " " + commit[:min(8, len(commit))] + strings.TrimPrefix(e.Commit, commit))}, {Text: e.Host}, {Text: r.dir}}})
	}
	return t
}

// sparkline draws values with block characters, from the smallest to the largest, or, if
// they lie closer together, over 20 %, so that chance does not look like a change. A gap
// stands for a value that is not there.
func sparkline(values []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if middle := (low + high) / 2; high-low < 0.2*middle {
		low, high = 0.9*middle, 1.1*middle
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			b.WriteRune(' ')
		case high == low: // all are zero
			b.WriteRune(blocks[0])
		default:
			b.WriteRune(blocks[int(math.Round((v-low)/(high-low)*float64(len(blocks)-1)))])
		}
	}
	return b.String()
}

// csv has a row for each value, in base units; change is the ratio to what was before in
// the first run after a change.
func (h *history) csv(w io.Writer) error {
	head := []string{"run", "started", "folder", "raftlab", "commit", "host", "cell"}
	for _, f := range h.runs[0].factors {
		head = append(head, f.Name)
	}
	out := csv.NewWriter(w)
	err := out.Write(append(head, "quantity", "unit", "value", "change", "p"))
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	for _, s := range h.series {
		for i, r := range h.runs {
			e := r.environment()
			row := []string{strconv.Itoa(i + 1), r.started.UTC().Format(time.RFC3339), r.dir, e.Raftlab, e.Commit, e.Host, s.cell.info.ID}
			for _, f := range h.runs[0].factors {
				row = append(row, f.value(s.cell.info))
			}
			value, change, p := "", "", ""
			if v := s.values[i]; !math.IsNaN(v) {
				value = number(v)
			}
			if at := slices.IndexFunc(s.Changes, func(c stats.Change) bool { return c.At == i }); at >= 0 {
				change, p = number(s.Changes[at].After/s.Changes[at].Before), number(s.Changes[at].P)
			}
			err = cmp.Or(err, out.Write(append(row, s.quantity.Key, string(s.quantity.Unit), value, change, p)))
		}
	}
	out.Flush()
	return cmp.Or(err, out.Error())
}

// json has the same as csv, by series.
func (h *history) json(w io.Writer) error {
	type run struct {
		Run     int       `json:"run"`
		Started time.Time `json:"started"`
		Folder  string    `json:"folder"`
		Raftlab string    `json:"raftlab"`
		Commit  string    `json:"commit"`
		Host    string    `json:"host"`
	}
	type change struct {
		Before int     `json:"run_before"`
		After  int     `json:"run_after"`
		From   float64 `json:"from"`
		To     float64 `json:"to"`
		Ratio  float64 `json:"ratio"`
		P      float64 `json:"p"`
	}
	type series struct {
		Cell     string            `json:"cell"`
		Levels   map[string]string `json:"levels"`
		Quantity string            `json:"quantity"`
		Unit     string            `json:"unit"`
		Values   []*float64        `json:"values"` // by run; null: none, or none that is valid
		Scatter  float64           `json:"scatter"`
		Changes  []change          `json:"changes"`
	}
	var out struct {
		Experiment string   `json:"experiment"`
		Measure    string   `json:"measure"`
		Runs       []run    `json:"runs"`
		Series     []series `json:"series"`
		LeftOut    []string `json:"left_out,omitempty"` // cells that not every run has
	}
	out.Experiment, out.Measure, out.LeftOut = h.runs[0].manifest.Experiment.Name, h.kind.Name, h.lone
	for i, r := range h.runs {
		e := r.environment()
		out.Runs = append(out.Runs, run{i + 1, r.started, r.dir, e.Raftlab, e.Commit, e.Host})
	}
	for _, s := range h.series {
		x := series{Cell: s.cell.info.ID, Levels: map[string]string{}, Quantity: s.quantity.Key, Unit: string(s.quantity.Unit), Scatter: s.Scatter, Changes: []change{}}
		for _, f := range h.runs[0].factors {
			x.Levels[f.Name] = f.value(s.cell.info)
		}
		for i, v := range s.values {
			if x.Values = append(x.Values, nil); !math.IsNaN(v) {
				x.Values[i] = &s.values[i]
			}
		}
		for _, c := range s.Changes {
			x.Changes = append(x.Changes, change{s.before(c.At) + 1, c.At + 1, c.Before, c.After, c.After / c.Before, c.P})
		}
		out.Series = append(out.Series, x)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
