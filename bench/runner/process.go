package runner

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	psutil "github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/client"
)

// processes is a group whose members are kvnode processes on this machine.
type processes struct {
	file    *clusterfile.File
	cluster *process.Cluster
	client  *client.Client
	nodes   []*client.Node
	members []*psutil.Process
}

var _ group = (*processes)(nil)

func startProcesses(ctx context.Context, t *trial, dir string) (_ group, err error) {
	g, err := newProcesses(t, dir, process.Options{ReadyTimeout: startTimeout})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	if err := g.cluster.Start(ctx); err != nil {
		return nil, g.explain(err)
	}
	if err := g.lead(ctx); err != nil {
		return nil, err
	}
	return g, g.find()
}

// newProcesses describes the group of a cell. No process is started yet.
func newProcesses(t *trial, dir string, o process.Options) (*processes, error) {
	c := t.parts.info.Cluster
	generate := clusterfile.Generate
	if c.Discovery == experiment.DiscoveryGossip {
		generate = clusterfile.GenerateGossip
	}
	file, err := generate(c.Nodes, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	file.DataDir = dir
	file.Kvnode = settings(t.parts)
	var endpoints []string
	for _, n := range file.Nodes {
		endpoints = append(endpoints, n.HTTPAddress)
	}
	asks, err := client.New(endpoints, client.Options{})
	if err != nil {
		return nil, err
	}
	o.Binary, o.Foreground = t.kvnode, true
	return &processes{file: file, cluster: process.New(file, o), client: asks, nodes: asks.Nodes()}, nil
}

// settings is the configuration of every kvnode.
func settings(p parts) map[string]any {
	c := p.info.Cluster
	// The defaults of kvnode differ, and both modes must run with the same.
	tuning := core.Tuning(p.info.Raft)
	tuning.SnapshotThreshold = cmp.Or(tuning.SnapshotThreshold, p.defaults.Tuning.SnapshotThreshold)
	s := map[string]any{
		"engine":    c.Engine,
		"transport": c.Transport,
		"log-level": "warn",
		"raft":      conf.Map(tuning),
	}
	if p.defaults.Options != nil {
		own := conf.Map(p.defaults.Options)
		maps.Copy(own, p.engOpts)
		s["engine-options"] = own
	}
	if p.info.Durability == string(core.DurableNothing) {
		s["inmem"] = true // snapshots too
	} else {
		s["backend"] = c.Backend
	}
	if c.Discovery == experiment.DiscoveryGossip {
		s["gossip-profile"] = "lan" // as between machines, also where all are on one
	}
	if len(p.options) > 0 {
		s["backend-options"] = map[string]any(p.options)
	}
	if len(p.netOpts) > 0 {
		s["transport-options"] = map[string]any(p.netOpts)
	}
	return s
}

// lead makes the first member the leader, should another have been elected.
func (g *processes) lead(ctx context.Context) error {
	first := g.file.Nodes[0].Alias
	for {
		s, err := g.nodes[0].Status(ctx)
		if err != nil {
			return err
		}
		if s.Leader != nil && s.Leader.ID == first {
			return nil
		}
		if err := g.client.Transfer(ctx, first); err != nil {
			return fmt.Errorf("make %s the leader: %w", first, err)
		}
	}
}

// find looks up the processes, for their CPU time.
func (g *processes) find() error {
	for _, n := range g.file.Nodes {
		state, err := g.cluster.Inspect(n.Alias)
		if err != nil {
			return err
		}
		p, err := psutil.NewProcess(int32(state.PID))
		if err != nil {
			return fmt.Errorf("find the process of %s: %w", n.Alias, err)
		}
		g.members = append(g.members, p)
	}
	return nil
}

func (g *processes) target(stale bool) workload.Target {
	t := &httpTarget{client: g.client, leader: g.nodes[0], level: client.Linearizable}
	if stale {
		t.level = client.Stale
	}
	return t
}

func (g *processes) set(ctx context.Context, ops []kv.Op) error {
	pairs := map[string][]byte{}
	for _, op := range ops {
		pairs[op.Key] = op.Value
	}
	_, err := g.client.SetAll(ctx, pairs)
	return err
}

func (g *processes) observe(ctx context.Context) (observation, error) {
	o := observation{at: time.Now(), cpu: processCPU()}
	for i, n := range g.nodes {
		s, err := n.Status(ctx)
		if err != nil {
			return o, g.explain(err)
		}
		if i == 0 {
			o.commands = s.Me.Commands
		}
		if s.Me.Role == string(core.Leader) {
			o.leadership = leadership{s.Me.ID, s.Me.Term}
		}
		if s.Me.Store.Syncs != nil {
			o.syncs = append(o.syncs, *s.Me.Store.Syncs)
		}
		times, err := g.members[i].TimesWithContext(ctx)
		if err != nil {
			return o, fmt.Errorf("CPU time of %s: %w", g.file.Nodes[i].Alias, err)
		}
		o.cpu += time.Duration((times.User + times.System) * float64(time.Second))
	}
	return o, nil
}

func (g *processes) disagreeing(ctx context.Context) (behind int, err error) {
	first, err := g.nodes[0].Digest(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range g.nodes[1:] {
		d, err := n.Digest(ctx)
		if err != nil {
			return 0, err
		}
		if d.Commands != first.Commands || d.SHA256 != first.SHA256 {
			behind++
		}
	}
	return behind, nil
}

// watchInterval is how often the processes are looked after. A write to a dead
// member fails by itself; this tells why.
const watchInterval = 250 * time.Millisecond

func (g *processes) watch(failed func(error)) func() {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if err := g.stopped(); err != nil {
				failed(err)
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// stopped returns an error if a member does not run any more.
func (g *processes) stopped() error {
	for _, n := range g.file.Nodes {
		if s, err := g.cluster.Inspect(n.Alias); err != nil || !s.Running {
			return g.explain(errors.Join(fmt.Errorf("%s stopped", n.Alias), err))
		}
	}
	return nil
}

// explain adds the last line of a dead member's log: it is removed with the
// trial's data. A disk that is full is known by what the log says.
func (g *processes) explain(err error) error {
	for _, n := range g.file.Nodes {
		if s, inspect := g.cluster.Inspect(n.Alias); inspect == nil && s.Running {
			continue
		}
		text, readErr := os.ReadFile(g.cluster.LogPath(n.Alias))
		if readErr != nil {
			continue
		}
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
		if len(lines) > 0 {
			err = fmt.Errorf("%w; last in the log of %s: %s", err, n.Alias, lines[len(lines)-1])
		}
		if bytes.Contains(text, []byte(syscall.ENOSPC.Error())) {
			err = fmt.Errorf("%w: %w", syscall.ENOSPC, err)
		}
	}
	return err
}

// Close implements group.
func (g *processes) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*startTimeout)
	defer cancel()
	return errors.Join(g.cluster.Stop(ctx), g.client.Close(), g.cluster.Close())
}

// httpTarget drives the leader over HTTP, as a client that knows it. What is sure
// not to have been taken is sent again, and its latency goes on counting.
type httpTarget struct {
	client *client.Client
	leader *client.Node
	level  client.Consistency // of reads
}

// Do implements workload.Target.
func (t *httpTarget) Do(ctx context.Context, op *workload.Op) error {
	if op.Kind == workload.Write {
		_, err := t.client.Set(ctx, op.Key, op.Value)
		return err
	}
	_, err := t.leader.Get(ctx, op.Key, t.level)
	if errors.Is(err, core.ErrNotFound) {
		return fmt.Errorf("read %s: %w", op.Key, errMissing)
	}
	return err
}
