// Package program is the system whose members are processes of an engine that is a program
// of its own (docs/engine-programs.md), each asked over the Redis protocol. What it claims of
// them, the program itself said; that a write was flushed is counted from outside.
package program

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/clients"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv"
)

// New returns the system that runs those engines of the catalogue that are programs.
func New(known *engines.Catalog) *system.System {
	a := &asker{known: known, answers: map[string]Description{}}
	return &system.System{
		Name:      experiment.ModeProcess,
		Abilities: []system.Ability{system.Kills},
		Takes: func(cell experiment.Cell) bool {
			e, err := known.Lookup(cell.Cluster.Engine)
			return err == nil && e.Program != nil
		},
		Describe: a.describe,
		New:      func(s system.Spec) (system.Group, error) { return a.newGroup(s) },
	}
}

// group is a group whose members are processes.
type group struct {
	spec    system.Spec
	members []*member
	clients *clients.Clients
}

var _ system.Group = (*group)(nil)

func (a *asker) newGroup(s system.Spec) (*group, error) {
	// Once more, for a manifest has what was described, and not where the program is.
	d, err := a.ask(context.Background(), s.Cell.Cluster.Engine, nil)
	if err != nil {
		return nil, err
	}
	settings, _, err := settingsOf(s.Cell.Cell, &d)
	if err != nil {
		return nil, err
	}
	file, err := clusterfile.Generate(s.Cell.Cluster.Nodes, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	if err := file.ServeRESP("127.0.0.1"); err != nil {
		return nil, err
	}
	g := &group{spec: s}
	if g.clients, err = clients.Open(file.Nodes, s.Cell); err != nil {
		return nil, err
	}
	var raft, resp []program.Address
	for _, n := range file.Nodes {
		raft = append(raft, program.Address{ID: n.Alias, At: n.RPCAddress})
		resp = append(resp, program.Address{ID: n.Alias, At: n.RESPAddress})
	}
	for _, n := range file.Nodes {
		dir := filepath.Join(s.Dir, n.Alias)
		m := &member{group: g, spec: program.Spec{
			Path: d.Path, ID: n.Alias, Raft: n.RPCAddress, RESP: n.RESPAddress, Dir: dir, Log: dir + ".log",
			Members: raft, RESPMembers: resp, Settings: settings,
		}}
		if library := counterOf(d.Path); library != "" {
			m.counters = dir + ".flushes"
			m.spec.Env = []string{"LD_PRELOAD=" + library, "RAFTLAB_FLUSHES=" + m.counters}
		}
		g.members = append(g.members, m)
	}
	return g, nil
}

func (g *group) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.spec.StartTimeout())
	defer cancel()
	if g.spec.Starting != nil {
		g.spec.Starting()
	}
	for _, m := range g.members {
		if err := m.start(ctx); err != nil {
			return err
		}
	}
	for _, m := range g.members {
		if err := m.running().Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leadPause is how long a group has between two attempts to hand its leadership over.
const leadPause = 50 * time.Millisecond

// Lead has the leader hand over to the first member. One that is not far enough yet is
// handed nothing, so it is tried again.
func (g *group) Lead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.spec.StartTimeout())
	defer cancel()
	first := g.members[0]
	var last error
	err := poll.Until(ctx, leadPause, func() (bool, error) {
		for _, m := range g.members {
			s, err := ask(ctx, m, (*program.Control).Status)
			if err != nil {
				last = err
				continue
			}
			if s.Role != leader {
				continue
			}
			if m == first {
				return true, nil
			}
			last = m.transfer(ctx, first.ID())
		}
		return false, g.Check()
	})
	if err != nil {
		return fmt.Errorf("make %s the leader: %w", first.ID(), errors.Join(err, last))
	}
	return g.clients.Connect(ctx)
}

func (g *group) Members() []system.Member {
	out := make([]system.Member, len(g.members))
	for i, m := range g.members {
		out[i] = m
	}
	return out
}

func (g *group) Target(level string) workload.Target { return g.clients.Target(level) }

func (g *group) Set(ctx context.Context, ops []kv.Op) error { return g.clients.Set(ctx, ops) }

func (g *group) Observe(ctx context.Context) (system.Observation, error) {
	o := system.Observation{At: time.Now(), ClientsCPU: system.ProcessCPU()}
	o.CPU = o.ClientsCPU
	for i, m := range g.members {
		p := m.running()
		if p == nil {
			continue
		}
		s, err := ask(ctx, m, (*program.Control).Status)
		if err != nil {
			return o, err
		}
		if i == 0 {
			o.Commands = s.Commands
		}
		if s.Role == leader {
			o.Leadership = system.Leadership{ID: m.ID(), Term: s.Term}
		}
		if n, err := m.flushes(); err == nil {
			o.Syncs = append(o.Syncs, uint64(n))
		} else if !errors.Is(err, errors.ErrUnsupported) {
			return o, err
		}
		if err := o.AddMember(ctx, p.PID()); err != nil {
			return o, fmt.Errorf("what %s has used: %w", m.ID(), err)
		}
	}
	return o, nil
}

// Usage implements system.Group.
func (g *group) Usage() (system.Usage, error) {
	u := system.NewUsage(g.spec.Dir)
	u.Opened = g.clients.Opened()
	u.Syncs = 0
	for _, m := range g.members {
		p := m.running()
		if p == nil {
			continue
		}
		if err := u.AddProcess(p.PID()); err != nil {
			return u, err
		}
		n, err := m.flushes()
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			u.Syncs = system.Uncounted
		case err != nil:
			return u, err
		case u.Syncs != system.Uncounted:
			u.Syncs += n
		}
	}
	return u, nil
}

func (g *group) Disagreeing(ctx context.Context) (behind int, err error) {
	var first program.Digest
	for i, m := range g.members {
		d, err := ask(ctx, m, (*program.Control).Digest)
		switch {
		case err != nil:
			return 0, err
		case i == 0:
			first = d
		case d.Commands != first.Commands || d.SHA256 != first.SHA256:
			behind++
		}
	}
	return behind, nil
}

func (g *group) Check() error {
	for _, m := range g.members {
		if p := m.running(); p != nil {
			select {
			case <-p.Done():
				return errors.Join(fmt.Errorf("%s stopped", m.ID()), p.Err())
			default:
			}
		}
	}
	return nil
}

// Explain adds the last line of a dead member's log: it is removed with the trial's data.
func (g *group) Explain(err error) error {
	for _, m := range g.members {
		if p := m.running(); p != nil {
			select {
			case <-p.Done():
				err = system.LastWords(err, m.ID(), m.spec.Log)
			default:
			}
		}
	}
	return err
}

// Close stops all processes. The data stays.
func (g *group) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	errs := make([]error, len(g.members))
	var stopping sync.WaitGroup
	for i, m := range g.members {
		if p := m.running(); p != nil {
			stopping.Go(func() { errs[i] = p.Stop(ctx) })
		}
	}
	stopping.Wait()
	return errors.Join(append(errs, g.clients.Close())...)
}
