package stats

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table in docs/statistics.md")

const (
	histories = 200
	levels    = 3 // of the factor that is compared
	strata    = 4 // combinations of the other factors
)

// world says what a machine does to the trials of an experiment.
type world struct {
	drift   float64 // scatter of what all trials of a round share, as a logarithm
	noise   float64 // scatter of a trial's own
	heavy   bool    // noise has the tails of Student's t with 3 degrees of freedom
	outlier float64 // share of trials that take three times as long
	step    float64 // measured values are multiples of so much of their size
	missing float64 // share of trials that are not valid
}

// machines are the worlds in which nothing may be found that is not there.
var machines = []struct {
	name string
	world
}{
	{"lognormal noise of 3 %", world{drift: 0.2, noise: 0.03}},
	{"heavy tails", world{drift: 0.2, noise: 0.03, heavy: true}},
	{"an outlier in 5 % of the trials", world{drift: 0.2, noise: 0.03, outlier: 0.05}},
	{"values in steps of 5 %", world{drift: 0.2, noise: 0.03, step: 0.05}},
	{"a tenth of the trials missing", world{drift: 0.2, noise: 0.03, missing: 0.1}},
}

// trial is what one trial gives: its p50, p99 and throughput, which go together.
type trial [3]float64

func (w world) trial(random *rand.Rand, round, size float64) trial {
	noise := func(scale float64) float64 {
		x := random.NormFloat64()
		if w.heavy {
			squares := 0.0
			for range 3 {
				z := random.NormFloat64()
				squares += z * z
			}
			x /= math.Sqrt(squares) // of scatter 1: t with 3 degrees has √3
		}
		return math.Exp(scale * x)
	}
	p50 := size * round * noise(w.noise)
	if random.Float64() < w.outlier {
		p50 *= 3
	}
	out := trial{p50, 2 * p50 * noise(2*w.noise), 1 / p50 * noise(w.noise/3)}
	for i := range out {
		if w.step > 0 {
			unit := w.step * trial{size, 2 * size, 1 / size}[i]
			out[i] = max(1, math.Round(out[i]/unit)) * unit
		}
	}
	if random.Float64() < w.missing {
		return trial{nan, nan, nan}
	}
	return out
}

// run is an experiment: by stratum, level and quantity, the values by round.
type run [strata][levels][3][]float64

// run makes one with so many rounds; effect gives the factor of a cell's latency.
func (w world) run(random *rand.Rand, rounds int, effect func(stratum, level int) float64) *run {
	var out run
	for range rounds {
		round := math.Exp(w.drift * random.NormFloat64())
		for s := range strata {
			for l := range levels {
				t := w.trial(random, round, effect(s, l)*float64(1+s))
				for q, v := range t {
					out[s][l][q] = append(out[s][l][q], v)
				}
			}
		}
	}
	return &out
}

// comparisons is the family of a report: each level against the first, in each stratum
// and quantity.
func (r *run) comparisons() (family []*Comparison) {
	for s := range strata {
		for l := 1; l < levels; l++ {
			for q := range 3 {
				c := differences(r[s][0][q], r[s][l][q]) // without an interval: that is what takes time
				family = append(family, &c)
			}
		}
	}
	AdjustPaired(family)
	return family
}

// headline is a level's p50 against that of the first over all strata.
func (r *run) headline(level int) *Comparison {
	var each []Comparison
	for s := range strata {
		each = append(each, differences(r[s][0][0], r[s][level][0]))
	}
	x := Stratify(each)
	return &x.Comparison
}

func alike(int, int) float64 { return 1 }

// share counts in how many of the histories something is so.
func share(seed uint64, is func(random *rand.Rand) bool) float64 {
	n := 0
	for i := range histories {
		n += count(is(rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	return float64(n) / histories
}

func anyDiffers(family []*Comparison) bool {
	for _, c := range family {
		if c.Different() {
			return true
		}
	}
	return false
}

func percent(x float64) string { return fmt.Sprintf("%.0f %%", 100*x) }

// table is a table in Markdown.
type table struct{ strings.Builder }

func (t *table) row(cells ...string) { t.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// falsely holds shares of histories in which something was found that is not there to
// [Significance], each up to chance.
type falsely struct{ total, n float64 }

func (f *falsely) add(t *testing.T, what string, found float64) string {
	f.total, f.n = f.total+found, f.n+1
	if chance := 2 * math.Sqrt(Significance*(1-Significance)/histories); found > Significance+chance {
		t.Errorf("%s: something found in %s of %d", what, percent(found), histories)
	}
	return percent(found)
}

func (f *falsely) check(t *testing.T) {
	if f.total/f.n > Significance {
		t.Errorf("something found in %.3f of all", f.total/f.n)
	}
}

// falseAlarms has the share of experiments in which nothing differs and something was
// found, and holds it to 5 %.
func falseAlarms(t *testing.T, out *table) {
	out.row("nothing differs; the machine has", "tables, 6 trials", "tables, 10 trials", "headline, 3 trials", "headline, 6 trials")
	out.row("---", "--:", "--:", "--:", "--:")
	var all falsely
	for i, m := range machines {
		cells := []string{m.name}
		for j, rounds := range []int{6, 10, 3, 6} {
			found := share(uint64(10*i+j), func(r *rand.Rand) bool {
				x := m.run(r, rounds, alike)
				if j < 2 {
					return anyDiffers(x.comparisons())
				}
				statements := []*Comparison{x.headline(1), x.headline(2)}
				AdjustHolm(statements)
				return anyDiffers(statements)
			})
			cells = append(cells, all.add(t, fmt.Sprintf("%s, %d trials", m.name, rounds), found))
		}
		out.row(cells...)
	}
	all.check(t)
}

// power has how often a planted difference of one level is found.
func power(t *testing.T, out *table) {
	out.row("one level differs by", "noise", "trials", "Mann–Whitney, one pair alone", "by round, one pair alone", "in the tables", "in the headline")
	out.row("--:", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, x := range []struct {
		effect, noise           float64
		rounds                  int
		alone, tables, headline float64 // at least
	}{
		{1.05, 0.01, 3, 0, 0, 0.95}, {1.05, 0.01, 6, 0.95, 0.75, 0.95}, {1.05, 0.01, 10, 0.95, 0.95, 0},
		{1.05, 0.03, 3, 0, 0, 0.8}, {1.05, 0.03, 6, 0.4, 0, 0.95}, {1.05, 0.03, 10, 0.8, 0.3, 0}, {1.05, 0.03, 20, 0.95, 0.9, 0},
		{1.10, 0.02, 7, 0.98, 0.9, 0},
	} {
		w := world{drift: 0.2, noise: x.noise}
		planted := func(_, level int) float64 {
			if level == 1 {
				return x.effect
			}
			return 1
		}
		var mann, alone, tables, headline int
		for i := range histories {
			r := w.run(rand.New(rand.NewPCG(uint64(x.rounds), uint64(i))), x.rounds, planted)
			base, other := r[0][0][0], r[0][1][0]
			mann += count(MannWhitney(base, other).P <= Significance)
			alone += count(signFlips([][]float64{differences(base, other).d})[0] <= Significance)
			tables += count(r.comparisons()[0].Different())
			if x.headline > 0 {
				headline += count(r.headline(1).P <= Significance/2) // the first of two, by Holm
			}
		}
		share := func(n int) float64 { return float64(n) / histories }
		last := "–"
		if x.headline > 0 {
			last = percent(share(headline))
		}
		out.row(percent(x.effect-1), percent(x.noise), fmt.Sprint(x.rounds), percent(share(mann)), percent(share(alone)), percent(share(tables)), last)
		if share(alone) < x.alone || share(tables) < x.tables || share(headline) < x.headline {
			t.Errorf("%g at noise %g, %d trials: found %d, %d, %d times of %d", x.effect, x.noise, x.rounds, alone, tables, headline, histories)
		}
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// coverages has how often the interval holds the true ratio, against the coverage that it
// says: of one comparison, and over strata whose ratios are 1 to 4.
func coverages(t *testing.T, out *table) {
	out.row("trials", "the interval says", "lognormal", "heavy tails", "with outliers", "of a headline, the strata unlike")
	out.row("--:", "--:", "--:", "--:", "--:", "--:")
	const times = 500
	unlike := func(stratum, level int) float64 { return math.Pow(float64(1+stratum), float64(level)) }
	for _, rounds := range []int{3, 4, 5, 6, 7, 10} {
		var held [4]int
		tried := [4]int{times * strata, times * strata, times * strata}
		var says [4]float64
		for i := range times {
			random := rand.New(rand.NewPCG(uint64(rounds), uint64(i)))
			for machine := range 3 {
				r := machines[machine].run(random, rounds, alike)
				for s := range strata {
					c := Paired(r[s][0][0], r[s][1][0])
					held[machine] += count(c.CI.Low <= 1 && c.CI.High >= 1)
					says[machine] = c.Coverage
				}
			}
			for n := range strata { // as often as the others
				r := machines[0].run(random, rounds, unlike)
				if rounds >= MinRounds && n > 0 { // but for time
					continue
				}
				var each []Comparison
				for s := range strata {
					each = append(each, differences(r[s][0][0], r[s][1][0]))
				}
				var ci Interval
				ci, says[3] = stratified(each).interval()
				truth := math.Log(1*2*3*4) / strata
				held[3] += count(ci.Low <= truth && ci.High >= truth)
				tried[3]++
			}
		}
		cells := []string{fmt.Sprint(rounds), fmt.Sprintf("%.1f %%", 100*says[0])}
		for i, n := range held {
			real := float64(n) / float64(tried[i])
			if math.Abs(real-says[i]) > 0.03 {
				t.Errorf("column %d, %d trials: coverage %.3f, said %.3f", i, rounds, real, says[i])
			}
			cell := fmt.Sprintf("%.1f %%", 100*real)
			if i == 3 {
				cell += fmt.Sprintf(" (says %.1f %%)", 100*says[i])
			}
			cells = append(cells, cell)
		}
		out.row(cells...)
	}
}

// TestSimulation holds docs/statistics.md to what the statistics do, with fixed seeds.
func TestSimulation(t *testing.T) {
	var out table
	falseAlarms(t, &out)
	out.WriteString("\n")
	power(t, &out)
	out.WriteString("\n")
	coverages(t, &out)
	out.WriteString("\n")
	falseChanges(t, &out)
	out.WriteString("\n")
	foundChanges(t, &out)
	const path, begin, end = "../../docs/statistics.md", "<!-- simulation -->\n", "<!-- /simulation -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	was, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the tables, from %q to %q", path, begin, end)
	}
	if is := "\n" + out.String() + "\n"; was != is {
		if !*update {
			t.Fatalf("%s is not what the simulation gives (-update rewrites it):\n%s", path, is)
		}
		if err := os.WriteFile(path, []byte(before+begin+is+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNeededDecides: with as many trials as [Comparison.Needed] asks for, most comparisons
// are decided; with a third of them, few are.
func TestNeededDecides(t *testing.T) {
	for _, effect := range []float64{1, 1.1} {
		w := world{drift: 0.2, noise: 0.035}
		planted := func(_, level int) float64 { return math.Pow(effect, float64(level)) }
		decided := func(rounds int) float64 {
			return share(9, func(r *rand.Rand) bool {
				x := w.run(r, rounds, planted)
				a, b := Paired(x[0][0][0], x[0][1][0]), differences(x[0][0][0], x[0][2][0])
				AdjustPaired([]*Comparison{&a, &b})
				return a.Verdict(DefaultMargin) > Undecided
			})
		}
		exact := Comparison{N: 2, HasRatio: true, effect: math.Log(effect), scatter: w.noise * math.Sqrt2, family: 2, d: []float64{}}
		needed := exact.Needed(DefaultMargin)
		if few, enough := decided(needed/3), decided(needed); few > 0.2 || enough < 0.7 {
			t.Errorf("effect %g: %d trials needed: decided %s of the time, with a third %s", effect, needed, percent(enough), percent(few))
		}
	}
}
