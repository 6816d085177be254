package load

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
)

// A load whose rate changes is told in few steps, each nearly of one rate. Percentiles over the
// whole window would be of a mix of rates, which nothing else can be set against, and so would
// throughput: a ramp has neither. What it says instead is how far p99 holds.

// maxAboveSlow is how many times its median in the slowest fifth of a ramp p99 may be, for a rate
// to have held it.
const maxAboveSlow = 2

// newRamp takes the steps of a ramp.
func newRamp(m *workload.Result) *Timeline {
	t := newTimeline(m.Ramp)
	for _, x := range m.Ramp.All {
		t.Due, t.Failed = append(t.Due, x.Due), append(t.Failed, x.Failed)
	}
	t.LagP99US = newTimeline(m.RampLag).P99US
	return t
}

// opened is how many connections were opened in each step, none before the window.
func (t *Timeline) opened(samples []system.Usage, opened time.Time, window time.Duration) []float64 {
	out := make([]float64, len(t.Completed))
	for i := range out[t.Warmup:] {
		from := time.Duration(int64(i) * t.StepNS)
		to := min(from+time.Duration(t.StepNS), window)
		out[t.Warmup+i], _ = between(samples, opened.Add(from), opened.Add(to), func(u system.Usage) int64 { return u.Opened })
	}
	return out
}

// rateAt is the rate that the schedule has at a time after the window has opened.
func rateAt(l *experiment.Load, since time.Duration) float64 {
	s := workload.Spec{Rate: l.Rate, RateTo: l.RateTo, Duration: time.Duration(l.Duration)}
	return s.RateAt(max(0, since))
}

// offered adds the rate of the schedule, at the middle of each step.
func offered(t *measure.Timeline, l *experiment.Load) {
	for i := range t.Lines["throughput"] {
		begin := t.Begin + time.Duration(i)*t.Step
		t.Lines["offered"] = append(t.Lines["offered"], rateAt(l, begin+min(t.Step, time.Duration(l.Duration)-begin)/2))
	}
}

// alongRamp puts what a ramp says step by step.
func (d *Data) alongRamp(v *measure.Values, l *experiment.Load, failed time.Duration) {
	v.Ramp = d.Ramp.lines(d.WindowNS, failed.Seconds())
	for _, n := range d.Ramp.Due {
		v.Ramp.Lines[measure.Samples] = append(v.Ramp.Lines[measure.Samples], float64(n))
	}
	offered(v.Ramp, l)
	if v.Timeline != nil {
		offered(v.Timeline, l)
	}
	if rate, atLeast, there := held(v.Ramp, l); there {
		due, _, _ := d.atSlow(l)
		v.Scalars["held"], v.AtLeast, v.Unsure = rate, map[string]bool{"held": atLeast}, map[string]bool{"held": !stats.Reliable(990, due)}
	}
}

// leaveOutMixed takes away what is of all rates of a ramp together.
func leaveOutMixed(v *measure.Values) {
	for name := range v.Distributions {
		if name != "lag" {
			delete(v.Distributions, name)
		}
	}
	for key := range v.Scalars {
		if strings.HasPrefix(key, "kind.") || strings.HasSuffix(key, "throughput") || strings.HasSuffix(key, ".mean") || strings.HasSuffix(key, ".effective") {
			delete(v.Scalars, key)
		}
	}
}

// fifth is how many of so many steps are the fifth that is judged by itself.
func fifth(steps int) int { return (steps + 4) / 5 }

// slowest adds up a list of a ramp over so many steps of the window, those of the lowest rates.
func slowest[N int64 | float64](t *Timeline, list []N, steps int, l *experiment.Load) (sum N) {
	list = list[min(t.Warmup, len(list)):]
	for i := range min(steps, len(list)) {
		if l.RateTo < l.Rate {
			i = len(list) - 1 - i
		}
		sum += list[i]
	}
	return sum
}

// byRate is a line of a ramp, the lowest rates first.
func byRate(ramp *measure.Timeline, key string, l *experiment.Load) []float64 {
	line := slices.Clone(ramp.Window(key))
	if l.RateTo < l.Rate {
		slices.Reverse(line)
	}
	return line
}

// holding is in how many steps of a ramp, those of the lowest rates, p99 holds: in those beyond it
// stays above the limit, so many times its median in the slowest fifth. A single step above says
// nothing: beyond what a group can take, all are. 0: there is no p99 to begin with.
func holding(ramp *measure.Timeline, l *experiment.Load) (steps int, limit float64) {
	p99 := byRate(ramp, "latency.p99", l)
	slow := slices.DeleteFunc(slices.Clone(p99[:fifth(len(p99))]), math.IsNaN)
	if len(slow) == 0 {
		return 0, 0
	}
	limit = maxAboveSlow * median(slow)
	for steps = len(p99); !(p99[steps-1] <= limit); {
		steps--
	}
	return steps, limit
}

// held is the rate up to which p99 holds: between the middles of two steps, where the line between
// their p99, on a logarithmic scale, is at the limit. If it holds all along, it is the greatest
// rate that there is, and more is not known.
func held(ramp *measure.Timeline, l *experiment.Load) (rate float64, atLeast, there bool) {
	steps, limit := holding(ramp, l)
	p99, rates := byRate(ramp, "latency.p99", l), byRate(ramp, "offered", l)
	switch steps {
	case 0:
		return 0, false, false
	case len(p99):
		return l.TopRate(), true, true
	}
	below, above := p99[steps-1], p99[steps]
	share := math.Log(limit/below) / math.Log(above/below)
	if math.IsNaN(above) {
		share = 0.5
	}
	return rates[steps-1] + share*(rates[steps]-rates[steps-1]), false, true
}

// atSlow is what happened in the slowest fifth of a ramp.
func (d *Data) atSlow(l *experiment.Load) (due, completed, failed int64) {
	steps := fifth(len(d.Ramp.Due) - d.Ramp.Warmup)
	of := func(list []int64) int64 { return slowest(d.Ramp, list, steps, l) }
	return of(d.Ramp.Due), of(d.Ramp.Completed), of(d.Ramp.Failed)
}

// rampGates stand in place of those of one rate: a ramp is there to go beyond what a group takes, so
// it is enough if the group could take its beginning.
func (d *Data) rampGates(cell *record.CellInfo, v measure.Values) []record.Gate {
	due, completed, failed := d.atSlow(&cell.Load)
	percent := func(n int64) float64 { return 100 * float64(n) / float64(max(1, due)) }
	skip := func(name, unit string, limit float64) record.Gate {
		return record.Gate{Name: name, Verdict: record.Skip, Unit: unit, Limit: limit, Reason: "the rate changes by design"}
	}
	out := []record.Gate{
		measure.AtLeast("load", "%", percent(completed), minLoadPercent, fmt.Sprintf(
			"%.1f %% of the scheduled rate was reached in the slowest fifth of the ramp; let it begin at a lower rate", percent(completed))),
		measure.AtMost("errors", "%", percent(failed), maxErrorPercent, fmt.Sprintf("%d of %d operations failed in the slowest fifth of the ramp", failed, due)),
		d.clientGate(apart(cell)),
		skip("steady", "×", maxRising),
	}
	steps, _ := holding(v.Ramp, &cell.Load)
	if d.Opened != nil {
		out = append(out, connectionsGate(slowest(d.Ramp, d.Ramp.Opened, steps, &cell.Load), float64(slowest(d.Ramp, d.Ramp.Completed, steps, &cell.Load))))
	}
	return append(out, rampLateness(v.Ramp, &cell.Load, steps), skip("queue", "%", maxQueuedPercent))
}

// rampLateness is the lateness gate where p99 holds: beyond, operations have to wait for others, and
// for processors that have too much to do.
func rampLateness(ramp *measure.Timeline, l *experiment.Load, steps int) record.Gate {
	lag, p99 := byRate(ramp, "lag.p99", l), byRate(ramp, "latency.p99", l)
	var shares []float64
	for i := range min(steps, len(lag)) {
		if share := 100 * lag[i] / p99[i]; !math.IsNaN(share) {
			shares = append(shares, share)
		}
	}
	percent := median(shares)
	return measure.AtMost("lateness", "%", percent, maxLatePercent, fmt.Sprintf(
		"where p99 holds, operations were started late by %.0f %% of their latency, both at p99: the load generator could not keep its schedule", percent))
}

// validateRamp checks that the steps of a ramp agree with what is told of the whole window.
func (d *Data) validateRamp() error {
	if err := d.Ramp.validate(d.WindowNS); err != nil {
		return fmt.Errorf("ramp: %w", err)
	}
	if n := len(d.Ramp.Completed); len(d.Ramp.Due) != n || len(d.Ramp.Failed) != n || len(d.Ramp.P99US) != n || len(d.Ramp.P50US) != n || len(d.Ramp.LagP99US) != n {
		return fmt.Errorf("load: ramp: lists that are not as long as the others")
	}
	for what, x := range map[string]struct {
		list []int64
		want int64
	}{
		"due": {d.Ramp.Due, d.Scheduled}, "completed": {d.Ramp.Completed, d.Writes.Completed + d.Reads.Completed},
		"failed": {d.Ramp.Failed, d.Writes.Failed + d.Reads.Failed},
	} {
		if sum := d.Ramp.sum(x.list); sum != x.want {
			return fmt.Errorf("load: ramp: the steps add up to %d %s, the window to %d", sum, what, x.want)
		}
	}
	return nil
}

// checkRamp finds a step of a ramp in which other operations were due than the rate asks for: of
// those that come at equal gaps, each end of a step may have one more or less.
func (d *Data) checkRamp(l *experiment.Load) []measure.Contradiction {
	if (d.Ramp != nil) != l.Ramps() {
		return []measure.Contradiction{{Field: "ramp", Printed: fmt.Sprint(d.Ramp != nil), Computed: fmt.Sprintf("load.rate_to = %g", l.RateTo)}}
	}
	if d.Ramp == nil || l.Arrival == workload.Poisson {
		return nil
	}
	for i, due := range d.Ramp.Due[d.Ramp.Warmup:] {
		from := time.Duration(int64(i) * d.Ramp.StepNS)
		to := min(from+time.Duration(d.Ramp.StepNS), time.Duration(d.WindowNS))
		want := (rateAt(l, from) + rateAt(l, to)) / 2 * (to - from).Seconds()
		if math.Abs(float64(due)-want) > 2 {
			return []measure.Contradiction{{
				Field: fmt.Sprintf("ramp.due[%d]", d.Ramp.Warmup+i), Printed: fmt.Sprint(due), Computed: fmt.Sprintf("%.1f by the schedule", want),
			}}
		}
	}
	return nil
}

func rampQuantity() measure.Quantity {
	return measure.Quantity{
		Key: "held", Name: measure.Text{En: "p99 holds up to", Ru: "p99 держится до"},
		Long: measure.Text{En: "the rate up to which p99 holds", Ru: "интенсивность, до которой держится p99"},
		Unit: measure.OpsPerSecond, Role: measure.Compared, More: true, Column: "held_ops", Decimals: 2, Some: true,
	}
}

func rampTable() measure.Table {
	return measure.Table{
		Title: measure.Text{En: "Along the ramp", Ru: "По ходу изменения интенсивности"},
		Along: []string{"offered", "throughput", "latency.p50", "latency.p99"}, Result: true,
		Note: measure.Text{
			En: "A row for each step of the window, whose rate changes: the rate at the middle of the step, and medians over the trials. Latency is that of the operations that were to start in the step, throughput that of those that completed in it.",
			Ru: "Строка — шаг окна, интенсивность в котором меняется: интенсивность в середине шага и медианы по испытаниям. Задержка относится к операциям, которые должны были начаться на шаге, пропускная способность — к завершившимся на нём.",
		},
	}
}

func rampFigure() measure.Figure {
	return measure.Figure{
		Name: "ramp", Form: measure.OverRamp, Quantities: []string{"offered", "latency.p50", "latency.p99", "throughput"},
		Title: measure.Text{En: "Latency over the offered load", Ru: "Задержка в зависимости от интенсивности"},
		Caption: measure.Text{
			En: "p50, p99 and throughput in each step of the window, whose rate changes, over the rate at the middle of the step: medians over the trials with their intervals.",
			Ru: "p50, p99 и пропускная способность на каждом шаге окна, интенсивность в котором меняется, в зависимости от интенсивности в середине шага: медианы по испытаниям с доверительными интервалами.",
		},
	}
}

// rampText says how a ramp is judged; empty where there is none.
func rampText(cells []*record.CellInfo, w measure.Words) string {
	if !slices.ContainsFunc(cells, func(c *record.CellInfo) bool { return c.Load.Ramps() }) {
		return ""
	}
	return measure.Fill(w, measure.Text{
		En: "Percentiles and throughput over the whole window would be of a mix of rates and are not given; nor is it asked whether the window was steady. It is told in at most 20 steps, each nearly of one rate. p99 holds up to the rate beyond which it stays above %[1]d times its median in the slowest fifth of the ramp, by the line between the middles of two steps. The checks of load and errors are of that fifth, since a ramp may go beyond what the group takes, and those of late starts and opened connections of all steps in which p99 holds.",
		Ru: "Перцентили и пропускная способность за всё окно относились бы к смеси интенсивностей и не приводятся; постоянство внутри окна не проверяется. Окно разбито не более чем на 20 шагов, на каждом интенсивность почти постоянна. p99 держится до той интенсивности, выше которой он всё время больше своей медианы на пятой части окна с наименьшей интенсивностью более чем в %[1]d раза, — по прямой между серединами двух шагов. Проверки нагрузки и ошибок относятся к этой пятой части, поскольку нагрузка может превысить предел группы, а проверки опозданий и открытых соединений — ко всем шагам, на которых p99 держится.",
	}, maxAboveSlow)
}
