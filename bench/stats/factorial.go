package stats

import "math"

// Allocation says which share of the variation of a quantity's logarithm over a full
// factorial design each factor explains. [Allocate] makes it. All shares add up to 1, but
// where nothing varies: then they are 0.
type Allocation struct {
	Rounds int       // rounds that all cells have; only those count
	Main   []float64 // by factor
	Pairs  []Pair    // interactions of two factors
	Higher float64   // interactions of three and more together
	ByTime float64   // what all cells of a round have in common
	Rest   float64   // trials: what nothing of the above explains
}

// Pair is the interaction of the factors of two indices, A < B.
type Pair struct {
	A, B  int
	Share float64
}

// Allocate allocates variation after Jain, The Art of Computer Systems Performance
// Analysis, 1991, ch. 17, 18 and 22, with rounds as blocks. levels has the number of
// levels of each factor; cells has the values of each cell by round, NaN where there is
// none, the level of the last factor changing fastest. It reports false where the design
// is not full, no round is whole or some value is not positive.
func Allocate(levels []int, cells [][]float64) (Allocation, bool) {
	size := 1
	for _, n := range levels {
		size *= n
	}
	if len(levels) == 0 || len(cells) != size {
		return Allocation{}, false
	}
	y, ok := wholeRounds(cells) // by round, then by cell
	if !ok {
		return Allocation{}, false
	}
	// share is what is explained by the mean of each group of values alone.
	share := func(groups int, of func(round, cell int) int) float64 {
		total := variation(y, len(y)*size, func(r, c int) int { return r*size + c })
		if total <= 1e-20 { // rounding: all values are equal
			return 0
		}
		return variation(y, groups, of) / total
	}
	// level is that of a factor in a cell.
	level := func(cell, factor int) int {
		for f := len(levels) - 1; f > factor; f-- {
			cell /= levels[f]
		}
		return cell % levels[factor]
	}
	out := Allocation{Rounds: len(y)}
	explained := share(size, func(_, c int) int { return c })
	out.ByTime = share(len(y), func(r, _ int) int { return r })
	out.Rest = max(0, share(len(y)*size, func(r, c int) int { return r*size + c })-explained-out.ByTime)
	out.Higher = explained
	for f, n := range levels {
		out.Main = append(out.Main, share(n, func(_, c int) int { return level(c, f) }))
		out.Higher -= out.Main[f]
	}
	for a := range levels {
		for b := a + 1; b < len(levels); b++ {
			both := share(levels[a]*levels[b], func(_, c int) int { return level(c, a)*levels[b] + level(c, b) })
			p := Pair{a, b, max(0, both-out.Main[a]-out.Main[b])}
			out.Pairs = append(out.Pairs, p)
			out.Higher -= p.Share
		}
	}
	out.Higher = max(0, out.Higher)
	return out, true
}

// variation is the sum of squares, over all values, of the means of their groups about the
// grand mean.
func variation(y [][]float64, groups int, of func(round, cell int) int) float64 {
	sums, counts, grand, n := make([]float64, groups), make([]float64, groups), 0.0, 0.0
	for r, values := range y {
		for c, v := range values {
			g := of(r, c)
			sums[g], counts[g] = sums[g]+v, counts[g]+1
			grand, n = grand+v, n+1
		}
	}
	out := 0.0
	for g, sum := range sums {
		far := sum/counts[g] - grand/n
		out += counts[g] * far * far
	}
	return out
}

// wholeRounds returns the logarithms of those rounds that every cell has.
func wholeRounds(cells [][]float64) ([][]float64, bool) {
	var out [][]float64
	for r := 0; ; r++ {
		values := make([]float64, len(cells))
		whole := true
		for c, x := range cells {
			if r >= len(x) {
				return out, len(out) > 0
			}
			switch {
			case !finite(x[r]):
				whole = false
			case x[r] <= 0:
				return nil, false
			default:
				values[c] = math.Log(x[r])
			}
		}
		if whole {
			out = append(out, values)
		}
	}
}
