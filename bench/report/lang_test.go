package report

import (
	"slices"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

func TestNumbers(t *testing.T) {
	en, ru := newLanguage(English), newLanguage(Russian)
	for _, c := range []struct{ got, want string }{
		{en.amount(measure.Seconds, 4_620_000/1e9), "4.62 ms"},
		{ru.amount(measure.Seconds, 4_620_000/1e9), "4,62 мс"},
		{en.amount(measure.Seconds, 999_700/1e9), "1000 µs"},
		{en.amount(measure.Seconds, 54_800/1e9), "54.8 µs"},
		{en.amount(measure.Seconds, 12e9/1e9), "12.0 s"},
		{en.summary(measure.Seconds, stats.Summary{N: 2, Median: 4.62e-3}), "4.62 ms"},
		{en.amount(measure.Bytes, 303), "303 B"},
		{en.amount(measure.Bytes, 45_453_312), "45.5 MB"},
		{ru.amount(measure.Bytes, 2.33e9), "2,33 ГБ"},
		{en.summary(measure.Seconds, stats.Summary{N: 5, Median: 4.62e-3, CI: stats.Interval{Low: 4.41e-3, High: 4.9e-3}}), "4.62 ms [4.41, 4.90]"},
		{ru.summary(measure.Seconds, stats.Summary{N: 5, Median: 4.62e-3, CI: stats.Interval{Low: 4.41e-3, High: 4.9e-3}}), "4,62 мс [4,41; 4,90]"},
		{en.ratio(2.1), "2.10×"},
		{en.ratio(0.0386), "0.0386×"},
		{en.pValue(0.0004), "<0.001"},
		{ru.pValue(0.0079), "0,008"},
		{en.Bytes(256), "256 B"},
		{en.Bytes(65536), "64 KiB"},
		{ru.Bytes(1 << 20), "1 МиБ"},
		{en.memory(16<<30 - 1), "16.0 GiB"},
		{en.Locale.Number(-0.001, 1), "0.0"},
		{ru.count(1, "client clients", "клиент клиента клиентов"), "1 клиент"},
		{ru.count(2, "client clients", "клиент клиента клиентов"), "2 клиента"},
		{ru.count(11, "client clients", "клиент клиента клиентов"), "11 клиентов"},
		{ru.count(21, "client clients", "клиент клиента клиентов"), "21 клиент"},
		{ru.count(64, "client clients", "клиент клиента клиентов"), "64 клиента"},
		{ru.count(112, "client clients", "клиент клиента клиентов"), "112 клиентов"},
		{en.count(1, "node nodes", "узел узла узлов"), "1 node"},
		{en.count(3, "node nodes", "узел узла узлов"), "3 nodes"},
		{en.changeOf(2.1).say(2.1), "2.10× higher"},
		{en.changeOf(1 / 19.7).say(1 / 19.7), "19.7× lower"},
		{en.changeOf(0.91).say(0.91), "9 % lower"},
		{en.changeOf(1.004).say(1.004), "0.4 % higher"},
		{en.changeOf(0.5).within(stats.Interval{Low: 0.4, High: 0.625}), "[1.60, 2.50]"},
		{en.changeOf(0.91).within(stats.Interval{Low: 0.88, High: 1.03}), "[−3, 12]"},
		{en.changeOf(30).from(stats.Interval{Low: 14.2, High: 52}), "14.2–52.0×"},
		{en.changeOf(1.04).from(stats.Interval{Low: 0.97, High: 1.12}), "from −3 to 12 %"},
		{ru.changeOf(2.1).say(2.1), "в 2,10 раза больше"},
		{ru.changeOf(0.5).say(0.5), "в 2,00 раза меньше"},
		{ru.changeOf(121).say(121), "в 121 раз больше"},
		{ru.changeOf(0.91).say(0.91), "на 9 % меньше"},
		{ru.changeOf(0.5).from(stats.Interval{Low: 0.4, High: 0.625}), "в 1,60–2,50 раза"},
		{en.Tight("p50 4.62 ms at 3 clients, ≥ 95 %"), "p50 4.62\u00a0ms at 3 clients, ≥\u00a095\u00a0%"},
		{capital("über 1"), "Über 1"},
		{quote("a b"), "'a b'"},
		{quote("it's"), `'it'\''s'`},
		{quote("--set"), "--set"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestScale(t *testing.T) {
	l := newLanguage(English)
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, "µs"}, {[]float64{0}, "µs"}, {[]float64{15e-6, 5e-3}, "µs"}, {[]float64{0, 5e-3}, "ms"}, {[]float64{1e-4}, "ms"}, {[]float64{2, 0.1}, "s"},
	} {
		if got := l.scale(measure.Seconds, c.values...).name; got != c.want {
			t.Errorf("unit for %v is %s, want %s", c.values, got, c.want)
		}
	}
}

func TestLabel(t *testing.T) {
	name := func(run, id string, lang Lang) string {
		m := scenario(t, run).model
		i := slices.IndexFunc(m.cells, func(c *cell) bool { return c.info.ID == id })
		return newLanguage(lang).fullLabel(m.factors, m.cells[i].info)
	}
	for _, c := range []struct {
		cell string
		lang Lang
		want string
	}{
		{"c01", English, "mdb over inmem at 1 client"},
		{"c08", English, "bolt over tcp at 16 clients"},
		{"c08", Russian, "bolt с транспортом tcp при 16 клиентах"},
	} {
		if got := name("quick", c.cell, c.lang); got != c.want {
			t.Errorf("%s in %s: %q, want %q", c.cell, c.lang, got, c.want)
		}
	}
	if got := name("one", "c01", English); got != "bolt over tcp" {
		t.Errorf("without a matrix: %q", got)
	}
}

func TestParseLang(t *testing.T) {
	if l, err := ParseLang("ru"); l != Russian || err != nil {
		t.Errorf("ru: %v, %v", l, err)
	}
	if _, err := ParseLang("de"); err == nil {
		t.Error("de: accepted")
	}
}

func TestGateFigures(t *testing.T) {
	l := newLanguage(English)
	for _, c := range []struct {
		gate record.Gate
		want string
	}{
		{record.Gate{Figure: 94.996, Limit: 95, AtLeast: true, Unit: "%"}, "94.996 %"},
		{record.Gate{Figure: 0, Limit: 0.1, Unit: "%"}, "0 %"},
		{record.Gate{Figure: 0.10004, Limit: 0.1, Unit: "%"}, "0.10004 %"},
		{record.Gate{Figure: 0.00004, Limit: 20, Unit: "ms"}, "0 ms"},
		{record.Gate{Figure: 0.00004, Limit: 0, Unit: "ms"}, "0.00004 ms"},
		{record.Gate{Figure: 2, Limit: 0, Unit: "changes"}, "2"},
		{record.Gate{Figure: 3.254, Limit: 20, Unit: "%"}, "3.25 %"},
	} {
		if got := l.gateFigure(c.gate); got != c.want {
			t.Errorf("%+v: %q, want %q", c.gate, got, c.want)
		}
	}
}

// TestCoupledLabel: a level that sets several keys is called by its name, before the others,
// and stands for its parts too.
func TestCoupledLabel(t *testing.T) {
	system := factor{experiment.Factor{Name: "system", Levels: []string{"kvnode", "etcd"},
		Sets: []map[string]string{{"cluster.mode": "process"}, {"cluster.mode": "etcd"}}}, 1}
	clients := factor{factorOf(keyClients, "1", "16"), 0}
	c := &record.CellInfo{}
	c.Levels = []experiment.Level{{Factor: "clients", Value: "16"}, {Factor: "system", Value: "etcd"}}
	c.Load.Clients = 16
	en, ru := newLanguage(English), newLanguage(Russian)
	all := []factor{clients, system}
	for _, x := range []struct{ got, want string }{
		{en.label(all, c), "etcd at 16 clients"},
		{en.circumstance(withParts(all[1:], all), c), "with etcd"},
		{ru.circumstance(withParts(all[:1], all), c), "при 16 клиентах"},
		{ru.words(system, c).placed, "с etcd"},
		{en.words(system, c).head, "system"},
	} {
		if x.got != x.want {
			t.Errorf("%q, want %q", x.got, x.want)
		}
	}
}
