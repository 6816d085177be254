//go:build linux

package hunt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/fault"
	"github.com/themilchenko/raftlab/kv/client"
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

// processKinds befall processes and links, and leave data alone.
func processKinds() []kind {
	return []kind{
		{name: "kill", takes: 4 * time.Second, weight: 12, do: kill},
		{name: "pause", takes: 4 * time.Second, weight: 10, do: pauseSome},
		{name: "partition", takes: 5 * time.Second, weight: 12, do: partition},
		{name: "one-way", takes: 5 * time.Second, weight: 8, do: oneWay},
		{name: "slow", takes: 3 * time.Second, weight: 5, do: slow},
		{name: "transfer", takes: 2 * time.Second, weight: 8, do: transfer},
		{name: "relay", takes: 4 * time.Second, weight: 6, do: relay},
		{name: "snapshot", takes: 2 * time.Second, weight: 6, do: snapshot},
		{name: "away", takes: 16 * time.Second, weight: 8, do: away, fits: func(_ Config, t tuning) bool { return t.small }},
		{name: "install", takes: 12 * time.Second, weight: 8, do: install, fits: func(_ Config, t tuning) bool { return t.small }},
		{name: "lease", takes: 12 * time.Second, weight: 8, do: lease, fits: func(_ Config, t tuning) bool { return t.heartbeat >= time.Second }},
		{name: "forged-vote", takes: 3 * time.Second, weight: 3, do: forgedVote},
		{name: "crowd", takes: 4 * time.Second, weight: 3, do: crowd},
	}
}

// some picks at least one node: the leader, some others, or all.
func some(ctx context.Context, g *group, random *rand.Rand) []*node {
	leader, others := g.roles(ctx, random)
	switch random.IntN(5) {
	case 0, 1:
		return []*node{leader}
	case 2:
		return others[:1]
	case 3:
		return append([]*node{leader}, others[:1+random.IntN(len(others))]...)
	default:
		return others[:1+random.IntN(len(others))]
	}
}

func idsOf(nodes []*node) string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.id)
	}
	return strings.Join(list, " ")
}

func kill(ctx context.Context, g *group, s step, random *rand.Rand) string {
	victims := some(ctx, g, random)
	hold := s.hold
	if random.IntN(3) == 0 {
		hold = 0 // back at once
	}
	g.kill(victims...)
	pause(ctx, hold)
	return fmt.Sprintf("%s, back after %v", idsOf(victims), hold)
}

func pauseSome(ctx context.Context, g *group, s step, random *rand.Rand) string {
	victims := some(ctx, g, random)
	for _, n := range victims {
		n.process.signal(syscall.SIGSTOP)
		n.paused = true
	}
	pause(ctx, s.hold)
	return idsOf(victims)
}

// cut parts two sides, both ways.
func (g *group) cut(one, other []*node) {
	for _, a := range one {
		for _, b := range other {
			g.network.Cut(a.id, b.id)
			g.network.Cut(b.id, a.id)
		}
	}
}

func partition(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	size := random.IntN(len(others)) // how many stay with the leader
	one, other := append([]*node{leader}, others[:size]...), others[size:]
	g.cut(one, other)
	pause(ctx, s.hold)
	return fmt.Sprintf("%s (with the leader) | %s", idsOf(one), idsOf(other))
}

func oneWay(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	others = others[:1+random.IntN(len(others))]
	sign := "→"
	for _, o := range others {
		g.network.Cut(leader.id, o.id)
	}
	if random.IntN(2) == 0 {
		sign = "←"
		g.network.Heal(false)
		for _, o := range others {
			g.network.Cut(o.id, leader.id)
		}
	}
	pause(ctx, s.hold)
	return fmt.Sprintf("%s (leader) %s %s", leader.id, sign, idsOf(others))
}

func slow(ctx context.Context, g *group, s step, random *rand.Rand) string {
	delay := g.slowDown(random, time.Duration(20+random.IntN(600))*time.Millisecond)
	pause(ctx, s.hold)
	return delay
}

// slowDown slows about half of the links.
func (g *group) slowDown(random *rand.Rand, delay time.Duration) string {
	for _, a := range g.nodes {
		for _, b := range g.nodes {
			if a != b && random.IntN(2) == 0 {
				g.network.Slow(a.id, b.id, delay)
			}
		}
	}
	return fmt.Sprintf("by %v", delay)
}

func transfer(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	to := others[0].id
	err := g.transfer(ctx, to, leader)
	return fmt.Sprintf("%s → %s: %v", leader.id, to, short(err))
}

// relay hands leadership round, and back, as fast as it goes: what the first leader has begun is
// committed by another one, or not, while it leads again.
func relay(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	names := []string{leader.id}
	for range 6 {
		to := others[0]
		if random.IntN(2) == 0 {
			to = others[random.IntN(len(others))]
		}
		result := "done"
		if g.transfer(ctx, to.id, leader) != nil {
			result = "not done"
			leader, others = g.roles(ctx, random)
		} else {
			i := slices.Index(others, to)
			leader, others[i] = to, leader
		}
		names = append(names, fmt.Sprintf("%s (%s)", to.id, result))
		pause(ctx, time.Duration(random.IntN(100))*time.Millisecond)
	}
	return strings.Join(names, " → ")
}

func short(err error) string {
	if err == nil {
		return "done"
	}
	return fmt.Sprintf("%.60s…", err)
}

func snapshot(ctx context.Context, g *group, s step, random *rand.Rand) string {
	victims := some(ctx, g, random)
	g.snapshotOn(ctx, victims...)
	return idsOf(victims)
}

func (g *group) snapshotOn(ctx context.Context, nodes ...*node) {
	for _, n := range nodes {
		// It may have nothing to write, or not run: then there is none.
		_ = g.at(ctx, n, (*client.Node).Snapshot)
	}
}

// away keeps a follower away while snapshots are sent to it again and again, and lets all
// that was sent arrive at once.
func away(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	victim := others[0]
	how := []string{"paused", "cut off, its connections broken", "cut off, its connections broken", "killed"}[random.IntN(4)]
	switch how {
	case "paused":
		victim.process.signal(syscall.SIGSTOP)
		victim.paused = true
	case "killed":
		g.kill(victim)
	default:
		g.network.Cut(leader.id, victim.id)
	}
	hold := 2*s.hold + time.Duration(random.IntN(6000))*time.Millisecond
	for end := time.Now().Add(hold); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 400*time.Millisecond) {
		g.snapshotOn(ctx, leader)
		if strings.HasSuffix(how, "broken") {
			g.network.Break(leader.id, victim.id)
		}
	}
	g.heal(ctx, false)
	for range 5 { // and goes on while it catches up
		g.snapshotOn(ctx, leader)
		g.readAll(ctx, victim)
		pause(ctx, 200*time.Millisecond)
	}
	return fmt.Sprintf("%s, %s for %v", victim.id, how, hold)
}

// install has a member that was stopped come back once the others have compacted their logs, and
// ends it, or now and then the leader, anywhere while a snapshot is sent to it and takes the
// place of its log.
func install(ctx context.Context, g *group, s step, random *rand.Rand) string {
	_, others := g.roles(ctx, random)
	victim := others[0]
	ends := 0
	for range 4 {
		g.kill(victim)
		pause(ctx, s.hold/3)
		g.snapshotOn(ctx, others[1:]...)
		leader, _ := g.roles(ctx, random)
		g.snapshotOn(ctx, leader)
		g.bringBack(ctx, victim)
		pause(ctx, time.Duration(random.IntN(400))*time.Millisecond)
		if leader != victim && random.IntN(4) == 0 {
			ends++
			g.kill(leader)
			g.bringBack(ctx, leader)
		}
	}
	g.readAll(ctx, victim)
	return fmt.Sprintf("%s, ended 4 times, its leader %d times", victim.id, ends)
}

// lease has followers restart just before others, whose logs are as long, stand for
// election, while the leader still has a lease on the strength of what they said before.
func lease(ctx context.Context, g *group, s step, random *rand.Rand) string {
	heartbeat := g.tuning.heartbeat
	said := ""
	for range 2 {
		leader, others := g.roles(ctx, random)
		half := len(others) / 2
		loyal, parted := others[:half], others[half:]
		g.quiet.Store(true) // or the logs would not be as long
		pause(ctx, 500*time.Millisecond)
		g.cut([]*node{leader}, parted)
		// They stand for election one or two heartbeats after the last. Not before the
		// restart: on a connection from before it their first request would be lost.
		pause(ctx, heartbeat*8/10)
		g.kill(loyal...)
		g.cut([]*node{leader}, loyal) // what it knows of them is from before
		for _, n := range loyal {
			g.bringBack(ctx, n)
		}
		g.contrast(ctx, leader, append(parted, loyal...), 2*heartbeat)
		g.quiet.Store(false)
		g.network.Heal(s.reset)
		said = fmt.Sprintf("%s leads, %s restarted, %s stood for election", leader.id, idsOf(loyal), idsOf(parted))
		_ = g.await(ctx, 10*time.Second, g.isWhole)
	}
	return "twice, last " + said
}

// contrast has clients read from one node, by its lease, what others write to the rest.
func (g *group) contrast(ctx context.Context, from *node, to []*node, hold time.Duration) {
	reader := slices.Index(g.nodes, from)
	ends := []func(){g.load.join(ctx, reader, (*worker).readByLease), g.load.join(ctx, reader, (*worker).readByLease)}
	for _, n := range to {
		ends = append(ends, g.load.join(ctx, slices.Index(g.nodes, n), (*worker).set))
	}
	pause(ctx, hold)
	for _, end := range ends {
		end()
	}
}

// forgedVote asks all for their vote in a term near the end of all terms, and has them
// elect another leader then.
func forgedVote(ctx context.Context, g *group, s step, random *rand.Rand) string {
	answer := ""
	for _, n := range g.nodes {
		answer = fault.ForgeVote(n.raft.Address())
	}
	pause(ctx, time.Second)
	leader, _ := g.roles(ctx, random)
	g.kill(leader)
	pause(ctx, s.hold)
	return "last answer: " + answer + "; then " + leader.id + " was killed"
}

// crowd opens many connections to the Raft port of a node.
func crowd(ctx context.Context, g *group, s step, random *rand.Rand) string {
	victims := some(ctx, g, random)
	ctx, cancel := context.WithTimeout(ctx, s.hold)
	defer cancel()
	junk := random.IntN(2) == 0
	opened := fault.Crowd(ctx, victims[0].raft.Address(), 60, junk, random)
	return fmt.Sprintf("%d connections to %s, junk %t", opened, victims[0].id, junk)
}
