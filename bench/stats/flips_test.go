package stats

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSums: sums that are looked up by bytes are those of the values chosen.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 140).Draw(t, "n")
		values := rapid.SliceOfN(rapid.Float64Range(-10, 10), n, n).Draw(t, "values")
		some := sample(n)
		from := rapid.IntRange(0, sampled-2).Draw(t, "from")
		sums := make([]float64, 3)
		some.sums(values, from, sums)
		of := newSubsets(values)
		for i, sum := range sums {
			want, size := 0.0, 0
			for v, x := range values {
				if some.bytes[v/8][from+i]>>(v%8)&1 == 1 {
					want, size = want+x, size+1
				}
			}
			near(t, "sum", sum, want, 1e-9)
			if n <= exactRounds || from+i == 0 {
				continue
			}
			if near(t, "sum of a subset", of.sums[from+i-1], want, 1e-9); of.sizes[from+i-1] != size {
				t.Errorf("subset of %d, want %d", of.sizes[from+i-1], size)
			}
		}
	})
}

// TestFlipsAndSplits: they are all different, the one observed comes first.
func TestFlipsAndSplits(t *testing.T) {
	for _, x := range []struct {
		name  string
		c     choices
		first []byte
		ones  int // of each; -1: any
	}{
		{"flips", flips(10), []byte{255, 255}, -1},
		{"a sample", sample(70), slices.Repeat([]byte{255}, 9), -1},
		{"splits", splits(4, 5), []byte{15, 0}, 4},
		{"splits, a sample", splits(20, 20), []byte{255, 255, 15, 0, 0}, 20},
	} {
		seen := map[string]bool{}
		for i := range x.c.count {
			var code []byte
			ones := 0
			for b := range x.c.bytes {
				code, ones = append(code, x.c.bytes[b][i]), ones+bits.OnesCount8(x.c.bytes[b][i])
			}
			if i == 0 && !slices.Equal(code, x.first) || x.ones >= 0 && ones != x.ones {
				t.Errorf("%s: choice %d is %v", x.name, i, code)
			}
			seen[string(code)] = true
		}
		if len(seen) != x.c.count {
			t.Errorf("%s: %d different of %d", x.name, len(seen), x.c.count)
		}
	}
}

// TestRanked is that of sorted values.
func TestRanked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-3, 3), 1, 50).Draw(t, "values")
		k := rapid.IntRange(0, len(values)-1).Draw(t, "k")
		if got, want := ranked(slices.Clone(values), k), slices.Sorted(slices.Values(values))[k]; got != want {
			t.Errorf("%g, want %g", got, want)
		}
	})
}

// TestCurtailed: p up to a limit is the same whether others are worked out to their end.
func TestCurtailed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const arrangements = 500
		values := rapid.SliceOfN(rapid.SliceOfN(rapid.Float64Range(0, 3), arrangements, arrangements), 1, 3).Draw(t, "values")
		values[0][0] += rapid.Float64Range(0, 2).Draw(t, "effect")
		statistics := func(i, from int, out []float64) { copy(out, values[i][from:]) }
		whole, cut := stepDown(len(values), arrangements, 1, statistics), stepDown(len(values), arrangements, 0.2, statistics)
		for i := range whole {
			if (whole[i] <= 0.2 || cut[i] <= 0.2) && whole[i] != cut[i] {
				t.Errorf("%g, and %g where it is curtailed", whole[i], cut[i])
			}
		}
	})
}
