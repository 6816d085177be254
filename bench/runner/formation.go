package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
)

// form starts the processes of a group, watches it come into being and then
// counts what its members say to find each other. The processes are started as
// clusterctl starts them, whose own questions, every 25 ms, are thus part of what
// is measured: a static join goes on once the founder is seen to lead.
func (t *trial) form(ctx context.Context, dir string, result *record.Trial) (err error) {
	timeout := time.Duration(t.parts.info.Formation.Timeout)
	began := make(chan time.Time, 1)
	g, err := newProcesses(t, dir, process.Options{ReadyTimeout: timeout, Events: func(e process.Event) {
		if e.Kind == process.Starting {
			select {
			case began <- time.Now():
			default: // only the first counts
			}
		}
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()

	b, err := g.form(ctx, timeout, began)
	if b != nil {
		result.Formation, result.Leader = b.record(), b.leadership.id
	}
	if err != nil {
		return g.explain(err)
	}
	return t.rest(ctx, g, b, result)
}

// form starts the processes and returns once the group is whole. What was seen
// until then comes with an error, too, if a process was started at all.
func (g *processes) form(ctx context.Context, timeout time.Duration, began <-chan time.Time) (*birth, error) {
	ctx, stop := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("formation.timeout = %s is over", timeout))
	defer stop()
	started := make(chan error, 1)
	go func() { started <- g.cluster.Start(ctx) }()

	watching, done := context.WithCancel(ctx)
	defer done()
	var b *birth
	select {
	case at := <-began:
		b = newBirth(g, at, done)
	case err := <-started:
		return nil, err
	}
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		b.run(watching)
	}()
	err := <-started
	if err != nil {
		done()
	}
	<-seen
	if missing := b.missing(); missing != nil {
		err = errors.Join(fmt.Errorf("the group is not whole after %s: %w", time.Since(b.began).Round(time.Millisecond), missing), err)
	}
	return b, err
}

// rest counts what is sent while nothing happens, and then judges the trial. Of a
// group that has lost a process there is nothing to count.
func (t *trial) rest(ctx context.Context, g *processes, b *birth, result *record.Trial) error {
	traffic, err := g.traffic(ctx, t.parts.info.Formation)
	stopped := g.stopped()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case stopped == nil && err != nil:
		return g.explain(err)
	case stopped == nil:
		result.Formation.Traffic = traffic
	}
	leaders, voters := g.leaders(ctx)
	result.Gates = append(result.Gates,
		aliveGate(stopped),
		oneLeaderGate(b.leadership, leaders),
		votersGate(voters, len(g.nodes)),
		clockGate(clockDrift(b.began)))
	return nil
}

// traffic waits until the news of the formation have gone round and counts then.
func (g *processes) traffic(ctx context.Context, f experiment.Formation) ([]record.Traffic, error) {
	if err := pause(ctx, f.Settle); err != nil {
		return nil, err
	}
	before, err := g.sent(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, f.Rest); err != nil {
		return nil, err
	}
	after, err := g.sent(ctx)
	if err != nil {
		return nil, err
	}
	counted := make([]record.Traffic, len(after))
	for i := range after {
		counted[i] = after[i].since(before[i])
	}
	return counted, nil
}

func pause(ctx context.Context, d experiment.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(d)):
		return nil
	}
}

// leaders lists the members that say that they lead, and counts the voters in the
// configuration of the last of them. Who does not answer does not lead.
func (g *processes) leaders(ctx context.Context) (leaders []leadership, voters int) {
	for _, n := range g.nodes {
		if s, err := n.Status(ctx); err == nil && s.Me.Role == string(core.Leader) {
			leaders = append(leaders, leadership{s.Me.ID, s.Me.Term})
			voters = countVoters(s)
		}
	}
	return leaders, voters
}

// clockDrift is how far the wall clock and the monotonic clock have parted since.
func clockDrift(since time.Time) time.Duration {
	now := time.Now()
	return now.Round(0).Sub(since.Round(0)) - now.Sub(since)
}
