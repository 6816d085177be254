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
	if !one(CheckWindow("c01", []int64{100, 100, 7, 130, 130}), WindowDrift) || CheckWindow("", []int64{100, 100, 110, 110}) != nil {
		t.Error("CheckWindow")
	}
	if !one(CheckWindow("", []int64{100, 100, 70, 70}), WindowDrift) || !one(CheckWindow("", []int64{0, 0, 70, 70}), WindowDrift) {
		t.Error("CheckWindow downwards or from zero")
	}
	if CheckWindow("", []int64{1, 1, 3, 3}) != nil || CheckWindow("", []int64{100, 900}) != nil {
		t.Error("CheckWindow judges too little")
	}
	if !one(CheckMachine([]float64{100, 0, 250}), MachineDrift) || CheckMachine([]float64{100, 200}) != nil || CheckMachine(nil) != nil {
		t.Error("CheckMachine")
	}
	if !one(CheckSpread("p50", Summarize([]float64{8, 10, 12})), HighSpread) || CheckSpread("p50", Summarize([]float64{9, 10, 11})) != nil {
		t.Error("CheckSpread")
	}
}
