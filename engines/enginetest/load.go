package enginetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	writers = 4
	opTime  = 2 * time.Second
	think   = 10 * time.Millisecond
	// keysAtOnce are written for an epoch; so no key has more operations than can be checked.
	keysAtOnce = 4
	epoch      = time.Second
	// leastWrites have to be acknowledged, or nothing was tested.
	leastWrites = 50
)

// load is clients that write and read, and what they were told. Some follow the leader; for
// each member there is one that reads from it only.
type load struct {
	group   *group
	keys    string // the beginning of all of its keys, which no other load has
	history *check.History
	writers *client.RESP
	stop    context.CancelFunc
	clients sync.WaitGroup
}

// startLoad runs until verdict is called or ctx ends.
func (g *group) startLoad(ctx context.Context) (*load, error) {
	c, err := client.NewRESP(g.endpoints(), client.Options{Timeout: opTime})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	g.loads++
	l := &load{group: g, keys: fmt.Sprintf("load%d", g.loads), history: check.NewHistory(), writers: c, stop: stop}
	for i := range writers {
		l.clients.Go(func() { l.write(ctx, fmt.Sprintf("w%d", i), rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	for i, m := range g.members {
		l.clients.Go(func() { l.read(ctx, m, rand.New(rand.NewPCG(2, uint64(i)))) })
	}
	return l, nil
}

// end waits for the clients.
func (l *load) end() {
	l.stop()
	l.clients.Wait()
	_ = l.writers.Close()
}

func (l *load) key(random *rand.Rand) string {
	return fmt.Sprintf("%s-%d-%d", l.keys, l.history.Now()/epoch, random.IntN(keysAtOnce))
}

// write is a client that follows the leader. An operation that has begun ends before it does.
func (l *load) write(ctx context.Context, name string, random *rand.Rand) {
	for n := 0; poll.Sleep(ctx, rand.N(think)) == nil; n++ {
		value := fmt.Sprintf("%s-%d-%016x", name, n, random.Uint64())
		o := check.Op{Client: name, Key: l.key(random), Call: l.history.Now()}
		opCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTime)
		var err error
		switch dice := random.IntN(10); {
		case dice < 5:
			o.Kind, o.Value = check.Set, value
			_, err = l.writers.Set(opCtx, o.Key, []byte(value))
		case dice < 6:
			o.Kind = check.Delete
			_, err = l.writers.Delete(opCtx, o.Key)
		case dice < 7:
			o.Kind, o.Value = check.CAS, value
			_, err = l.writers.SetIfAbsent(opCtx, o.Key, []byte(value))
		default:
			o.Kind = check.Get
			var v client.Value
			v, err = l.writers.Get(opCtx, o.Key, client.Linearizable)
			if o.Value = string(v.Data); errors.Is(err, client.ErrNotFound) {
				err = nil
			}
		}
		cancel()
		l.add(o, err)
	}
}

// read is a client of one member. What that does not serve is no part of the history.
func (l *load) read(ctx context.Context, m *member, random *rand.Rand) {
	var c *program.Control
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	for poll.Sleep(ctx, rand.N(2*think)) == nil {
		opCtx, cancel := context.WithTimeout(ctx, opTime)
		var err error
		if c == nil {
			if c, err = program.Dial(opCtx, m.spec.RESP); err == nil {
				_, err = c.Do(opCtx, "RAFT.FORWARD", "no")
			} else {
				c = nil // and no Control without a connection
			}
		}
		if err == nil {
			o := check.Op{Client: "r-" + m.spec.ID, Node: m.spec.ID, Kind: check.Get, Key: l.key(random), Call: l.history.Now()}
			var r client.Reply
			if r, err = c.Do(opCtx, "GET", o.Key); err == nil {
				o.Value = string(r.Text)
				l.add(o, nil)
			}
		}
		cancel()
		var told *client.RESPError
		if err != nil && !errors.As(err, &told) && c != nil {
			_ = c.Close()
			c = nil
		}
	}
}

func (l *load) add(o check.Op, err error) {
	o.Return, o.Outcome = l.history.Now(), check.OK
	switch {
	case err == nil:
	case errors.Is(err, client.ErrCondition):
		o.Outcome = check.ConditionFailed
	case errors.Is(err, client.ErrOutcomeUnknown) && o.Kind != check.Get:
		o.Outcome = check.Unknown
	default:
		o.Outcome = check.Refused
	}
	l.history.Add(o)
}

func (l *load) acknowledged() (writes int) {
	for _, o := range l.history.Ops() {
		if o.Kind != check.Get && o.Outcome == check.OK {
			writes++
		}
	}
	return writes
}

// enough waits for so many writes that something is tested: a disk may be slow.
func (l *load) enough(ctx context.Context) error {
	if err := poll.Until(ctx, pollPause, func() (bool, error) { return l.acknowledged() >= leastWrites, nil }); err != nil {
		return fmt.Errorf("only %d writes were acknowledged: nothing was tested: %w", l.acknowledged(), err)
	}
	return nil
}

// verdict ends the load, makes the group whole, reads every key once more, and judges.
func (l *load) verdict(ctx context.Context) error {
	if err := l.enough(ctx); err != nil {
		return err
	}
	l.end()
	g := l.group
	if err := g.whole(ctx); err != nil {
		return err
	}
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	keys := map[string]bool{}
	for _, o := range l.history.Ops() {
		keys[o.Key] = true
	}
	for key := range keys { // each with a time of its own: there may be thousands
		if err := leader.ask(ctx, func(ctx context.Context, c *program.Control) error { return l.audit(ctx, c, leader.spec.ID, key) }); err != nil {
			return err
		}
	}
	g.note = fmt.Sprintf("%d writes acknowledged, of %d operations", l.acknowledged(), len(l.history.Ops()))
	r := check.Check(l.history.Ops(), checkTime/3)
	var errs []error
	if r.Verdict == check.HasViolation {
		for _, v := range r.Violations[:min(3, len(r.Violations))] {
			errs = append(errs, errors.New(v.String()))
		}
		path := filepath.Join(g.dir, l.keys+".jsonl")
		errs = append(errs, fmt.Errorf("%d violations, see %s: %w", len(r.Violations), path, cmp.Or(check.Write(path, l.history.Ops()), errWritten)))
	}
	if len(r.Unknown) > 0 {
		errs = append(errs, fmt.Errorf("keys that take too long to check: %s", strings.Join(r.Unknown, " ")))
	}
	return errors.Join(errs...)
}

var errWritten = errors.New("all operations are there")

// audit reads what a key holds after the last write.
func (l *load) audit(ctx context.Context, c *program.Control, node, key string) error {
	o := check.Op{Client: "audit", Node: node, Kind: check.Get, Level: check.Audit, Key: key, Call: l.history.Now()}
	r, err := c.Do(ctx, "GET", key)
	if err != nil {
		return fmt.Errorf("read %s back: %w", key, err)
	}
	o.Value = string(r.Text)
	l.add(o, nil)
	return nil
}
