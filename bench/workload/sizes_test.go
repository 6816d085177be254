package workload

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for text, want := range map[string]struct {
		mean float64
		max  int
	}{
		"1KiB":                {1024, 1024},
		" 256 ":               {256, 256},
		"64B..4KiB":           {2080, 4096},
		"64 B .. 64":          {0, 0}, // too many words
		"1..100":              {50.5, 100},
		"90% 64B, 10% 1KiB":   {160, 1024},
		"50% 1..3,50% 5..7":   {4, 7},
		"33% 1, 33% 2, 34% 3": {2.01, 3},
		"lognormal median 1KiB sigma 1.5 max 64KiB":               {3015.97, 65536},
		"lognormal median 100 sigma 0.1 max 1MiB":                 {100.5, 1 << 20},
		"75% lognormal median 100 sigma 0.1 max 1MiB, 25% 1..1MB": {0, 1 << 20},
	} {
		s, err := ParseSizes(text)
		if want.max == 0 {
			if err == nil {
				t.Errorf("%q was taken", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if again, err := ParseSizes(s.String()); err != nil || again.Mean() != s.Mean() || s.Max() != want.max {
			t.Errorf("%q: %q, %v, max %d", text, s, err, s.Max())
		}
		if want.mean == 0 {
			want.mean = s.Mean()
		}
		const draws = 40_000
		sum, squares := 0.0, 0.0
		for range draws {
			x := float64(s.draw(rng))
			if x < 1 || x > float64(want.max) {
				t.Fatalf("%q: %g", text, x)
			}
			sum, squares = sum+x, squares+x*x
		}
		mean := sum / draws
		sigma := math.Sqrt((squares/draws - mean*mean) / draws)
		if math.Abs(s.Mean()-want.mean) > 0.05 || math.Abs(mean-want.mean) > 6*sigma+0.05 {
			t.Errorf("%q: mean %.2f, drawn %.2f, want %.2f", text, s.Mean(), mean, want.mean)
		}
	}
}

func TestSizesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "want a size",
		"lots":                                   `"lots": want a size from 1B to 1GiB`,
		"0":                                      "want a size from 1B",
		"2GiB":                                   "to 1GiB",
		"4KiB..64B":                              "the smaller size first",
		"64B, 1KiB":                              `want a share of the whole first, such as "90% 64B"`,
		"90% 64B, 20% 1KiB":                      "add up to 110%",
		"NaN% 64B, 20% 1KiB":                     "want a share",
		"90% 64B,":                               "want a share",
		"100%, 5% 4":                             "want a size",
		"lognormal 1KiB 2 3":                     "lognormal median 1KiB sigma",
		"lognormal median 1KiB sigma x max 4KiB": "sigma x",
		"lognormal median 8KiB sigma 1 max 4KiB": "median 8KiB is above max 4KiB",
	} {
		if _, err := ParseSizes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseSizes(f *testing.F) {
	for _, seed := range []string{"1KiB", "64B..4KiB", "90% 64B, 10% 1..2", "lognormal median 1KiB sigma 1.5 max 64KiB", "%", ",", ".."} {
		f.Add(seed)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSizes(text)
		if err != nil {
			return
		}
		if n := s.draw(rng); n < 1 || n > s.Max() {
			t.Fatalf("%q: %d of at most %d", text, n, s.Max())
		}
		if m := s.Mean(); !(m > 0 && m <= float64(s.Max())+1) {
			t.Fatalf("%q: mean %g", text, m)
		}
		if again, err := ParseSizes(s.String()); err != nil || again.Mean() != s.Mean() {
			t.Fatalf("%q reads back as %q, %v", text, again, err)
		}
	})
}
