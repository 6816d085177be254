package workload

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
)

// zipfTheta is the exponent of the zipf distribution: YCSB's.
const zipfTheta = 0.99

// Key returns the name of key number i: all have the same length.
func Key(i int) string { return fmt.Sprintf("key-%012d", i) }

// picker chooses key numbers. It is used by one goroutine.
type picker func() int

// newPicker returns the picker of one client out of clients.
func newPicker(s Spec, zipf *zipfTable, client, clients int, rng *rand.Rand) picker {
	switch s.KeyDistribution {
	case Sequential:
		next := client // the clients share the sequence, every clients-th key each
		return func() int {
			i := next
			next = (next + clients) % s.Keys
			return i % s.Keys
		}
	case Zipf:
		spread := newScatter(s.Keys)
		return func() int { return spread.key(zipf.rank(rng.Float64())) }
	default:
		return func() int { return rng.IntN(s.Keys) }
	}
}

// scatter spreads the popular ranks over the key space, so that hot keys are not
// neighbours in the store. Multiplying by step modulo n is a permutation because
// the two have no common divisor: no two ranks share a key, so the frequencies
// stay those of the distribution and every key can be drawn.
type scatter struct{ n, step uint64 }

func newScatter(n int) scatter {
	const golden = 0.6180339887498949 // leaves neighbouring ranks far apart
	s := scatter{n: uint64(n), step: max(1, uint64(golden*float64(n)))}
	for gcd(s.step, s.n) != 1 {
		s.step++
	}
	return s
}

func (s scatter) key(rank int) int {
	hi, lo := bits.Mul64(uint64(rank), s.step)
	return int(bits.Rem64(hi, lo, s.n))
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// zipfTable draws ranks 0 … n-1 with probability proportional to
// 1/(rank+1)^theta: J. Gray et al., "Quickly Generating Billion-Record Synthetic
// Databases", SIGMOD 1994, section 8, as YCSB does. It is read only. The method
// is exact for the two most popular ranks and approximate beyond: the third
// comes up about a sixth too often, the tail within a few percent.
type zipfTable struct {
	n                 int
	zetaN, alpha, eta float64
	half              float64 // 1 + 0.5^theta
}

func newZipf(n int) *zipfTable {
	zetaN := 0.0
	for i := 1; i <= n; i++ {
		zetaN += math.Pow(float64(i), -zipfTheta)
	}
	half := 1 + math.Pow(0.5, zipfTheta)
	z := &zipfTable{n: n, zetaN: zetaN, alpha: 1 / (1 - zipfTheta), half: half}
	z.eta = (1 - math.Pow(2/float64(n), 1-zipfTheta)) / (1 - half/zetaN)
	return z
}

// rank maps a uniform number in [0, 1) to a rank.
func (z *zipfTable) rank(u float64) int {
	uz := u * z.zetaN
	switch {
	case uz < 1:
		return 0
	case uz < z.half:
		return min(1, z.n-1)
	}
	r := int(float64(z.n) * math.Pow(z.eta*u-z.eta+1, z.alpha))
	return min(r, z.n-1)
}
