package stats

import "testing"

func TestReliable(t *testing.T) {
	for _, c := range []struct {
		perMille int
		samples  int64
		want     bool
	}{{999, 9999, false}, {999, 10000, true}, {990, 999, false}, {990, 1000, true}, {500, 20, true}, {500, 19, false}, {990, 0, false}} {
		if got := Reliable(c.perMille, c.samples); got != c.want {
			t.Errorf("%d ‰ of %d samples: %t", c.perMille, c.samples, got)
		}
	}
}

func TestChecks(t *testing.T) {
	one := func(ws []Warning, code Code) bool { return len(ws) == 1 && ws[0].Code == code }
	if !one(CheckMachine([]float64{100, 0, 250}), MachineDrift) || CheckMachine([]float64{100, 200}) != nil || CheckMachine(nil) != nil {
		t.Error("CheckMachine")
	}
	if !one(CheckSpread("p50", Summarize([]float64{8, 10, 12})), HighSpread) || CheckSpread("p50", Summarize([]float64{9, 10, 11})) != nil {
		t.Error("CheckSpread")
	}
}
