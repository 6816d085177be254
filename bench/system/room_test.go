package system_test

import (
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
)

// TestRefuseValues: the error names the limit and the setting, also of a measurement with
// values of its own.
func TestRefuseValues(t *testing.T) {
	limits := []system.Limit{{Bytes: 16 << 20, What: "a write"}, system.Stored("mdb", 1<<20), system.Stored("wal", 0)}
	cell := experiment.Cell{}
	cell.Load.ValueSize = 1 << 20
	if err := system.RefuseValues(cell, limits...); err != nil {
		t.Errorf("what just fits: %v", err)
	}
	cell.Load.ValueSize++
	if err := system.RefuseValues(cell, limits...); err == nil || !strings.Contains(err.Error(), "mdb") || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("more than the store holds: %v", err)
	}
	cell = experiment.Cell{Settings: map[string]any{"value_size": int64(17 << 20)}}
	if err := system.RefuseValues(cell, limits...); err == nil || !strings.Contains(err.Error(), "a write") {
		t.Errorf("more than a write carries: %v", err)
	}
}
