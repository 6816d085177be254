package hunt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// kind is one kind of fault.
type kind struct {
	name   string
	takes  time.Duration // about, until the group is whole again
	weight int
	// data says that a node's data are gone or damaged by it: all others must be whole
	// before.
	data bool
	fits func(Config, tuning) bool // nil: always
	do   func(ctx context.Context, g *group, s step, random *rand.Rand) string
}

// step is one fault of a schedule.
type step struct {
	kind  kind
	seed  uint64
	hold  time.Duration // how long it lasts
	slow  time.Duration // delay of some links meanwhile; 0: none
	reset bool          // connections that were held back are reset at the end
	haste bool          // the next one comes before the group is whole
}

func (s step) String() string {
	text := fmt.Sprintf("%s for %v", s.kind.name, s.hold)
	if s.slow > 0 {
		text += fmt.Sprintf(" on links slow by %v", s.slow)
	}
	if s.haste {
		text += ", in haste"
	}
	return text
}

// kinds are all kinds of faults.
func kinds() []kind { return slices.Concat(processKinds(), dataKinds(), identityKinds()) }

// Kinds returns the names of all kinds of faults.
func Kinds() []string {
	var all []string
	for _, k := range kinds() {
		all = append(all, k.name)
	}
	return all
}

// tune settles how the nodes of a round are tuned.
func tune(random *rand.Rand) tuning {
	heartbeats := []time.Duration{400 * time.Millisecond, time.Second, 2 * time.Second}
	return tuning{heartbeat: heartbeats[random.IntN(len(heartbeats))], small: random.IntN(2) == 0}
}

// plan settles what befalls a round.
func plan(cfg Config, t tuning, random *rand.Rand) ([]step, error) {
	var from []kind
	sum := 0
	for _, k := range kinds() {
		if (k.fits == nil || k.fits(cfg, t)) && (len(cfg.Faults) == 0 || slices.Contains(cfg.Faults, k.name)) {
			from = append(from, k)
			sum += k.weight
		}
	}
	if len(from) == 0 {
		return nil, fmt.Errorf("no kind of fault is left: %v on %s; known are %s", cfg.Faults, cfg, strings.Join(Kinds(), ", "))
	}
	var steps []step
	for left := cfg.Duration; left > 0 || len(steps) == 0; {
		s := step{kind: pick(from, random.IntN(sum)), seed: random.Uint64(), reset: random.IntN(2) == 0}
		s.hold = time.Duration(300+random.IntN(2700)) * time.Millisecond
		if random.IntN(4) == 0 {
			s.slow = time.Duration(5+random.IntN(150)) * time.Millisecond
		}
		s.haste = !s.kind.data && random.IntN(3) == 0
		left -= s.kind.takes
		if left < -s.kind.takes/2 && len(steps) > 0 {
			break
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func pick(from []kind, dice int) kind {
	for _, k := range from {
		if dice -= k.weight; dice < 0 {
			return k
		}
	}
	return from[len(from)-1]
}
