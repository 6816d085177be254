package workload

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// shared is what all generators of a load read.
type shared struct {
	spec   Spec
	keys   []string
	zipf   *zipfTable // nil unless it is used
	values []byte     // random, so that no layer can compress them: values are cut from it
}

// spareBytes is how many different values there are at least.
const spareBytes = 1 << 16

func newShared(s Spec) *shared {
	const stream = 0x76616c756573 // "values"
	rng := rand.New(rand.NewPCG(s.Seed, stream))
	sh := &shared{spec: s, keys: make([]string, s.Keys), values: make([]byte, s.ValueBytes+spareBytes)}
	for i := range sh.values {
		sh.values[i] = byte(rng.Uint32())
	}
	for i := range sh.keys {
		sh.keys[i] = s.Key(i)
	}
	if s.KeyDistribution == Zipf {
		sh.zipf = newZipf(s.Keys)
	}
	return sh
}

// generator makes the operations of one client; the open loop has a single one.
type generator struct {
	*shared
	rng  *rand.Rand
	pick picker
}

func (sh *shared) generator(client, clients int) *generator {
	rng := rand.New(rand.NewPCG(sh.spec.Seed, uint64(client)))
	return &generator{shared: sh, rng: rng, pick: newPicker(sh.spec, sh.zipf, client, clients, rng)}
}

// pauseAfterFailure keeps the clients of a target that refuses everything from
// taking the CPU that it needs to recover.
const pauseAfterFailure = time.Millisecond

// Next implements Source.
func (g *generator) Next(op *Op, last error) (wait time.Duration, ok bool) {
	if last != nil {
		wait = pauseAfterFailure
	}
	*op = Op{Key: g.keys[g.pick()]}
	if g.spec.ReadRatio > 0 && g.rng.Float64() < g.spec.ReadRatio {
		op.Kind = Read
		return wait, true
	}
	offset := g.rng.IntN(spareBytes)
	op.Value = g.values[offset : offset+g.spec.ValueBytes : offset+g.spec.ValueBytes]
	return wait, true
}

const (
	keyPrefix       = "key-"
	defaultKeyBytes = len(keyPrefix) + 12
)

// Key returns the name of key number i. All keys of a load have the same length: KeyBytes,
// or a default if that is 0.
func (s Spec) Key(i int) string {
	size := cmp.Or(s.KeyBytes, defaultKeyBytes)
	return fmt.Sprintf("%s%0*d", keyPrefix, size-len(keyPrefix), i)
}

// zipfTheta is the exponent of the zipf distribution: that of YCSB.
const zipfTheta = 0.99

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
