package workload

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	keyPrefix       = "key-"
	defaultKeyBytes = len(keyPrefix) + 12
)

// Key returns the name of key number i. All keys of a load have the same length: KeyBytes,
// or a default if that is 0.
func (s Spec) Key(i int) string {
	number := strconv.Itoa(i)
	zeros := cmp.Or(s.KeyBytes, defaultKeyBytes) - len(keyPrefix) - len(number)
	return keyPrefix + strings.Repeat("0", max(0, zeros)) + number
}

// picker chooses the numbers of keys that are there. It is used by one goroutine.
type picker func() int

// newPicker returns the picker of one client out of clients.
func newPicker(sh *shared, client, clients int, rng *rand.Rand) picker {
	s := &sh.spec
	switch s.KeyDistribution {
	case Sequential:
		next := client // the clients share the sequence, every clients-th key each
		return func() int {
			i := next
			next = (next + clients) % s.Keys
			return i % s.Keys
		}
	case Zipf:
		spread, ranks := newScatter(s.Keys), newZipf(s.Keys, s.zipfExponent())
		return func() int { return spread.key(ranks.draw(rng)) }
	case Latest:
		ranks := newZipf(s.Keys, s.zipfExponent())
		return func() int {
			there := sh.growth.all()
			ranks.resize(there)
			return there - 1 - ranks.draw(rng)
		}
	case HotSpot:
		return newHotSpot(sh, rng)
	default:
		return func() int { return rng.IntN(s.Keys) }
	}
}

// newHotSpot returns the picker of a part of the keys, neighbours, that gets a part of the
// operations; within each part all keys are equal. After each HotMoves of the load the hot
// part is the one that follows.
func newHotSpot(sh *shared, rng *rand.Rand) picker {
	s := &sh.spec
	hot := min(max(1, int(math.Round(s.HotKeys*float64(s.Keys)))), s.Keys)
	return func() int {
		i := 0
		if hot == s.Keys || rng.Float64() < s.HotOperations {
			i = rng.IntN(hot)
		} else {
			i = hot + rng.IntN(s.Keys-hot)
		}
		if s.HotMoves > 0 {
			moved := uint64(time.Since(sh.began) / s.HotMoves)
			i = int((uint64(i) + moved%uint64(s.Keys)*uint64(hot)) % uint64(s.Keys))
		}
		return i
	}
}

// scatter spreads the popular ranks over the key space, so that hot keys are not
// neighbours in the store. Multiplying by step modulo n is a permutation because
// the two have no common divisor: no two ranks share a key, so the frequencies
// stay those of the distribution and every key can be drawn. (YCSB hashes the rank
// instead, so that some keys share what two ranks get and others get nothing.)
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

// DefaultZipfExponent is that of YCSB.
const DefaultZipfExponent = 0.99

// zipf draws ranks 0 … n-1 with probability proportional to 1/(rank+1)^exponent, exactly,
// by rejection-inversion: W. Hörmann and G. Derflinger, "Rejection-Inversion to Generate
// Variates from Monotone Discrete Distributions", ACM TOMACS 6(3), 1996. It needs no
// table, and about one random number a rank. It is used by one goroutine.
type zipf struct {
	n                 int
	exponent          float64
	least, most, sure float64 // bounds of the hat's integral; and where nothing is rejected
}

func newZipf(n int, exponent float64) *zipf {
	z := &zipf{exponent: exponent}
	z.least = z.integral(1.5) - 1
	z.sure = 2 - z.inverse(z.integral(2.5)-math.Pow(2, -exponent))
	z.resize(n)
	return z
}

// resize changes the number of ranks.
func (z *zipf) resize(n int) {
	if n != z.n {
		z.n, z.most = n, z.integral(float64(n)+0.5)
	}
}

// integral is that of x^-exponent from 1 on, also where the exponent is near 1.
func (z *zipf) integral(x float64) float64 {
	log := math.Log(x)
	if t := (1 - z.exponent) * log; t != 0 {
		return log * math.Expm1(t) / t
	}
	return log
}

// inverse is the inverse of integral.
func (z *zipf) inverse(y float64) float64 {
	if t := (1 - z.exponent) * y; t != 0 {
		return math.Exp(y * math.Log1p(max(t, -1)) / t)
	}
	return math.Exp(y)
}

func (z *zipf) draw(rng *rand.Rand) int {
	for {
		u := z.most + rng.Float64()*(z.least-z.most)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), float64(z.n))
		if k-x <= z.sure || u >= z.integral(k+0.5)-math.Pow(k, -z.exponent) {
			return int(k) - 1
		}
	}
}

// maxOutstanding is more than there can be operations under way at once.
const maxOutstanding = 1 << 17

// growth numbers the keys that a load adds, and knows up to which one all are there. It
// is a Recorder, which sees their writes end. A key whose write has failed counts as there:
// nobody knows, and a read that misses it fails. Safe for concurrent use, without locks.
type growth struct {
	next  atomic.Int64 // number of the next new key
	there atomic.Int64 // all below are there
	ended [maxOutstanding]atomic.Bool
}

// begin sets back the growth to the keys that there are before the load.
func (g *growth) begin(keys int) {
	g.next.Store(int64(keys))
	g.there.Store(int64(keys))
	for i := range g.ended {
		if g.ended[i].Load() { // a store touches memory, and most have never been set
			g.ended[i].Store(false)
		}
	}
}

func (g *growth) all() int { return int(g.there.Load()) }

// Begin implements Recorder.
func (g *growth) Begin(*Op) error { return nil }

// End implements Recorder.
func (g *growth) End(op *Op, _ Times, _ error) error {
	if op.added == 0 {
		return nil
	}
	g.ended[op.added%maxOutstanding].Store(true)
	// Who takes the mark of the first that is missing goes on; whoever comes too
	// late for that has left a mark that is seen then.
	for g.ended[g.there.Load()%maxOutstanding].CompareAndSwap(true, false) {
		g.there.Add(1)
	}
	return nil
}
