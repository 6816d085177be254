package hunt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/bench/fault"
	"github.com/themilchenko/raftlab/kv/client"
)

// dataKinds take or damage the data of one node.
func dataKinds() []kind {
	return []kind{
		{name: "wiped", takes: 8 * time.Second, weight: 8, data: true, do: plainly(wipe)},
		{name: "wiped-lagging", takes: 14 * time.Second, weight: 10, data: true, do: lagging(wipe)},
		{name: "emptied", takes: 8 * time.Second, weight: 8, data: true, do: plainly(empty)},
		{name: "emptied-lagging", takes: 14 * time.Second, weight: 10, data: true, do: lagging(empty)},
		{name: "flipped-value", takes: 12 * time.Second, weight: 10, data: true, do: plainly(flipValue)},
		{name: "flipped-bit", takes: 12 * time.Second, weight: 8, data: true, do: plainly(flipAnywhere)},
		{name: "cut-log", takes: 8 * time.Second, weight: 8, data: true, do: plainly(cutLog)},
	}
}

// damage is done to the data of a node that does not run. It gets the file with the log.
type damage func(g *group, n *node, file string, random *rand.Rand) (string, error)

func wipe(_ *group, n *node, _ string, _ *rand.Rand) (string, error) {
	return "wiped", os.RemoveAll(n.dir)
}

// empty takes the log and leaves the rest, a snapshot among it.
func empty(g *group, _ *node, file string, random *rand.Rand) (string, error) {
	if random.IntN(2) == 0 && g.cfg.Backend == "mdb" {
		return "data.mdb removed", os.Remove(file)
	}
	return filepath.Base(file) + " emptied", os.Truncate(file, 0)
}

// flipValue flips a bit of a value that was acknowledged lately, in all copies of it that
// the log file has: the store may have left some behind.
func flipValue(g *group, n *node, file string, random *rand.Rand) (string, error) {
	ops := g.history.Ops()
	for i := len(ops) - 1; i >= 0; i-- {
		if o := ops[i]; o.Kind == check.Set && o.Outcome == check.OK {
			what, err := fault.FlipBitOf(file, []byte(o.Value), random)
			if !errors.Is(err, fault.ErrNothingThere) {
				return fmt.Sprintf("value of %s at index %d flipped: %s", o.Key, o.Index, what), err
			}
		}
	}
	return flipAnywhere(g, n, file, random) // all in the snapshot
}

func flipAnywhere(_ *group, _ *node, file string, random *rand.Rand) (string, error) {
	what, err := fault.FlipBit(file, random)
	return "log flipped: " + what, err
}

func cutLog(_ *group, _ *node, file string, random *rand.Rand) (string, error) {
	what, err := fault.CutOff(file, random)
	return "log cut off: " + what, err
}

// harm does damage to a node that does not run. That it cannot is a fault of the hunt.
func (g *group) harm(n *node, d damage, random *rand.Rand) {
	file, err := n.logFile(g.cfg.Backend)
	if err == nil {
		n.suspect, err = d(g, n, file, random)
	}
	if err != nil {
		g.report.violate(NotDone, "%s: %s: %v", n.id, n.suspect, err)
	}
}

// plainly damages a node while all is well, has it start, serve and lead on that, and
// gives it a new folder at last.
func plainly(d damage) func(context.Context, *group, step, *rand.Rand) string {
	return func(ctx context.Context, g *group, s step, random *rand.Rand) string {
		leader, others := g.roles(ctx, random)
		victim := others[0]
		if random.IntN(3) == 0 {
			victim = leader
		}
		if random.IntN(2) == 0 {
			g.snapshotOn(ctx, victim)
			pause(ctx, time.Second) // entries after it
		}
		g.quiet.Store(true) // what was written last stays so, for reads to find
		pause(ctx, epoch+epoch/4)
		g.noteEnd(victim)
		g.stop(victim)
		g.harm(victim, d, random)
		what := victim.suspect
		g.bringBack(ctx, victim)
		g.quiet.Store(false)
		g.exercise(ctx, victim, s.hold)
		if victim.suspect != what { // it has a new folder
			g.report.Faults[s.kind.name+", refused"]++
		}
		return fmt.Sprintf("%s %s", victim.id, what)
	}
}

// exercise has a node serve, lead and start again on its data as long as it can.
func (g *group) exercise(ctx context.Context, n *node, hold time.Duration) {
	g.noteEnd(n)
	if err := g.await(ctx, 5*time.Second, func(ctx context.Context) error { return g.ready(ctx, n) }); err != nil {
		return
	}
	for range 2 {
		g.readAll(ctx, n)
		_ = g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) error { return c.Transfer(ctx, n.id) }, g.nodes...)
		pause(ctx, hold/2)
		if n.up() {
			g.stop(n)
		}
		g.bringBack(ctx, n)
		_ = g.await(ctx, 5*time.Second, func(ctx context.Context) error { return g.ready(ctx, n) })
	}
	g.noteEnd(n)
}

// lagging lets a minority fall behind, so that what is acknowledged is held by the
// others only, damages one of these, and starts it with the minority alone. The others
// hold all that was acknowledged and come back later.
func lagging(d damage) func(context.Context, *group, step, *rand.Rand) string {
	return func(ctx context.Context, g *group, s step, random *rand.Rand) string {
		leader, others := g.roles(ctx, random)
		minority := (len(g.nodes) - 1) / 2
		behind, victim, rest := others[:minority], others[minority], append([]*node{leader}, others[minority+1:]...)
		g.snapshotOn(ctx, victim)
		g.cut(behind, append([]*node{victim}, rest...))
		pause(ctx, 500*time.Millisecond+s.hold/2)
		for _, n := range append([]*node{victim}, rest...) {
			g.noteEnd(n)
			g.stop(n)
		}
		g.harm(victim, d, random)
		what := victim.suspect
		g.network.Heal(s.reset)
		g.bringBack(ctx, victim)
		pause(ctx, 3*g.tuning.heartbeat+s.hold)
		return fmt.Sprintf("%s %s, back with %s, which lag, and without %s", victim.id, what, idsOf(behind), idsOf(rest))
	}
}
