//go:build linux

package hunt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/bench/fault"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	// healTime is how long a group may take to be whole once nothing is wrong any more,
	// on a machine that has nothing else to do.
	healTime = 30 * time.Second
	// comeBack is how long a node may take to be a voter that is ready.
	comeBack = 15 * time.Second
	askTime  = time.Second
)

// tuning is what all nodes of a round are started with.
type tuning struct {
	heartbeat time.Duration
	small     bool // snapshots often, and few entries kept behind them
}

func (t tuning) String() string {
	return fmt.Sprintf("heartbeats and lease %v, snapshots %s", t.heartbeat, map[bool]string{true: "every 32 entries", false: "on demand"}[t.small])
}

// group is the nodes of a round.
type group struct {
	cfg     Config
	dir     string
	tuning  tuning
	network *fault.Network
	nodes   []*node
	founded bool
	report  *Report
	begin   time.Time // of the load
	history *check.History
	load    *load
	quiet   atomic.Bool // the load only reads
	// endpoints are where the nodes serve the load, in their order.
	endpoints atomic.Pointer[[]string]
}

func newGroup(cfg Config, t tuning, report *Report) (*group, error) {
	g := &group{cfg: cfg, dir: cfg.Dir, tuning: t, network: fault.NewNetwork(), report: report, begin: time.Now(), history: check.NewHistory()}
	if err := os.MkdirAll(filepath.Join(g.dir, "logs"), 0o755); err != nil {
		return g, err
	}
	for i := range cfg.Nodes {
		id := fmt.Sprintf("n%d", i+1)
		n := &node{id: id, name: id}
		n.dir = filepath.Join(g.dir, n.id)
		g.nodes = append(g.nodes, n)
		if err := g.newProxies(n); err != nil {
			return g, err
		}
	}
	return g, nil
}

func (g *group) close() {
	for _, n := range g.nodes {
		n.process.kill()
	}
	g.network.Close()
}

// newProxies gives a node addresses that nobody has had yet.
func (g *group) newProxies(n *node) (err error) {
	for _, p := range n.proxies() {
		p.Refuse() // kept: nobody else is to get the address
	}
	if n.raft, err = g.network.Open(false); err != nil {
		return err
	}
	if n.http, err = g.network.Open(false); err != nil {
		return err
	}
	if n.gossip, err = g.network.Open(true); err != nil {
		return err
	}
	if g.cfg.overRESP() {
		if n.resp, err = g.network.Open(false); err != nil {
			return err
		}
	}
	g.publish()
	return nil
}

// publish tells the load where the nodes are.
func (g *group) publish() {
	var all []string
	for _, n := range g.nodes {
		at := n.http
		if g.cfg.overRESP() {
			at = n.resp
		}
		all = append(all, at.Address())
	}
	g.endpoints.Store(&all)
}

// flags is the command line of a node that is told of peers, and, under gossip, with
// how many in all it founds a group. Founding, the first one of a static group is not
// told of any others.
func (g *group) flags(n *node, peers []*node, expect int) []string {
	heartbeat := g.tuning.heartbeat.String()
	flags := []string{"--id", n.id, "--haddr", bindHTTP + ":0", "--raddr", bindRaft + ":0",
		"--transport-option", "advertise=" + n.raft.Address(), "--advertise-http", n.http.Address(),
		"--backend", g.cfg.Backend, "--request-timeout", requestTime.String(),
		"--raft-option", "heartbeat_timeout=" + heartbeat, "--raft-option", "election_timeout=" + heartbeat,
		"--raft-option", "leader_lease_timeout=" + heartbeat}
	if g.tuning.small {
		flags = append(flags, "--raft-option", "snapshot_threshold=32", "--engine-option", "trailing_logs=8", "--raft-option", "snapshot_interval=300ms")
	}
	if g.cfg.overRESP() {
		flags = append(flags, "--resp", bindRESP+":0", "--resp-advertise", n.resp.Address())
	}
	if g.cfg.Engine != "" {
		flags = append(flags, "--engine", g.cfg.Engine)
	}
	if g.cfg.Persistence != "" {
		flags = append(flags, "--raft-option", "persistence="+g.cfg.Persistence)
	}
	switch {
	case g.cfg.Backend == "mdb":
		flags = append(flags, "--backend-option", "map_size=256MiB")
	case g.cfg.Backend == "wal" && g.tuning.small: // many segments
		flags = append(flags, "--backend-option", "segment_size=64KiB")
	}
	var https, rafts, gossips []string
	for _, peer := range peers {
		if peer != n {
			https, gossips = append(https, peer.http.Address()), append(gossips, peer.gossip.Address())
			rafts = append(rafts, peer.id+"="+peer.raft.Address())
		}
	}
	if g.cfg.gossips() {
		flags = append(flags, "--gossip", bindGossip+":0", "--gossip-advertise", n.gossip.Address(),
			"--profile", "local", "--remove-failed-after", "0", "--bootstrap-expect", fmt.Sprint(expect))
		if len(gossips) > 0 {
			flags = append(flags, "--gossip-join", strings.Join(gossips, ","))
		}
	} else if g.founded || n != g.nodes[0] {
		flags = append(flags, "--join", strings.Join(https, ","))
		if g.cfg.Peers {
			flags = append(flags, "--peers", strings.Join(rafts, ","))
		}
	}
	return flags
}

// start starts a node on what its folder holds. An error means that it does not run.
func (g *group) start(ctx context.Context, n *node) error {
	return g.startWith(ctx, n, g.flags(n, g.nodes, g.cfg.Nodes))
}

func (g *group) startWith(ctx context.Context, n *node, flags []string) (err error) {
	n.runs++
	log := filepath.Join(g.dir, "logs", fmt.Sprintf("%s.%d.log", n.name, n.runs))
	if n.process, err = startProcess(log, g.cfg.Kvnode, append(flags, n.dir)); err != nil {
		return err
	}
	n.paused = false
	l, err := n.process.listeners(ctx, g.cfg.gossips(), g.cfg.overRESP())
	if err != nil {
		return fmt.Errorf("%s: %w", n.id, err)
	}
	g.network.Process(n.name, n.process.PID(), l.gossip)
	if l.gossip.IsValid() {
		err = n.gossip.Forward(n.name, l.gossip)
	}
	if l.resp.IsValid() {
		err = errors.Join(err, n.resp.Forward(n.name, l.resp))
	}
	return errors.Join(err, n.raft.Forward(n.name, l.raft), n.http.Forward(n.name, l.http))
}

// stop ends a node without a word.
func (g *group) stop(n *node) {
	n.process.kill()
	for _, p := range n.proxies() {
		p.Refuse()
	}
}

// kill notes how nodes have ended, if they have, and ends them without a word.
func (g *group) kill(nodes ...*node) {
	g.noteEnd(nodes...)
	for _, n := range nodes {
		g.stop(n)
	}
}

// found makes the group.
func (g *group) found(ctx context.Context) error {
	for i, n := range g.nodes {
		if err := g.start(ctx, n); err != nil {
			return fmt.Errorf("%w: %s", err, n.process.lastWords())
		}
		if i == 0 && !g.cfg.gossips() {
			if err := g.awaitReady(ctx, healTime, n); err != nil {
				return err
			}
		}
	}
	err := g.await(ctx, healTime, g.isWhole)
	g.founded = err == nil
	return err
}

// crowded is a time as it is on a machine that has more to do than it has processors.
func crowded(d time.Duration) time.Duration {
	const most = 4
	text, err := os.ReadFile("/proc/loadavg")
	var load float64
	if _, scanErr := fmt.Sscan(string(text), &load); err != nil || scanErr != nil {
		return d
	}
	return time.Duration(float64(d) * min(max(1, load/float64(runtime.NumCPU())), most))
}

// await asks until the answer is nil.
func (g *group) await(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	for deadline := time.Now().Add(crowded(within)); ; pause(ctx, 5*pollPause) {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// ask calls f with a client that knows the nodes, and with the first of them.
func (g *group) ask(ctx context.Context, f func(context.Context, *client.Client, *client.Node) error, nodes ...*node) error {
	var endpoints []string
	for _, n := range nodes {
		endpoints = append(endpoints, n.http.Address())
	}
	c, err := client.New(endpoints, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, crowded(askTime))
	defer cancel()
	return f(ctx, c, c.Nodes()[0])
}

// at calls a method of the client of one node.
func (g *group) at(ctx context.Context, n *node, f func(*client.Node, context.Context) error) error {
	return g.ask(ctx, func(ctx context.Context, _ *client.Client, at *client.Node) error { return f(at, ctx) }, n)
}

func (g *group) transfer(ctx context.Context, to string, asked ...*node) error {
	return g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) error { return c.Transfer(ctx, to) }, asked...)
}

func (g *group) awaitReady(ctx context.Context, within time.Duration, n *node) error {
	return g.await(ctx, within, func(ctx context.Context) error { return g.at(ctx, n, (*client.Node).Ready) })
}

// isWhole returns nil if all nodes are ready voters of one leader and there are no
// other members.
func (g *group) isWhole(ctx context.Context) error {
	for _, n := range g.nodes {
		if err := g.isVoter(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// isVoter returns nil if the node is ready and its leader counts it as a voter at its
// address, and the nodes of the group as members only.
func (g *group) isVoter(ctx context.Context, n *node) error {
	if !n.up() {
		return fmt.Errorf("%s does not run", n.id)
	}
	if err := g.at(ctx, n, (*client.Node).Ready); err != nil {
		return err
	}
	members, err := g.members(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, m := range members {
		if m.ID == n.id {
			found = m.Voter && m.Address == n.raft.Address()
		}
	}
	if !found || len(members) > len(g.nodes) {
		return fmt.Errorf("the members are %v; want %s as a voter at %s", members, n.id, n.raft.Address())
	}
	return nil
}

// members returns the members as the leader has them.
func (g *group) members(ctx context.Context) (members []api.Member, err error) {
	leader, err := g.leader(ctx)
	if err != nil {
		return nil, err
	}
	err = g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) (err error) {
		members, err = c.Members(ctx)
		return err
	}, leader)
	return members, err
}

// leader returns the node that most nodes that answer follow.
func (g *group) leader(ctx context.Context) (*node, error) {
	votes := map[string]int{}
	var best *node
	for _, n := range g.nodes {
		if !n.up() || n.paused {
			continue
		}
		var s api.Status
		err := g.at(ctx, n, func(at *client.Node, ctx context.Context) (err error) {
			s, err = at.Status(ctx)
			return err
		})
		if err != nil || s.Leader == nil {
			continue
		}
		votes[s.Leader.ID]++
		for _, l := range g.nodes {
			if l.id == s.Leader.ID && l.up() && (best == nil || votes[l.id] > votes[best.id]) {
				best = l
			}
		}
	}
	if best == nil {
		return nil, errors.New("no node knows a leader that runs")
	}
	return best, nil
}

// roles returns the leader, or any node while there is none, and the others in a
// random order.
func (g *group) roles(ctx context.Context, random *rand.Rand) (leader *node, others []*node) {
	leader, err := g.leader(ctx)
	if err != nil {
		leader = g.nodes[random.IntN(len(g.nodes))]
	}
	for _, i := range random.Perm(len(g.nodes)) {
		if g.nodes[i] != leader {
			others = append(others, g.nodes[i])
		}
	}
	return leader, others
}

// heal ends all that does not touch data: cuts, pauses, and that nodes do not run.
func (g *group) heal(ctx context.Context, reset bool) {
	g.network.Heal(reset)
	for _, n := range g.nodes {
		if n.paused {
			n.process.signal(syscall.SIGCONT)
			n.paused = false
		}
	}
	for _, n := range g.nodes {
		if !n.up() && ctx.Err() == nil {
			g.bringBack(ctx, n)
		}
	}
}

// audit reads all keys from all nodes, once they say that they hold the same.
func (g *group) audit(ctx context.Context) {
	if err := g.await(ctx, comeBack, g.agree); err != nil {
		g.report.violate(Diverged, "%v", err)
	}
	for _, n := range g.nodes {
		if err := g.readMap(ctx, n, check.Audit); err != nil {
			g.report.violate(Hung, "%s does not answer at the end: %v", n.id, err)
		}
	}
}

// readAll reads all keys there are from one node, linearizably. That the node cannot
// answer now is no violation.
func (g *group) readAll(ctx context.Context, n *node) {
	_ = g.readMap(ctx, n, check.Linearizable)
}

// readMap reads all keys of the history from one node and adds the reads to it.
func (g *group) readMap(ctx context.Context, n *node, level check.Level) error {
	keys := map[string]bool{}
	for _, o := range g.history.Ops() {
		keys[o.Key] = true
	}
	call := g.history.Now()
	held, err := g.dump(ctx, n, level)
	if err != nil {
		return err
	}
	for key := range keys {
		v := held[key]
		g.history.Add(check.Op{Client: "survey", Node: n.id, Kind: check.Get, Key: key, Value: string(v.Data), Index: v.Index,
			Level: level, Call: call, Return: g.history.Now(), Outcome: check.OK})
	}
	return nil
}

// agree returns nil if all nodes have applied everything and hold the same map.
func (g *group) agree(ctx context.Context) error {
	digests := map[api.Digest][]string{}
	for _, n := range g.nodes {
		err := g.at(ctx, n, func(at *client.Node, ctx context.Context) error {
			if _, err := at.Scan(ctx, "none", "", 1, client.Linearizable); err != nil {
				return err
			}
			d, err := at.Digest(ctx)
			d.ID = "" // they differ in that
			digests[d] = append(digests[d], n.id)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(digests) > 1 {
		return fmt.Errorf("%v", digests)
	}
	return nil
}

// dump reads a map from a node: what it holds, or, for all levels but audits, what it
// answers to a linearizable read.
func (g *group) dump(ctx context.Context, n *node, level check.Level) (map[string]client.Value, error) {
	consistency := client.Linearizable
	if level == check.Audit {
		consistency = client.Stale
	}
	held := map[string]client.Value{}
	for after, more := "", true; more; {
		err := g.at(ctx, n, func(at *client.Node, ctx context.Context) error {
			page, err := at.Scan(ctx, "", after, 1000, consistency)
			for _, p := range page.Pairs {
				held[p.Key] = p.Value
			}
			after, more = page.Next, page.Next != ""
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return held, nil
}
