package report

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// pair is a cell against another that differs from it in the compared factor alone.
type pair struct {
	base, this *cell
	unequal    []inequality
	vs         map[string]*stats.Comparison // by the key of the quantity; without those not compared
}

// contrast is one level of the compared factor against another: in each combination of the
// other factors, and over all of them.
type contrast struct {
	base, this int                      // levels, by their place
	pairs      []*pair                  // by group
	over       map[string]*stats.Strata // by the key of the quantity: see on
}

// everyPair is up to how many levels all are set against each other; of more, each is set
// against the baseline and the next.
const everyPair = 12

// compare sets every two levels of the compared factor against each other, the baseline
// first, then in the order of the file; those of equal durability and the like come before
// the others. An invalid cell is compared with nothing.
func (m *model) compare(ctx context.Context) error {
	levels := len(m.levels())
	var pairs [][2]int
	for a := range levels {
		for b := range levels {
			wanted := levels <= everyPair || a == m.base || b == a+1
			if a != b && (a == m.base || a < b && b != m.base) && wanted {
				pairs = append(pairs, [2]int{a, b})
			}
		}
	}
	m.contrasts = make([]*contrast, len(pairs))
	if err := atOnce(ctx, len(pairs), func(i int) { m.contrasts[i] = m.contrast(pairs[i][0], pairs[i][1]) }); err != nil {
		return err
	}
	equal := func(c *contrast) int {
		return -btoi(!slices.ContainsFunc(c.pairs, func(p *pair) bool { return len(p.unequal) > 0 }))
	}
	slices.SortStableFunc(m.contrasts, func(x, y *contrast) int { return equal(x) - equal(y) })
	var cells, overall []*stats.Comparison
	for _, c := range m.contrasts {
		for _, q := range m.compared() {
			for _, p := range c.pairs {
				if vs := p.vs[q.Key]; vs != nil {
					cells = append(cells, vs)
				}
			}
		}
	}
	stats.AdjustPaired(cells)
	err := atOnce(ctx, len(m.contrasts), func(i int) { m.contrasts[i].stratify(m.compared()) })
	for _, c := range m.contrasts {
		for _, q := range m.compared() {
			if over := c.on(q); over.Count > 1 {
				overall = append(overall, &over.Comparison)
			}
		}
	}
	stats.AdjustHolm(overall)
	return err
}

// atOnce calls f with each of 0 to n-1, on all processors, until ctx is cancelled.
func atOnce(ctx context.Context, n int, f func(i int)) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	workers.Wait()
	return ctx.Err()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// levels are those of the compared factor; none without one.
func (m *model) levels() []string {
	for _, f := range m.first() {
		return f.Levels
	}
	return nil
}

func (m *model) contrast(base, this int) *contrast {
	c := &contrast{base: base, this: this}
	for _, g := range m.groups {
		p := &pair{base: m.at(g, base), this: m.at(g, this), vs: map[string]*stats.Comparison{}}
		if p.base == nil || p.this == nil { // the matrix leaves it out
			c.pairs = append(c.pairs, p)
			continue
		}
		p.unequal = inequalities(p.base.info, p.this.info)
		for _, q := range m.compared() {
			if p.base.invalid() || p.this.invalid() {
				continue
			}
			if vs := stats.Paired(p.base.byRound(q), p.this.byRound(q)); vs.N > 0 {
				p.vs[q.Key] = &vs
			}
		}
		c.pairs = append(c.pairs, p)
	}
	return c
}

// stratify joins the comparisons of the combinations. That of a single one stands on the
// test of the cells, which adjusted it.
func (c *contrast) stratify(quantities []measure.Quantity) {
	c.over = map[string]*stats.Strata{}
	for _, q := range quantities {
		of := c.of(q.Key)
		over := stats.Stratify(of)
		if i := slices.IndexFunc(of, func(vs stats.Comparison) bool { return vs.N > 0 }); i >= 0 && over.Count <= 1 {
			over.Comparison = of[i]
		}
		c.over[q.Key] = &over
	}
}

// at returns the cell of a group that has a level.
func (m *model) at(g []*cell, level int) *cell {
	i := slices.IndexFunc(g, func(c *cell) bool { return m.factors[0].value(c.info) == m.factors[0].Levels[level] })
	if i < 0 {
		return nil
	}
	return g[i]
}

// on is what c came to over all combinations; of a quantity that is not compared, nothing.
func (c *contrast) on(q measure.Quantity) *stats.Strata {
	if over := c.over[q.Key]; over != nil {
		return over
	}
	return &stats.Strata{}
}

// of has the comparisons of a quantity, a zero one where there is none.
func (c *contrast) of(key string) []stats.Comparison {
	out := make([]stats.Comparison, len(c.pairs))
	for i, p := range c.pairs {
		if vs := p.vs[key]; vs != nil {
			out[i] = *vs
		}
	}
	return out
}

// unequal reports whether the levels are unlike in durability or the like.
func (c *contrast) unequal() bool {
	return slices.ContainsFunc(c.pairs, func(p *pair) bool { return len(p.unequal) > 0 })
}

// between returns the contrast of two levels, whichever is its base, if there is one.
func (m *model) between(a, b int) *contrast {
	i := slices.IndexFunc(m.contrasts, func(c *contrast) bool {
		return c.base == a && c.this == b || c.base == b && c.this == a
	})
	if i < 0 {
		return nil
	}
	return m.contrasts[i]
}

// against are the contrasts with the baseline, in the order of the file.
func (m *model) against() []*contrast {
	var out []*contrast
	for level := range m.levels() {
		if level != m.base {
			out = append(out, m.between(m.base, level))
		}
	}
	return out
}

// compared are the quantities that cells are compared by, and that some trial gave.
func (m *model) compared() []measure.Quantity {
	return slices.DeleteFunc(m.with(measure.Compared), m.imposed)
}

// imposed reports whether the load of all cells sets a quantity.
func (m *model) imposed(q measure.Quantity) bool {
	return q.Imposed && !slices.ContainsFunc(m.cells, func(c *cell) bool { return !c.info.Load.Open() })
}

// baseline is the place of the level that the others are set against.
func (m *model) baseline() int {
	return max(0, slices.Index(m.levels(), m.manifest.Experiment.Baseline))
}

// dependence says how a contrast depends on one of the other factors.
type dependence struct {
	*contrast
	factor factor
	stats.Dependence
}

// dependences asks of each contrast with the baseline whether it depends on each of the
// other factors.
func (m *model) dependences(q measure.Quantity) []dependence {
	var out []dependence
	for _, c := range m.against() {
		for _, f := range m.others() {
			if d, there := stats.Depend(m.byLevel(c, f, q.Key)); there {
				out = append(out, dependence{c, f, d})
			}
		}
	}
	p := make([]float64, len(out))
	for i, d := range out {
		p[i] = d.P
	}
	for i, adjusted := range stats.Holm(p) {
		out[i].P = adjusted
	}
	return out
}

// byLevel sorts the comparisons of a contrast by the levels of another factor, those at each
// by the combination of the factors that remain.
func (m *model) byLevel(c *contrast, f factor, key string) [][]stats.Comparison {
	var rest []string
	place := func(info *record.CellInfo) int {
		var name strings.Builder
		for _, other := range m.others() {
			if other.index != f.index {
				name.WriteString(other.value(info) + "\x00")
			}
		}
		rest = appendNew(rest, name.String())
		return slices.Index(rest, name.String())
	}
	for _, g := range m.groups {
		place(g[0].info)
	}
	out := make([][]stats.Comparison, len(f.Levels))
	for i := range out {
		out[i] = make([]stats.Comparison, len(rest))
	}
	for i, vs := range c.of(key) {
		info := m.groups[i][0].info
		if level := slices.Index(f.Levels, f.value(info)); level >= 0 {
			out[level][place(info)] = vs
		}
	}
	return out
}

// allocation is what share of the variation of a quantity each factor explains.
func (m *model) allocation(q measure.Quantity) (stats.Allocation, bool) {
	var levels []int
	for _, f := range m.factors {
		levels = append(levels, len(f.Levels))
	}
	byPlace := map[int][]float64{}
	for _, c := range m.cells {
		place := 0
		for i, f := range m.factors {
			place = place*levels[i] + slices.Index(f.Levels, f.value(c.info))
		}
		if !c.invalid() {
			byPlace[place] = c.byRound(q)
		}
	}
	cells := make([][]float64, len(m.cells))
	for i := range cells {
		if cells[i] = byPlace[i]; cells[i] == nil {
			return stats.Allocation{}, false
		}
	}
	return stats.Allocate(levels, cells)
}
