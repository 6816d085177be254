package system

import (
	"cmp"
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

// RefuseWrites refuses a cell whose writes are larger than one of the limits: they would
// fail, and the first trial would be the one to tell.
func RefuseWrites(cell experiment.Cell, limits ...Limit) error {
	what, size := "value_size", int64(cell.Load.ValueSize)
	if cell.Load.ValueSizes != "" {
		sizes, err := cell.Load.Sizes()
		if err != nil {
			return err
		}
		what, size = "value_sizes", int64(sizes.Max())
	}
	if own, ok := cell.Settings["value_size"].(int64); ok {
		size = max(size, own)
	}
	if keys := int64(cmp.Or(cell.Load.BatchSize, experiment.DefaultBatchSize)); cell.Load.Mix.Batch > 0 {
		what, size = what+" × batch_size", size*keys
	}
	for _, l := range limits {
		if l.Bytes > 0 && uint64(max(0, size)) > l.Bytes {
			return fmt.Errorf("%s = %d: %s takes at most %d B; lower %s", what, size, l.What, l.Bytes, what)
		}
	}
	return nil
}
