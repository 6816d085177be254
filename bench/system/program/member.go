package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/engines/programs/flushes"
)

// leader is the role of one in its status.
const leader = "leader"

// member is one process. Whatever it is asked, it is asked on a connection of its own: what
// hangs there keeps nobody else waiting.
type member struct {
	group    *group
	spec     program.Spec
	counters string // the file of its flushes; empty: they are not counted

	mu      sync.Mutex
	process *program.Process // nil: it was not started, or was killed
}

var (
	_ system.Witness     = (*member)(nil)
	_ system.Mortal      = (*member)(nil)
	_ system.Snapshotter = (*member)(nil)
)

// ID implements system.Member.
func (m *member) ID() string { return m.spec.ID }

// running returns nil for a member that does not run and should not.
func (m *member) running() *program.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

func (m *member) set(p *program.Process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process = p
}

func (m *member) start(ctx context.Context) error {
	p, err := program.Start(ctx, m.spec)
	if err != nil {
		return err
	}
	m.set(p)
	return nil
}

// Kill implements system.Mortal.
func (m *member) Kill(context.Context) error {
	p := m.running()
	if p == nil {
		return fmt.Errorf("%s does not run", m.ID())
	}
	m.set(nil)
	return p.Kill()
}

// Restart implements system.Mortal.
func (m *member) Restart(ctx context.Context) error {
	if err := m.start(ctx); err != nil {
		return err
	}
	return m.running().Ready(ctx)
}

// ask connects to a member and asks it one thing.
func ask[T any](ctx context.Context, m *member, what func(*program.Control, context.Context) (T, error)) (answer T, err error) {
	c, err := program.Dial(ctx, m.spec.RESP)
	if err != nil {
		return answer, fmt.Errorf("%s: %w", m.ID(), err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if answer, err = what(c, ctx); err != nil {
		return answer, fmt.Errorf("%s: %w", m.ID(), err)
	}
	return answer, nil
}

// Snapshot implements system.Snapshotter.
func (m *member) Snapshot(ctx context.Context) error {
	_, err := ask(ctx, m, func(c *program.Control, ctx context.Context) (struct{}, error) { return struct{}{}, c.Snapshot(ctx) })
	return err
}

// transfer has the member hand its leadership to another.
func (m *member) transfer(ctx context.Context, id string) error {
	_, err := ask(ctx, m, func(c *program.Control, ctx context.Context) (struct{}, error) {
		return struct{}{}, c.Transfer(ctx, id)
	})
	return err
}

// Status implements system.Witness.
func (m *member) Status(ctx context.Context) (system.Status, error) {
	s, err := ask(ctx, m, (*program.Control).Status)
	return system.Status{
		ID: s.ID, Leads: s.Role == leader, Term: s.Term, Leader: s.Leader, CommitIndex: s.CommitIndex, Voters: len(m.group.members),
	}, err
}

// Ready implements system.Witness: a member has caught up once it has applied what was
// committed when it was asked.
func (m *member) Ready(ctx context.Context) error {
	var committed uint64
	for _, other := range m.group.members {
		if other == m || other.running() == nil {
			continue
		}
		s, err := ask(ctx, other, (*program.Control).Status)
		if err != nil {
			return err
		}
		committed = max(committed, s.CommitIndex)
	}
	s, err := ask(ctx, m, (*program.Control).Status)
	if err != nil {
		return err
	}
	if s.Leader == "" || s.AppliedIndex < committed {
		return fmt.Errorf("%s has applied %d of %d entries", m.ID(), s.AppliedIndex, committed)
	}
	return nil
}

// Sent implements system.Witness: members are told each other, and send nothing to find them.
func (m *member) Sent(context.Context) (system.Traffic, error) {
	return system.Traffic{At: time.Now()}, nil
}

// flushes is how often the member has flushed, whenever it was started. An error that is
// errors.ErrUnsupported says that this is not counted.
func (m *member) flushes() (int64, error) {
	if m.counters == "" {
		return 0, errors.ErrUnsupported
	}
	c, err := flushes.Read(m.counters)
	if errors.Is(err, os.ErrNotExist) { // a program that the library cannot be loaded into
		return 0, errors.ErrUnsupported
	}
	return int64(c.Durable()), err
}
