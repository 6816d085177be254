package stats

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// encode returns the histogram of values in nanoseconds as a trial holds it.
func encode(t testing.TB, values []int64) string {
	t.Helper()
	h := record.NewHistogram()
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	text, err := record.EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRowAgainstSortedValues checks every figure of a row against the samples
// themselves: within the 0.1 % that three digits leave.
func TestRowAgainstSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []int64 {
		out := make([]int64, n)
		for i := range out {
			out[i] = 1 + random.Int64N(1<<(1+random.IntN(24)))
		}
		return out
	}
	for range 20 { // seeded by hand: a hundred rapid checks take too long under -race
		writes, reads := values(1+random.IntN(200)), values(random.IntN(3)*random.IntN(50))
		trial := record.Trial{
			TrialID: record.TrialID{Cell: "c01", Trial: 1}, WindowNS: 2e9,
			Writes:   record.Kind{Completed: int64(len(writes)), Hist: encode(t, writes)},
			Reads:    record.Kind{Completed: int64(len(reads)), Failed: 3, Hist: encode(t, reads)},
			Commands: 20, SyncsPerNode: []uint64{20, 40}, CPUNS: 3e9, LoadNS: 2e9,
		}
		row, err := NewRow(&record.CellInfo{}, &trial)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(writes, reads)
		checkLatency(t, "all", row.All, all)
		checkLatency(t, "writes", row.Writes.Latency, writes)
		checkLatency(t, "reads", row.Reads.Latency, reads)
		near(t, "throughput", row.Throughput, float64(len(all))/2, 1e-9)
		near(t, "syncs per command", row.SyncsPerCommand, 1.5, 1e-9)
		near(t, "cores", row.CPUCores, 1.5, 1e-9)
		if row.Errors != 3 || row.Window != 2*time.Second || !row.Valid {
			t.Errorf("row: %+v", row)
		}
		pooled, err := Pool([]record.Trial{trial, trial})
		if err != nil || pooled.TotalCount() != int64(2*len(all)) {
			t.Errorf("pooled %d samples of twice %d, %v", pooled.TotalCount(), len(all), err)
		}
	}
}

func checkLatency(t testing.TB, name string, got Latency, values []int64) {
	if len(values) == 0 {
		if got != (Latency{}) {
			t.Errorf("%s: %+v of no samples", name, got)
		}
		return
	}
	sorted := slices.Sorted(slices.Values(values))
	sum := 0.0
	for _, v := range sorted {
		sum += float64(v)
	}
	rank := func(perMille int) float64 { return float64(sorted[max(1, (len(sorted)*perMille+500)/1000)-1]) }
	within := func(what string, got, want float64) { near(t, name+" "+what, got, want, 1+want/1000) }
	within("mean", got.Mean, sum/float64(len(sorted)))
	within("p50", float64(got.P50), rank(500))
	within("p90", float64(got.P90), rank(900))
	within("p99", float64(got.P99), rank(990))
	within("p99.9", float64(got.P999), rank(999))
	within("max", float64(got.Max), rank(1000))
	if got.Samples != int64(len(values)) {
		t.Errorf("%s: %d samples, want %d", name, got.Samples, len(values))
	}
}

func TestRowOfAnInvalidTrial(t *testing.T) {
	trial := record.Trial{Failure: "the store is full"}
	row, err := NewRow(&record.CellInfo{}, &trial)
	if err != nil || row.Valid || row.Reason != "the store is full" || row.Throughput != 0 || row.HasSyncs {
		t.Errorf("%+v, %v", row, err)
	}
	trial.Writes.Hist = "nonsense"
	if _, err := NewRow(&record.CellInfo{}, &trial); err == nil {
		t.Error("a damaged histogram makes a row")
	}
}

func TestChecks(t *testing.T) {
	one := func(ws []Warning, code Code) bool { return len(ws) == 1 && ws[0].Code == code }
	if !one(CheckTail(999, 9999), FewSamples) || CheckTail(999, 10000) != nil || !one(CheckTail(990, 999), FewSamples) || CheckTail(990, 0) != nil {
		t.Error("CheckTail")
	}
	if w := CheckTail(999, 5000); w[0].Subject != "p99.9" || w[0].Have != 5 {
		t.Errorf("CheckTail: %+v", w)
	}
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
	if !one(CheckTrials(4, 5), InvalidTrials) || CheckTrials(5, 5) != nil {
		t.Error("CheckTrials")
	}
}

// TestWarningsSaySomething: each warning has a sentence of its own.
func TestWarningsSaySomething(t *testing.T) {
	seen := map[string]bool{}
	for _, code := range []Code{FewTrials, CannotDiffer, LoneDifference, ZeroBase, FewSamples, WindowDrift, HighSpread, MachineDrift, InvalidTrials} {
		text := Warning{Code: code, Subject: "x", Have: 1, Want: 2}.String()
		if text == string(code) || seen[text] {
			t.Errorf("%s: %q", code, text)
		}
		seen[text] = true
	}
}
