// Package kvnode is the system whose members are kvnode processes on this machine, each
// asked over HTTP or the Redis protocol. What it claims of them, the program itself said.
package kvnode

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	psutil "github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/clients"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
	"github.com/themilchenko/raftlab/kv/node"
)

// answerTimeout bounds how long the program takes to say what it would run.
const answerTimeout = 10 * time.Second

// New returns the system that runs the program at path. What options the parts take, and
// the engines' defaults, known says.
func New(path string, known cluster.Catalogs) *system.System {
	return &system.System{
		Name:      experiment.ModeProcess,
		Abilities: []system.Ability{system.Processes, system.Kills, system.Traces, system.Keeps},
		Describe: func(ctx context.Context, cell experiment.Cell) (record.CellInfo, error) {
			return describe(ctx, path, cell, known)
		},
		New: func(s system.Spec) (system.Group, error) { return newGroup(path, s, known) },
	}
}

// describe asks the program what it would run with the settings of a cell.
func describe(ctx context.Context, path string, cell experiment.Cell, known cluster.Catalogs) (record.CellInfo, error) {
	info := record.CellInfo{Cell: cell, Acknowledgement: system.Answered, Protocol: clients.Protocol(cell), ReadLevel: system.ReadLevel(cell)}
	if _, err := exec.LookPath(path); err != nil {
		return info, fmt.Errorf("mode = %q needs the program kvnode: build it (make build), or name it with --kvnode: %w", experiment.ModeProcess, err)
	}
	if cell.Load.Connections != 0 && clients.Protocol(cell) != experiment.ClientRESP {
		return info, fmt.Errorf("load.connections = %d: over HTTP each request under way has a connection: leave it out, or give client = %q", cell.Load.Connections, experiment.ClientRESP)
	}
	if cell.Load.Mix.Scan > 0 && clients.Protocol(cell) == experiment.ClientRESP {
		return info, fmt.Errorf("load.mix.scan = %g: SCAN of the Redis protocol gives keys without values, and begins where a cursor says: leave scans out, or give client = %q", cell.Load.Mix.Scan, experiment.ClientHTTP)
	}
	if err := system.RefuseWrites(cell, limits(known, cell)...); err != nil {
		return info, err
	}
	parts, err := ask(ctx, path, settings(known, cell))
	if err != nil {
		return info, fmt.Errorf("%s --describe: %w; name a kvnode that has these parts with --kvnode", path, err)
	}
	for _, x := range []struct{ key, want, is string }{
		{"engine", cell.Cluster.Engine, parts.Engine.Name},
		{"backend", cell.Cluster.Backend, parts.Backend.Name},
		{"transport", cell.Cluster.Transport, parts.Transport.Name},
	} {
		if x.is != x.want {
			return info, fmt.Errorf("%s = %q: %s would run %q instead; name a kvnode that has it with --kvnode", x.key, x.want, path, x.is)
		}
	}
	info.Engine, info.Backend, info.Transport = record.Part(parts.Engine), record.Part(parts.Backend), record.Part(parts.Transport)
	info.Durability, info.Wire, info.Runs = parts.Durability, parts.Wire, parts.Settings
	return info, nil
}

// limits are those of one value: what a request carries, and what the log store holds.
func limits(known cluster.Catalogs, cell experiment.Cell) []system.Limit {
	limits := []system.Limit{{Bytes: api.MaxValueBytes, What: "a write to kvnode"}}
	if b, err := known.Backends.Lookup(cell.Cluster.Backend); err == nil { // otherwise the program knows
		if store, err := b.Info(cell.Options.Of(experiment.KindBackend, cell.Cluster.Backend, b.Options)); err == nil {
			limits = append(limits, system.Stored(store.Name, store.MaxBytes))
		}
	}
	return limits
}

func ask(ctx context.Context, path string, settings map[string]any) (parts api.Parts, err error) {
	dir, err := os.MkdirTemp("", "raftlab-describe-*")
	if err != nil {
		return parts, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	text, err := toml.Marshal(settings)
	if err != nil {
		return parts, err
	}
	file := filepath.Join(dir, "cell.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return parts, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, path, "--describe", "--config", file, dir)
	// In a group of its own: Ctrl-C is for ctx to tell, and ends what the program started, too.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	var stderr bytes.Buffer
	command.Stderr = &stderr
	answer, err := command.Output()
	if err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(stderr.String(), file, "its settings")), "\n")
		return parts, fmt.Errorf("%w: %s", cmp.Or(ctx.Err(), err), said)
	}
	if err := json.Unmarshal(answer, &parts); err != nil {
		return parts, fmt.Errorf("it does not say what it would run: %w", err)
	}
	return parts, nil
}

// settings is the configuration of every kvnode of a cell. What the cell leaves out,
// kvnode takes for its own.
func settings(parts cluster.Catalogs, cell experiment.Cell) map[string]any {
	c := cell.Cluster
	s := map[string]any{
		"engine":    c.Engine,
		"backend":   c.Backend,
		"transport": c.Transport,
		"log-level": "warn",
		"profile":   cmp.Or(c.Profile, node.LAN),
		"raft":      conf.Map(cell.Raft),
	}
	add := func(table string, options map[string]any) {
		if len(options) > 0 {
			s[table] = options
		}
	}
	if e, err := parts.Engines.Lookup(c.Engine); err == nil {
		add("engine-options", cell.Options.Of(experiment.KindEngine, c.Engine, e.Schema().Keys()))
	}
	if b, err := parts.Backends.Lookup(c.Backend); err == nil {
		add("backend-options", cell.Options.Of(experiment.KindBackend, c.Backend, b.Options))
	}
	if t, err := parts.Transports.Lookup(c.Transport); err == nil {
		add("transport-options", cell.Options.Of(experiment.KindTransport, c.Transport, t.Options))
	}
	return s
}

// group is a group whose members are processes.
type group struct {
	spec    system.Spec
	file    *clusterfile.File
	cluster *process.Cluster
	client  *client.Client
	clients *clients.Clients // over the protocol that is measured
	nodes   []*client.Node

	mu      sync.Mutex
	members []*psutil.Process // nil: it was killed, and does not run
}

var _ system.Traced = (*group)(nil)

func newGroup(path string, s system.Spec, known cluster.Catalogs) (*group, error) {
	c := s.Cell.Cluster
	generate := clusterfile.Generate
	if c.Discovery == experiment.DiscoveryGossip {
		generate = clusterfile.GenerateGossip
	}
	file, err := generate(c.Nodes, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	if clients.Protocol(s.Cell.Cell) == experiment.ClientRESP {
		if err := file.ServeRESP("127.0.0.1"); err != nil {
			return nil, err
		}
	}
	file.DataDir = s.Dir
	file.Kvnode = settings(known, s.Cell.Cell)
	if s.Trace {
		file.Kvnode["trace"] = true
	}
	var endpoints []string
	for _, n := range file.Nodes {
		endpoints = append(endpoints, n.HTTPAddress)
	}
	asks, err := client.New(endpoints, client.Options{})
	if err != nil {
		return nil, err
	}
	load, err := clients.Open(file.Nodes, s.Cell)
	if err != nil {
		return nil, errors.Join(err, asks.Close())
	}
	var first sync.Once
	options := process.Options{Binary: path, Foreground: true, ReadyTimeout: s.StartTimeout(), Events: func(e process.Event) {
		if e.Kind == process.Starting && s.Starting != nil {
			first.Do(s.Starting)
		}
	}}
	return &group{spec: s, file: file, cluster: process.New(file, options), client: asks, clients: load, nodes: asks.Nodes(),
		members: make([]*psutil.Process, c.Nodes)}, nil
}

// Start starts the processes as clusterctl does. Its own questions, every 25 ms, are
// part of how long that takes: a static join goes on once the founder is seen to lead.
func (g *group) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.spec.StartTimeout())
	defer cancel()
	if err := g.cluster.Start(ctx); err != nil {
		return err
	}
	for i := range g.file.Nodes {
		if err := g.lookUp(i); err != nil {
			return err
		}
	}
	return nil
}

// lookUp finds the process of a member, for its CPU time.
func (g *group) lookUp(i int) error {
	alias := g.file.Nodes[i].Alias
	state, err := g.cluster.Inspect(alias)
	if err != nil {
		return err
	}
	p, err := psutil.NewProcess(int32(state.PID))
	if err != nil {
		return fmt.Errorf("find the process of %s: %w", alias, err)
	}
	g.set(i, p)
	return nil
}

func (g *group) set(i int, p *psutil.Process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[i] = p
}

// process returns nil for a member that was killed.
func (g *group) process(i int) *psutil.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[i]
}

// Lead makes the first member the leader, should another have been elected, and has the
// clients over HTTP connect: what that takes is no part of an operation.
func (g *group) Lead(ctx context.Context) error {
	first := g.file.Nodes[0].Alias
	for {
		s, err := g.nodes[0].Status(ctx)
		if err != nil {
			return err
		}
		if s.Leader != nil && s.Leader.ID == first {
			return g.clients.Connect(ctx)
		}
		if err := g.client.Transfer(ctx, first); err != nil {
			return fmt.Errorf("make %s the leader: %w", first, err)
		}
	}
}

func (g *group) Target(level string) workload.Target { return g.clients.Target(level) }

func (g *group) Set(ctx context.Context, ops []kv.Op) error { return g.clients.Set(ctx, ops) }

func (g *group) Observe(ctx context.Context) (system.Observation, error) {
	o := system.Observation{At: time.Now(), ClientsCPU: system.ProcessCPU()}
	o.CPU = o.ClientsCPU
	for i, n := range g.nodes {
		p := g.process(i)
		if p == nil {
			continue
		}
		s, err := n.Status(ctx)
		if err != nil {
			return o, err
		}
		if i == 0 {
			o.Commands = s.Me.Commands
		}
		if s.Me.Role == string(core.Leader) {
			o.Leadership = system.Leadership{ID: s.Me.ID, Term: s.Me.Term}
		}
		if s.Me.Store.Syncs != nil {
			o.Syncs = append(o.Syncs, *s.Me.Store.Syncs)
		}
		if err := o.AddMember(ctx, int(p.Pid)); err != nil {
			return o, fmt.Errorf("what %s has used: %w", g.file.Nodes[i].Alias, err)
		}
	}
	return o, nil
}

// Usage implements system.Group. The members' flushes are left out: only they know, and
// would have to be asked.
func (g *group) Usage() (system.Usage, error) {
	u := system.NewUsage(g.spec.Dir)
	u.Opened = g.clients.Opened()
	for i := range g.file.Nodes {
		if p := g.process(i); p != nil {
			if err := u.AddProcess(int(p.Pid)); err != nil {
				return u, err
			}
		}
	}
	return u, nil
}

func (g *group) Disagreeing(ctx context.Context) (behind int, err error) {
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

func (g *group) Check() error {
	for i, n := range g.file.Nodes {
		if g.process(i) == nil {
			continue
		}
		if s, err := g.cluster.Inspect(n.Alias); err != nil || !s.Running {
			return errors.Join(fmt.Errorf("%s stopped", n.Alias), err)
		}
	}
	return nil
}

// Explain adds the last line of a dead member's log: it is removed with the trial's data.
func (g *group) Explain(err error) error {
	for _, n := range g.file.Nodes {
		if s, inspect := g.cluster.Inspect(n.Alias); inspect == nil && s.Running {
			continue
		}
		err = system.LastWords(err, n.Alias, g.cluster.LogPath(n.Alias))
	}
	return err
}

// Close stops all processes. The data stays.
func (g *group) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(g.cluster.Stop(ctx), g.clients.Close(), g.client.Close(), g.cluster.Close())
}

// Traces implements system.Traced: the members leave theirs in their folders.
func (g *group) Traces() ([]trace.Log, error) {
	var out []trace.Log
	for _, n := range g.file.Nodes {
		l, err := trace.ReadFile(filepath.Join(g.cluster.Dir(n.Alias), trace.FileName))
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (g *group) Members() []system.Member {
	out := make([]system.Member, len(g.nodes))
	for i, n := range g.nodes {
		out[i] = &member{Node: n, group: g, at: i, id: g.file.Nodes[i].Alias, address: g.file.Nodes[i].HTTPAddress, gossips: g.file.Gossips()}
	}
	return out
}

// member is one process.
type member struct {
	*client.Node
	group       *group
	at          int // in the group's file
	id, address string
	gossips     bool
}

var (
	_ system.Witness = (*member)(nil)
	_ system.Mortal  = (*member)(nil)
	_ system.Keeper  = (*member)(nil)
)

// ID implements system.Member.
func (m *member) ID() string { return m.id }

// Kill implements system.Mortal.
func (m *member) Kill(ctx context.Context) error {
	m.group.set(m.at, nil)
	return m.group.cluster.Kill(ctx, m.id)
}

// Restart implements system.Mortal. It returns once the member has caught up.
func (m *member) Restart(ctx context.Context) error {
	if err := m.group.cluster.StartNodes(ctx, m.id); err != nil {
		return err
	}
	return m.group.lookUp(m.at)
}

// Size implements system.Keeper.
func (m *member) Size(ctx context.Context) (system.Size, error) {
	s, err := m.Node.Status(ctx)
	if err != nil {
		return system.Size{}, err
	}
	p := m.group.process(m.at)
	if p == nil {
		return system.Size{}, fmt.Errorf("%s does not run", m.id)
	}
	memory, err := p.MemoryInfoWithContext(ctx)
	if err != nil {
		return system.Size{}, fmt.Errorf("memory of %s: %w", m.id, err)
	}
	return system.Size{Keys: s.Me.Keys, MemoryBytes: int64(memory.RSS)}, nil
}

// Replace implements system.Keeper.
func (m *member) Replace(ctx context.Context) error {
	if err := m.Kill(ctx); err != nil {
		return err
	}
	if err := m.group.client.Remove(ctx, m.id); err != nil {
		return err
	}
	if err := os.RemoveAll(m.group.cluster.Dir(m.id)); err != nil {
		return err
	}
	return m.Restart(ctx)
}

// Status implements system.Witness.
func (m *member) Status(ctx context.Context) (system.Status, error) {
	s, err := m.Node.Status(ctx)
	if err != nil {
		return system.Status{}, err
	}
	return statusOf(s), nil
}

func statusOf(s api.Status) system.Status {
	out := system.Status{ID: s.Me.ID, Leads: s.Me.Role == string(core.Leader), Term: s.Me.Term, CommitIndex: s.Me.CommitIndex}
	if s.Leader != nil {
		out.Leader = s.Leader.ID
	}
	if s.Me.Voter {
		out.Voters++
	}
	for _, f := range s.Followers {
		if f.Voter && f.ID != s.Me.ID {
			out.Voters++
		}
	}
	return out
}

// The counters of what a node's discovery layer sent.
const (
	messagesCounter = "raftlab_gossip_messages_total"
	bytesCounter    = "raftlab_gossip_bytes_total"
)

// errNoCounters says that a node does not count what it sends.
var errNoCounters = errors.New("it has no counters of gossip: its kvnode and this raftlab do not belong together")

// Sent implements system.Witness. A member that does not gossip sends nothing.
func (m *member) Sent(ctx context.Context) (system.Traffic, error) {
	if !m.gossips {
		return system.Traffic{At: time.Now()}, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.address+"/metrics", nil)
	if err != nil {
		return system.Traffic{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: time.Second}).Do(request)
	if err != nil {
		return system.Traffic{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return system.Traffic{}, errors.New(response.Status)
	}
	at := time.Now()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return system.Traffic{}, err
	}
	messages, bytes := families[messagesCounter], families[bytesCounter]
	if messages == nil || bytes == nil {
		return system.Traffic{}, errNoCounters
	}
	return system.Traffic{At: at, Messages: sent(messages), Bytes: sent(bytes)}, nil
}

// sent adds up the counters of one direction.
func sent(family *dto.MetricFamily) (sum int64) {
	for _, m := range family.Metric {
		for _, l := range m.Label {
			if l.GetName() == "direction" && l.GetValue() == "sent" {
				sum += int64(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}
