package calibrate

import (
	"context"
	"crypto/sha256"
	"runtime"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

const (
	workRounds = 20
	workBytes  = 256 << 10 // hashed by each processor in a round: a fraction of a millisecond
)

// Work measures how long all processors take, at the same time, for a fixed
// piece of work each: a SHA-256 of 256 KiB. A round ends when the slowest is
// done, so a processor that somebody else keeps busy shows. It takes 20 rounds,
// fewer when ctx ends.
func Work(ctx context.Context) record.Quantiles {
	data := make([]byte, workBytes)
	var samples []time.Duration
	for range workRounds {
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		var processors sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			processors.Go(func() { sha256.Sum256(data) })
		}
		processors.Wait()
		samples = append(samples, time.Since(start))
	}
	return quantiles(samples)
}
