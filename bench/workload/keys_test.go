package workload

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestScatterIsAPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5000).Draw(t, "n")
		s := newScatter(n)
		seen := make([]bool, n)
		for rank := range n {
			key := s.key(rank)
			if key < 0 || key >= n || seen[key] {
				t.Fatalf("n=%d: rank %d shares key %d", n, rank, key)
			}
			seen[key] = true
		}
	})
}

func TestZipfFrequencies(t *testing.T) {
	const n, draws = 1000, 400_000
	z := newZipf(n)
	rng := rand.New(rand.NewPCG(1, 2))
	count := make([]float64, n)
	for range draws {
		count[z.rank(rng.Float64())]++
	}
	wantSum, sum := 0.0, 0.0
	for rank := range n {
		p := math.Pow(float64(rank+1), -zipfTheta) / z.zetaN
		wantSum += p
		sum += count[rank] / draws
		// The method is exact for the first two ranks and approximate after.
		if sigma := math.Sqrt(p * (1 - p) / draws); rank < 2 && math.Abs(count[rank]/draws-p) > 6*sigma {
			t.Errorf("rank %d comes up %.5f, want %.5f", rank, count[rank]/draws, p)
		}
		if math.Abs(sum-wantSum) > 0.02 {
			t.Fatalf("the first %d ranks come up %.4f, want %.4f", rank+1, sum, wantSum)
		}
	}
}

func TestZipfOfFewKeys(t *testing.T) {
	for n := 1; n <= 4; n++ {
		z := newZipf(n)
		for _, u := range []float64{0, 0.3, 0.7, math.Nextafter(1, 0)} {
			if r := z.rank(u); r < 0 || r >= n {
				t.Errorf("n=%d: rank %d of %g", n, r, u)
			}
		}
	}
}

func TestUniformKeys(t *testing.T) {
	s := testSpec()
	s.Keys = 50
	const draws = 50000
	pick := newPicker(s, nil, 0, 1, rand.New(rand.NewPCG(1, 2)))
	count := make([]float64, s.Keys)
	for range draws {
		count[pick()]++
	}
	chi2, want := 0.0, float64(draws)/float64(s.Keys)
	for _, c := range count {
		chi2 += (c - want) * (c - want) / want
	}
	if chi2 > 110 { // 49 degrees of freedom: mean 49, standard deviation 10
		t.Errorf("chi-squared %.1f", chi2)
	}
}

// TestSequentialClientsShareTheKeys: together they go through every key once
// before any comes again.
func TestSequentialClientsShareTheKeys(t *testing.T) {
	s := testSpec()
	s.KeyDistribution, s.Keys = Sequential, 12
	seen := map[int]int{}
	for client := range 4 {
		pick := newPicker(s, nil, client, 4, nil)
		for range 3 {
			seen[pick()]++
		}
		if again := pick(); again != client {
			t.Errorf("client %d starts over with key %d", client, again)
		}
	}
	if len(seen) != s.Keys {
		t.Errorf("%d of %d keys", len(seen), s.Keys)
	}
}

func TestKeysHaveOneLength(t *testing.T) {
	if a, b := (Spec{}).Key(0), (Spec{}).Key(999_999_999); len(a) != len(b) || a >= b {
		t.Errorf("%q and %q", a, b)
	}
	for _, size := range []int{7, 16, 300} {
		s := testSpec()
		s.KeyBytes = size
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		keys := newShared(s).keys
		if first, last := keys[0], keys[s.Keys-1]; len(first) != size || len(last) != size || first >= last {
			t.Errorf("of %d bytes: %q and %q", size, first, last)
		}
	}
	if plain := (Spec{}).Key(7); (Spec{KeyBytes: len(plain)}).Key(7) != plain {
		t.Errorf("a key of as many bytes as %q is another", plain)
	}
}
