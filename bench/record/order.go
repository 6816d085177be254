package record

import (
	"math/rand/v2"
	"time"
)

// MaxTrials bounds the trials of a run, of all cells together: beyond it an experiment is
// a slip, not a plan.
const MaxTrials = 100_000

// Extension says that trials were added to a run.
type Extension struct {
	At      time.Time `json:"at"`
	Trials  int       `json:"trials"` // of each cell from then on, those before included
	Command []string  `json:"command"`
}

// LeftOut says that a cell was left out of the rounds after one, since it was known
// closely enough.
type LeftOut struct {
	Cell  string `json:"cell"`
	After int    `json:"after"` // the last round that it took part in
}

// Rounds is how many trials of each cell are planned, unless the cell is left out.
func (m *Manifest) Rounds() int {
	if n := len(m.Extended); n > 0 {
		return m.Extended[n-1].Trials
	}
	return m.Experiment.Trials
}

// Planned are the trials that are to run, in their order: all but those of cells that were
// left out.
func (m *Manifest) Planned() []TrialID {
	if len(m.LeftOut) == 0 {
		return m.Order
	}
	last := map[string]int{}
	for _, l := range m.LeftOut {
		last[l.Cell] = l.After
	}
	var planned []TrialID
	for _, id := range m.Order {
		if after, out := last[id.Cell]; !out || id.Trial <= after {
			planned = append(planned, id)
		}
	}
	return planned
}

// Order lists all trials of a run in the order in which they are to run: in rounds that
// take every cell once, each shuffled anew by the seed. That of more rounds begins as that
// of fewer.
func Order(cells []CellInfo, rounds int, seed uint64) []TrialID {
	const stream = 0x6f72646572 // "order": other uses of the seed draw other numbers
	rng := rand.New(rand.NewPCG(seed, stream))
	all := make([]TrialID, 0, len(cells)*rounds)
	for round := 1; round <= rounds; round++ {
		for _, i := range rng.Perm(len(cells)) {
			all = append(all, TrialID{Cell: cells[i].ID, Trial: round})
		}
	}
	return all
}

// TrialSeed is the seed of a trial's operations: trials repeat the measurement and not one
// stream of operations. The cells of a round share it.
func TrialSeed(seed uint64, trial int) uint64 {
	return rand.NewPCG(seed, uint64(trial)).Uint64()
}
