// Package inprocess is the system whose members all run in this process and are called
// as functions: an engine, a log store and a network without a server around them.
package inprocess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports"
)

// Acknowledgement is when a write returns: the contract of core.Replica.Propose.
const Acknowledgement = "committed by a majority, applied on the leader"

// New returns the system.
func New(c cluster.Catalogs) *system.System {
	return &system.System{
		Name:      experiment.ModeInProcess,
		Abilities: []system.Ability{system.Traces},
		Describe: func(_ context.Context, cell experiment.Cell) (record.CellInfo, error) {
			p, err := resolve(c, cell)
			return p.info, err
		},
		New: func(s system.Spec) (system.Group, error) {
			p, err := resolve(c, s.Cell.Cell)
			if err != nil {
				return nil, err
			}
			return &group{spec: s, parts: p}, nil
		},
	}
}

// parts are the plug-ins of one cell, looked up.
type parts struct {
	info      record.CellInfo
	engine    core.Engine
	backend   backends.Backend
	transport transports.Transport
	options   core.Options // of the backend
	netOpts   core.Options // of the transport
}

// resolve looks up the parts of a cell and checks their options.
func resolve(c cluster.Catalogs, cell experiment.Cell) (p parts, err error) {
	if cell.Load.Client != "" || cell.Load.Connections != 0 {
		return p, fmt.Errorf("load.client = %q, load.connections = %d: there is no protocol between clients and members in one process: leave them out, or give mode = %q",
			cell.Load.Client, cell.Load.Connections, experiment.ModeProcess)
	}
	if t := cmp.Or(cell.Load.Target, experiment.TargetLeader); t != experiment.TargetLeader && cell.Load.Shares().Looks() < 1 {
		return p, fmt.Errorf("load.target = %q: in one process nobody forwards writes to the leader: have reads only (read_ratio = 1), or give mode = %q", t, experiment.ModeProcess)
	}
	engine, err := c.Engines.Lookup(cell.Cluster.Engine)
	if err != nil {
		return p, err
	}
	if err := engine.Library(cell.Cluster.Engine); err != nil {
		return p, err
	}
	options := cell.Options.Of(experiment.KindEngine, cell.Cluster.Engine, engine.Schema().Keys())
	if p.engine, err = engine.New(options); err != nil {
		return p, err
	}
	if p.backend, err = c.Backends.Lookup(cell.Cluster.Backend); err != nil {
		return p, err
	}
	if p.backend.Available != nil {
		if err := p.backend.Available(); err != nil {
			return p, err
		}
	}
	if p.transport, err = c.Transports.Lookup(cell.Cluster.Transport); err != nil {
		return p, err
	}
	p.options = cell.Options.Of(experiment.KindBackend, cell.Cluster.Backend, p.backend.Options)
	p.netOpts = p.transport.Tuned(cell.Options.Of(experiment.KindTransport, cell.Cluster.Transport, p.transport.Options), cell.Raft.MaxInFlight)
	store, err := p.backend.Info(p.options)
	if err != nil {
		return p, err
	}
	if err := system.RefuseWrites(cell, system.Limit{Bytes: kv.MaxValueBytes, What: "the map"}, system.Stored(cell.Cluster.Backend, store.MaxBytes)); err != nil {
		return p, err
	}
	network, err := p.transport.Info(p.netOpts)
	if err != nil {
		return p, err
	}
	if err := engine.Takes(cell.Cluster.Engine, network); err != nil {
		return p, err
	}
	p.info = record.CellInfo{
		Cell:            cell,
		Engine:          record.Part(p.engine.Describe()),
		Backend:         record.Part{Name: store.Name, Library: store.Library, Version: store.Version},
		Transport:       record.Part{Name: network.Name, Library: network.Library, Version: network.Version},
		Durability:      string(store.Durability),
		Acknowledgement: Acknowledgement,
		Wire:            network.Wire,
		ReadLevel:       system.ReadLevel(cell),
		Runs:            engine.Settings(cell.Cluster.Engine, core.Tuning(cell.Raft), options),
	}
	return p, nil
}

// group is a group whose members run in this process.
type group struct {
	spec  system.Spec
	parts parts
	*cluster.InProcess
	spans  map[string]*trace.Buffer // by member; nil: they are not traced
	traces []trace.Log              // what they recorded, once closed
}

var _ system.Traced = (*group)(nil)

func (g *group) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.spec.StartTimeout())
	defer cancel()
	network, err := g.parts.transport.New(g.parts.netOpts)
	if err != nil {
		return err
	}
	if g.spec.Starting != nil {
		g.spec.Starting()
	}
	if g.spec.Trace {
		if err := g.allocate(); err != nil {
			return err
		}
	}
	g.InProcess, err = cluster.StartInProcess(ctx, cluster.Spec{
		Nodes:             g.parts.info.Cluster.Nodes,
		Engine:            g.parts.engine,
		Network:           network,
		OpenStore:         func(dir string) (core.LogStore, error) { return g.parts.backend.Open(dir, g.parts.options) },
		Dir:               g.spec.Dir,
		SnapshotsInMemory: g.parts.info.Durability == string(core.DurableNothing),
		Tuning:            core.Tuning(g.parts.info.Raft),
		Logger:            g.spec.Logger,
		Trace: func(id string) core.Trace {
			if b := g.spans[id]; b != nil {
				return b
			}
			return nil
		},
	})
	return err
}

// allocate makes room for what the members record.
func (g *group) allocate() (err error) {
	g.spans = map[string]*trace.Buffer{}
	for _, m := range g.Members() {
		if g.spans[m.ID()], err = trace.NewBuffer(trace.DefaultCapacity); err != nil {
			return err
		}
	}
	return nil
}

// Lead has nothing to do: the first member was elected.
func (g *group) Lead(context.Context) error { return nil }

// Close stops all members. The data stays.
func (g *group) Close() error {
	if g.InProcess == nil {
		return nil
	}
	err := g.InProcess.Close()
	for _, m := range g.Members() {
		b := g.spans[m.ID()]
		if b == nil {
			continue
		}
		g.traces = append(g.traces, b.Log(m.ID()))
		if err == nil { // otherwise something may still record
			err = b.Close()
		}
		delete(g.spans, m.ID())
	}
	return err
}

// Traces implements system.Traced.
func (g *group) Traces() ([]trace.Log, error) { return g.traces, nil }

func (g *group) leader() *cluster.Node { return g.Nodes[0] }

// member is one member of a group; its methods but ID are for one that has started.
type member struct {
	group *group
	at    int
}

var _ system.Snapshotter = member{}

// ID implements system.Member.
func (m member) ID() string { return fmt.Sprintf("node%d", m.at+1) }

// Snapshot implements system.Snapshotter.
func (m member) Snapshot(ctx context.Context) error { return m.group.Nodes[m.at].Replica.Snapshot(ctx) }

func (g *group) Members() []system.Member {
	var out []system.Member
	for i := range g.parts.info.Cluster.Nodes {
		out = append(out, member{g, i})
	}
	return out
}

func (g *group) Target(level string) workload.Target {
	t := &target{leader: g.leader(), asked: g.Nodes[:1], level: level}
	switch g.parts.info.Load.Target {
	case experiment.TargetFollowers:
		t.asked = g.Nodes[1:]
	case experiment.TargetAll:
		t.asked = g.Nodes
	}
	return t
}

func (g *group) Set(ctx context.Context, ops []kv.Op) error {
	return proposeAll(ctx, g.leader(), ops)
}

func proposeAll(ctx context.Context, n *cluster.Node, ops []kv.Op) error {
	command, err := kv.EncodeBatch(ops)
	if err != nil {
		return err
	}
	return propose(ctx, n, command)
}

func propose(ctx context.Context, n *cluster.Node, command []byte) error {
	applied, err := n.Replica.Propose(ctx, command)
	if err != nil {
		return err
	}
	r, ok := applied.Result.(kv.Result)
	if !ok {
		return fmt.Errorf("unexpected result of the state machine: %T", applied.Result)
	}
	return r.Err
}

func (g *group) Observe(context.Context) (system.Observation, error) {
	o := system.Observation{At: time.Now(), CPU: system.ProcessCPU(), Commands: g.leader().Map.Applied()}
	if n := g.Leader(); n != nil {
		o.Leadership = system.Leadership{ID: n.ID, Term: n.Replica.Status().Term}
	}
	for _, n := range g.Nodes {
		if c, ok := core.As[core.SyncCounter](n.Logs); ok {
			o.Syncs = append(o.Syncs, c.SyncCount())
		}
	}
	return o, nil
}

// Usage implements system.Group. Members and clients share this process.
func (g *group) Usage() (system.Usage, error) {
	u := system.NewUsage(g.spec.Dir)
	for i, n := range g.Nodes {
		c, counts := core.As[core.SyncCounter](n.Logs)
		if !counts {
			break
		}
		if i == 0 {
			u.Syncs = 0
		}
		u.Syncs += int64(c.SyncCount())
	}
	return u, u.AddProcess(os.Getpid())
}

func (g *group) Disagreeing(context.Context) (behind int, err error) {
	first := g.leader().Map
	for _, n := range g.Nodes[1:] {
		if n.Map.Applied() != first.Applied() {
			behind++ // cheap to see: nothing is hashed while they catch up
		}
	}
	if behind > 0 {
		return behind, nil
	}
	index, sum := first.Digest()
	for _, n := range g.Nodes[1:] {
		if i, s := n.Map.Digest(); i != index || s != sum {
			behind++
		}
	}
	return behind, nil
}

func (g *group) Check() error {
	for _, n := range g.Nodes {
		select {
		case <-n.Replica.Done():
			return fmt.Errorf("%s stopped: %w", n.ID, n.Replica.Err())
		default:
		}
	}
	return nil
}

// Explain adds nothing: the members' errors are whole.
func (g *group) Explain(err error) error { return err }

// target drives members by function calls, as a client that knows them: each client has
// one that it reads from, and writes go to the leader.
type target struct {
	leader *cluster.Node
	asked  []*cluster.Node // a client asks the first
	level  string          // of reads
}

var _ workload.Parted = (*target)(nil)

// Part implements workload.Parted.
func (t *target) Part(client int) workload.Target {
	at := client % len(t.asked)
	return &target{t.leader, t.asked[at : at+1], t.level}
}

// Do implements workload.Target.
func (t *target) Do(ctx context.Context, op *workload.Op) error {
	switch op.Kind {
	case workload.Read, workload.Scan:
		return t.read(ctx, op)
	case workload.WriteBatch:
		ops := make([]kv.Op, 0, len(op.Batch))
		for key, value := range op.Batch {
			ops = append(ops, kv.Op{Kind: kv.OpSet, Key: key, Value: value})
		}
		return proposeAll(ctx, t.leader, ops)
	case workload.CompareAndSet:
		unchanged := kv.Condition{Kind: kv.IfIndex, Index: op.IfIndex}
		command, err := kv.EncodeIf(unchanged, kv.Op{Kind: kv.OpSet, Key: op.Key, Value: op.Value})
		if err != nil {
			return err
		}
		if err = propose(ctx, t.leader, command); errors.Is(err, kv.ErrCondition) {
			err = fmt.Errorf("%w: %w", workload.ErrCondition, err)
		}
		return err
	}
	return propose(ctx, t.leader, kv.EncodeSet(op.Key, op.Value))
}

func (t *target) read(ctx context.Context, op *workload.Op) error {
	if err := t.barrier(ctx); err != nil {
		return err
	}
	if op.Kind == workload.Scan {
		t.asked[0].Map.Scan("", op.Key, op.Limit)
		return nil
	}
	value, index, ok := t.asked[0].Map.Get(op.Key)
	if !ok {
		return fmt.Errorf("read %s: %w", op.Key, system.ErrMissing)
	}
	op.Value, op.Index = value, index
	return nil
}

// barrier makes the map of the member that is asked as fresh as the level wants. A
// follower learns from the leader how far it has to have come, without a message.
func (t *target) barrier(ctx context.Context) error {
	switch {
	case t.level == experiment.ReadStale:
		return nil
	case t.level == experiment.ReadLease:
		return t.leader.Replica.LeaseBarrier(ctx)
	case t.asked[0] == t.leader:
		return t.leader.Replica.ReadBarrier(ctx)
	}
	index, err := t.leader.Replica.ReadIndex(ctx)
	if err != nil {
		return err
	}
	return t.asked[0].Replica.WaitApplied(ctx, index)
}
