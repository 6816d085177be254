package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

type session = record.Session

// page is the report of one run in one language, ready to be laid out.
type page struct {
	L        *language
	Title    string
	Question string
	Answer   answer

	Cells     table
	Kinds     *table // reads and writes apart; nil: there is only one of them
	Tail      *table // percentiles, CPU, flushes; nil: no load was measured
	Gates     table
	Warnings  []concern
	Figures   []figure
	Method    []item
	Machine   table
	Modules   []item
	Seed      string
	Overrides []string
	Commands  []string
}

// concern is what there is to say about one cell.
type concern struct {
	Cell  string
	Texts []string
}

// item is a term with its explanation.
type item struct{ Term, Text string }

func (l *language) page(m *model) page {
	e := m.manifest.Experiment
	p := page{
		L: l, Title: e.Title, Question: e.Question,
		Answer:    l.answer(m),
		Cells:     l.forms(m)[0](),
		Gates:     l.gatesTable(m),
		Warnings:  l.concerns(m),
		Method:    l.method(m),
		Machine:   l.machineTable(m),
		Modules:   l.modules(m),
		Seed:      strconv.FormatUint(e.Seed, 10),
		Overrides: m.manifest.Overrides,
		Commands:  commands(m),
	}
	if l.Code == Russian {
		p.Title, p.Question = firstOf(e.TitleRu, e.Title), firstOf(e.QuestionRu, e.Question)
	}
	p.Title = firstOf(p.Title, e.Name)
	if m.mixed {
		kinds := l.kindsTable(m)
		p.Kinds = &kinds
	}
	if !m.formation {
		tail := l.tailTable(m)
		p.Tail = &tail
	}
	return p
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// concerns lists the warnings of each cell that has any.
func (l *language) concerns(m *model) []concern {
	var out []concern
	for _, c := range m.cells {
		texts := l.invalidTrials(c)
		var unsteady []string
		for _, w := range c.warnings {
			switch w.Code {
			case stats.InvalidTrials: // said above, with the reasons
			case stats.WindowDrift: // said of all trials at once
				unsteady = append(unsteady, fill(l.UnsteadyTrial, w.Subject, l.ratio(w.Have)))
			default:
				texts = append(texts, l.warning(w))
			}
		}
		if len(unsteady) > 0 {
			texts = append(texts, fill(l.WarnWindowDrift, strings.Join(unsteady, ", ")))
		}
		if len(texts) > 0 {
			out = append(out, concern{l.cellName(m, c), texts})
		}
	}
	return out
}

// invalidTrials says why trials are invalid, those with the same reason at once.
func (l *language) invalidTrials(c *cell) []string {
	var reasons []string
	trials := map[string][]string{}
	for _, r := range c.run {
		if r.Valid {
			continue
		}
		why := l.reason(r)
		if !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
		trials[why] = append(trials[why], strconv.Itoa(r.ID.Trial))
	}
	var out []string
	for _, why := range reasons {
		phrase := l.InvalidTrial
		if len(trials[why]) > 1 {
			phrase = l.InvalidTrialsAre
		}
		out = append(out, fill(phrase, strings.Join(trials[why], ", "), why))
	}
	return out
}

// cellName names a cell in running text: "c03, bolt over tcp".
func (l *language) cellName(m *model, c *cell) string {
	if len(m.factors) == 0 {
		return l.label(withParts(nil), c.info)
	}
	return c.info.ID + ", " + l.label(m.factors, c.info)
}

// reason says why a trial is invalid: the failure as it was recorded, or the
// gates with their figures.
func (l *language) reason(r stats.Row) string {
	var texts []string
	for _, g := range r.Gates {
		if g.Verdict == record.Fail {
			texts = append(texts, l.term(g.Name)+" "+l.gateFigure(g)+" ("+l.gateLimit(g)+")")
		}
	}
	if len(texts) == 0 {
		return r.Reason
	}
	return strings.Join(texts, ", ")
}

// warning says a warning in the language.
func (l *language) warning(w stats.Warning) string {
	percent := func(v float64) string { return l.number(100*v, 0) }
	switch w.Code {
	case stats.FewTrials:
		return fill(l.WarnFewTrials, l.count(int(w.Have), l.Trials), int(w.Want))
	case stats.CannotDiffer:
		return fill(l.WarnCannotDiffer, strings.ReplaceAll(w.Subject, " v ", l.Versus), l.number(w.Have, 2), int(w.Want))
	case stats.LoneDifference:
		return fill(l.WarnLoneDifference, l.count(int(w.Have), l.Trials), int(w.Want))
	case stats.ZeroBase:
		return l.WarnZeroBase
	case stats.FewSamples:
		return fill(l.WarnFewSamples, w.Subject, int(w.Have), int(w.Want))
	case stats.HighSpread:
		return fill(l.WarnHighSpread, l.term(w.Subject), percent(w.Have))
	case stats.MachineDrift:
		return fill(l.WarnMachineDrift, l.number(w.Have, 1))
	case stats.InvalidTrials:
		return fill(l.WarnInvalidTrials, int(w.Have), int(w.Want))
	default:
		return w.String()
	}
}

// method says how the figures came about.
func (l *language) method(m *model) []item {
	if m.formation {
		return l.formationMethod(m)
	}
	e := m.manifest.Experiment
	distinct := func(of func(*record.CellInfo) string) string { return strings.Join(distinctOf(m, of), ", ") }
	items := []item{
		{l.MethodLoad, l.loadText(m)},
		{l.MethodTrials, fill(l.MethodTrialsText,
			distinct(func(c *record.CellInfo) string { return l.seconds(c.Load.Warmup) }),
			distinct(func(c *record.CellInfo) string { return l.seconds(c.Load.Duration) }),
			l.count(e.Trials, l.Trials), strconv.FormatUint(e.Seed, 10))},
		{l.MethodAck, capital(strings.Join(distinctOf(m, func(c *record.CellInfo) string { return l.term(c.Acknowledgement) }), "; ")) + "."},
		{l.MethodDurability, l.durabilityText(m)},
	}
	if m.reads {
		items = append(items, item{l.MethodReads, capital(distinct(func(c *record.CellInfo) string { return l.term(c.ReadLevel) })) + "."})
	}
	items = append(items, item{l.MethodLatency, l.MethodLatencyText})
	return append(items, l.statistics(m, l.MethodTestText)...)
}

// statistics says how the trials were summed up and compared.
func (l *language) statistics(m *model, test string) []item {
	items := []item{{l.MethodInterval, l.intervalText(m)}}
	if n := m.comparisons(); n > 0 {
		items = append(items, item{l.MethodTest, fill(test, l.count(n, l.Comparisons))})
	}
	return append(items, item{l.MethodValid, l.MethodValidText})
}

// distinctOf returns what the cells have in of, each once, in their order.
func distinctOf(m *model, of func(*record.CellInfo) string) []string {
	var out []string
	for _, c := range m.cells {
		if text := of(c.info); text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// durabilityText says for each degree of durability which stores have it.
func (l *language) durabilityText(m *model) string {
	var texts []string
	for _, degree := range distinctOf(m, func(c *record.CellInfo) string { return c.Durability }) {
		stores := distinctOf(m, func(c *record.CellInfo) string {
			if c.Durability != degree {
				return ""
			}
			return c.Cluster.Backend
		})
		texts = append(texts, strings.Join(stores, ", ")+": "+firstOf(l.DurabilityText[degree], degree))
	}
	return strings.Join(texts, "; ") + "."
}

func (l *language) loadText(m *model) string {
	distinct := func(of func(*record.CellInfo) string) string { return strings.Join(distinctOf(m, of), ", ") }
	var texts []string
	closed := distinct(func(c *record.CellInfo) string {
		if c.Load.Rate > 0 {
			return ""
		}
		return strconv.Itoa(c.Load.Clients)
	})
	if closed != "" {
		texts = append(texts, fill(l.ClosedLoop, closed))
	}
	if m.openLoop {
		rate := distinct(func(c *record.CellInfo) string {
			if c.Load.Rate == 0 {
				return ""
			}
			return l.general(c.Load.Rate)
		})
		texts = append(texts, fill(l.OpenLoop, rate, distinct(func(c *record.CellInfo) string { return l.term(c.Load.Arrival) })))
	}
	texts = append(texts, fill(l.Values,
		distinct(func(c *record.CellInfo) string { return l.bytes(uint64(max(0, c.Load.ValueSize))) }),
		distinct(func(c *record.CellInfo) string { return strconv.Itoa(c.Load.Keys) }),
		distinct(func(c *record.CellInfo) string { return l.term(c.Load.KeyDistribution) })))
	if m.reads {
		texts = append(texts, fill(l.Reads, distinct(func(c *record.CellInfo) string { return l.general(100*c.Load.ReadRatio) + " %" })))
	}
	nodes := distinct(func(c *record.CellInfo) string { return strconv.Itoa(c.Cluster.Nodes) })
	mode := distinct(func(c *record.CellInfo) string { return l.term(c.Cluster.Mode) })
	return strings.Join(append(texts, fill(l.Group, nodes, mode)), " ")
}

// intervalText tells how coarse the intervals are for the numbers of trials
// that there are.
func (l *language) intervalText(m *model) string {
	text := l.MethodIntervalText
	var said []int
	for _, c := range m.cells {
		if n := c.main.N; c.main.HasCI() && !slices.Contains(said, n) {
			said = append(said, n)
			text += " " + fill(l.MethodCoverage, n, l.number(100*c.main.Coverage, 1))
		}
	}
	return text
}

// comparisons counts the comparisons that were tested.
func (m *model) comparisons() int {
	n := 0
	for _, c := range m.cells {
		for _, vs := range []*stats.Comparison{c.vs, c.formed.vsLeader} {
			if vs != nil && vs.Tested {
				n++
			}
		}
	}
	return n
}

// seconds writes a duration of the experiment.
func (l *language) seconds(d experiment.Duration) string {
	if s := float64(d) / 1e9; s >= 1 || s == 0 {
		return l.general(s) + " " + l.Seconds
	}
	return l.general(float64(d)/1e6) + " " + l.Milliseconds
}

// modules lists the parts with the versions of their libraries, then what the
// sessions report beyond.
func (l *language) modules(m *model) []item {
	var out []item
	add := func(term, text string) {
		i := item{term, text}
		if term != "" && text != "" && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	for _, c := range m.cells {
		for _, part := range []record.Part{c.info.Engine, c.info.Backend, c.info.Transport} {
			add(part.Library, part.Version)
		}
	}
	for _, s := range m.manifest.Sessions {
		for module, version := range s.Environment.Modules {
			add(module, version)
		}
	}
	slices.SortFunc(out, func(a, b item) int { return strings.Compare(a.Term+"\x00"+a.Text, b.Term+"\x00"+b.Text) })
	return out
}

// commands returns the distinct command lines of the sessions, quoted for a
// shell.
func commands(m *model) []string {
	var out []string
	for _, s := range m.manifest.Sessions {
		var words []string
		for i, w := range s.Command {
			if i == 0 {
				w = path.Base(strings.ReplaceAll(w, `\`, "/"))
			}
			words = append(words, quote(w))
		}
		if line := strings.Join(words, " "); line != "" && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// quote makes w one word of a POSIX shell.
func quote(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@%+", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return fmt.Sprintf("'%s'", strings.ReplaceAll(w, "'", `'\''`))
}
