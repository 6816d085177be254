package respapi

import (
	"fmt"
	"sync/atomic"
	"time"
)

// maxCommands is how many there may be in the table.
const maxCommands = 64

// stats counts what the server has done. Safe for concurrent use.
type stats struct {
	connections, rejected, slow atomic.Uint64
	commands                    [maxCommands]commandStats
}

type commandStats struct {
	calls, failed atomic.Uint64
	took          atomic.Int64 // nanoseconds, from when the command had come to its answer
}

func (s *stats) observe(k *command, took time.Duration, failed bool) {
	c := &s.commands[k.at]
	c.calls.Add(1)
	c.took.Add(int64(took))
	if failed {
		c.failed.Add(1)
	}
}

func (s *stats) total() (n uint64) {
	for i := range s.commands {
		n += s.commands[i].calls.Load()
	}
	return n
}

// lines are those of INFO commandstats.
func (s *stats) lines(table map[string]*command, sorted []string) (lines []line) {
	for _, name := range sorted {
		c := &s.commands[table[name].at]
		calls, took := c.calls.Load(), time.Duration(c.took.Load())
		if calls > 0 {
			lines = append(lines, line{"cmdstat_" + name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=0,failed_calls=%d",
				calls, took.Microseconds(), float64(took.Nanoseconds())/1000/float64(calls), c.failed.Load())})
		}
	}
	return lines
}
