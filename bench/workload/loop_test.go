package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
)

// countdown is a source of so many writes, numbered down, that keeps what it is told
// of the last operation.
type countdown struct {
	left int
	told []string
}

func (c *countdown) Next(op *Op, last error) (time.Duration, bool) {
	c.told = append(c.told, fmt.Sprintf("index %d, %v", op.Index, last))
	*op = Op{Kind: Delete, Key: fmt.Sprint(c.left)}
	c.left--
	return 0, c.left >= 0
}

// diary records what it sees, and fails at an operation.
type diary struct {
	lines  []string
	failAt string
}

var errFull = errors.New("the diary is full")

func (d *diary) Begin(op *Op) error {
	if op.Key == d.failAt {
		return errFull
	}
	d.lines = append(d.lines, "begin "+op.Key)
	return nil
}

func (d *diary) End(op *Op, at Times, err error) error {
	if at.Due != at.Start || at.End.Before(at.Start) {
		return fmt.Errorf("%+v", at)
	}
	d.lines = append(d.lines, fmt.Sprintf("end %s at %d: %v", op.Key, op.Index, err))
	return nil
}

// TestLoopTellsSourceAndRecorders: every operation is seen to begin and to end, with
// the target's answer, by all recorders, and the source learns of it.
func TestLoopTellsSourceAndRecorders(t *testing.T) {
	source, one, two := &countdown{left: 2}, &diary{}, &diary{}
	refused := errors.New("refused")
	answer := targetFunc(func(_ context.Context, op *Op) error {
		op.Index = 7
		if op.Key == "1" {
			return refused
		}
		return nil
	})
	loop := Loop{OpTimeout: time.Minute, Clients: []Client{{source, answer, []Recorder{one, two}}}}
	if err := loop.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"begin 2", "end 2 at 7: <nil>", "begin 1", "end 1 at 7: refused"}; !slices.Equal(one.lines, want) || !slices.Equal(two.lines, want) {
		t.Errorf("recorded %q and %q, want %q", one.lines, two.lines, want)
	}
	if want := []string{"index 0, <nil>", "index 7, <nil>", "index 7, refused"}; !slices.Equal(source.told, want) {
		t.Errorf("the source was told %q, want %q", source.told, want)
	}
}

// TestRecorderFailureEndsTheLoad: of all clients, and what is out is waited for.
func TestRecorderFailureEndsTheLoad(t *testing.T) {
	var out atomic.Int64
	target := targetFunc(func(ctx context.Context, _ *Op) error {
		out.Add(1)
		defer out.Add(-1)
		return poll.Sleep(ctx, time.Millisecond)
	})
	loop := Loop{OpTimeout: time.Minute, Clients: []Client{
		{&countdown{left: 9}, target, []Recorder{&diary{failAt: "5"}}},
		{&countdown{left: 1 << 40}, target, []Recorder{&diary{}}},
	}}
	if err := loop.Run(t.Context()); !errors.Is(err, errFull) || out.Load() != 0 {
		t.Errorf("%v; %d operations are still out", err, out.Load())
	}
}

// TestFinish: when the context ends, what is out is cut off, or waited for.
func TestFinish(t *testing.T) {
	for _, finish := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		seen := &diary{}
		target := targetFunc(func(ctx context.Context, _ *Op) error {
			cancel()
			return ctx.Err()
		})
		loop := Loop{OpTimeout: time.Minute, Finish: finish, Clients: []Client{{&countdown{left: 5}, target, []Recorder{seen}}}}
		err := loop.Run(ctx)
		want := []string{"begin 5"}
		if finish {
			want = append(want, "end 5 at 0: <nil>")
		}
		if err != nil || !slices.Equal(seen.lines, want) {
			t.Errorf("finish %t: %q, %v; want %q", finish, seen.lines, err, want)
		}
	}
}

// TestUntil: no operation begins when the time has come.
func TestUntil(t *testing.T) {
	target := targetFunc(func(context.Context, *Op) error {
		t.Error("an operation after its time")
		return nil
	})
	loop := Loop{OpTimeout: time.Minute, Until: time.Now(), Clients: []Client{{&countdown{left: 5}, target, nil}}}
	if err := loop.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// lanes is a target with so many parts, which count what is asked of them, and answer once
// each has been asked.
type lanes []atomic.Int64

func (lanes) Do(context.Context, *Op) error { return errors.New("the whole was asked") }

func (l lanes) Part(client int) Target {
	return targetFunc(func(ctx context.Context, _ *Op) error {
		l[client%len(l)].Add(1)
		return poll.Until(ctx, time.Millisecond, func() (bool, error) {
			for i := range l {
				if l[i].Load() == 0 {
					return false, nil
				}
			}
			return true, nil
		})
	})
}

// TestParted: each client of a closed loop, and each worker of an open one, asks its own part.
func TestParted(t *testing.T) {
	for name, spec := range map[string]Spec{
		"closed": {Clients: 6, Operations: 60},
		"open":   {Clients: 6, Operations: 60, Rate: 3000},
	} {
		spec.OpTimeout, spec.Keys, spec.KeyDistribution = time.Minute, 10, Uniform
		prepared, err := Prepare(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		target := make(lanes, 3)
		result, err := prepared.Run(t.Context(), target)
		if err != nil || len(result.Errors) > 0 {
			t.Errorf("%s: %v, %v", name, err, result.Errors)
		}
		for i := range target {
			if target[i].Load() == 0 {
				t.Errorf("%s: nobody asked part %d", name, i)
			}
		}
	}
}

// TestManyClients: however many clients there are, the window does not close before they
// begin.
func TestManyClients(t *testing.T) {
	prepared, err := Prepare(t.Context(), Spec{
		Clients: 4000, Duration: 100 * time.Millisecond, OpTimeout: time.Second, Keys: 10, KeyDistribution: Uniform, Mix: Mix{Read: 0.5, Write: 0.5},
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := prepared.Run(t.Context(), targetFunc(func(ctx context.Context, _ *Op) error { return poll.Sleep(ctx, time.Millisecond) }))
	if err != nil || result.Writes.Completed+result.Reads.Completed == 0 {
		t.Errorf("%d operations in %s, %v", result.Operations, result.Elapsed, err)
	}
}
