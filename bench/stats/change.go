package stats

import (
	"cmp"
	"iter"
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
	for len(searched) > 0 {
		p := stepDown(len(searched), orders(series), func(i int, order []float64) float64 {
			q, _ := searched[i].farthest(order)
			return q
		})
		var further []*parted
		for i, x := range searched {
			if p[i] > Significance {
				continue
			}
			_, at := x.farthest(nil)
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

// orders yields orders of the runs, as keys to sort them by, the one observed first. The
// slice is valid until the next one.
func orders(series [][]float64) iter.Seq[[]float64] {
	return func(yield func([]float64) bool) {
		runs := 0
		for _, values := range series {
			runs = max(runs, len(values))
		}
		keys := make([]float64, runs)
		for i := range keys {
			keys[i] = float64(i)
		}
		random := rand.New(rand.NewPCG(uint64(runs), rearranged))
		for tried := 0; tried <= rearranged && yield(keys); tried++ {
			for i := range keys {
				keys[i] = random.Float64()
			}
		}
	}
}

// parted is a series with the changes found so far.
type parted struct {
	runs   []int     // those that have a value
	logs   []float64 // their logarithms
	starts []int     // indices into runs of the parts but the first, in the order found
	p      []float64 // of each
}

func newParted(values []float64) *parted {
	x := &parted{}
	for t, v := range values {
		if v > 0 { // and not NaN
			x.runs, x.logs = append(x.runs, t), append(x.logs, math.Log(v))
		}
	}
	return x
}

// parts returns the bounds of the parts.
func (x *parted) parts() []int {
	return append(append([]int{0}, slices.Sorted(slices.Values(x.starts))...), len(x.logs))
}

// farthest returns the largest energy statistic of a division of any part, in units of the
// mean distance within the part, and where it divides. Within parts, runs are sorted by
// the keys in order.
func (x *parted) farthest(order []float64) (most float64, at int) {
	bounds := x.parts()
	for i, from := range bounds[:len(bounds)-1] {
		values := slices.Clone(x.logs[from:bounds[i+1]])
		if order != nil {
			places := make([]int, len(values))
			for j := range places {
				places[j] = from + j
			}
			slices.SortFunc(places, func(a, b int) int { return cmp.Compare(order[x.runs[a]], order[x.runs[b]]) })
			for j, place := range places {
				values[j] = x.logs[place]
			}
		}
		if q, j := divide(values); q > most {
			most, at = q, from+j
		}
	}
	return most, at
}

// divide finds the division of values with the largest energy statistic Q(τ, κ), eq. (5) to
// (7) of the paper: between the first τ values and the next ones up to κ. It is in units
// of the mean distance between two values, which no order changes.
func divide(values []float64) (most float64, at int) {
	n := len(values)
	if n < 2*minSegment {
		return 0, 0
	}
	sums := make([][]float64, n+1) // sums[i][j]: of the distances of the first i values to the first j
	sums[0] = make([]float64, n+1)
	for i, a := range values {
		sums[i+1] = make([]float64, n+1)
		row := 0.0
		for j, b := range values {
			row += math.Abs(a - b)
			sums[i+1][j+1] = sums[i][j+1] + row
		}
	}
	unit := sums[n][n] / float64(n*(n-1))
	if unit < noDifference {
		return 0, 0
	}
	for first := minSegment; first <= n-minSegment; first++ {
		for to := first + minSegment; to <= n; to++ {
			a, b := float64(first), float64(to-first)
			across := sums[first][to] - sums[first][first]
			within := sums[first][first]/(a*(a-1)) + (sums[to][to]-sums[first][to]-across)/(b*(b-1))
			if q := a * b / (a + b) * (2*across/(a*b) - within) / unit; q > most {
				most, at = q, first
			}
		}
	}
	return most, at
}

// course returns what was found, in the order of the runs.
func (x *parted) course() Course {
	var out Course
	bounds := x.parts()
	squares, before := 0.0, 0.0
	for part, from := range bounds[:len(bounds)-1] {
		logs := x.logs[from:bounds[part+1]]
		squares += math.Pow(deviation(logs), 2) * float64(len(logs)-1)
		level := math.Exp(Median(logs))
		if part > 0 {
			found := slices.Index(x.starts, from)
			out.Changes = append(out.Changes, Change{At: x.runs[from], Before: before, After: level, P: x.p[found]})
		}
		before = level
	}
	if free := len(x.logs) - len(bounds) + 1; free > 0 {
		out.Scatter = math.Sqrt(squares / float64(free))
	}
	return out
}
