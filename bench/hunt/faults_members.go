//go:build linux

package hunt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/bench/fault"
	"github.com/themilchenko/raftlab/kv/api"
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

// empty takes the log and leaves the rest, a snapshot among it. Of a store with many files
// a part of the log may go, but for pebble: it cannot know that its newest file held more.
func empty(g *group, _ *node, file string, random *rand.Rand) (string, error) {
	switch whole := random.IntN(2) == 0; {
	case whole && g.cfg.Backend == "mdb":
		return "data.mdb removed", os.Remove(file)
	case whole && g.cfg.Backend == "wal", g.cfg.Backend == "pebble":
		return "the log's folder removed", os.RemoveAll(filepath.Dir(file))
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
	file, err := n.logFile(g.cfg.Backend, random)
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
		g.kill(victim)
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
	if err := g.awaitReady(ctx, 5*time.Second, n); err != nil {
		return
	}
	for range 2 {
		g.readAll(ctx, n)
		_ = g.transfer(ctx, n.id, g.nodes...)
		pause(ctx, hold/2)
		if n.up() {
			g.stop(n)
		}
		g.bringBack(ctx, n)
		_ = g.awaitReady(ctx, 5*time.Second, n)
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
		g.kill(append([]*node{victim}, rest...)...)
		g.harm(victim, d, random)
		what := victim.suspect
		g.network.Heal(s.reset)
		g.bringBack(ctx, victim)
		pause(ctx, 3*g.tuning.heartbeat+s.hold)
		return fmt.Sprintf("%s %s, back with %s, which lag, and without %s", victim.id, what, idsOf(behind), idsOf(rest))
	}
}

// identityKinds confuse who is who, and where.
func identityKinds() []kind {
	gossips := func(c Config, _ tuning) bool { return c.gossips() }
	return []kind{
		{name: "removed", takes: 10 * time.Second, weight: 6, data: true, do: removed},
		{name: "grown", takes: 10 * time.Second, weight: 6, data: true, do: grown},
		{name: "moved-one", takes: 6 * time.Second, weight: 5, do: moved(1)},
		{name: "moved-two", takes: 8 * time.Second, weight: 4, do: moved(2)},
		{name: "moved-all", takes: 8 * time.Second, weight: 4, do: moved(-1)},
		{name: "swapped", takes: 8 * time.Second, weight: 4, do: swapped},
		{name: "twin", takes: 6 * time.Second, weight: 4, do: twin},
		{name: "old-group", takes: 7 * time.Second, weight: 6, do: oldGroup},
		{name: "other-leader", takes: 9 * time.Second, weight: 4, do: otherLeader, fits: gossips},
		{name: "fake-leader", takes: 6 * time.Second, weight: 4, do: fakeLeader},
	}
}

// removed takes a member out of the group and adds it again in a new folder.
func removed(ctx context.Context, g *group, s step, random *rand.Rand) string {
	victim, others := g.roles(ctx, random)
	if random.IntN(3) > 0 {
		victim = others[0]
	}
	g.part(ctx, victim, s.hold)
	victim.suspect = "removed"
	g.replace(ctx, victim)
	return victim.id
}

// part takes a member out of the group, which has to go on without it.
func (g *group) part(ctx context.Context, n *node, hold time.Duration) {
	if g.cfg.gossips() {
		err := g.at(ctx, n, (*client.Node).Leave)
		pause(ctx, hold)
		n.process.kill()
		n.process.killed = true // it was asked to
		g.log("%s leaves: %v", n.id, short(err))
	} else {
		g.noteEnd(n)
	}
	g.remove(ctx, n)
}

// grown adds one more member, has it lead, and takes it out again: the group is written to
// meanwhile.
func grown(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	id := fmt.Sprintf("n%d", len(g.nodes)+1)
	name := fmt.Sprintf("%s.%d", id, s.seed)
	n := &node{id: id, name: name, dir: filepath.Join(g.dir, name)}
	if err := g.newProxies(n); err != nil {
		return err.Error()
	}
	if random.IntN(2) == 0 {
		g.snapshotOn(ctx, leader)
	}
	err := g.start(ctx, n)
	votes := func(ctx context.Context) error {
		members, err := g.members(ctx)
		if i := slices.IndexFunc(members, func(m api.Member) bool { return m.ID == id }); err == nil && (i < 0 || !members[i].Voter) {
			err = errors.New(id + " has no vote")
		}
		return err
	}
	if err == nil {
		err = g.await(ctx, comeBack, votes)
	}
	g.noteEnd(n)
	if err != nil && ctx.Err() == nil {
		g.report.violate(Beyond, "%s, a new node: it is no voter: %v; see %s", id, err, n.process.log)
	}
	transfer := g.transfer(ctx, id, g.nodes...)
	pause(ctx, s.hold/2)
	if random.IntN(2) == 0 {
		g.kill(others[0])
		g.bringBack(ctx, others[0])
	}
	pause(ctx, s.hold/2)
	g.part(ctx, n, s.hold)
	g.dismiss(n)
	return fmt.Sprintf("by %s: %v, leadership to it: %v", id, short(err), short(transfer))
}

// moved starts nodes at addresses where nobody has been; -1: all.
func moved(count int) func(context.Context, *group, step, *rand.Rand) string {
	return func(ctx context.Context, g *group, s step, random *rand.Rand) string {
		leader, others := g.roles(ctx, random)
		all := append(others, leader)
		if count > 0 {
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			all = all[:count]
		}
		g.kill(all...)
		for _, n := range all {
			if err := g.newProxies(n); err != nil {
				return err.Error()
			}
		}
		g.heal(ctx, s.reset)
		return idsOf(all)
	}
}

// swapped starts two nodes at each other's addresses.
func swapped(ctx context.Context, g *group, s step, random *rand.Rand) string {
	i := random.Perm(len(g.nodes))
	a, b := g.nodes[i[0]], g.nodes[i[1]]
	g.kill(a, b)
	a.raft, b.raft = b.raft, a.raft
	a.http, b.http = b.http, a.http
	a.gossip, b.gossip = b.gossip, a.gossip
	a.resp, b.resp = b.resp, a.resp
	g.publish()
	g.heal(ctx, s.reset)
	return a.id + " and " + b.id
}

// stray is a node beside the group with the id of a member, at its own addresses and in
// an empty folder: of the leader, or, once in so many times, of another one.
func (g *group) stray(ctx context.Context, s step, random *rand.Rand, name string, times int) (*node, error) {
	member, others := g.roles(ctx, random)
	if random.IntN(times) == 0 {
		member = others[0]
	}
	name = fmt.Sprintf("%s.%d", name, s.seed)
	n := &node{id: member.id, name: name, dir: filepath.Join(g.dir, name), suspect: "a stray node"}
	ends := g.endpoints.Load()
	err := g.newProxies(n)
	g.endpoints.Store(ends)
	return n, err
}

// dismiss ends a stray node.
func (g *group) dismiss(n *node) {
	g.kill(n)
	for _, p := range n.proxies() {
		p.Close()
	}
}

// twin starts a second node with the id of a member in an empty folder.
func twin(ctx context.Context, g *group, s step, random *rand.Rand) string {
	stray, err := g.stray(ctx, s, random, "twin", 2)
	if err != nil {
		return err.Error()
	}
	err = g.start(ctx, stray)
	pause(ctx, 2*time.Second+s.hold)
	if stray.up() {
		g.stranger(stray, true)
	}
	g.dismiss(stray)
	return fmt.Sprintf("of %s: %v", stray.id, short(err))
}

// otherGroup makes a whole group at the same addresses under the same ids, before the
// round's own is founded, and moves its folders away.
func (g *group) otherGroup(ctx context.Context) error {
	if err := g.found(ctx); err != nil {
		return err
	}
	for i := range 50 {
		err := g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) error {
			_, err := c.Set(ctx, fmt.Sprintf("k%d-%d", i/keysAtOnce, i%keysAtOnce), fmt.Appendf(nil, "%sof another group, %d", valueMark, i))
			return err
		}, g.nodes...)
		if err != nil {
			return err
		}
	}
	for _, n := range g.nodes {
		g.stop(n)
		if err := moveFolder(n.dir, filepath.Join(g.dir, "other", n.id)); err != nil {
			return err
		}
	}
	g.founded = false
	return nil
}

// oldGroup starts a node of another group in the place of a member of the same id.
func oldGroup(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	n := others[0]
	if random.IntN(3) == 0 {
		n = leader
	}
	g.kill(n)
	own, own2 := n.dir, n.suspect
	n.dir, n.suspect = filepath.Join(g.dir, "other", n.id), "of another group"
	if g.start(ctx, n) == nil {
		pause(ctx, 2*time.Second+s.hold)
	}
	if n.up() {
		g.stranger(n, true)
	}
	g.kill(n)
	n.dir, n.suspect = own, own2
	return fmt.Sprintf("%s of it in the place of %s", n.id, n.id)
}

// otherLeader has a node with the id of a member, which leads a group of its own, gossip
// with the group.
func otherLeader(ctx context.Context, g *group, s step, random *rand.Rand) string {
	stray, err := g.stray(ctx, s, random, "leader", 3)
	if err != nil {
		return err.Error()
	}
	alone := g.flags(stray, nil, 1) // it founds its group when nobody is there
	err = g.startWith(ctx, stray, alone)
	if err == nil {
		err = g.awaitReady(ctx, 10*time.Second, stray)
	}
	g.stop(stray)
	if err == nil {
		err = g.start(ctx, stray)
	}
	pause(ctx, 2*time.Second+s.hold)
	g.dismiss(stray)
	return fmt.Sprintf("with the id of %s: %v", stray.id, short(err))
}

// fakeLeader tells the group that a member has its HTTP at a server that takes every
// write and keeps none, and has that member lead.
func fakeLeader(ctx context.Context, g *group, s step, random *rand.Rand) string {
	leader, others := g.roles(ctx, random)
	victim := others[0]
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	var taken atomic.Uint64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderNode, victim.id)
		w.Header().Set(api.HeaderIndex, strconv.FormatUint(1<<40+taken.Add(1), 10))
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until it is closed
	}()
	defer func() {
		server.Close()
		<-served
	}()
	join := api.Join{ID: victim.id, Address: victim.raft.Address(), HTTPAddress: listener.Addr().String(), HasState: true}
	var answers []string
	for range 5 {
		err := g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) error { return c.Join(ctx, join) }, leader)
		answers = append(answers, short(err))
		_ = g.transfer(ctx, victim.id, leader)
		pause(ctx, 200*time.Millisecond)
	}
	return fmt.Sprintf("for %s: %d requests taken; %s", victim.id, taken.Load(), strings.Join(slices.Compact(answers), ", "))
}
