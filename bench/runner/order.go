package runner

import (
	"math/rand/v2"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
)

// order lists all trials in the order in which they run: in rounds that take
// every cell once, each round shuffled anew by the seed.
func order(cells []experiment.Cell, trials int, seed uint64) []record.TrialID {
	const stream = 0x6f72646572 // "order": other uses of the seed draw other numbers
	rng := rand.New(rand.NewPCG(seed, stream))
	var all []record.TrialID
	for trial := 1; trial <= trials; trial++ {
		for _, i := range rng.Perm(len(cells)) {
			all = append(all, record.TrialID{Cell: cells[i].ID, Trial: trial})
		}
	}
	return all
}
