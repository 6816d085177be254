package record_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/record"
)

// TestOrder: each round takes every cell once, and the seed alone decides how.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := make([]record.CellInfo, rapid.IntRange(1, 20).Draw(t, "cells"))
		for i := range cells {
			cells[i].ID = fmt.Sprintf("c%02d", i+1)
		}
		trials := rapid.IntRange(1, 8).Draw(t, "trials")
		seed := rapid.Uint64().Draw(t, "seed")
		all := record.Order(cells, trials, seed)
		if len(all) != len(cells)*trials {
			t.Fatalf("%d trials, want %d", len(all), len(cells)*trials)
		}
		for round := range trials {
			seen := map[string]bool{}
			for _, id := range all[round*len(cells) : (round+1)*len(cells)] {
				if id.Trial != round+1 || seen[id.Cell] {
					t.Fatalf("round %d: %+v", round+1, all)
				}
				seen[id.Cell] = true
			}
		}
		if !slices.Equal(all, record.Order(cells, trials+1, seed)[:len(all)]) {
			t.Fatal("more rounds began in another order, or the same seed gave another order")
		}
	})
}
