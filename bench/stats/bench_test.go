package stats

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkPaired is what a report of a large matrix asks for, by the number of comparisons
// and rounds: each comparison by itself, and all as a family.
func BenchmarkPaired(b *testing.B) {
	for _, x := range []struct{ comparisons, rounds int }{{30000, 14}, {30000, 7}, {3000, 20}} {
		b.Run(fmt.Sprintf("%dx%d", x.comparisons, x.rounds), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			sides := flat(random, 2*x.comparisons, x.rounds)
			family := make([]*Comparison, x.comparisons)
			for b.Loop() {
				for i := range family {
					c := Paired(sides[2*i], sides[2*i+1])
					family[i] = &c
				}
				AdjustPaired(family)
			}
		})
	}
}
