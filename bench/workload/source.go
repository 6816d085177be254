package workload

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// shared is what all generators of a load read.
type shared struct {
	spec   Spec
	keys   []string // that are there when the load begins
	values []byte   // random, so that no layer can compress them: values are cut from it
	kinds  []choice // with their shares added up
	sizes  Sizes    // of values

	// Of a load that is running:
	began  time.Time
	growth *growth      // nil: no keys are added, nor is what is new of interest
	left   atomic.Int64 // operations to come, where their number is given
}

// choice is a kind of operation; u in [0, 1) means it up to, and without, upTo.
type choice struct {
	kind Kind
	upTo float64
}

// spareBytes is how many different values there are at least.
const spareBytes = 1 << 16

func newShared(ctx context.Context, s Spec) (*shared, error) {
	const stream = 0x76616c756573 // "values"
	rng := rand.New(rand.NewPCG(s.Seed, stream))
	sh := &shared{spec: s, keys: make([]string, s.Keys), sizes: s.sizes(), kinds: s.Mix.choices()}
	sh.values = make([]byte, sh.sizes.Max()+spareBytes)
	for i := range sh.values {
		sh.values[i] = byte(rng.Uint32())
		if s.Mix.Batch > 0 { // which may be told as text
			sh.values[i] = ' ' + sh.values[i]%64
		}
	}
	for i := range sh.keys {
		if i%(1<<16) == 0 && ctx.Err() != nil { // of a billion keys it takes minutes
			return nil, ctx.Err()
		}
		sh.keys[i] = s.Key(i)
	}
	if s.grows() {
		sh.growth = &growth{}
	}
	sh.begin(time.Time{})
	return sh, nil
}

// begin sets back what a load changes.
func (sh *shared) begin(at time.Time) {
	sh.began = at
	sh.left.Store(sh.spec.Operations)
	if sh.growth != nil {
		sh.growth.begin(sh.spec.Keys)
	}
}

// generator makes the operations of one client; the open loop has a single one.
type generator struct {
	*shared
	rng  *rand.Rand
	pick picker
}

func (sh *shared) generator(client, clients int) *generator {
	rng := rand.New(rand.NewPCG(sh.spec.Seed, uint64(client)))
	return &generator{shared: sh, rng: rng, pick: newPicker(sh, client, clients, rng)}
}

// pauseAfterFailure keeps the clients of a target that refuses everything from
// taking the CPU that it needs to recover.
const pauseAfterFailure = time.Millisecond

// Next implements Source.
func (g *generator) Next(op *Op, last error) (wait time.Duration, ok bool) {
	if last != nil {
		wait = pauseAfterFailure
	}
	*op = Op{Kind: g.kind()}
	switch op.Kind {
	case Insert:
		op.Kind = Write
		op.added = g.growth.next.Add(1) - 1
		op.Key, op.Value = g.spec.Key(int(op.added)), g.value()
	case WriteBatch:
		op.Batch = g.batch(g.pick())
	case Read:
		op.Key = g.key(g.pick())
	case Scan:
		op.Key, op.Limit = g.key(g.pick()), g.spec.ScanLength.draw(g.rng)
	default:
		op.Key, op.Value = g.key(g.pick()), g.value()
	}
	return wait, true
}

func (g *generator) kind() Kind {
	if len(g.kinds) == 1 {
		return g.kinds[0].kind
	}
	u, at := g.rng.Float64(), 0
	for u >= g.kinds[at].upTo {
		at++
	}
	return g.kinds[at].kind
}

func (g *generator) key(i int) string {
	if i < len(g.keys) {
		return g.keys[i]
	}
	return g.spec.Key(i) // added under the load
}

func (g *generator) value() []byte {
	size, offset := g.sizes.draw(g.rng), g.rng.IntN(spareBytes)
	return g.values[offset : offset+size : offset+size]
}

// Filler returns what makes the values that keys have before the load: text, of the sizes
// of the load's own.
func (s Spec) Filler() func() []byte {
	const stream = 0x66696c6c // "fill"
	rng, sizes := rand.New(rand.NewPCG(s.Seed, stream)), s.sizes()
	text := bytes.Repeat([]byte{'.'}, sizes.Max())
	return func() []byte { n := sizes.draw(rng); return text[:n:n] }
}

// batch writes a key and those that follow it, the first coming after the last.
func (g *generator) batch(first int) map[string][]byte {
	pairs := make(map[string][]byte, g.spec.BatchSize)
	for i := range g.spec.BatchSize {
		pairs[g.key((first+i)%g.spec.Keys)] = g.value()
	}
	return pairs
}

// counted is the source of a client of a closed loop that ends after so many operations;
// those of the warm-up do not count.
type counted struct{ *generator }

// Next implements Source.
func (c counted) Next(op *Op, last error) (wait time.Duration, ok bool) {
	wait, _ = c.generator.Next(op, last)
	since := time.Since(c.began) - c.spec.Warmup
	op.warmUp = since < 0
	return wait, op.warmUp || c.left.Add(-1) >= 0 && since < maxOpen
}
