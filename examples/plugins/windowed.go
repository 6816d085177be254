package plugins

import (
	"context"
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// windowed is the engine hashicorp with a bound on the commands under way: beyond it
// callers wait before the engine, and not in its queue. Does that shorten the tail of the
// latency, and what does it cost?
type windowed struct {
	hashicorp.Engine
	window int
}

// Describe implements core.Engine.
func (e windowed) Describe() core.EngineInfo {
	info := e.Engine.Describe() // library and version are what they are
	info.Name = "windowed"
	return info
}

// Start implements core.Engine.
func (e windowed) Start(cfg core.ReplicaConfig) (core.Replica, error) {
	r, err := e.Engine.Start(cfg)
	if err != nil {
		return nil, err
	}
	all, ok := r.(abilities)
	if !ok {
		return nil, errors.Join(errors.New("windowed: hashicorp's replicas cannot do all that they could"), r.Close())
	}
	return &windowedReplica{all, make(chan struct{}, e.window)}, nil
}

// abilities are all that hashicorp's replicas can do. Who embedded a core.Replica only
// would hide the rest: kvnode would propose with a goroutine for each command, and could
// not probe a node before it gets a vote.
type abilities interface {
	core.Replica
	core.Proposer
	core.Campaigner
	core.Prober
	core.Acquainted
}

type windowedReplica struct {
	abilities
	slots chan struct{} // one is taken for each command under way
}

// Propose implements core.Replica.
func (r *windowedReplica) Propose(ctx context.Context, command []byte) (core.Applied, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
		return r.abilities.Propose(ctx, command)
	case <-r.Done():
		return r.abilities.Propose(ctx, command) // which tells why it has stopped
	case <-ctx.Done():
		return core.Applied{}, fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, ctx.Err())
	}
}

// Begin implements core.Proposer. A goroutine's commands keep their order, since it waits.
func (r *windowedReplica) Begin(command []byte, c core.Completion) {
	select {
	case r.slots <- struct{}{}:
		r.abilities.Begin(command, releasing{c, r.slots})
	case <-r.Done():
		r.abilities.Begin(command, c)
	}
}

// releasing gives a slot back, whatever came of the command.
type releasing struct {
	core.Completion
	slots <-chan struct{}
}

// Complete implements core.Completion.
func (c releasing) Complete(a core.Applied, err error) {
	<-c.slots // never waits: there is this one
	c.Completion.Complete(a, err)
}

// windowedOptions are the keys of [options.windowed], with their defaults.
type windowedOptions struct {
	Window int `key:"window" min:"1" unit:"commands" doc:"how many may be under way at the same time"`
}

// windowedEntry is the catalogue's entry.
func windowedEntry() engines.Entry {
	defaults := windowedOptions{Window: 64}
	return engines.Entry{
		Options: defaults,
		Tuning:  hashicorp.DefaultTuning(),
		New: func(o core.Options) (core.Engine, error) {
			r := o.Read("windowed")
			return windowed{window: r.Int("window", defaults.Window)}, r.Err()
		},
	}
}
