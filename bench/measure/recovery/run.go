// Package recovery measures what the size of the state costs: memory, a snapshot and how
// it holds up writes, the restart of a member that was killed, and an empty member's
// catching up. It never judges how fast that should be.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv"
)

const (
	writers    = 4         // that fill the group
	batchKeys  = 500       // of an entry of the fill
	batchBytes = 256 << 10 // at most
	quiet      = time.Second
	patience   = 10 * time.Minute // for any one step; the largest states need minutes
)

func accept(cell experiment.Cell) error {
	_, err := settingsOf(cell)
	return err
}

func settingsOf(cell experiment.Cell) (settings, error) {
	s := defaults()
	err := cell.ReadSettings(&s)
	return s, err
}

// run fills a group and has it go through all that it may have to.
func run(ctx context.Context, t *measure.Trial) (err error) {
	s, err := settingsOf(t.Cell.Cell)
	if err != nil {
		return err
	}
	g, err := t.New(system.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := g.Start(ctx); err != nil {
		return g.Explain(err)
	}
	if err := g.Lead(ctx); err != nil {
		return g.Explain(err)
	}
	m := &measurement{settings: s, group: g, data: Data{Keys: int64(s.Keys), Passes: s.Passes}}
	for _, x := range g.Members() {
		k, ok := x.(system.Keeper)
		if !ok {
			return fmt.Errorf("%s is not one of %s", x.ID(), system.Keeps)
		}
		m.members = append(m.members, k)
	}
	wall, monotonic := time.Now().Round(0), time.Now()
	err = m.all(ctx)
	if err == nil {
		drift := time.Now().Round(0).Sub(wall) - time.Since(monotonic)
		t.Record.Gates = append(m.gates, measure.ClockGate(drift))
	}
	if m.leader != "" {
		t.Record.Leader = m.leader
		err = errors.Join(err, t.Record.Put(Name, version, m.data))
	}
	if err != nil {
		return g.Explain(err)
	}
	return nil
}

// measurement is one trial under way.
type measurement struct {
	settings
	group   system.Group
	members []system.Keeper
	data    Data
	gates   []record.Gate
	leader  string
}

func (m *measurement) all(ctx context.Context) error {
	o, err := m.group.Observe(ctx)
	if err != nil {
		return err
	}
	if m.data.EmptyBytes, err = m.memory(ctx); err != nil {
		return err
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{{"fill the group", m.fill}, {"measure the memory", m.weigh}, {"take a snapshot", m.snapshot}, {"restart a member", m.restart},
		{"replace a member", m.replace}, {"compare the members", m.compare}}
	for _, step := range steps {
		within, cancel := context.WithTimeout(ctx, patience)
		err := step.do(within)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	m.leader = o.Leadership.ID
	return nil
}

// key is the name of key i: a bijection (Steele, Lea and Flood, Fast splittable
// pseudorandom number generators, 2014, the finalizer), so that keys come in no order.
func key(i int) string {
	z := uint64(i) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return fmt.Sprintf("%016x", z^z>>31)
}

// fill writes all keys, in as many passes as wanted.
func (m *measurement) fill(ctx context.Context) error {
	size := max(1, min(batchKeys, batchBytes/m.ValueSize))
	batches := make(chan int)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, writers)
	begin := time.Now()
	for range writers {
		go func() {
			err := m.write(ctx, batches, size)
			if err != nil {
				cancel(err)
			}
			done <- err
		}()
	}
send:
	for range m.Passes {
		for first := 0; first < m.Keys; first += size {
			select {
			case batches <- first:
			case <-ctx.Done():
				break send
			}
		}
	}
	close(batches)
	for range writers {
		<-done
	}
	m.data.FillNS = int64(time.Since(begin))
	return context.Cause(ctx)
}

// write writes the batches that begin at those keys.
func (m *measurement) write(ctx context.Context, batches <-chan int, size int) error {
	value := slices.Repeat([]byte{'v'}, m.ValueSize)
	for first := range batches {
		var ops []kv.Op
		for i := first; i < min(first+size, m.Keys); i++ {
			ops = append(ops, kv.Op{Kind: kv.OpSet, Key: key(i), Value: value})
		}
		if err := m.group.Set(ctx, ops); err != nil {
			return err
		}
	}
	return nil
}

// weigh measures the memory once all members have everything.
func (m *measurement) weigh(ctx context.Context) (err error) {
	if _, err = m.agree(ctx); err != nil {
		return err
	}
	m.data.FullBytes, err = m.memory(ctx)
	return err
}

func (m *measurement) memory(ctx context.Context) (bytes []int64, err error) {
	for _, x := range m.members {
		size, err := x.Size(ctx)
		if err != nil {
			return nil, fmt.Errorf("size of %s: %w", x.ID(), err)
		}
		bytes = append(bytes, size.MemoryBytes)
	}
	return bytes, nil
}

// agree waits until all members hold the same, and counts those that do not.
func (m *measurement) agree(ctx context.Context) (behind int, err error) {
	err = poll.Until(ctx, 100*time.Millisecond, func() (bool, error) {
		behind, err = m.group.Disagreeing(ctx)
		return behind == 0, err
	})
	if ctx.Err() != nil && behind > 0 {
		return behind, nil
	}
	return behind, err
}

// snapshot has the leader write one while a client writes, and before that watches the
// same client undisturbed.
func (m *measurement) snapshot(ctx context.Context) error {
	writing, stop := context.WithCancel(ctx)
	defer stop()
	type phase struct{ longest, writes int64 }
	phases, moved, ended := [2]phase{}, make(chan struct{}), make(chan error, 1)
	go func() {
		now, next, target, value := &phases[0], moved, m.group.Target(experiment.ReadStale), slices.Repeat([]byte{'w'}, m.ValueSize)
		for i := 0; ; i++ {
			begin := time.Now()
			err := target.Do(writing, &workload.Op{Kind: workload.Write, Key: key(i % m.Keys), Value: value})
			if writing.Err() != nil {
				ended <- nil
				return
			}
			if err != nil {
				ended <- err
				return
			}
			now.longest, now.writes = max(now.longest, int64(time.Since(begin))), now.writes+1
			select {
			case <-next: // the write that was under way counts to the first phase
				now, next = &phases[1], nil
			default:
			}
		}
	}()
	pause := poll.Sleep(ctx, quiet)
	close(moved)
	begin := time.Now()
	err := errors.Join(pause, m.members[0].Snapshot(ctx))
	m.data.SnapshotNS = int64(time.Since(begin))
	stop()
	err = errors.Join(err, <-ended)
	m.data.QuietNS, m.data.QuietWrites = phases[0].longest, phases[0].writes
	m.data.StallNS, m.data.StallWrites = phases[1].longest, phases[1].writes
	return err
}

// restart kills the last member and starts it again.
func (m *measurement) restart(ctx context.Context) error {
	last := m.members[len(m.members)-1]
	if err := last.Kill(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := last.Restart(ctx); err != nil {
		return err
	}
	m.data.RestartNS = int64(time.Since(begin))
	if len(m.members) == 1 {
		if err := m.group.Lead(ctx); err != nil {
			return err
		}
	}
	size, err := last.Size(ctx)
	m.data.RestartedBytes = size.MemoryBytes
	return err
}

// replace has an empty member take the place of the last one. A group of two could not
// do without it.
func (m *measurement) replace(ctx context.Context) error {
	if len(m.members) < 3 {
		return nil
	}
	begin := time.Now()
	err := m.members[len(m.members)-1].Replace(ctx)
	m.data.JoinNS = int64(time.Since(begin))
	return err
}

// compare is the judgement: is everything there, everywhere, and the same?
func (m *measurement) compare(ctx context.Context) error {
	behind, err := m.agree(ctx)
	if err != nil {
		return err
	}
	missing := int64(0)
	for _, x := range m.members {
		size, err := x.Size(ctx)
		if err != nil {
			return err
		}
		missing = max(missing, int64(m.Keys)-int64(size.Keys), int64(size.Keys)-int64(m.Keys))
	}
	m.gates = []record.Gate{
		measure.AtMost("keys", "lost", float64(missing), 0, fmt.Sprintf("a member has %d keys more or less than were written", missing)),
		measure.AtMost("convergence", "replicas", float64(behind), 0, fmt.Sprintf("%d replicas differ from the leader in the end", behind)),
	}
	return nil
}
