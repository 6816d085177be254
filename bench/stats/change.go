package stats

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// MinRuns is the smallest number of runs in which a change can be found: with eight, a
	// change in their middle is as likely by chance as 2 in 70.
	MinRuns = 8

	minSegment   = 2   // runs between two changes
	rearranged   = 999 // orders of the runs that are tried
	noDifference = 1e-12
)

// Change is a point at which a quantity changed from one run to the next.
type Change struct {
	At            int     // index of the first run after it
	Before, After float64 // medians of the runs from and up to the next change
	P             float64 // adjusted for the number of series
}

// Course is how a series went over the runs.
type Course struct {
	Changes []Change
	Scatter float64 // standard deviation of the logarithms between two changes
}

// Changes finds where series changed; series[i][t] is positive and of run t, NaN where the
// run does not have it. It is the E-divisive procedure with α = 1 on logarithms (Matteson
// & James, A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data,
// JASA 109, 2014): of all ways to part a series, that with the largest energy statistic
// is a change if few orders of the runs give as large a one, and the parts are searched
// likewise. As all series see the same orders, those of one round of the search are one
// family ([AdjustPaired] has the procedure): that there is any change found where nothing
// changed has a probability of at most [Significance].
func Changes(series [][]float64) []Course {
	all := make([]*parted, len(series))
	searched := make([]*parted, 0, len(series))
	for i, values := range series {
		all[i] = newParted(values)
		searched = append(searched, all[i])
	}
	orders := orders(series)
	for len(searched) > 0 {
		p := stepDown(len(searched), len(orders), Significance, func(i, from int, out []float64) {
			for a := range out {
				out[a], _ = searched[i].farthest(orders[from+a])
			}
		})
		var further []*parted
		for i, x := range searched {
			if p[i] > Significance {
				continue
			}
			_, at := x.farthest(orders[0])
			x.starts, x.p = append(x.starts, at), append(x.p, p[i])
			further = append(further, x)
		}
		searched = further
	}
	out := make([]Course, len(series))
	for i, x := range all {
		out[i] = x.course()
	}
	return out
}

// orders returns orders of the runs, the one observed first.
func orders(series [][]float64) [][]int {
	runs := 0
	for _, values := range series {
		runs = max(runs, len(values))
	}
	random := rand.New(rand.NewPCG(uint64(runs), rearranged))
	out := make([][]int, 1+rearranged)
	keys := make([]float64, runs)
	for i := range out {
		for run := range keys {
			out[i] = append(out[i], run)
			if keys[run] = float64(run); i > 0 {
				keys[run] = random.Float64()
			}
		}
		slices.SortFunc(out[i], func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	}
	return out
}

// parted is a series with the changes found so far.
type parted struct {
	values  []float64 // logarithms by run, NaN where it has none
	runs    []int     // those that have a value
	starts  []int     // indices into runs of the parts but the first, in the order found
	p       []float64 // of each
	scratch [3][]float64
}

func newParted(values []float64) *parted {
	x := &parted{values: make([]float64, len(values))}
	for t, v := range values {
		if x.values[t] = math.NaN(); v > 0 && finite(v) {
			x.runs, x.values[t] = append(x.runs, t), math.Log(v)
		}
	}
	for i := range x.scratch {
		x.scratch[i] = make([]float64, len(values)+1)
	}
	return x
}

// parts returns the bounds of the parts, as indices into runs.
func (x *parted) parts() []int {
	return append(append([]int{0}, slices.Sorted(slices.Values(x.starts))...), len(x.runs))
}

// logs are the values from one index into runs up to another.
func (x *parted) logs(from, to int) (out []float64) {
	for _, run := range x.runs[from:to] {
		out = append(out, x.values[run])
	}
	return out
}

// farthest returns the largest energy statistic of a division of any part, in units of the
// mean distance within the part, and where it divides. Within parts, runs are in the order
// given.
func (x *parted) farthest(order []int) (most float64, at int) {
	bounds := x.parts()
	for i, from := range bounds[:len(bounds)-1] {
		if bounds[i+1]-from < 2*minSegment {
			continue
		}
		first, last := x.runs[from], x.runs[bounds[i+1]-1]
		values := x.scratch[0][:0]
		for _, run := range order {
			if run >= first && run <= last && !math.IsNaN(x.values[run]) {
				values = append(values, x.values[run])
			}
		}
		if q, j := divide(values, x.scratch[1], x.scratch[2]); q > most {
			most, at = q, from+j
		}
	}
	return most, at
}

// divide finds the division of values with the largest energy statistic Q(τ, κ), eq. (5) to
// (7) of the paper: between the first τ values and the next ones up to κ. It is in units
// of the mean distance between two values, which no order changes.
func divide(values, within, toFirst []float64) (most float64, at int) {
	n := len(values)
	// Distances are summed up over pairs: within[k] over those of the first k values, and
	// toFirst[j], once τ is reached, from value j to the first τ.
	within, toFirst = within[:n+1], toFirst[:n]
	clear(toFirst)
	within[0] = 0
	for j, b := range values {
		sum := 0.0
		for _, a := range values[:j] {
			sum += math.Abs(a - b)
		}
		within[j+1] = within[j] + sum
	}
	unit := 2 * within[n] / float64(n*(n-1))
	if unit < noDifference {
		return 0, 0
	}
	for first := 1; first <= n-minSegment; first++ {
		a, added, across := float64(first), values[first-1], 0.0
		left := within[first] / max(1, a-1)
		for j := first; j < n; j++ {
			toFirst[j] += math.Abs(values[j] - added)
			across += toFirst[j]
			b := float64(j + 1 - first)
			if first < minSegment || b < minSegment {
				continue
			}
			right := (within[j+1] - within[first] - across) / (b - 1)
			if q := (across - b*left - a*right) / (a + b); q > most {
				most, at = q, first
			}
		}
	}
	return 2 * most / unit, at
}

// course returns what was found, in the order of the runs.
func (x *parted) course() Course {
	var out Course
	bounds := x.parts()
	squares, before := 0.0, 0.0
	for part, from := range bounds[:len(bounds)-1] {
		logs := x.logs(from, bounds[part+1])
		squares += math.Pow(deviation(logs), 2) * float64(len(logs)-1)
		level := math.Exp(Median(logs))
		if part > 0 {
			found := slices.Index(x.starts, from)
			out.Changes = append(out.Changes, Change{At: x.runs[from], Before: before, After: level, P: x.p[found]})
		}
		before = level
	}
	if free := len(x.runs) - len(bounds) + 1; free > 0 {
		out.Scatter = math.Sqrt(squares / float64(free))
	}
	return out
}
