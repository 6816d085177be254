package report

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// TestAnswers: what the headline says of runs of every sort.
func TestAnswers(t *testing.T) {
	for name, wants := range map[string]map[Lang][]string{
		"free": {
			English: {
				"Of median latency (p50), the log store makes up 91 % with mdb (83–96 % over the 4 combinations of transport and clients", "beyond inmem †.",
				"That depends most on the number of clients", "at 1 client and ", "Of equal durability (disk), best is mdb: median latency (p50) is 1.97× lower [1.95, ", "than with bolt, the next.",
			},
			Russian: {
				"Медиана задержки (p50): доля хранилища журнала, то есть сверх inmem †, составляет 91 % с хранилищем mdb", "Сильнее всего это зависит от числа клиентов",
				"При равной сохранности (диск) лучший результат — mdb", "чем с хранилищем bolt на втором месте.",
			},
		},
		"backends":  {English: {"Against mdb, median latency (p50) is 1.97× higher", "with inmem", "†"}},
		"formation": {English: {"Against static join, time to all voters is", "Bytes at rest: 0 B/s with static join; 915 to 8376 B/s with gossip. For time to all voters, that depends most on the number of nodes (interaction: ", "with 3 nodes and "}},
		"payload": {
			English: {"Median latency (p50) grows from 3.16 ms with values of 64 B to 4.56 ms with values of 64 KiB", "up to values of 1 KiB it is the same within ±5 %", "with values of 64 KiB it differs first"},
			Russian: {"Медиана задержки (p50) растёт с 3,16 мс при значениях по 64 Б до 4,56 мс при значениях по 64 КиБ"},
		},
		"batch": {English: {"with batch_apply = true, the same within ±5 %"}},
		"one":   {English: {"bolt over tcp: median latency (p50) 3.13 ms"}},
	} {
		for lang, texts := range wants {
			headline := newLanguage(lang).answer(scenario(t, name).model).headline()
			for _, want := range texts {
				if !strings.Contains(headline, want) {
					t.Errorf("%s: %q does not say %q", name, headline, want)
				}
			}
		}
	}
}

// TestTooFewTrials: four rounds cannot tell a p50 of 3.2 ms from one of 4.8 ms, whatever it
// looks like, and the headline says how many can, and how they are made.
func TestTooFewTrials(t *testing.T) {
	a := newLanguage(English).answer(scenario(t, "rate").model)
	headline := a.headline() + " " + a.command
	for _, want := range []string{
		"from 3.22 ms at 50 op/s to 4.78 ms at 3200 op/s", "which 4 rounds cannot tell from chance (undecided)",
		"takes about 6 trials of each cell: raftlab run experiments/rate.toml", " --resume --trials 6 --out DIR",
	} {
		if !strings.Contains(headline, want) {
			t.Errorf("%q does not say %q", headline, want)
		}
	}
	if !a.decides {
		t.Error("it is not told that the command was named")
	}
}

// TestOneTrialLost: one invalid trial of six leaves five rounds to the pairs of its cell,
// which is said, with the command that decides them: a seventh round makes up for it, in
// the headline as for the pairs.
func TestOneTrialLost(t *testing.T) {
	s := threeFactors()
	s.trials = 6
	s.fail = func(cell experiment.Cell, trial int) string {
		if cell.ID == "c02" && trial == 3 {
			return "the leader changed"
		}
		return ""
	}
	m, err := build(t.Context(), s.folder(t), catalog())
	if err != nil {
		t.Fatal(err)
	}
	for lang, wants := range map[Lang][]string{
		English: {"Invalid or missing trials leave ", " of them fewer than 6 rounds", "about 7 trials of each cell", " --resume --trials 7 "},
		Russian: {"Из-за недостоверных или непроведённых испытаний у ", "меньше 6 раундов", "около 7 испытаний на ячейку", " --resume --trials 7 "},
	} {
		l := newLanguage(lang)
		a := l.answer(m)
		headline := a.headline()
		text := strings.Join(l.cautions(m, a.decides), "\n")
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s\n%s", want, headline, text)
			}
		}
	}
	if got := m.trialsFor(6, 3); got != 9 {
		t.Errorf("six rounds, of which three are there and three were lost: %d trials", got)
	}
	whole := scenario(t, "rate").model
	if got := whole.trialsFor(6, whole.rounds()-1); got != 6 {
		t.Errorf("a trial that is not run yet: %d trials", got)
	}
}

// TestOneCombinationIsLeft: where all others are invalid, the headline says of how many the
// ratio is, and names no extremes.
func TestOneCombinationIsLeft(t *testing.T) {
	s := threeFactors()
	s.matrix = s.matrix[:2]
	s.fail = func(cell experiment.Cell, _ int) string {
		return btos(cell.Cluster.Transport == "inmem", "the leader changed")
	}
	m, err := build(t.Context(), s.folder(t), catalog())
	if err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[Lang]string{English: "(over 1 of the 2 combinations)", Russian: "(в 1 из 2 сочетаний)"} {
		a := newLanguage(lang).answer(m)
		text := a.headline() + strings.Join(texts(a.more), " ")
		if !strings.Contains(text, want) || strings.Contains(text, a.l.say("extremes", "крайние")) {
			t.Errorf("%q is not in %q, or extremes are", want, text)
		}
	}
}

// TestOrderOfManyLevels: "all" and "each" are said of all levels only.
func TestOrderOfManyLevels(t *testing.T) {
	s := threeFactors()
	s.trials, s.matrix = 5, []experiment.Factor{factorOf(keyClients, "1", "2", "4", "8", "16", "32", "64")}
	m, err := build(t.Context(), s.folder(t), catalog())
	if err != nil {
		t.Fatal(err)
	}
	all := "all undecided against 1 client: too few rounds"
	q := m.headline()
	for _, c := range m.against() {
		c.on(q).Adjusted, c.on(q).HasRatio, c.on(q).CI, c.on(q).Coverage = 1, true, stats.Interval{Low: 0.5, High: 2}, 0.9375
	}
	order := func() string { return (&answer{l: newLanguage(English), m: m}).inOrder(q) }
	if text := order(); !strings.Contains(text, all) {
		t.Errorf("%q does not say %q", text, all)
	}
	m.against()[0].on(q).CI = stats.Interval{Low: 0.99, High: 1.01}
	if text := order(); strings.Contains(text, "all undecided") || !strings.Contains(text, "the same within ±5 % with 2 clients and undecided with 4 clients, ") {
		t.Errorf("one is the same: %q", text)
	}
	for _, c := range m.against() {
		c.on(q).Adjusted = 0.01
	}
	if text := order(); !strings.Contains(text, "each differs from 1 client") {
		t.Errorf("all differ: %q", text)
	}
	m.against()[0].on(q).N = 0
	if text := order(); strings.Contains(text, "each differs") {
		t.Errorf("one is not compared: %q", text)
	}
}

// TestNothingIsSaidToBeTheSameForNothing: no report says that there is no difference; where
// one is undecided, it says what would decide it, and equality comes with its margin.
func TestNothingIsSaidToBeTheSameForNothing(t *testing.T) {
	never := regexp.MustCompile(`(?i)no difference|not differ|не обнаруж|не различа|нет различ`)
	for _, name := range names() {
		m := scenario(t, name).model
		for _, lang := range []Lang{English, Russian} {
			l := newLanguage(lang)
			a := l.answer(m)
			headline := a.headline()
			for _, s := range append([]string{headline}, texts(a.more)...) {
				if never.MatchString(s) {
					t.Errorf("%s in %s: %q", name, lang, s)
				}
				if same := l.say("the same", "одинаково"); strings.Contains(s, same) && !strings.Contains(s, "±5 %") {
					t.Errorf("%s in %s: equality without its margin: %q", name, lang, s)
				}
			}
			undecided := strings.Contains(headline, l.say("undecided", "не решено"))
			decides := regexp.MustCompile(`--trials \d+|100|--quick`).MatchString(headline + a.command)
			if undecided != a.decides || undecided && !decides {
				t.Errorf("%s in %s: undecided %v, decides %v: %q %q", name, lang, undecided, a.decides, headline, a.command)
			}
			if n := strings.Count(headline, ". "); n >= mostSentences {
				t.Errorf("%s in %s: %d sentences: %q", name, lang, n+1, headline)
			}
		}
	}
}

// TestEachNoteOnce: what a mark means is said once in a report.
func TestEachNoteOnce(t *testing.T) {
	for _, name := range names() {
		for _, lang := range []Lang{English, Russian} {
			l, m := newLanguage(lang), scenario(t, name).model
			file := map[Lang]string{English: "report.md", Russian: "report.ru.md"}[lang]
			text := string(scenario(t, name).files[file])
			for _, n := range l.notes(m) {
				if n.Term != "p" && strings.Count(text, n.Text) > 1 { // the method names the test, too
					t.Errorf("%s/%s: says %d times: %s", name, file, strings.Count(text, n.Text), n.Text)
				}
			}
		}
	}
}

// TestGatesCollapse: where every trial passed every gate, a sentence says so.
func TestGatesCollapse(t *testing.T) {
	text := string(scenario(t, "backends").files["report.md"])
	if want := "All 84 trials passed all 7 checks: load, errors, client CPU, leader changes, diverged replicas, lost writes, clock. Not applied: clock."; !strings.Contains(text, want) {
		t.Errorf("the report does not say %q", want)
	}
	text = string(scenario(t, "invalid").files["report.md"])
	if !strings.Contains(text, "Valid are 76 of 84 trials.") || !strings.Contains(text, "82.4 %, failed 7 of 7") || strings.Contains(text, "client CPU, ≤") {
		t.Errorf("invalid trials:\n%s", text)
	}
	for _, word := range []string{"PASS", "FAIL", "SKIP"} {
		for name, data := range scenario(t, "invalid").files {
			if strings.HasSuffix(name, ".md") && strings.Contains(string(data), word) {
				t.Errorf("%s says %s", name, word)
			}
		}
	}
}

// TestHeadingsSpeakTheLanguageOfTheReport: a title or question that there is in the other
// language only is marked, and heads nothing.
func TestHeadingsSpeakTheLanguageOfTheReport(t *testing.T) {
	for _, c := range []struct {
		title, titleRu, question string
		en, ru                   string // titles
		marked                   [2]int // paragraphs in the other language
	}{
		{"Commit latency", "Задержка фиксации", "How long?", "Commit latency", "Задержка фиксации", [2]int{0, 1}},
		{"Commit latency", "", "How long?", "Commit latency", "free", [2]int{0, 2}},
		{"Задержка фиксации", "", "How long is it?", "free", "Задержка фиксации", [2]int{1, 1}},
		{"free", "Задержка фиксации", "Сколько длится запись?", "free", "Задержка фиксации", [2]int{1, 0}},
	} {
		m := *scenario(t, "free").model
		m.manifest.Experiment.Title, m.manifest.Experiment.TitleRu, m.manifest.Experiment.Question = c.title, c.titleRu, c.question
		for i, lang := range []Lang{English, Russian} {
			page := newLanguage(lang).page(&m, nil)
			if want := []string{c.en, c.ru}[i]; page.Title != want {
				t.Errorf("%+v: the title in %s is %q, want %q", c, lang, page.Title, want)
			}
			marked := 0
			for _, b := range page.Blocks {
				if p, ok := b.(doc.Paragraph); ok && p.Lang != "" {
					marked++
				}
			}
			if marked != c.marked[i] {
				t.Errorf("%+v: %d paragraphs are marked in %s, want %d", c, marked, lang, c.marked[i])
			}
		}
	}
}

// TestUnmeasuredHeadline: a run whose first quantity was not measured, as a failover without
// kills, has no column of it.
func TestUnmeasuredHeadline(t *testing.T) {
	kind := snapshots()
	kind.Quantities = append(kind.Quantities, measure.Quantity{Key: "never", Name: measure.Text{En: "never", Ru: "никогда"}, Role: measure.Compared})
	kind.Answer = []string{"never", "took"}
	m, err := build(t.Context(), snapshotRun(t, 3, 4096), measure.Catalog{kind})
	if err != nil {
		t.Fatal(err)
	}
	l := newLanguage(English)
	for _, c := range l.mainTable(m).Columns {
		if c.Head == "never" {
			t.Error("there is an empty column")
		}
	}
	if headline := l.answer(m).headline(); !strings.HasPrefix(headline, "Snapshot: 2.04 ms") {
		t.Errorf("%q", headline)
	}
}

// TestChange: a ratio and its inverse are said alike, and an interval has its ends in order.
func TestChange(t *testing.T) {
	l := newLanguage(English)
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.Float64Range(1.6, 1e4).Draw(t, "ratio")
		if more, less := l.changeOf(r).of(r), l.changeOf(1/r).of(1/r); math.Abs(more/less-1) > 1e-9 {
			t.Errorf("%g and %g", more, less)
		}
		low, high := rapid.Float64Range(0.01, 100).Draw(t, "low"), rapid.Float64Range(0.01, 100).Draw(t, "high")
		if from, to := l.changeOf(r).ends(stats.Interval{Low: min(low, high), High: max(low, high)}); from > to {
			t.Errorf("%g to %g", from, to)
		}
	})
}

// TestManyLevels: levels that are too many for a clause each are told in their order, and a
// lost round does not turn them into silence.
func TestManyLevels(t *testing.T) {
	many := synth{name: "many", trials: 6, load: closedLoop(), seed: 13,
		matrix: []experiment.Factor{factorOf(keyBackend, "bolt", "mdb", "inmem", "wal", "pebble", "x")}}
	lost := many
	lost.fail = func(c experiment.Cell, trial int) string {
		if c.ID == "c01" && trial == 2 {
			return "the disk was busy"
		}
		return ""
	}
	for _, c := range []struct {
		synth
		want []string
	}{
		{many, []string{"Median latency (p50), lowest first: x ", "bolt 3.17 ms; each differs from bolt."}},
		{lost, []string{"Median latency (p50), lowest first: x ", "; all undecided against bolt: too few rounds", "--resume --trials 7"}},
	} {
		m, err := build(t.Context(), c.folder(t), catalog())
		if err != nil {
			t.Fatal(err)
		}
		a := newLanguage(English).answer(m)
		headline := a.headline() + a.command
		for _, want := range c.want {
			if !strings.Contains(headline, want) {
				t.Errorf("%q does not say %q", headline, want)
			}
		}
	}
}

// TestAnyQuantityMayBeAsked: what no comparison is made of can be the first of a kind's
// answer, and its sentences are made all the same.
func TestAnyQuantityMayBeAsked(t *testing.T) {
	for _, name := range names() {
		m := scenario(t, name).model
		if len(m.factors) == 0 {
			continue
		}
		for _, q := range m.kind.Quantities {
			a := &answer{l: newLanguage(English), m: m}
			for _, say := range []func(measure.Quantity) string{a.levels, a.course, a.dependence, a.ahead, a.values} {
				if text := say(q); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
					t.Errorf("%s: %s: %s", name, q.Key, text)
				}
			}
		}
	}
}
