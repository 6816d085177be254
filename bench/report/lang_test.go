package report

import (
	"testing"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

func TestNumbers(t *testing.T) {
	en, ru := newLanguage(English), newLanguage(Russian)
	for _, c := range []struct{ got, want string }{
		{en.latency(4_620_000), "4.62 ms"},
		{ru.latency(4_620_000), "4,62 мс"},
		{en.latency(999_700), "1000 µs"},
		{en.latency(54_800), "54.8 µs"},
		{en.latency(12e9), "12.0 s"},
		{en.latencySummary(stats.Summary{N: 2, Median: 4_620_000}), "4.62 ms"},
		{en.latencySummary(stats.Summary{N: 5, Median: 4_620_000, CI: stats.Interval{Low: 4_410_000, High: 4_900_000}}), "4.62 ms [4.41, 4.90]"},
		{ru.latencySummary(stats.Summary{N: 5, Median: 4_620_000, CI: stats.Interval{Low: 4_410_000, High: 4_900_000}}), "4,62 мс [4,41; 4,90]"},
		{en.ratio(2.1), "2.10×"},
		{en.ratio(0.0386), "0.0386×"},
		{en.pValue(0.0004), "<0.001"},
		{ru.pValue(0.0079), "0,008"},
		{en.bytes(256), "256 B"},
		{en.bytes(65536), "64 KiB"},
		{ru.bytes(1 << 20), "1 МиБ"},
		{en.memory(16<<30 - 1), "16.0 GiB"},
		{en.number(-0.001, 1), "0.0"},
		{ru.count(1, ru.Clients), "1 клиент"},
		{ru.count(2, ru.Clients), "2 клиента"},
		{ru.count(11, ru.Clients), "11 клиентов"},
		{ru.count(21, ru.Clients), "21 клиент"},
		{ru.count(64, ru.Clients), "64 клиента"},
		{ru.count(112, ru.Clients), "112 клиентов"},
		{en.count(1, en.Nodes), "1 node"},
		{en.count(3, en.Nodes), "3 nodes"},
		{ru.factorOf(2.1), "2,10 раза"},
		{ru.factorOf(0.5), "2,00 раза"},
		{ru.factorOf(121), "121 раз"},
		{en.tight("p50 4.62 ms at 3 clients, ≥ 95 %"), "p50 4.62\u00a0ms at 3 clients, ≥\u00a095\u00a0%"},
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

func TestUnitFor(t *testing.T) {
	l := newLanguage(English)
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, "µs"}, {[]float64{0}, "µs"}, {[]float64{15e3, 5e6}, "µs"}, {[]float64{0, 5e6}, "ms"}, {[]float64{1e5}, "ms"}, {[]float64{2e9, 1e8}, "s"},
	} {
		if got := unitFor(c.values...).name(l); got != c.want {
			t.Errorf("unit for %v is %s, want %s", c.values, got, c.want)
		}
	}
}

func TestLabel(t *testing.T) {
	m := scenario(t, "quick").folder.Manifest()
	for _, c := range []struct {
		cell string
		lang Lang
		want string
	}{
		{"c01", English, "mdb over inmem at 1 client"},
		{"c08", English, "bolt over tcp at 16 clients"},
		{"c08", Russian, "bolt поверх tcp при 16 клиентах"},
		{"c99", English, "c99"},
	} {
		if got := Label(m, c.cell, c.lang); got != c.want {
			t.Errorf("%s in %s: %q, want %q", c.cell, c.lang, got, c.want)
		}
	}
	one := scenario(t, "one").folder.Manifest()
	if got := Label(one, "c01", English); got != "bolt over tcp" {
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
		{record.Gate{Figure: 2, Limit: 0, Unit: "changes"}, "2"},
		{record.Gate{Figure: 3.254, Limit: 20, Unit: "%"}, "3.25 %"},
	} {
		if got := l.gateFigure(c.gate); got != c.want {
			t.Errorf("%+v: %q, want %q", c.gate, got, c.want)
		}
	}
}
