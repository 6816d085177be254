// Package systemtest is the contract of a system under test, as a test that whoever writes
// a system runs on it. It starts real groups and drives them; it asserts no timing.
package systemtest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	psutil "github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv"
)

// patience bounds what takes long only on a machine in trouble.
const patience = time.Minute

// Contract runs one group of three members of the system, with the defaults of an
// experiment as edited, through its life. A group whose members are system.Mortal also loses
// its leader and gets it back.
func Contract(t *testing.T, s *system.System, edits ...func(*experiment.Experiment)) {
	cell := defaults(t, s.Name, edits)
	info := describe(t, s, cell)
	c := &contract{info: info, takes: func(edit func(*workload.Mix)) bool {
		edit(&cell.Load.Mix)
		defer func() { cell.Load.Mix = workload.Mix{} }()
		_, err := s.Describe(t.Context(), cell)
		return err == nil
	}}
	var err error
	c.group, err = s.New(system.Spec{Cell: &info, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = c.group.Close()
		}
	}()
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"start", c.start}, {"operations", c.operations}, {"load", c.load}, {"agree", c.agree},
		{"kill and restart", c.killAndRestart}, {"explain", c.explain},
	} {
		if !t.Run(step.name, step.run) {
			return // the next ones build on it
		}
	}
	closed = true
	if err := c.group.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	nothingRuns(t)
}

// defaults is a cell of the system with reads among its writes.
func defaults(t *testing.T, mode string, edits []func(*experiment.Experiment)) experiment.Cell {
	t.Helper()
	var e experiment.Experiment
	if err := experiment.Schema(nil).Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Cluster.Mode, e.Load.ReadRatio = mode, 0.5
	for _, edit := range edits {
		edit(&e)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	return cells[0]
}

// describe has the system say what it would run, and refuse what it has not.
func describe(t *testing.T, s *system.System, cell experiment.Cell) record.CellInfo {
	t.Helper()
	info, err := s.Describe(t.Context(), cell)
	if err != nil {
		t.Fatal(err)
	}
	if info.Engine.Name == "" || info.Backend.Name == "" || info.Transport.Name == "" || info.Durability == "" ||
		info.Acknowledgement == "" || info.ReadLevel != experiment.ReadLinearizable || info.ID != cell.ID {
		t.Errorf("it does not say all of what it would run: %+v", info)
	}
	cell.Cluster.Backend = "no-such-store"
	if _, err := s.Describe(t.Context(), cell); err == nil {
		t.Error("a store that there is not was taken")
	}
	return info
}

type contract struct {
	info  record.CellInfo
	takes func(edit func(*workload.Mix)) bool // the system does not refuse such a mix
	group system.Group
}

func (c *contract) observe(t *testing.T) system.Observation {
	t.Helper()
	o, err := c.group.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// eventually looks until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	if err := poll.Until(ctx, 20*time.Millisecond, func() (done bool, _ error) {
		done, last = ok()
		return done, nil
	}); err != nil {
		t.Fatalf("%s: %v, last %v", what, err, last)
	}
}

func (c *contract) start(t *testing.T) {
	if err := c.group.Start(t.Context()); err != nil {
		t.Fatal(c.group.Explain(err))
	}
	if err := c.group.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range c.group.Members() {
		if slices.Contains(ids, m.ID()) || m.ID() == "" {
			t.Errorf("the members are called %q and %q", ids, m.ID())
		}
		ids = append(ids, m.ID())
	}
	if len(ids) != c.info.Cluster.Nodes {
		t.Fatalf("%d members, want %d", len(ids), c.info.Cluster.Nodes)
	}
	if o := c.observe(t); o.Leadership.ID != ids[0] || o.Leadership.Term == 0 {
		t.Errorf("%s leads in term %d, want %s", o.Leadership, o.Leadership.Term, ids[0])
	}
}

func (c *contract) operations(t *testing.T) {
	before := c.observe(t)
	batch := []kv.Op{{Kind: kv.OpSet, Key: "a", Value: []byte("1")}, {Kind: kv.OpSet, Key: "b", Value: []byte("2")}}
	if err := c.group.Set(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	write := c.group.Target("")
	if err := write.Do(t.Context(), &workload.Op{Kind: workload.Write, Key: "c", Value: []byte("3")}); err != nil {
		t.Fatal(err)
	}
	if n := c.observe(t).Commands - before.Commands; n < 2 {
		t.Errorf("%d commands after a batch and a write", n)
	}
	for _, level := range []string{experiment.ReadLinearizable, experiment.ReadStale} {
		read := c.group.Target(level)
		for key, want := range map[string]string{"a": "1", "b": "2", "c": "3"} {
			op := workload.Op{Kind: workload.Read, Key: key}
			if err := read.Do(t.Context(), &op); err != nil || op.Value != nil && string(op.Value) != want {
				t.Errorf("%s read of %s: %q, %v", level, key, op.Value, err)
			}
		}
		if err := read.Do(t.Context(), &workload.Op{Kind: workload.Read, Key: "none"}); !errors.Is(err, system.ErrMissing) {
			t.Errorf("%s read of what is not there: %v", level, err)
		}
	}
	c.steps(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := write.Do(ended, &workload.Op{Kind: workload.Write, Key: "d", Value: []byte("4")}); err == nil {
		t.Error("a write whose context had ended was acknowledged")
	}
}

// steps carries out what loads have beside reads and writes of one key.
func (c *contract) steps(t *testing.T) {
	target, before := c.group.Target(experiment.ReadLinearizable), c.observe(t)
	do := func(op workload.Op) (workload.Op, error) {
		err := target.Do(t.Context(), &op)
		return op, err
	}
	if _, err := do(workload.Op{Kind: workload.WriteBatch, Batch: map[string][]byte{"s1": []byte("1"), "s2": []byte("2"), "s3": []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	if n := c.observe(t).Commands - before.Commands; n != 1 {
		t.Errorf("a batch is %d commands", n)
	}
	seen, err := do(workload.Op{Kind: workload.Read, Key: "s2"})
	if err != nil {
		t.Fatal(err)
	}
	if c.takes(func(m *workload.Mix) { m.CompareAndSet = 1 }) {
		compareAndSet(t, do, seen)
	}
	if !c.takes(func(m *workload.Mix) { m.Scan = 1 }) {
		return
	}
	for _, limit := range []int{1, 2, 100} {
		if _, err := do(workload.Op{Kind: workload.Scan, Key: "s1", Limit: limit}); err != nil {
			t.Errorf("a scan of %d keys: %v", limit, err)
		}
	}
}

func compareAndSet(t *testing.T, do func(workload.Op) (workload.Op, error), seen workload.Op) {
	on := workload.Op{Kind: workload.CompareAndSet, Key: "s2", Value: []byte("new"), IfIndex: seen.Index, Expect: seen.Value}
	if _, err := do(on); err != nil {
		t.Errorf("a write on a condition that holds: %v", err)
	}
	on.Value = []byte("newer")
	if _, err := do(on); !errors.Is(err, workload.ErrCondition) {
		t.Errorf("a write on a condition that does not hold: %v", err)
	}
	if again, err := do(workload.Op{Kind: workload.Read, Key: "s2"}); err != nil || string(again.Value) != "new" {
		t.Errorf("%q is there, %v", again.Value, err)
	}
}

func (c *contract) load(t *testing.T) {
	prepared, err := workload.Prepare(t.Context(), workload.Spec{
		Clients: 8, Duration: time.Second, OpTimeout: patience, ValueBytes: 64, Keys: 100, KeyDistribution: workload.Uniform, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	before := c.observe(t)
	used, usageErr := c.group.Usage()
	result, err := prepared.Run(t.Context(), c.group.Target(experiment.ReadLinearizable))
	if err != nil {
		t.Fatal(c.group.Explain(err))
	}
	after := c.observe(t)
	if result.Acknowledged == 0 || after.Commands-before.Commands < result.Acknowledged {
		t.Errorf("%d writes acknowledged, %d commands applied", result.Acknowledged, after.Commands-before.Commands)
	}
	if after.CPU <= before.CPU || after.ClientsCPU > after.CPU || after.ClientsCPU < before.ClientsCPU || !after.At.After(before.At) {
		t.Errorf("CPU time from %+v to %+v", before, after)
	}
	c.usage(t, used, usageErr, after.CPU)
	if len(after.Syncs) != 0 && len(after.Syncs) != c.info.Cluster.Nodes {
		t.Errorf("flushes of %d members", len(after.Syncs))
	}
	for i := range after.Syncs {
		if c.info.Durability == "disk" && after.Syncs[i] <= before.Syncs[i] {
			t.Errorf("member %d has flushed %d times before the load and %d after: writes are said to be on the disk", i+1, before.Syncs[i], after.Syncs[i])
		}
	}
	if n := len(after.Used); n != 0 && n != c.info.Cluster.Nodes || n != len(before.Used) {
		t.Errorf("what %d members have used, and %d before", n, len(before.Used))
	}
	for i, u := range after.Used {
		if b := before.Used[i]; u.CPU <= b.CPU || u.PeakBytes < max(b.PeakBytes, 1<<16) || u.Threads < 1 {
			t.Errorf("member %d has used %+v, and %+v before", i+1, u, b)
		}
	}
	if after.Leadership != before.Leadership {
		t.Logf("leadership went from %s to %s", before.Leadership, after.Leadership)
	}
}

// usage: what the group says it has used went up with the load, as far as it is counted.
func (c *contract) usage(t *testing.T, before system.Usage, err error, all time.Duration) {
	after, errAfter := c.group.Usage()
	if err := errors.Join(err, errAfter); err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("usage: %v", err)
		}
		return
	}
	const tick = 50 * time.Millisecond // what all have used may be counted coarser than what the members have
	if after.CPU <= before.CPU || after.CPU > all+tick*time.Duration(c.info.Cluster.Nodes) || !after.At.After(before.At) {
		t.Errorf("CPU time of the members from %+v to %+v, and %s of all", before, after, all)
	}
	for name, x := range map[string][2]int64{
		"bytes": {before.Written, after.Written}, "flushes": {before.Syncs, after.Syncs}, "connections": {before.Opened, after.Opened},
	} {
		counted, same := x[0] != system.Uncounted, x[0] == x[1]
		if counted != (x[1] != system.Uncounted) || counted && (x[1] < x[0] || same && name == "flushes" && c.info.Durability == "disk") {
			t.Errorf("%s from %d to %d", name, x[0], x[1])
		}
	}
}

func (c *contract) agree(t *testing.T) {
	eventually(t, "members that agree", func() (bool, error) {
		behind, err := c.group.Disagreeing(t.Context())
		return err == nil && behind == 0, err
	})
	if err := c.group.Check(); err != nil {
		t.Error(err)
	}
}

// killAndRestart takes the leader away and gives it back: what was acknowledged before and
// meanwhile is there.
func (c *contract) killAndRestart(t *testing.T) {
	leader, ok := c.group.Members()[0].(system.Mortal)
	if !ok {
		t.Skip("its members cannot be killed")
	}
	target := c.group.Target(experiment.ReadLinearizable)
	write := func(key string) func() (bool, error) {
		return func() (bool, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := target.Do(ctx, &workload.Op{Kind: workload.Write, Key: key, Value: []byte(key)})
			return err == nil, err
		}
	}
	eventually(t, "a write before the kill", write("before"))
	if err := leader.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a write without the first member", write("meanwhile"))
	if err := c.group.Check(); err != nil {
		t.Errorf("a member that was killed counts as one that failed: %v", err)
	}
	if err := leader.Restart(t.Context()); err != nil {
		t.Fatal(c.group.Explain(err))
	}
	if err := c.group.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.agree(t)
	for _, key := range []string{"before", "meanwhile"} {
		eventually(t, "a read of "+key, func() (bool, error) {
			err := target.Do(t.Context(), &workload.Op{Kind: workload.Read, Key: key})
			if errors.Is(err, system.ErrMissing) {
				t.Fatalf("an acknowledged write is lost: %v", err)
			}
			return err == nil, err
		})
	}
	if o := c.observe(t); o.Leadership.ID != leader.ID() {
		t.Errorf("%s leads, want %s", o.Leadership, leader.ID())
	}
}

func (c *contract) explain(t *testing.T) {
	cause := errors.New("cause")
	if err := c.group.Explain(cause); !errors.Is(err, cause) {
		t.Errorf("explained, %v is %v no more", err, cause)
	}
}

// nothingRuns fails the test if a process that this one started has outlived its group.
func nothingRuns(t *testing.T) {
	t.Helper()
	self, err := psutil.NewProcess(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	children, err := self.Children()
	if err != nil && !errors.Is(err, psutil.ErrorNoChildren) {
		t.Fatal(err)
	}
	for _, p := range children {
		line, _ := p.Cmdline()
		t.Errorf("process %d is left: %s", p.Pid, line)
	}
}
