// Package failover measures how long clients are without service after the leader has
// been killed, and how often a group elects a leader without need.
package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/poll"
)

// settings are the [failover] table of an experiment.
type settings struct {
	Kills     int           `key:"kills" max:"10000" doc:"how often a trial kills the leader (kill -9) and starts it again; 0: never, only elections without need are counted"`
	Clients   int           `key:"clients" min:"1" max:"100000" doc:"that write, each with one operation at a time"`
	Rate      float64       `key:"rate" max:"10000000" unit:"writes per second" zero:"as fast as they are answered" doc:"of all clients together at the most"`
	ValueSize int           `key:"value_size" min:"32" max:"67108864" unit:"bytes" doc:"of what is written"`
	Keys      int           `key:"keys" min:"2" max:"1000000" doc:"of each client, which nobody else writes"`
	OpTimeout time.Duration `key:"op_timeout" min:"1ms" doc:"after which a write has failed"`
	Pause     time.Duration `key:"pause" min:"0s" max:"24h" doc:"under load, before each kill and after the last"`
	Duration  time.Duration `key:"duration" max:"168h" doc:"with kills = 0, how long the group is watched under load"`
	Timeout   time.Duration `key:"timeout" min:"1s" max:"1h" doc:"from a kill to an acknowledged write, and from a restart to a member that has caught up; beyond it the trial fails"`
}

func defaults() settings {
	return settings{
		Kills: 5, Clients: 16, ValueSize: 256, Keys: 16, OpTimeout: 10 * time.Second,
		Pause: 3 * time.Second, Duration: time.Minute, Timeout: 30 * time.Second,
	}
}

// durableNothing is what a cell declares whose members lose all with their process.
const durableNothing = "nothing"

const (
	pollPause    = 5 * time.Millisecond // between an answer of a member and the next question to it
	pollTimeout  = time.Second          // for one answer
	watchPause   = 250 * time.Millisecond
	auditReaders = 16
)

// run puts clients on a group, kills its leaders and reads back what was acknowledged.
func run(ctx context.Context, t *measure.Trial) (err error) {
	s := defaults()
	if err := t.Cell.ReadSettings(&s); err != nil {
		return err
	}
	if s.Kills > 0 && t.Cell.Durability == durableNothing {
		return fmt.Errorf("%s keeps nothing of a process that is killed: choose another backend, or failover.kills = 0", t.Cell.Cluster.Backend)
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
	x := &trial{settings: s, group: g, target: g.Target("linearizable"), data: &Data{PollNS: int64(pollPause)}}
	err = x.underLoad(ctx)
	x.count()
	t.Record.Leader = x.led.ID
	if err == nil {
		t.Record.Gates, err = x.judge(ctx)
	}
	err = errors.Join(err, t.Record.Put(Name, version, x.data))
	if err != nil {
		return g.Explain(err)
	}
	return nil
}

// trial is one trial under way.
type trial struct {
	settings
	group   system.Group
	target  workload.Target
	clients []*client
	tally   tally
	data    *Data
	began   time.Time
	drift   time.Duration     // of the clocks
	led     system.Leadership // as of the last look when nothing was amiss
}

// underLoad has the clients write while leaders are killed.
func (x *trial) underLoad(ctx context.Context) (err error) {
	if x.led, err = x.leadership(ctx); err != nil {
		return err
	}
	first := x.led
	var stopped atomic.Bool
	loop := workload.Loop{OpTimeout: x.OpTimeout}
	for i := range x.Clients {
		c := newClient(i, x.settings, &x.tally, &stopped)
		x.clients = append(x.clients, c)
		loop.Clients = append(loop.Clients, workload.Client{Source: c, Target: workload.PartOf(x.target, i), Recorders: []workload.Recorder{c}})
	}
	x.began = time.Now()
	loading, cut := context.WithCancel(ctx)
	defer cut()
	var load sync.WaitGroup
	load.Go(func() { _ = loop.Run(loading) }) // its recorders do not fail
	defer func() {
		if stopped.Store(true); err != nil {
			cut()
		}
		load.Wait()
		x.data.LoadNS = int64(time.Since(x.began))
		x.drift = measure.ClockDrift(x.began)
	}()
	wait := x.Pause
	if x.Kills == 0 {
		wait = x.Duration
	}
	if err := x.rest(ctx, wait); err != nil {
		return err
	}
	for len(x.data.Kills) < x.Kills {
		if x.data.Misses > maxMisses {
			return fmt.Errorf("%d times the leader changed while it was being killed: such a group has no leader to kill; raise heartbeat_timeout, or the load is too heavy", x.data.Misses)
		}
		if err := x.failover(ctx); err != nil {
			return err
		}
		if err := x.rest(ctx, x.Pause); err != nil {
			return err
		}
	}
	last, err := x.leadership(ctx)
	x.data.Needless += int64(last.Term) - int64(x.led.Term)
	x.data.Terms, x.led = int64(last.Term)-int64(first.Term), last
	return err
}

// maxMisses is after how many kills of a member that led no more a trial is given up.
const maxMisses = 10

// rest lets the clients write for d, while no member may stop.
func (x *trial) rest(ctx context.Context, d time.Duration) error {
	until := time.Now().Add(d)
	return poll.Until(ctx, min(watchPause, d), func() (bool, error) { return time.Now().After(until), x.group.Check() })
}

// leadership waits until somebody leads.
func (x *trial) leadership(ctx context.Context) (led system.Leadership, err error) {
	ctx, done := context.WithTimeoutCause(ctx, x.Timeout, errors.New("no member leads"))
	defer done()
	err = poll.Until(ctx, pollPause, func() (bool, error) {
		o, err := x.group.Observe(ctx)
		led = o.Leadership
		return led.ID != "", err
	})
	return led, err
}

// failover kills the leader, watches until clients are served again, and starts it again.
func (x *trial) failover(ctx context.Context) error {
	before, err := x.leadership(ctx)
	if err != nil {
		return err
	}
	x.data.Needless += int64(before.Term) - int64(x.led.Term)
	victim, err := x.mortal(before.ID)
	if err != nil {
		return err
	}
	k := Kill{Member: before.ID, Term: before.Term}
	_, unknown, _, _ := x.tally.counts()

	w := x.watch(ctx, before)
	defer w.stop()
	for _, c := range x.clients {
		c.hold()
	}
	x.tally.mark()
	began := time.Now()
	k.AtNS = int64(began.Sub(x.began))
	if err := victim.Kill(ctx); err != nil {
		return fmt.Errorf("kill %s: %w", before.ID, err)
	}
	missed := w.led()
	select {
	case at := <-x.tally.await():
		k.FirstNS = int64(at.Sub(began))
	case <-time.After(x.Timeout):
		return fmt.Errorf("no write was acknowledged within %s after %s was killed, which led in term %d", x.Timeout, before.ID, before.Term)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w.stop()
	w.phases(&k, began)
	if x.led, err = x.leadership(ctx); err != nil {
		return err
	}
	k.NextTerm = x.led.Term
	_, after, _, gap := x.tally.counts()
	k.Unknown, k.GapNS = after-unknown, int64(gap)
	if err := x.revive(ctx, victim); err != nil {
		return err
	}
	k.BackNS = int64(time.Since(began))
	if missed {
		x.data.Misses++
		x.data.Needless += int64(k.NextTerm) - int64(k.Term)
	} else {
		x.data.Kills = append(x.data.Kills, k)
	}
	return x.audit(ctx, func(c *client) (checked, lost int64, err error) {
		gone, err := c.release(ctx, x.target)
		return 1, count(gone), err
	})
}

func count(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func (x *trial) mortal(id string) (system.Mortal, error) {
	for _, m := range x.group.Members() {
		if mortal, ok := m.(system.Mortal); ok && m.ID() == id {
			return mortal, nil
		}
	}
	return nil, fmt.Errorf("%s leads and is no member that can be killed", id)
}

// revive starts a killed member again and waits until it has caught up.
func (x *trial) revive(ctx context.Context, m system.Mortal) error {
	ctx, done := context.WithTimeoutCause(ctx, x.Timeout, fmt.Errorf("%s is not back %s after its restart", m.ID(), x.Timeout))
	defer done()
	if err := m.Restart(ctx); err != nil {
		return fmt.Errorf("start %s again: %w", m.ID(), err)
	}
	w, ok := m.(system.Witness)
	if !ok {
		return nil
	}
	return poll.Until(ctx, pollPause, func() (bool, error) { return w.Ready(ctx) == nil, nil })
}

// audit has every client look for writes of its own that were acknowledged and are lost.
func (x *trial) audit(ctx context.Context, look func(*client) (checked, lost int64, err error)) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	line := make(chan *client)
	var mu sync.Mutex
	var failed error
	var readers sync.WaitGroup
	for range auditReaders {
		readers.Go(func() {
			for c := range line {
				checked, lost, err := look(c)
				mu.Lock()
				x.data.Checked += checked
				x.data.Lost += lost
				failed = errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					done()
				}
			}
		})
	}
	for _, c := range x.clients {
		if ctx.Err() == nil {
			line <- c
		}
	}
	close(line)
	readers.Wait()
	return failed
}

// count takes over what the clients have seen.
func (x *trial) count() {
	x.data.Acknowledged, x.data.Unknown, x.data.Refused, _ = x.tally.counts()
}

// judge reads all back, waits for the members to agree and passes the gates' verdicts.
func (x *trial) judge(ctx context.Context) ([]record.Gate, error) {
	if err := x.group.Check(); err != nil {
		return nil, err
	}
	within, done := context.WithTimeoutCause(ctx, x.Timeout, fmt.Errorf("it takes longer than %s", x.Timeout))
	defer done()
	err := x.audit(within, func(c *client) (checked, lost int64, err error) {
		for i := range c.keys {
			gone, err := c.lost(within, x.target, i)
			if err != nil {
				return checked, lost, err
			}
			checked, lost = checked+1, lost+count(gone)
		}
		return checked, lost, nil
	})
	if err != nil {
		return nil, err
	}
	var behind int
	var last error
	_ = poll.Until(within, pollPause, func() (bool, error) { // behind and last say how it ended
		behind, last = x.group.Disagreeing(within)
		return behind == 0 && last == nil, nil
	})
	if last != nil {
		return nil, fmt.Errorf("compare the members: %w", last)
	}
	return []record.Gate{
		loadGate(x.data), acknowledgedGate(x.data),
		measure.AtMost("convergence", "replicas", float64(behind), 0, fmt.Sprintf("%d replicas differ from the first after the load", behind)),
		measure.ClockGate(x.drift),
	}, nil
}

// minWrites is how many acknowledged writes a trial must have: fewer are no load.
const minWrites = 100

func loadGate(d *Data) record.Gate {
	return measure.AtLeast("load", "ops", float64(d.Acknowledged), minWrites, fmt.Sprintf("only %d writes were acknowledged", d.Acknowledged))
}

// acknowledgedGate: are acknowledged writes there?
func acknowledgedGate(d *Data) record.Gate {
	return measure.AtMost("acknowledged", "lost", float64(d.Lost), 0, fmt.Sprintf("of %d acknowledged writes that were read back, %d are lost", d.Checked, d.Lost))
}

// watch asks the members that go on living what they see, from just before a kill.
type watch struct {
	before system.Leadership
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu              sync.Mutex
	suspect, leader sight
}

// sight is when something was first seen, and when the question before was sent to the
// same member, which did not tell it yet.
type sight struct{ at, earliest time.Time }

// informer is a member that tells what it sees.
type informer interface {
	system.Member
	Status(ctx context.Context) (system.Status, error)
}

func (x *trial) watch(ctx context.Context, before system.Leadership) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{before: before, cancel: cancel}
	for _, m := range x.group.Members() {
		if i, ok := m.(informer); ok && m.ID() != before.ID {
			w.asking.Go(func() { w.follow(ctx, i) })
		}
	}
	return w
}

func (w *watch) stop() {
	w.cancel()
	w.asking.Wait()
}

// follow asks one member until ctx ends.
func (w *watch) follow(ctx context.Context, m informer) {
	before := time.Now()
	for {
		now := time.Now()
		asking, done := context.WithTimeout(ctx, pollTimeout)
		s, err := m.Status(asking)
		done()
		if err == nil && s.ID == m.ID() {
			if s.Term > w.before.Term || s.Leader != w.before.ID {
				w.see(&w.suspect, before)
			}
			if s.Term > w.before.Term && s.Leads {
				w.see(&w.leader, before)
			}
			before = now
		}
		if poll.Sleep(ctx, pollPause) != nil {
			return
		}
	}
}

func (w *watch) see(s *sight, earliest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.at.IsZero() {
		*s = sight{time.Now(), earliest}
	}
}

// led says whether another member has been seen to lead: no group elects one within the
// moments that a kill takes.
func (w *watch) led() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.leader.at.IsZero()
}

// phases parts the time until the first acknowledgement. What was seen after it had
// happened by then: the first acknowledgement tells of it.
func (w *watch) phases(k *Kill, began time.Time) {
	first := began.Add(time.Duration(k.FirstNS))
	note := func(s sight, until time.Time, at, late *int64) time.Time {
		if s.at.IsZero() || s.at.After(until) {
			s.at = until
		}
		if s.earliest.IsZero() || s.earliest.After(s.at) {
			s.earliest = s.at
		}
		if s.earliest.Before(began) {
			s.earliest = began
		}
		*at, *late = int64(s.at.Sub(began)), int64(s.at.Sub(s.earliest))
		return s.at
	}
	if w.leader.at.IsZero() && w.suspect.at.IsZero() {
		return // nobody could be asked
	}
	led := note(w.leader, first, &k.LeaderNS, &k.LeaderLateNS)
	note(w.suspect, led, &k.SuspectNS, &k.SuspectLateNS)
}
