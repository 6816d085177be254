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
	"github.com/themilchenko/raftlab/bench/workload"
)

// A load whose rate changes is told in few steps, each nearly of one rate. Percentiles over the
// whole window would be of a mix of rates, which nothing else can be set against, and so would
// throughput: a ramp has neither. What it says instead is how far p99 holds.

// maxAboveSlow is how many times its median in the slowest fifth of a ramp p99 may be, for a rate
// to have held it.
const maxAboveSlow = 2

// newRamp takes the steps of a ramp.
func newRamp(s workload.Steps) *Timeline {
	t := newTimeline(s)
	for _, x := range s.All {
		t.Due, t.Failed = append(t.Due, x.Due), append(t.Failed, x.Failed)
	}
	return t
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

// slowFifth is the part of a list, which is by step, that is of the lowest rates.
func slowFifth[T any](byStep []T, l *experiment.Load) []T {
	n := (len(byStep) + 4) / 5
	if l.RateTo < l.Rate {
		return byStep[len(byStep)-n:]
	}
	return byStep[:n]
}

// held is the rate of a ramp beyond which p99 stays above so many times its median in the slowest
// fifth: between the middles of two steps, where the line between their p99, on a logarithmic
// scale, is at that. A single step above says nothing: beyond what a group can take, all are. If
// it never stays above, it is the greatest rate that there is, and more is not known.
func held(ramp *measure.Timeline, l *experiment.Load) (rate float64, atLeast, there bool) {
	p99, rates := slices.Clone(ramp.Window("latency.p99")), slices.Clone(ramp.Window("offered"))
	slow := slices.DeleteFunc(slices.Clone(slowFifth(p99, l)), math.IsNaN)
	if len(slow) == 0 {
		return 0, false, false
	}
	if l.RateTo < l.Rate {
		slices.Reverse(p99)
		slices.Reverse(rates)
	}
	limit, steps := maxAboveSlow*median(slow), len(p99) // that hold: one of the slow ones at least
	for steps > 0 && !(p99[steps-1] <= limit) {
		steps--
	}
	if steps == len(p99) {
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
	of := func(list []int64) (sum int64) {
		for _, n := range slowFifth(list[d.Ramp.Warmup:], l) {
			sum += n
		}
		return sum
	}
	return of(d.Ramp.Due), of(d.Ramp.Completed), of(d.Ramp.Failed)
}

// rampGates stand where a load of one rate has those that ask for the whole of it: a ramp is
// there to go beyond what a group takes, so it is enough if the group could take its beginning.
func (d *Data) rampGates(l *experiment.Load) (load, errors, steady, queue record.Gate) {
	due, completed, failed := d.atSlow(l)
	percent := func(n int64) float64 { return 100 * float64(n) / float64(max(1, due)) }
	skip := func(name, unit string, limit float64) record.Gate {
		return record.Gate{Name: name, Verdict: record.Skip, Unit: unit, Limit: limit, Reason: "the rate changes by design"}
	}
	load = measure.AtLeast("load", "%", percent(completed), minLoadPercent, fmt.Sprintf(
		"%.1f %% of the scheduled rate was reached in the slowest fifth of the ramp; let it begin at a lower rate", percent(completed)))
	errors = measure.AtMost("errors", "%", percent(failed), maxErrorPercent, fmt.Sprintf("%d of %d operations failed in the slowest fifth of the ramp", failed, due))
	return load, errors, skip("steady", "×", maxRising), skip("queue", "%", maxQueuedPercent)
}

// validateRamp checks that the steps of a ramp agree with what is told of the whole window.
func (d *Data) validateRamp() error {
	if err := d.Ramp.validate(d.WindowNS); err != nil {
		return fmt.Errorf("ramp: %w", err)
	}
	if n := len(d.Ramp.Completed); len(d.Ramp.Due) != n || len(d.Ramp.Failed) != n || len(d.Ramp.P99US) != n || len(d.Ramp.P50US) != n {
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
		En: "Percentiles and throughput over the whole window would be of a mix of rates and are not given; nor is it asked whether the window was steady. It is told in at most 20 steps, each nearly of one rate. p99 holds up to the rate beyond which it stays above %[1]d times its median in the slowest fifth of the ramp, by the line between the middles of two steps. The checks of load and errors are of that fifth, since a ramp may go beyond what the group takes; late starts count until the first operation had to wait in line.",
		Ru: "Перцентили и пропускная способность за всё окно относились бы к смеси интенсивностей и не приводятся; постоянство внутри окна не проверяется. Окно разбито не более чем на 20 шагов, на каждом интенсивность почти постоянна. p99 держится до той интенсивности, выше которой он всё время больше своей медианы на пятой части окна с наименьшей интенсивностью более чем в %[1]d раза, — по прямой между серединами двух шагов. Проверки нагрузки и ошибок относятся к этой пятой части, поскольку нагрузка может превысить предел группы; опоздания учитываются до первой операции, которой пришлось ждать в очереди.",
	}, maxAboveSlow)
}
