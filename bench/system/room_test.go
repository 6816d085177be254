package system_test

import (
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
)

// TestRefuseWrites: the error names the limit and the setting, also of a measurement with
// values of its own.
func TestRefuseWrites(t *testing.T) {
	limits := []system.Limit{{Bytes: 16 << 20, What: "a write"}, system.Stored("mdb", 1<<20), system.Stored("wal", 0)}
	cell := experiment.Cell{}
	cell.Load.ValueSize = 1 << 20
	if err := system.RefuseWrites(cell, limits...); err != nil {
		t.Errorf("what just fits: %v", err)
	}
	cell.Load.ValueSize++
	if err := system.RefuseWrites(cell, limits...); err == nil || !strings.Contains(err.Error(), "mdb") || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("more than the store holds: %v", err)
	}
	cell = experiment.Cell{}
	cell.Load.ValueSizes, cell.Load.BatchSize = "64B..4KiB", 5000
	if err := system.RefuseWrites(cell, limits...); err != nil {
		t.Errorf("a batch that is not made: %v", err)
	}
	cell.Load.Mix.Batch = 1
	if err := system.RefuseWrites(cell, limits...); err == nil || !strings.Contains(err.Error(), "value_sizes × batch_size = 20480000: a write") {
		t.Errorf("a batch that is too large: %v", err)
	}
	cell = experiment.Cell{Settings: map[string]any{"value_size": int64(17 << 20)}}
	if err := system.RefuseWrites(cell, limits...); err == nil || !strings.Contains(err.Error(), "a write") {
		t.Errorf("more than a write carries: %v", err)
	}
}
