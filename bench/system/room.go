package system

import (
	"fmt"

	"github.com/themilchenko/raftlab/bench/experiment"
)

// Limit is the most that something takes, and what it is, as errors name it.
type Limit struct {
	Bytes uint64 // 0: as much as you like
	What  string
}

// Stored is the limit of a log store, which holds so many bytes in all.
func Stored(store string, bytes uint64) Limit {
	return Limit{bytes, fmt.Sprintf("the log store %s, which its options bound,", store)}
}

// RefuseValues refuses the values of a cell that are larger than one of the limits: every
// write of them would fail, and the first trial would be the one to tell.
func RefuseValues(cell experiment.Cell, limits ...Limit) error {
	size := int64(cell.Load.ValueSize)
	if own, ok := cell.Settings["value_size"].(int64); ok {
		size = max(size, own)
	}
	for _, l := range limits {
		if l.Bytes > 0 && uint64(max(0, size)) > l.Bytes {
			return fmt.Errorf("value_size = %d: %s takes at most %d B; lower value_size", size, l.What, l.Bytes)
		}
	}
	return nil
}
