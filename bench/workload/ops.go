package workload

import (
	"math/rand/v2"
)

// pool holds random bytes, which no layer can compress, that values are cut
// from. It is read only.
type pool []byte

// poolSpare is how many different values there are at least.
const poolSpare = 1 << 16

func newPool(s Spec) pool {
	const stream = 0x76616c756573 // "values"
	rng := rand.New(rand.NewPCG(s.Seed, stream))
	p := make(pool, s.ValueBytes+poolSpare)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// shared is what all generators of a load read.
type shared struct {
	spec   Spec
	keys   []string
	zipf   *zipfTable // nil unless it is used
	values pool
}

func newShared(s Spec) *shared {
	sh := &shared{spec: s, keys: make([]string, s.Keys), values: newPool(s)}
	for i := range sh.keys {
		sh.keys[i] = Key(i)
	}
	if s.KeyDistribution == Zipf {
		sh.zipf = newZipf(s.Keys)
	}
	return sh
}

// generator makes the operations of one client; the open loop has a single one.
// It is used by one goroutine.
type generator struct {
	*shared
	rng  *rand.Rand
	pick picker
}

func (sh *shared) generator(client, clients int) *generator {
	rng := rand.New(rand.NewPCG(sh.spec.Seed, uint64(client)))
	return &generator{shared: sh, rng: rng, pick: newPicker(sh.spec, sh.zipf, client, clients, rng)}
}

func (g *generator) next() Op {
	op := Op{Key: g.keys[g.pick()]}
	if g.spec.ReadRatio > 0 && g.rng.Float64() < g.spec.ReadRatio {
		op.Kind = Read
		return op
	}
	offset := g.rng.IntN(poolSpare)
	op.Value = g.values[offset : offset+g.spec.ValueBytes : offset+g.spec.ValueBytes]
	return op
}
