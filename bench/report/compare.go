package report

import (
	"cmp"
	"context"
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

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// DefaultMargin is the share by which two runs may differ without a cause:
// nothing smaller is called a difference between runs.
const DefaultMargin = 0.05

// CompareOptions says how two runs are compared and printed.
type CompareOptions struct {
	// Margin is the share by which a ratio must clear 1 to be called a
	// difference. 0: estimated, at least DefaultMargin.
	Margin float64
	Lang   Lang   // empty: English
	Format Format // empty: Text
	Width  int    // columns of the terminal; 0: 80
}

// Compare sets run B against run A and prints what it finds: first the verdict, then the
// cells, and in what the machines and programs differ. Cells belong together if they
// agree in all settings; where none do, the runs may differ as a whole in one
// setting (A is all bolt, B all inmem).
//
// A difference between runs must pass a test, corrected over all comparisons,
// and clear a margin: the machine is never quite the same in two runs.
func Compare(ctx context.Context, w io.Writer, catalog measure.Catalog, a, b *record.Folder, opts CompareOptions) error {
	if opts.Margin < 0 {
		return fmt.Errorf("compare: margin %g: must not be negative", opts.Margin)
	}
	ma, err := build(ctx, a, catalog)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	mb, err := build(ctx, b, catalog)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	if ma.kind != mb.kind {
		return fmt.Errorf("compare: only runs that measured the same can be compared: %s measured %s, %s measured %s", a.Dir(), ma.kind.Name, b.Dir(), mb.kind.Name)
	}
	c := compareRuns(ma, mb, opts.Margin)
	text := newLanguage(opts.Lang).comparison(c, a.Dir(), b.Dir())
	var data []byte
	switch opts.Format {
	case Text, "":
		err = doc.Terminal(w, text, cmp.Or(opts.Width, 80))
	case Markdown:
		data = doc.Markdown(text)
	case HTML:
		data, err = doc.HTML(text)
	case CSV:
		data, err = doc.CSV(c.table())
	case JSON:
		data, err = encodeJSON(c.exported())
	default:
		err = fmt.Errorf("no comparison is written as %q", opts.Format)
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	if len(c.cells) > 0 {
		return nil
	}
	if x, y := c.a.setting(keyFamily), c.b.setting(keyFamily); !slices.Equal(x, y) {
		l := newLanguage(English)
		return fmt.Errorf("compare: the runs are of different families of settings, %s and %s: they answer different questions; %w", l.families(x), l.families(y), errNothingToCompare)
	}
	return fmt.Errorf("compare: %w", errNothingToCompare)
}

var errNothingToCompare = errors.New("no cell of one run has a counterpart in the other: the runs must agree in all settings but one")

// direction is what the comparison of one quantity came to, B against A.
type direction int

const (
	untested  direction = iota // nothing valid to compare
	undecided                  // none of those below is shown; more trials would decide
	equal                      // the whole interval lies within the margin
	lower
	higher
)

// comparison is run B set against run A, cell by cell.
type comparison struct {
	a, b         *model
	margins      margins
	cells        []cellComparison
	onlyA, onlyB []*cell // without a counterpart
	differ       string  // qualified key of the one setting in which the runs differ as a whole; empty: none

	tested int // comparisons in the family
	found  int // those that are lower or higher
	family []stats.Warning
}

// cellComparison compares a cell of run A with one of run B.
type cellComparison struct {
	a, b       *cell
	margin     drift
	quantities []quantityComparison
}

// quantityComparison compares one quantity: the trials of A are the base.
type quantityComparison struct {
	measure.Quantity
	stats.Comparison
	direction direction
}

func compareRuns(a, b *model, margin float64) *comparison {
	c := &comparison{a: a, b: b, margins: estimateMargins(a, b, margin)}
	var family []*stats.Comparison
	measured := slices.Concat(a.with(measure.Shown), b.with(measure.Shown))
	for _, p := range c.match() {
		x := cellComparison{a: p[0], b: p[1], margin: c.margins.of(p[0], p[1])}
		for _, q := range a.kind.With(measure.Shown) {
			if !slices.Contains(measured, q) {
				continue
			}
			var base, other []float64
			if !x.a.invalid() && !x.b.invalid() {
				base, other = x.a.byRound(q), x.b.byRound(q)
			}
			x.quantities = append(x.quantities, quantityComparison{Quantity: q, Comparison: stats.Unpaired(base, other)})
		}
		c.cells = append(c.cells, x)
		for i := range x.quantities {
			family = append(family, &x.quantities[i].Comparison)
		}
	}
	stats.AdjustUnpaired(family)
	for _, x := range c.cells {
		for i := range x.quantities {
			q := &x.quantities[i]
			q.direction = directionOf(*q, x.margin)
			if q.Testable() {
				c.tested++
			}
			if q.direction == lower || q.direction == higher {
				c.found++
			}
			if q.N > 0 {
				c.family = appendNew(c.family, q.Warnings...)
			}
		}
	}
	return c
}

// directionOf decides. For a difference the test must have found one, and the whole
// interval of the ratio must lie beyond the margin, counted alike in both directions.
func directionOf(q quantityComparison, d drift) direction {
	margin := d.of(q.Quantity)
	switch {
	case q.N == 0 || !q.HasRatio:
		return untested
	case q.Different() && q.CI.Low > 1+margin:
		return higher
	case q.Different() && q.CI.High < 1/(1+margin):
		return lower
	case q.Within(margin):
		return equal
	default:
		return undecided
	}
}

// margins are what two runs may differ by because of the machine.
type margins struct {
	given  float64 // by the user; 0: estimated
	disk   drift   // for cells of which one flushes to the disk
	others drift
}

// drift is by which share the machine changed, in the middle of a distribution
// and in its tail.
type drift struct{ middle, tail float64 }

// of is that of a quantity.
func (d drift) of(q measure.Quantity) float64 {
	if isTail(q) {
		return d.tail
	}
	return d.middle
}

func (d drift) atLeast(o drift) drift { return drift{max(d.middle, o.middle), max(d.tail, o.tail)} }

// estimateMargins takes the drift of the machine from the probes that precede
// every trial, between the two runs and between the first and the second half of
// each: that of a fixed piece of work for all cells, and that of fdatasync for
// those that flush. What a neighbour on the machine costs shows in tails first,
// so tail percentiles are held against the drift of the probes' own p90.
func estimateMargins(a, b *model, given float64) margins {
	if given > 0 {
		d := drift{given, given}
		return margins{given, d, d}
	}
	work := driftOf(a, b, func(p record.Probe) record.Quantiles { return p.WorkUS })
	disk := driftOf(a, b, func(p record.Probe) record.Quantiles { return p.FdatasyncUS })
	others := work.atLeast(drift{DefaultMargin, DefaultMargin})
	return margins{disk: disk.atLeast(others), others: others}
}

func driftOf(a, b *model, of func(record.Probe) record.Quantiles) drift {
	largest := func(quantile func(record.Quantiles) float64) float64 {
		pa := a.inTime(func(t *trial) float64 { return quantile(of(t.probe)) })
		pb := b.inTime(func(t *trial) float64 { return quantile(of(t.probe)) })
		return max(apart(pa, pb), apart(halves(pa)), apart(halves(pb)))
	}
	return drift{
		middle: largest(func(q record.Quantiles) float64 { return q.P50 }),
		tail:   largest(func(q record.Quantiles) float64 { return q.P90 }),
	}
}

func (m margins) of(a, b *cell) drift {
	if a.info.Durability == "disk" || b.info.Durability == "disk" {
		return m.disk
	}
	return m.others
}

func halves(x []float64) (first, second []float64) { return x[:len(x)/2], x[len(x)/2:] }

// apart returns by which share the larger of two medians exceeds the smaller.
func apart(x, y []float64) float64 {
	a, b := stats.Median(x), stats.Median(y)
	if a <= 0 || b <= 0 {
		return 0
	}
	return max(a/b, b/a) - 1
}

func flushes(t *trial) float64 { return t.probe.FdatasyncUS.P50 }

func work(t *trial) float64 { return t.probe.WorkUS.P50 }

// diskDiffers compares the probes of the two runs.
func diskDiffers(a, b *model) bool {
	c := stats.Unpaired(a.inTime(flushes), b.inTime(flushes))
	stats.AdjustUnpaired([]*stats.Comparison{&c})
	return c.Different() && math.Abs(math.Log(c.Ratio)) > math.Log(1+DefaultMargin)
}

// settings are what makes a cell what it is, by qualified key; how are those of them
// that say for how long something is done.
type settings struct{ what, how map[string]string }

// settingsOf takes them from the cell as the manifest has it, so that no setting can be
// forgotten. The knobs of Raft are one setting.
func settingsOf(c *record.CellInfo) (settings, error) {
	s := settings{map[string]string{}, map[string]string{}}
	var tables map[string]json.RawMessage
	if text, err := json.Marshal(c.Cell); err != nil {
		return s, err
	} else if err := json.Unmarshal(text, &tables); err != nil {
		return s, err
	}
	s.what["raft"] = string(tables["raft"])
	for _, name := range []string{"id", "levels", "raft", "options"} {
		delete(tables, name)
	}
	for name, text := range tables {
		var table map[string]json.RawMessage
		if json.Unmarshal(text, &table) != nil { // a setting of its own
			s.what[name] = strings.Trim(string(text), `"`)
		}
		for key, value := range table {
			text := strings.Trim(string(value), `"`)
			if _, err := time.ParseDuration(text); err == nil && text != string(value) {
				s.how[name+"."+key] = text
			} else {
				s.what[name+"."+key] = text
			}
		}
	}
	for kind, part := range map[string]string{
		experiment.KindEngine: c.Cluster.Engine, experiment.KindBackend: c.Cluster.Backend, experiment.KindTransport: c.Cluster.Transport,
	} {
		for key, value := range c.Options[part] {
			s.what["options."+part+"."+key] = fmt.Sprint(value)
		}
		for key, value := range c.Options[kind+"."+part] {
			s.what["options."+part+"."+kind+"."+key] = fmt.Sprint(value)
		}
	}
	if delete(s.what, keyWarmup); c.WarmupOperations > 0 { // whoever asked for them
		s.what[keyWarmup] = strconv.FormatInt(c.WarmupOperations, 10)
	}
	if !c.Load.Open() {
		delete(s.what, "load.arrival")
	}
	if c.Load.Shares().Looks() == 0 {
		delete(s.what, keyReadLevel)
	}
	return s, nil
}

// without drops the setting of one key and, as they belong to it, the options of
// the parts it names.
func (s settings) without(key string) map[string]string {
	value, there := s.what[key]
	out := maps.Clone(s.what)
	maps.DeleteFunc(out, func(k, _ string) bool {
		return k == key || there && strings.HasPrefix(k, "options."+value+".")
	})
	return out
}

// match pairs the cells of two runs that agree in all settings. If no two do, but
// all cells of A have one value of one setting and all cells of B another, that
// setting is what the runs compare, and is left out of account.
func (c *comparison) match() [][2]*cell {
	for _, key := range slices.Sorted(maps.Keys(c.a.cells[0].settings.what)) {
		x, y := c.a.setting(key), c.b.setting(key)
		if strings.HasPrefix(key, "options.") || key == keyFamily || len(x) != 1 || len(y) != 1 || x[0] == y[0] {
			continue
		}
		if pairs := c.matchWithout(key); len(pairs) > 0 {
			c.differ = key
			return pairs
		}
	}
	return c.matchWithout("")
}

func (c *comparison) matchWithout(key string) (pairs [][2]*cell) {
	c.onlyA, c.onlyB = nil, slices.Clone(c.b.cells)
	for _, x := range c.a.cells {
		want := x.settings.without(key)
		i := slices.IndexFunc(c.onlyB, func(y *cell) bool { return maps.Equal(want, y.settings.without(key)) })
		if i < 0 {
			c.onlyA = append(c.onlyA, x)
			continue
		}
		pairs = append(pairs, [2]*cell{x, c.onlyB[i]})
		c.onlyB = slices.Delete(c.onlyB, i, i+1)
	}
	return pairs
}

// setting returns the values that the cells have of a setting.
func (m *model) setting(key string) []string {
	var out []string
	for _, c := range m.cells {
		out = appendNew(out, cmp.Or(c.settings.what[key], c.settings.how[key]))
	}
	return out
}

// comparison is the document: what came of it first, then the cells, and what the runs
// differ in.
func (l *language) comparison(c *comparison, dirA, dirB string) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.say("B against A", "B относительно A")}
	verdict, more := l.comparisonVerdict(c)
	d.Add(doc.Paragraph{Text: verdict, Class: doc.Headline}, doc.List{Items: more},
		doc.Terms{{Term: "A", Text: l.run(c.a, dirA)}, {Term: "B", Text: l.run(c.b, dirB)}})
	cautions := doc.List{Class: doc.Cautions}
	if diskDiffers(c.a, c.b) {
		cautions.Items = append(cautions.Items, l.say(
			"The disk was not equally fast in the two runs: differences of latency on stores that flush may be the machine’s.",
			"Диск в двух измерениях работал с разной скоростью: различия задержки у хранилищ, сбрасывающих данные на диск, могут объясняться машиной."))
	}
	for _, w := range c.family {
		cautions.Items = append(cautions.Items, l.warning(c.a.kind, w))
	}
	d.Add(cautions)
	if c.differ != "" {
		d.Add(doc.Paragraph{Text: l.fill("The runs differ as a whole in %s: %s in A, %s in B. That is what is compared.",
			"Измерения в целом различаются настройкой %s: %s в A, %s в B. Это и сравнивается.", c.differ, c.a.setting(c.differ)[0], c.b.setting(c.differ)[0])})
	}
	if len(c.cells) > 0 {
		d.Add(l.cellsTable(c))
	}
	var only []string
	for _, x := range c.onlyA {
		only = append(only, l.say("only in A: ", "только в A: ")+l.fullLabel(c.a.factors, x.info))
	}
	for _, x := range c.onlyB {
		only = append(only, l.say("only in B: ", "только в B: ")+l.fullLabel(c.b.factors, x.info))
	}
	d.Add(doc.List{Items: only})
	if c.tested > 0 {
		d.Add(doc.Paragraph{Text: l.fill(
			"%s, %d differences found. That any of them is due to chance has a probability of at most %s %% (Mann–Whitney, Westfall–Young over all).",
			"%s, обнаружено различий: %d. Вероятность того, что хотя бы одно из них случайно, не превышает %s %% (Манн — Уитни, поправка Уэстфолла — Янга по всем).",
			l.comparisons(c.tested), c.found, l.General(100*stats.Significance))})
	}
	d.Add(doc.Paragraph{Text: l.marginText(c.margins)})
	differences := l.machineDifferences(c.a, c.b)
	d.Add(doc.List{Title: l.say("The runs differ in (A → B)", "Измерения различаются (A → B)"), Items: differences})
	if len(differences) == 0 {
		d.Add(doc.Paragraph{Text: l.say("The machine, the versions and the way of measuring are the same.", "Машина, версии и способ измерения одинаковы.")})
	}
	d.Add(l.costTable(c.a, c.b))
	return d
}

// comparisonVerdict says what came of the comparison, first of what cells are mainly
// compared by.
func (l *language) comparisonVerdict(c *comparison) (verdict string, more []string) {
	for _, key := range c.a.kind.Answer {
		q := c.a.kind.Quantity(key)
		if text := l.verdictOn(c, q); text != "" {
			more = append(more, text)
		}
	}
	if len(more) == 0 {
		return l.say("Nothing can be compared.", "Сравнивать нечего."), nil
	}
	return more[0], more[1:]
}

// verdictOn counts the cells by what their comparison came to.
func (l *language) verdictOn(c *comparison, q measure.Quantity) string {
	ratios := map[direction][]float64{}
	needed, n := 0, 0
	for _, x := range c.cells {
		for _, of := range x.quantities {
			if of.Key != q.Key {
				continue
			}
			n++
			ratios[of.direction] = append(ratios[of.direction], of.Ratio)
			if of.direction == undecided {
				needed = max(needed, of.Needed(x.margin.of(q)))
			}
		}
	}
	if n == 0 {
		return ""
	}
	in := func(k int) string {
		if k == n {
			return l.say("in all cells", "во всех ячейках")
		}
		return l.fill("in %d of %s", "в %d из %s", k, l.count(n, "cell cells", "ячейки ячеек ячеек"))
	}
	var parts []string
	for _, d := range []direction{lower, higher} {
		if of := ratios[d]; len(of) > 0 {
			logs := 0.0
			for _, r := range of {
				logs += math.Log(r) / float64(len(of))
			}
			say := l.changeOf(math.Exp(logs))
			text := say.say(math.Exp(logs))
			if low, high := slices.Min(of), slices.Max(of); say.number(say.of(low)) != say.number(say.of(high)) {
				text += " (" + say.from(stats.Interval{Low: low, High: high}) + ")"
			}
			parts = append(parts, text+" "+in(len(of)))
		}
	}
	switch {
	case len(parts) == 2:
	case len(ratios[lower]) > 0:
		parts = append(parts, l.say("higher in none", "больше — ни в одной"))
	case len(ratios[higher]) > 0:
		parts = append(parts, l.say("lower in none", "меньше — ни в одной"))
	}
	if k := len(ratios[equal]); k > 0 {
		parts = append(parts, l.say("equal within the margin ", "в пределах допуска равны ")+in(k))
	}
	if k := len(ratios[undecided]); k > 0 {
		parts = append(parts, l.say("undecided ", "не решено ")+in(k)+l.fill(" (about %s of each cell would decide)", " (решило бы около %s на ячейку)", l.trialsOrMany(needed)))
	}
	if k := len(ratios[untested]); k > 0 {
		parts = append(parts, l.say("not compared ", "не сравнивалось ")+in(k))
	}
	return l.fill("B against A, %s: %s.", "B относительно A, %s: %s.", l.longName(q), strings.Join(parts, "; "))
}

// trialsOrMany does not name a number that nobody would run.
func (l *language) trialsOrMany(n int) string {
	const most = 1000
	if n > most {
		return l.fill("more than %d trials", "более %d испытаний", most)
	}
	return l.count(n, "trial trials", "испытания испытаний испытаний")
}

func (l *language) run(m *model, dir string) string {
	text := dir + ": " + l.title(m) + " (" + l.trials(len(m.trials))
	if s := m.manifest.Sessions; len(s) > 0 {
		text += ", " + s[0].Started.UTC().Format("2006-01-02 15:04 UTC")
	}
	return text + ")"
}

func (l *language) marginText(m margins) string {
	percent := func(v float64) string { return l.Locale.Number(100*v, min(1, doc.Digits(100*v))) + " %" }
	if m.given > 0 {
		return l.fill("Trials of one run share the state of the machine at that time, so a significant ratio counts as a difference only if its whole interval lies more than %s from 1, as given.",
			"Испытания одного запуска проходят в одних и тех же условиях, поэтому значимое отношение считается различием, лишь если весь его интервал отстоит от 1 более чем на заданные %s.",
			percent(m.given))
	}
	return l.fill("Trials of one run share the state of the machine at that time, so a significant ratio counts as a difference only if its whole interval lies beyond a margin: %s from 1 (for tails such as p99, %s), and where a store flushes %s (for tails, %s). So much the probes before the trials drifted between or within the runs: a fixed piece of work and fdatasync, their p50 or, for tails, their p90; 5 %% at least.",
		"Испытания одного запуска проходят в одних и тех же условиях, поэтому значимое отношение считается различием, лишь если весь его интервал выходит за допуск: %s от 1 (для хвоста, как p99, — %s), а у хранилищ, сбрасывающих данные на диск, — %s (для хвоста — %s). Таков дрейф контрольных замеров перед испытаниями между измерениями или внутри них: постоянная порция вычислений и fdatasync, их p50, а для хвоста — p90; не менее 5 %%.",
		percent(m.others.middle), percent(m.others.tail), percent(m.disk.middle), percent(m.disk.tail))
}

// machineDifferences says in what environments, versions and the way of measuring
// differ.
func (l *language) machineDifferences(a, b *model) []string {
	var out []string
	add := func(name string, x, y []string) {
		if was, is := strings.Join(x, ", "), strings.Join(y, ", "); was != is {
			out = append(out, name+": "+cmp.Or(was, markNone)+" → "+cmp.Or(is, markNone))
		}
	}
	for i, fact := range l.facts(record.Environment{}) {
		of := func(m *model) (values []string) {
			for _, s := range m.manifest.Sessions {
				values = appendNew(values, cmp.Or(l.facts(s.Environment)[i].Text, markNone))
			}
			return values
		}
		add(fact.Term, of(a), of(b))
	}
	for _, key := range slices.Sorted(maps.Keys(a.cells[0].settings.how)) {
		add(key, a.setting(key), b.setting(key))
	}
	ea, eb := a.manifest.Experiment, b.manifest.Experiment
	add("trials", []string{fmt.Sprint(ea.Trials)}, []string{fmt.Sprint(eb.Trials)})
	add("seed", []string{fmt.Sprint(ea.Seed)}, []string{fmt.Sprint(eb.Seed)})
	va, vb := versions(a), versions(b)
	both := maps.Clone(va)
	maps.Copy(both, vb)
	for _, module := range slices.Sorted(maps.Keys(both)) {
		add(module, va[module], vb[module])
	}
	return out
}

// versions are those of each module.
func versions(m *model) map[string][]string {
	out := map[string][]string{}
	for _, x := range modules(m) {
		module, version, _ := strings.Cut(x, " ")
		out[module] = append(out[module], version)
	}
	return out
}

// costTable has the medians of what the machine cost, over the sessions, and of the
// probes before the trials.
func (l *language) costTable(a, b *model) doc.Table {
	t := doc.Table{Columns: []doc.Column{
		{Head: l.say("cost of the machine, median", "базовые издержки машины, медиана")}, {Head: "A", Number: true}, {Head: "B", Number: true}, {Head: "B/A", Number: true}}}
	add := func(name string, a, b float64) {
		r := doc.Row{Cells: []doc.Cell{{Text: name}, {Text: markNone}, {Text: markNone}, {Text: markNone}}}
		if a > 0 {
			r.Cells[1].Text = l.micros(a)
		}
		if b > 0 {
			r.Cells[2].Text = l.micros(b)
		}
		if a > 0 && b > 0 {
			r.Cells[3].Text = l.ratio(b / a)
		}
		t.Rows = append(t.Rows, r)
	}
	for i, cost := range l.costs(record.Calibration{}) {
		median := func(m *model) float64 {
			var out []float64
			for _, s := range m.manifest.Sessions {
				if q := l.costs(s.Calibration)[i]; q.N > 0 {
					out = append(out, q.P50)
				}
			}
			return stats.Median(out)
		}
		add(cost.name, median(a), median(b))
	}
	add(l.say("fdatasync before the trials", "fdatasync перед испытаниями"), stats.Median(a.inTime(flushes)), stats.Median(b.inTime(flushes)))
	add(l.say("fixed work before the trials", "вычисления перед испытаниями"), stats.Median(a.inTime(work)), stats.Median(b.inTime(work)))
	return t
}

// cellsTable has a group of rows for each pair of cells, one row for each quantity.
func (l *language) cellsTable(c *comparison) doc.Table {
	t := doc.Table{Columns: []doc.Column{{}, {Head: "A", Number: true}, {Head: "B", Number: true}, {Head: "B/A", Number: true}, {Head: "p", Number: true}, {}},
		Notes:  []doc.Item{{Term: doc.MarkShare, Text: l.say("the farther end of the 95 % interval of the ratio", "дальняя граница 95-процентного доверительного интервала отношения")}},
		Yields: []doc.Yield{{Columns: []int{4}, To: doc.Gone}, {Columns: []int{3}, To: doc.Share}, {Columns: []int{3}, To: doc.Alone}}}
	for _, x := range c.cells {
		title := l.fullLabel(c.a.factors, x.a.info)
		for _, u := range inequalities(x.a.info, x.b.info) {
			title += fmt.Sprintf("; %s %s: %s → %s", markUnequal, l.Say(u.what), l.Term(u.base), l.Term(u.this))
		}
		for i, q := range x.quantities {
			r := doc.Row{First: i == 0, Cells: l.quantityCells(q)}
			if i == 0 {
				r.Title = title
			}
			t.Rows = append(t.Rows, r)
		}
	}
	return t
}

func (l *language) quantityCells(q quantityComparison) []doc.Cell {
	directions := []string{
		untested: l.say("not compared", "не сравнивалось"), undecided: l.say("undecided", "не решено"), equal: l.say("within margin", "в пределах допуска"),
		lower: l.say("lower", "меньше"), higher: l.say("higher", "больше"),
	}
	cells := []doc.Cell{{Text: "  " + l.Say(q.Name)}, {Text: markNone}, {Text: markNone}, {Text: markNone}, {Text: markNone}, {Text: directions[q.direction]}}
	if q.N > 0 || q.Base != 0 {
		cells[1].Text = l.amount(q.Unit, q.Base)
	}
	if q.N > 0 || q.Other != 0 {
		cells[2].Text = l.amount(q.Unit, q.Other)
	}
	if q.HasRatio {
		cells[3] = doc.Cell{Value: ratioValue(q.Comparison)}
	}
	if q.Testable() {
		cells[4].Text = l.pValue(q.Adjusted)
	}
	return cells
}
