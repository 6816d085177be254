// Package formation measures how a group comes into being, and what its members say to
// find each other when all is quiet.
package formation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/internal/poll"
)

// run starts a group, watches it come into being and then counts what its members say
// to find each other. How the system starts them is thus part of what is measured.
func run(ctx context.Context, t *measure.Trial) (err error) {
	settings := t.Cell.Formation
	timeout := time.Duration(settings.Timeout)
	began := make(chan time.Time, 1)
	g, err := t.New(system.Options{Timeout: timeout, Starting: func() { began <- time.Now() }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	nodes, err := witnesses(g)
	if err != nil {
		return err
	}
	f, err := form(ctx, g, nodes, timeout, began)
	if f == nil {
		return g.Explain(err)
	}
	data := f.data()
	t.Record.Leader = f.leadership.ID
	defer func() { err = errors.Join(err, t.Record.Put(Name, version, data)) }()
	if err != nil {
		return g.Explain(err)
	}
	return rest(ctx, t, g, f, data)
}

var errNotTold = errors.New("the system did not tell when it started the first member")

func witnesses(g system.Group) ([]system.Witness, error) {
	var out []system.Witness
	for _, m := range g.Members() {
		w, ok := m.(system.Witness)
		if !ok {
			return nil, fmt.Errorf("%s cannot be asked while its group forms", m.ID())
		}
		out = append(out, w)
	}
	return out, nil
}

// form starts the members and returns once the group is whole. What was seen
// until then comes with an error, too, if a member was started at all.
func form(ctx context.Context, g system.Group, nodes []system.Witness, timeout time.Duration, began <-chan time.Time) (*observer, error) {
	ctx, stop := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("formation.timeout = %s is over", timeout))
	defer stop()
	started := make(chan error, 1)
	go func() { started <- g.Start(ctx) }()

	watching, done := context.WithCancel(ctx)
	defer done()
	var o *observer
	select {
	case at := <-began:
		o = &observer{began: at, nodes: nodes, whole: done, ready: make([]event, len(nodes))}
	case err := <-started:
		return nil, cmp.Or(err, errNotTold)
	}
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		o.run(watching)
	}()
	err := <-started
	if err != nil {
		done()
	}
	<-seen
	if missing := o.missing(); missing != nil {
		err = errors.Join(fmt.Errorf("the group is not whole after %s: %w", time.Since(o.began).Round(time.Millisecond), missing), err)
	}
	return o, err
}

// rest counts what is sent while nothing happens, and then judges the trial. Of a
// group that has lost a member there is nothing to count.
func rest(ctx context.Context, t *measure.Trial, g system.Group, o *observer, data *Data) error {
	traffic, err := o.traffic(ctx, t.Cell.Formation)
	stopped := g.Check()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case stopped == nil && err != nil:
		return g.Explain(err)
	case stopped == nil:
		data.Traffic = traffic
	default:
		stopped = g.Explain(stopped)
	}
	leaders, voters := o.leaders(ctx)
	t.Record.Gates = append(t.Record.Gates,
		aliveGate(stopped), oneLeaderGate(o.leadership, leaders), votersGate(voters, len(o.nodes)), measure.ClockGate(measure.ClockDrift(o.began)))
	return nil
}

// How often a node is asked while its group comes into being. Questions cost the
// node, and the machine that all share, so one that has told all that is expected
// of it is asked only in case it should yet come to lead.
const (
	pollPause    = 5 * time.Millisecond   // between an answer and the next question
	settledPause = 100 * time.Millisecond // the same, of a node that is ready and follows
	pollTimeout  = time.Second            // for one answer
)

// event is when something was seen, since the beginning.
type event struct {
	at       time.Duration // 0: not yet
	earliest time.Duration // when it may have happened at the earliest
}

// allOf is the event that completes events.
func allOf(events ...event) event {
	var all event
	for _, e := range events {
		all.at, all.earliest = max(all.at, e.at), max(all.earliest, e.earliest)
	}
	return all
}

// observer watches a group come into being: it asks every node what it is until all
// are voters that have caught up.
type observer struct {
	began time.Time
	nodes []system.Witness
	whole func() // called once all has been seen

	mu         sync.Mutex
	leader     event             // somebody leads
	voters     event             // the leader has all nodes as voters
	ready      []event           // by node: it has caught up
	leadership system.Leadership // the last one seen
}

// run asks all nodes until the context ends.
func (o *observer) run(ctx context.Context) {
	var group sync.WaitGroup
	for i := range o.nodes {
		group.Go(func() { o.follow(ctx, i) })
	}
	group.Wait()
}

// follow asks one node, round by round.
func (o *observer) follow(ctx context.Context, i int) {
	before := time.Duration(0) // when the round before began, which did not see yet what this one may see
	for {
		now := time.Since(o.began)
		pause := pollPause
		if o.round(ctx, i, before) {
			pause = settledPause
		}
		before = now
		if poll.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// round asks one node what it is and, once it knows a leader, whether it has
// caught up. It reports whether nothing more is expected of the node.
func (o *observer) round(ctx context.Context, i int, before time.Duration) (settled bool) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	s, err := o.nodes[i].Status(ctx)
	if err != nil || s.ID != o.nodes[i].ID() { // not there yet, or another program on its port
		return false
	}
	if s.Leads {
		o.see(&o.leader, before)
		if s.Voters == len(o.nodes) {
			o.see(&o.voters, before)
		}
		o.mu.Lock()
		o.leadership = system.Leadership{ID: s.ID, Term: s.Term}
		o.mu.Unlock()
	}
	// A node that was told of no commit has not caught up. Asked all the same, it
	// would wait for a while, and nothing could be said of when it did.
	told := s.Leader != "" && s.CommitIndex > 0
	if !o.isReady(i) && (!told || o.nodes[i].Ready(ctx) != nil) {
		return false
	}
	o.see(&o.ready[i], before)
	return !s.Leads
}

// see notes an event when it is seen first.
func (o *observer) see(e *event, before time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.at > 0 {
		return
	}
	*e = event{time.Since(o.began), before}
	if o.missing() == nil {
		o.whole()
	}
}

func (o *observer) isReady(i int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ready[i].at > 0
}

// missing says what has not been seen yet; nil: nothing. The caller holds mu, or
// the watching is over.
func (o *observer) missing() error {
	var waiting []string
	for i, r := range o.ready {
		if r.at == 0 {
			waiting = append(waiting, o.nodes[i].ID())
		}
	}
	switch {
	case o.leader.at == 0:
		return errors.New("there is no leader")
	case len(waiting) > 0:
		return fmt.Errorf("%s: not caught up", strings.Join(waiting, ", "))
	case o.voters.at == 0:
		return errors.New("not all nodes are voters")
	default:
		return nil
	}
}

// data is what was seen, as far as it was.
func (o *observer) data() *Data {
	d := &Data{PollNS: int64(pollPause), LeaderNS: int64(o.leader.at), LeaderErrorNS: int64(o.leader.at - o.leader.earliest)}
	if o.missing() == nil {
		all := allOf(append(o.ready, o.leader, o.voters)...)
		d.VotersNS, d.VotersErrorNS = int64(all.at), int64(all.at-all.earliest)
	}
	return d
}

// traffic waits until the news of the formation have gone round and counts then.
func (o *observer) traffic(ctx context.Context, f experiment.Formation) ([]Traffic, error) {
	if err := poll.Sleep(ctx, time.Duration(f.Settle)); err != nil {
		return nil, err
	}
	before, err := o.sent(ctx)
	if err != nil {
		return nil, err
	}
	if err := poll.Sleep(ctx, time.Duration(f.Rest)); err != nil {
		return nil, err
	}
	after, err := o.sent(ctx)
	if err != nil {
		return nil, err
	}
	counted := make([]Traffic, len(after))
	for i, a := range after {
		b := before[i]
		counted[i] = Traffic{NS: int64(a.At.Sub(b.At)), Messages: a.Messages - b.Messages, Bytes: a.Bytes - b.Bytes}
	}
	return counted, nil
}

// sent reads the counters of all members.
func (o *observer) sent(ctx context.Context) ([]system.Traffic, error) {
	all := make([]system.Traffic, len(o.nodes))
	for i, n := range o.nodes {
		var err error
		if all[i], err = n.Sent(ctx); err != nil {
			return nil, fmt.Errorf("what %s has sent: %w", n.ID(), err)
		}
	}
	return all, nil
}

// leaders lists the members that say that they lead, and counts the voters in the
// configuration of the last of them. One that does not answer does not lead.
func (o *observer) leaders(ctx context.Context) (leaders []system.Leadership, voters int) {
	for _, n := range o.nodes {
		if s, err := n.Status(ctx); err == nil && s.Leads {
			leaders = append(leaders, system.Leadership{ID: s.ID, Term: s.Term})
			voters = s.Voters
		}
	}
	return leaders, voters
}

// oneLeaderGate: does the leader that the group came into being with lead alone
// and in the same term?
func oneLeaderGate(before system.Leadership, now []system.Leadership) record.Gate {
	if len(now) != 1 {
		return measure.AtMost("leader", "changes", 1, 0, fmt.Sprintf("%s led at the start, %d members lead at the end", before, len(now)))
	}
	return measure.LeaderGate(before, now[0])
}

// aliveGate: do all processes still run? stopped says which does not.
func aliveGate(stopped error) record.Gate {
	if stopped == nil {
		return measure.AtMost("alive", "processes", 0, 0, "")
	}
	return measure.AtMost("alive", "processes", 1, 0, stopped.Error())
}

// votersGate: does the leader have all nodes as voters?
func votersGate(voters, nodes int) record.Gate {
	return measure.AtLeast("voters", "nodes", float64(voters), float64(nodes), fmt.Sprintf("%d of %d nodes are voters", voters, nodes))
}
