package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// course is a series with the autocorrelation rho about 1, with a scatter of 10 %.
func course(random *rand.Rand, n int, rho float64) []float64 {
	out, x := make([]float64, n), 0.0
	for i := range out {
		x = rho*x + math.Sqrt(1-rho*rho)*random.NormFloat64()
		out[i] = 1 + 0.1*x
	}
	return out
}

func TestAutocorrelation(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, rho := range []float64{0, 0.5, 0.9} {
		x := course(random, 20000, rho)
		near(t, "autocorrelation", Autocorrelation(x), rho, 0.02)
		near(t, "share that is effective", float64(Effective(1e6, x))/1e6, (1-rho)/(1+rho), 0.03)
	}
	for _, x := range [][]float64{nil, {1, 2, 3}, slices.Repeat([]float64{5}, 50)} {
		if Autocorrelation(x) != 0 || Effective(7, x) != 7 {
			t.Errorf("%v: %g", x, Autocorrelation(x))
		}
	}
}

// TestSteadiness: a trend is found, and in what has none hardly ever is one warned of, even
// if it is correlated.
func TestSteadiness(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const tries = 400
	for _, rho := range []float64{0, 0.5} {
		chance, falseFound, found := 0, 0, 0
		for range tries {
			x := course(random, 50, rho)
			if TrendOf(x).P <= Significance {
				chance++
			}
			falseFound += len(CheckWindow("", x)) + len(CheckWarmup("", x[:25], x[25:]))
			for i := range x {
				x[i] *= 1 + 0.5*float64(i)/50
			}
			found += len(CheckWindow("", x))
		}
		if rho == 0 && chance > tries/10 || falseFound > tries/20 || found < tries*9/10 {
			t.Errorf("autocorrelation %g, of %d series: trend by chance in %d, warned of in %d; with a trend in %d", rho, tries, chance, falseFound, found)
		}
	}
}

func TestWindowAndWarmup(t *testing.T) {
	flat, up := slices.Repeat([]float64{100, 101, 99}, 10), make([]float64, 30)
	for i := range up {
		up[i] = 100 + 3*float64(i)
	}
	one := func(ws []Warning, code Code) bool { return len(ws) == 1 && ws[0].Code == code }
	if !one(CheckWindow("1", up), WindowDrift) || CheckWindow("1", flat) != nil || CheckWindow("1", up[:3]) != nil {
		t.Error("CheckWindow")
	}
	started := append(make([]float64, 15), flat[:15]...)
	if w := CheckWindow("1", started); !one(w, WindowDrift) || w[0].Have != 1000 {
		t.Errorf("from zero: %v", w)
	}
	if !one(CheckWarmup("1", up, flat), WarmupShort) || CheckWarmup("1", flat, flat) != nil || CheckWarmup("1", nil, flat) != nil || CheckWarmup("1", flat[:5], up) != nil {
		t.Error("CheckWarmup")
	}
}
