package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/core/size"
)

// Sizes is a distribution of whole numbers of at least 1: sizes of values in bytes, or
// lengths of scans. The zero value is none. It is read only, and as text it is one of, or
// several of these with a share before each, which add up to 100 %:
//
//	1KiB                                       always that
//	64B..4KiB                                  each number between with the same probability
//	lognormal median 1KiB sigma 1.5 max 64KiB  sigma is that of the logarithm; what is larger than max becomes max
//	90% 64B, 10% 1KiB..4KiB                    the first of nine in ten, the second of the others
type Sizes struct {
	text  string
	parts []sizeRange
}

// sizeRange is the range [low, high] or, with a sigma, a lognormal distribution.
type sizeRange struct {
	share, upTo   float64 // upTo adds up the shares
	low, high     int
	median, sigma float64
}

// maxSize is far above what any part takes.
const maxSize = 1 << 30

// ParseSizes reads a distribution. The error says what is wanted.
func ParseSizes(text string) (Sizes, error) {
	s := Sizes{text: strings.Join(strings.Fields(text), " ")}
	fields := strings.Split(text, ",")
	total := 0.0
	for _, field := range fields {
		words := strings.Fields(field)
		p := sizeRange{share: 1}
		if len(fields) > 1 {
			percent, ok := strings.CutSuffix(first(words), "%")
			share, err := strconv.ParseFloat(percent, 64)
			if !ok || err != nil || !(share > 0 && share <= 100) {
				return Sizes{}, fmt.Errorf(`%q: want a share of the whole first, such as "90%% 64B"`, strings.TrimSpace(field))
			}
			p.share, words = share/100, words[1:]
		}
		if err := p.parse(words); err != nil {
			return Sizes{}, err
		}
		total += p.share
		p.upTo = total
		s.parts = append(s.parts, p)
	}
	if math.Abs(total-1) > 1e-6 {
		return Sizes{}, fmt.Errorf("the shares add up to %g%%, not to 100%%", math.Round(1e6*total)/1e4)
	}
	s.parts[len(s.parts)-1].upTo = 1 // whatever rounding has left
	return s, nil
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func (p *sizeRange) parse(words []string) (err error) {
	one := func(text string) (n int) {
		v, bad := size.Parse(text)
		if err == nil && (bad != nil || v < 1 || v > maxSize) {
			err = fmt.Errorf("%q: want a size from 1B to 1GiB", text)
		}
		return int(min(v, maxSize))
	}
	if first(words) == "lognormal" {
		if len(words) != 7 || words[1] != "median" || words[3] != "sigma" || words[5] != "max" {
			return fmt.Errorf(`%q: want "lognormal median 1KiB sigma 1.5 max 64KiB"`, strings.Join(words, " "))
		}
		p.median, p.low, p.high = float64(one(words[2])), 1, one(words[6])
		sigma, bad := strconv.ParseFloat(words[4], 64)
		if p.sigma = sigma; bad != nil || !(sigma > 0 && sigma <= 10) {
			return fmt.Errorf("sigma %s: want a number above 0, at most 10", words[4])
		}
		if err == nil && p.median > float64(p.high) {
			err = fmt.Errorf("median %s is above max %s", words[2], words[6])
		}
		return err
	}
	if len(words) == 0 || len(words) > 2 {
		return fmt.Errorf(`%q: want a size such as "1KiB", a range such as "64B..4KiB", or "lognormal median 1KiB sigma 1.5 max 64KiB"`, strings.Join(words, " "))
	}
	low, high, isRange := strings.Cut(strings.Join(words, ""), "..")
	p.low = one(low)
	p.high = p.low
	if isRange {
		p.high = one(high)
	}
	if err == nil && p.low > p.high {
		err = fmt.Errorf("%s..%s: want the smaller size first", low, high)
	}
	return err
}

// String writes the distribution as ParseSizes reads it.
func (s Sizes) String() string { return s.text }

// draw takes a number out of the distribution; it costs no random number where there is one
// possibility.
func (s *Sizes) draw(rng *rand.Rand) int {
	p := &s.parts[0]
	if len(s.parts) > 1 {
		for at, u := 0, rng.Float64(); u >= p.upTo; {
			at++
			p = &s.parts[at]
		}
	}
	switch {
	case p.sigma > 0:
		x := p.median * math.Exp(p.sigma*rng.NormFloat64())
		return int(min(max(math.Round(x), 1), float64(p.high)))
	case p.low == p.high:
		return p.low
	}
	return p.low + rng.IntN(p.high-p.low+1)
}

// Mean is the expectation of the distribution, that of the capped lognormal E[min(X, max)]
// without the rounding to whole numbers.
func (s Sizes) Mean() float64 {
	mean := 0.0
	for _, p := range s.parts {
		m := float64(p.low+p.high) / 2
		if p.sigma > 0 {
			mu, most := math.Log(p.median), float64(p.high)
			z := (math.Log(most) - mu) / p.sigma
			m = math.Exp(mu+p.sigma*p.sigma/2)*normal(z-p.sigma) + most*(1-normal(z))
		}
		mean += p.share * m
	}
	return mean
}

// normal is the distribution function of the standard normal distribution.
func normal(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// Max is the largest number of the distribution.
func (s Sizes) Max() int {
	most := 0
	for _, p := range s.parts {
		most = max(most, p.high)
	}
	return most
}
