package peak

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
)

// Name is what experiments and records call the kind, and version the form of its data.
const (
	Name    = "peak"
	version = 2 // 1 had no Served
)

// Data is what one trial measured: the closed loop, then the rates in the order in which they
// were tried.
type Data struct {
	Served int64 `json:"served,omitempty"` // operations before the first that did not fail
	Tries  []Try `json:"tries"`
}

// bounds are the greatest rate that was sustained, nil: none was, and the search as it ended.
func (d Data) bounds(p99 time.Duration) (best *Try, s search) {
	s = newSearch(d.Tries[0].Throughput)
	for i := range d.Tries[1:] {
		x := &d.Tries[i+1]
		s.next = x.Rate
		held := x.holds(p99)
		if s.takes(held); held {
			best = x
		}
	}
	return best, s
}

// minOperations is how many a window must have had for its p99 to say anything.
const minOperations = 100

// gates: did the search come to an end, and does what it found rest on enough operations?
func (d Data) gates(cell *record.CellInfo, s settings) []record.Gate {
	best, bounds := d.bounds(s.P99)
	last := d.Tries[len(d.Tries)-1]
	reason := fmt.Sprintf("after %d rates the one that holds and the one that does not are still %.0f %% apart: raise peak.tries", len(d.Tries)-1, 100*bounds.gap())
	if best == nil {
		reason = fmt.Sprintf("no rate held a p99 of %s, the last one tried being %.1f op/s with %s: raise peak.p99", s.P99, last.Rate, time.Duration(last.P99NS))
	}
	seen := int64(0)
	if best != nil {
		seen = best.Operations
	}
	out := []record.Gate{
		measure.AtMost("search", "%", 100*bounds.gap(), 100*s.Tolerance, reason),
		measure.AtLeast("samples", "ops", float64(seen), minOperations, fmt.Sprintf("only %d operations at the sustained rate: give a longer load.duration", seen)),
	}
	if cell.WarmAfter > 0 {
		out = append(out, load.ColdGate(cell, d.Served))
	}
	return out
}

func read(cell *record.CellInfo, t *record.Trial) (measure.Values, error) {
	var d Data
	if there, err := t.Get(Name, version, &d); !there || err != nil {
		return measure.Values{}, err
	}
	s, err := settingsOf(cell.Cell)
	if err == nil {
		err = d.validate()
	}
	if err != nil {
		return measure.Values{}, fmt.Errorf("%w: %w", record.ErrDamaged, err)
	}
	v := measure.Values{Scalars: map[string]float64{"closed": d.Tries[0].Throughput, "tries": float64(len(d.Tries) - 1)}}
	best, bounds := d.bounds(s.P99)
	if best != nil {
		v.Scalars["sustained"] = best.Rate
		v.Scalars["p50"], v.Scalars["p99"] = float64(best.P50NS)/1e9, float64(best.P99NS)/1e9
	}
	if !math.IsInf(bounds.high, 1) {
		v.Scalars["beyond"] = bounds.high
	}
	return v, nil
}

// validate checks what can be told of the tries alone.
func (d Data) validate() error {
	bad := func(t Try) bool {
		return !(t.Rate >= 0 && t.Rate <= maxRate && t.Throughput >= 0 && t.Throughput <= 1e12) ||
			t.P50NS < 0 || t.P99NS < t.P50NS || t.Failed < 0 || t.Operations < t.Failed
	}
	open := func(t Try) bool { return t.Rate > 0 }
	if d.Served < 0 {
		return fmt.Errorf("peak: %d operations before the first try", d.Served)
	}
	if len(d.Tries) == 0 || open(d.Tries[0]) || slices.ContainsFunc(d.Tries[1:], func(t Try) bool { return !open(t) }) {
		return fmt.Errorf("peak: want a closed loop, and then rates")
	}
	if i := slices.IndexFunc(d.Tries, bad); i >= 0 {
		return fmt.Errorf("peak: try %d cannot be: %+v", i, d.Tries[i])
	}
	return nil
}

// check sees that each rate is the one that the search makes of those before, and that the
// gate is that of the tries.
func check(cell *record.CellInfo, t *record.Trial, _ measure.Values) []measure.Contradiction {
	var d Data
	s, bad := settingsOf(cell.Cell)
	if there, err := t.Get(Name, version, &d); !there || err != nil || bad != nil || t.Failure != "" || len(d.Tries) == 0 {
		return nil
	}
	var out []measure.Contradiction
	refuse := func(wrong bool, field string, is, want any) {
		if wrong {
			out = append(out, measure.Contradiction{Field: field, Printed: fmt.Sprint(is), Computed: fmt.Sprint(want)})
		}
	}
	bounds := newSearch(d.Tries[0].Throughput)
	for i, x := range d.Tries[1:] {
		want := min(bounds.next, maxRate)
		refuse(math.Abs(x.Rate-want) > 1e-9*want, fmt.Sprintf("tries.%d.rate", i+1), x.Rate, want)
		bounds.next = x.Rate
		bounds.takes(x.holds(s.P99))
	}
	refuse(len(d.Tries)-1 > s.Tries, "tries", len(d.Tries)-1, s.Tries)
	refuse(d.Served > cell.WarmupOperations, "served", d.Served, fmt.Sprintf("at most %d", cell.WarmupOperations))
	again := d.gates(cell, s)
	for _, want := range again {
		there := slices.ContainsFunc(t.Gates, func(g record.Gate) bool { return g.Name == want.Name })
		refuse(!there, "gates."+want.Name, "", "a verdict")
	}
	return append(out, measure.Rejudge(t, again...)...)
}

// Kind returns the kind of measurement.
func Kind() *measure.Kind {
	beside := load.Kind()
	return &measure.Kind{
		Name: Name, Settings: defaults(), Load: true, Quick: map[string]int64{"tries": 4},
		Accept: accept, Room: beside.Room, Planned: planned, Run: run, Read: read, Check: check,
		Gates: []string{"search", "samples", "leader", "clock"}, Quantities: quantities(), Answer: []string{"sustained"},
		Columns: beside.Columns, Figures: figures(), Method: method,
	}
}

// planned is how long all tries but one last at least: few searches need them all.
func planned(cell experiment.Cell) time.Duration {
	const few = 6
	return few * time.Duration(cell.Load.Warmup+cell.Load.Duration)
}

func quantities() []measure.Quantity {
	rate := func(key, en, ru, column string, role measure.Role) measure.Quantity {
		return measure.Quantity{Key: key, Name: measure.Text{En: en, Ru: ru}, Unit: measure.OpsPerSecond, Role: role, Column: column, Decimals: 2}
	}
	seconds := func(key, column string) measure.Quantity {
		return measure.Quantity{Key: key, Name: measure.Text{En: key + " at it", Ru: key + " при ней"}, Unit: measure.Seconds, Role: measure.Shown, Column: column, Scale: 1e-6, Decimals: 3}
	}
	sustained := rate("sustained", "sustained rate", "устойчивая интенсивность", "sustained_ops", measure.Compared)
	sustained.Long = measure.Text{En: "greatest rate that holds the target", Ru: "наибольшая интенсивность, при которой предел не превышен"}
	return []measure.Quantity{
		sustained, seconds("p99", "p99_us"), seconds("p50", "p50_us"),
		rate("beyond", "does not hold", "предел превышен при", "beyond_ops", measure.Shown),
		rate("closed", "closed loop", "замкнутый цикл", "closed_ops", measure.Shown),
		{Key: "tries", Name: measure.Text{En: "rates tried", Ru: "проб"}, Column: "tries"},
	}
}

func figures() []measure.Figure {
	return []measure.Figure{{
		Name: "sustained", Form: measure.ByLevel, Quantities: []string{"sustained"},
		Title: measure.Text{En: "Sustained rate", Ru: "Устойчивая интенсивность"}, Axis: measure.Text{En: "rate", Ru: "интенсивность"},
		Caption: measure.Text{
			En: "The greatest rate whose p99 stayed below the target: medians over the trials with 95 % intervals.",
			Ru: "Наибольшая интенсивность, при которой p99 не превышает предела: медианы по испытаниям с 95-процентными доверительными интервалами.",
		},
	}}
}

// method says how the figures came about, and of which load.
func method(cells []*record.CellInfo, w measure.Words) []measure.Item {
	of := func(say func(settings) string) string {
		return measure.Distinct(cells, ", ", func(c *record.CellInfo) string {
			s, err := settingsOf(c.Cell)
			if err != nil {
				return ""
			}
			return say(s)
		})
	}
	items := slices.DeleteFunc(load.Kind().Method(cells, w), func(i measure.Item) bool {
		return i.Term == w.Say(measure.Text{En: "Latency", Ru: "Задержка"})
	})
	return append(items, measure.Item{Term: w.Say(measure.Text{En: "Search", Ru: "Поиск"}), Text: measure.Fill(w, measure.Text{
		En: "A trial begins with the closed loop, and takes its throughput for the first rate of an open loop. A rate holds if the p99 of its latency, counted from the scheduled start, is at most %[1]s, at least 95 %% of it completed in the window and at most 0.1 %% failed. While rates hold they are doubled, while none does they are halved, and then the next one is the geometric mean of the greatest that held and the least that did not, until those are within %[2]s of each other. Each rate has warm-up and window of its own, in the same group. The sustained rate is one that was tried and held; a single window can hold by luck, which the trials’ scatter shows.",
		Ru: "Испытание начинается с замкнутого цикла; его пропускная способность — первая интенсивность открытого. Интенсивность выдержана, если p99 задержки, отсчитанной от запланированного начала, не больше %[1]s, в окне завершилось не меньше 95 %% операций и не больше 0,1 %% закончились ошибкой. Пока интенсивности выдерживаются, они удваиваются, пока нет — делятся пополам, затем берётся среднее геометрическое наибольшей выдержанной и наименьшей невыдержанной, пока между ними не останется %[2]s. У каждой свой прогрев и своё окно, группа одна и та же. Устойчивая интенсивность — одна из опробованных и выдержанных; одно окно может быть выдержано случайно, это видно по разбросу испытаний.",
	}, of(func(s settings) string { return w.Duration(experiment.Duration(s.P99)) }), of(func(s settings) string { return w.Number(100*s.Tolerance) + " %" }))})
}
