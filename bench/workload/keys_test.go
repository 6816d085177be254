package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

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

// frequencies draws many times and compares how often each number came up with what it
// should, by a chi-squared test that passes all but about one true distribution in a billion.
// Numbers that should come up less than ten times are taken together.
func frequencies(t *testing.T, draws int, draw func() int, want []float64) {
	t.Helper()
	count := make([]float64, len(want))
	for range draws {
		count[draw()]++
	}
	chi2, cells, restIs, restWant := 0.0, 0.0, 0.0, 0.0
	add := func(is, want float64) { chi2, cells = chi2+(is-want)*(is-want)/want, cells+1 }
	for i, p := range want {
		switch w := p * float64(draws); {
		case w >= 10:
			add(count[i], w)
		case w == 0 && count[i] > 0:
			t.Errorf("%d comes up, and should not", i)
		default:
			restIs, restWant = restIs+count[i], restWant+w
		}
	}
	if restWant >= 10 {
		add(restIs, restWant)
	}
	if d := cells - 1; chi2 > d+6*math.Sqrt(2*d)+18 {
		t.Errorf("chi-squared %.1f at %.0f degrees of freedom", chi2, d)
	}
}

// zipfian is the distribution of zipf.
func zipfian(n int, exponent float64) []float64 {
	p, sum := make([]float64, n), 0.0
	for i := range p {
		p[i] = math.Pow(float64(i+1), -exponent)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func TestZipfFrequencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 1000, 100_000} {
		for _, exponent := range []float64{0.01, 0.5, 0.99, 1, 1.2, 3, 10} {
			z := newZipf(7, exponent)
			z.resize(n)
			t.Run(fmt.Sprintf("n=%d exponent=%g", n, exponent), func(t *testing.T) {
				frequencies(t, 20_000, func() int { return z.draw(rng) }, zipfian(n, exponent))
			})
		}
	}
	z := newZipf(1_000_000_000, DefaultZipfExponent)
	for range 20_000 {
		if r := z.draw(rng); r < 0 || r >= z.n {
			t.Fatalf("rank %d", r)
		}
	}
}

func TestKeyFrequencies(t *testing.T) {
	const n, draws = 200, 40_000
	uniform, hot := make([]float64, n), make([]float64, n)
	for i := range n {
		uniform[i], hot[i] = 1.0/n, 0.2/180
		if i < 20 {
			hot[i] = 0.8 / 20
		}
	}
	zipf, latest := make([]float64, n), make([]float64, n)
	for rank, p := range zipfian(n, 0.8) {
		zipf[newScatter(n).key(rank)] = p
		latest[n-1-rank] = p
	}
	for distribution, want := range map[string][]float64{Uniform: uniform, Zipf: zipf, Latest: latest, HotSpot: hot} {
		t.Run(distribution, func(t *testing.T) {
			s := testSpec()
			s.KeyDistribution, s.Keys, s.ZipfExponent, s.HotKeys, s.HotOperations = distribution, n, 0.8, 0.1, 0.8
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			frequencies(t, draws, newPicker(made(s), 0, 1, rand.New(rand.NewPCG(1, 2))), want)
		})
	}
}

// TestHotSpotMoves: the hot part goes on by its own size, round the keys.
func TestHotSpotMoves(t *testing.T) {
	s := testSpec()
	s.KeyDistribution, s.Keys, s.HotKeys, s.HotOperations, s.HotMoves = HotSpot, 100, 0.3, 1, time.Hour
	sh := made(s)
	for moves, first := range map[time.Duration]int{0: 0, 1: 30, 2: 60, 3: 90, 10: 0, 11: 30} {
		sh.begin(time.Now().Add(-moves*time.Hour - time.Minute))
		pick := newPicker(sh, 0, 1, rand.New(rand.NewPCG(1, 2)))
		for range 1000 {
			if i := pick(); (i-first+100)%100 >= 30 {
				t.Fatalf("key %d after %d moves, want 30 keys from %d on", i, moves, first)
			}
		}
	}
}

// TestGrowth: what is there is what has ended without a gap, in whatever order it ends.
func TestGrowth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &growth{}
		g.begin(10)
		ended := map[int64]bool{}
		for _, i := range rapid.Permutation([]int64{10, 11, 12, 13, 14, 15, 16}).Draw(t, "order") {
			_ = g.End(&Op{added: i}, Times{}, nil)
			ended[i] = true
			want := int64(10)
			for ended[want] {
				want++
			}
			if got := g.all(); got != int(want) {
				t.Fatalf("%d keys are there, want %d", got, want)
			}
		}
	})
}

// TestGrowthOfMany: no end is lost among many at once.
func TestGrowthOfMany(t *testing.T) {
	g := &growth{}
	g.begin(1)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5_000 {
				_ = g.End(&Op{added: g.next.Add(1) - 1}, Times{}, nil)
			}
		})
	}
	all.Wait()
	if got := g.all(); got != 40_001 {
		t.Errorf("%d keys are there, want 40001", got)
	}
}

// TestSequentialClientsShareTheKeys: together they go through every key once
// before any comes again.
func TestSequentialClientsShareTheKeys(t *testing.T) {
	s := testSpec()
	s.KeyDistribution, s.Keys = Sequential, 12
	seen := map[int]int{}
	for client := range 4 {
		pick := newPicker(made(s), client, 4, nil)
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
		keys := made(s).keys
		if first, last := keys[0], keys[s.Keys-1]; len(first) != size || len(last) != size || first >= last {
			t.Errorf("of %d bytes: %q and %q", size, first, last)
		}
	}
	if plain := (Spec{}).Key(7); (Spec{KeyBytes: len(plain)}).Key(7) != plain {
		t.Errorf("a key of as many bytes as %q is another", plain)
	}
}
