package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/client"
)

// roundTime bounds a round of kills, with the return of who was killed.
const roundTime = time.Minute

// faults: under load members are killed, stand still, hand leadership over and are cut off, and clients
// see one map, in which nothing that was acknowledged is missing at the end.
func faults(ctx context.Context, g *group) error {
	l, err := g.startLoad(ctx)
	if err != nil {
		return err
	}
	defer l.end()
	random := rand.New(rand.NewPCG(3, 0))
	for round := range g.subject.Rounds {
		for _, fault := range []func(context.Context, *group) error{killLeader, pauseLeader, moveLeader, killAny(random), cutLeader(random)} {
			if err := fault(ctx, g); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
			if err := g.serves(ctx); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
	}
	return l.verdict(ctx)
}

// serves returns once a write is acknowledged.
func (g *group) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, healTime, fmt.Errorf("nothing written in %v", healTime))
	defer cancel()
	c, err := client.NewRESP(g.endpoints(), client.Options{Timeout: opTime})
	if err != nil {
		return err
	}
	defer c.Close()
	var last error
	if err := poll.Until(ctx, pollPause, func() (bool, error) {
		try, cancel := context.WithTimeout(ctx, opTime)
		defer cancel()
		_, last = c.Set(try, "serves", nil)
		return last == nil, nil
	}); err != nil {
		return errors.Join(err, last)
	}
	return nil
}

func killLeader(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	if err := g.kill(leader); err != nil {
		return err
	}
	if err := g.serves(ctx); err != nil { // by the two others
		return fmt.Errorf("after the leader %s was killed: %w", leader.spec.ID, err)
	}
	return g.start(ctx, leader)
}

// killAny kills one or two members, and starts them again at once.
func killAny(random *rand.Rand) func(context.Context, *group) error {
	return func(ctx context.Context, g *group) error {
		victims := append([]*member(nil), g.members...)
		random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		victims = victims[:1+random.IntN(2)]
		if err := g.kill(victims...); err != nil {
			return err
		}
		return g.start(ctx, victims...)
	}
}

// pauseLeader has the leader stand still until another one leads, and go on thinking that it
// does.
func pauseLeader(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	if err := g.pause(ctx, leader); err != nil {
		return err
	}
	if err := g.serves(ctx); err != nil {
		return fmt.Errorf("while the leader %s stands still: %w", leader.spec.ID, err)
	}
	return g.resume(leader)
}

// moveLeader transfers leadership, where there is such a thing; that it fails under load is
// no fault.
func moveLeader(ctx context.Context, g *group) error {
	if !g.subject.has(program.Transfer) {
		return nil
	}
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	_ = leader.ask(ctx, func(ctx context.Context, c *program.Control) error { return c.Transfer(ctx, "") })
	return nil
}

// cutTime is long enough for a leader that hears nobody to step down, and for another.
const cutTime = 3 * time.Second

// cutLeader holds back what the leader sends, what is sent to it, or both, for a while.
func cutLeader(random *rand.Rand) func(context.Context, *group) error {
	return func(ctx context.Context, g *group) error {
		if g.links == nil {
			return nil
		}
		leader, err := g.leader(ctx)
		if err != nil {
			return err
		}
		way := random.IntN(3)
		g.links.cut(leader, g.others(leader), way != 0, way != 1)
		defer g.links.heal()
		return poll.Sleep(ctx, cutTime)
	}
}

// restartAll: all members are killed at once, under load, and nothing that was acknowledged
// is missing when they are back.
func restartAll(ctx context.Context, g *group) error {
	l, err := g.startLoad(ctx)
	if err != nil {
		return err
	}
	defer l.end()
	// There is something to lose. Members that forget all are another group when they are back,
	// which the clients do not write to.
	if err := l.enough(ctx); err != nil {
		return err
	}
	for range 2 {
		if err := poll.Sleep(ctx, epoch); err != nil { // of load
			return err
		}
		if err := g.kill(g.members...); err != nil {
			return err
		}
		if err := g.start(ctx, g.members...); err != nil {
			return err
		}
		if err := g.serves(ctx); err != nil {
			return err
		}
	}
	return l.verdict(ctx)
}

// noMajority: a leader whose followers stand still acknowledges no write, and serves no
// read that has to be linearizable but by its lease; in the end it says so.
func noMajority(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	if err := g.pause(ctx, g.others(leader)...); err != nil {
		return err
	}
	if err := leader.alone(ctx, "SET", "GET"); err != nil {
		return fmt.Errorf("while both followers stand still: %w", err)
	}
	if err := g.resume(g.members...); err != nil {
		return err
	}
	return g.serves(ctx)
}

// alone is nil if a member that has no majority refuses to do any of this, by and by.
func (m *member) alone(ctx context.Context, do ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, healTime, fmt.Errorf("no answer in %v", healTime))
	defer cancel()
	c, err := program.Dial(ctx, m.spec.RESP)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Do(ctx, "RAFT.FORWARD", "no"); err != nil {
		return err
	}
	for _, what := range do {
		words := []string{what, "alone"}
		if what == "SET" {
			words = append(words, "v")
		}
		var told *client.RESPError
		if r, err := c.Do(ctx, words...); !errors.As(err, &told) {
			return fmt.Errorf("%s is answered %q, %v; want an error, by and by", what, r.Text, err)
		}
	}
	return nil
}

// confirmations are reads before a cut: behind a command a library may write entries of its
// own, and only a read after those confirms what is the newest.
const confirmations = 10

// cutOff: once others have acknowledged a write, a leader that is cut off from them neither
// reads what was there before, though it has confirmed that very state while it led, nor
// acknowledges a write.
func cutOff(ctx context.Context, g *group) error {
	if g.links == nil {
		return fmt.Errorf("%w: links are cut on Linux only", errNotTested)
	}
	defer g.links.heal()
	for range g.subject.Rounds { // who notices first, it or the others, is a matter of chance
		leader, err := g.leader(ctx)
		if err != nil {
			return err
		}
		others := g.others(leader)
		if err := leader.do(ctx, "SET", "alone", "before"); err != nil {
			return err
		}
		for range confirmations {
			if err := errors.Join(leader.do(ctx, "GET", "alone"), poll.Sleep(ctx, pollPause)); err != nil {
				return err
			}
		}
		g.links.cut(leader, others, true, true)
		if err := poll.Until(ctx, pollPause, func() (bool, error) {
			return slices.ContainsFunc(others, func(m *member) bool { return m.do(ctx, "SET", "alone", "after") == nil }), nil
		}); err != nil {
			return fmt.Errorf("no other than %s, which is cut off, acknowledges a write: %w", leader.spec.ID, err)
		}
		if err := leader.alone(ctx, "GET", "SET", "GET"); err != nil {
			return fmt.Errorf("on %s, which is cut off, and after others have acknowledged a write: %w", leader.spec.ID, err)
		}
		if err := g.whole(ctx); err != nil {
			return err
		}
	}
	return nil
}

// do has the member itself do it.
func (m *member) do(ctx context.Context, words ...string) error {
	return m.ask(ctx, func(ctx context.Context, c *program.Control) error {
		_, err := c.Do(ctx, "RAFT.FORWARD", "no")
		if err == nil {
			_, err = c.Do(ctx, words...)
		}
		return err
	})
}

// write sets keys, n times in all, by a leader. Nobody else sets them, so one is set again
// where nobody knows whether it was.
func (g *group) write(ctx context.Context, prefix string, n int) error {
	c, err := client.NewRESP(g.endpoints(), client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range n {
		err := client.ErrOutcomeUnknown
		for errors.Is(err, client.ErrOutcomeUnknown) && ctx.Err() == nil {
			_, err = c.Set(ctx, fmt.Sprintf("%s%d", prefix, i%100), fmt.Appendf(nil, "%s %d", prefix, i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func snapshot(ctx context.Context, members ...*member) error {
	for _, m := range members {
		if err := m.ask(ctx, func(ctx context.Context, c *program.Control) error { return c.Snapshot(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// away: a member that was down while the log behind a snapshot was cut off gets the snapshot.
func away(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	others := g.others(leader)
	if err := g.kill(others[0]); err != nil {
		return err
	}
	if err := g.write(ctx, "away", 300); err != nil {
		return err
	}
	if err := snapshot(ctx, leader, others[1]); err != nil {
		return err
	}
	if err := g.write(ctx, "later", 10); err != nil {
		return err
	}
	return g.whole(ctx)
}

// behindSnapshot: members that have written a snapshot, and a little after it, are what they
// were once all were killed and started again; also what is in the snapshot only.
func behindSnapshot(ctx context.Context, g *group) error {
	if err := g.write(ctx, "behind", 200); err != nil {
		return err
	}
	if err := snapshot(ctx, g.members...); err != nil {
		return err
	}
	if err := g.write(ctx, "after", 5); err != nil {
		return err
	}
	if err := g.whole(ctx); err != nil {
		return err
	}
	before, err := g.digest(ctx)
	if err != nil {
		return err
	}
	if err := g.kill(g.members...); err != nil {
		return err
	}
	if err := g.whole(ctx); err != nil {
		return err
	}
	after, err := g.digest(ctx)
	if err == nil && before != after {
		err = fmt.Errorf("the restart has made %+v of %+v", after, before)
	}
	return err
}

// digest is that of the first member's map.
func (g *group) digest(ctx context.Context) (d program.Digest, err error) {
	err = g.members[0].ask(ctx, func(ctx context.Context, c *program.Control) (err error) {
		d, err = c.Digest(ctx)
		return err
	})
	return d, err
}

// sigterm: members end with 0 in time, whoever is connected, and what they leave is whole.
func sigterm(ctx context.Context, g *group) error {
	if err := g.write(ctx, "sigterm", 20); err != nil {
		return err
	}
	var errs []error
	for _, m := range g.members {
		w, err := m.wire(ctx) // which stays idle
		if err != nil {
			return err
		}
		defer w.Close()
		errs = append(errs, m.process.Stop(ctx))
		g.ended(m)
	}
	return errors.Join(errs...)
}

// damaged: a member with a bit flipped in an entry of its log ends with 1, and does not serve.
func damaged(ctx context.Context, g *group) error {
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	mark := make([]byte, 64) // of which no compression makes less
	for i := range mark {
		mark[i] = byte(random.Uint32())
	}
	c, err := client.NewRESP(g.endpoints(), client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Set(ctx, "damaged", mark); err != nil {
		return err
	}
	if err := g.write(ctx, "behind it", 100); err != nil {
		return err
	}
	if err := g.whole(ctx); err != nil { // all have it
		return err
	}
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	m := g.others(leader)[0]
	if err := g.kill(m); err != nil {
		return err
	}
	mend, err := flip(m.spec.Dir, mark)
	if err != nil {
		return err
	}
	defer func() { _ = mend() }()
	ctx, cancel := context.WithTimeoutCause(ctx, healTime, fmt.Errorf("it has not ended in %v", healTime))
	defer cancel()
	if err := g.launch(ctx, m); err != nil {
		return err
	}
	defer func() { _ = m.process.Kill(); g.ended(m) }()
	if err = m.process.Ready(ctx); err == nil {
		return errors.New("with a bit flipped in an entry of its log it serves; want its end with exit code 1")
	}
	if m.process.ExitCode() != 1 {
		return fmt.Errorf("with a bit flipped in an entry of its log: %w; want exit code 1", err)
	}
	return nil
}

// flip flips a bit of the text in all files of a folder, and returns what flips it back.
func flip(dir string, text []byte) (mend func() error, err error) {
	var undo []func() error
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := bytes.Index(data, text)
		if at < 0 {
			return nil
		}
		for ; at >= 0; at = bytes.Index(data, text) {
			data[at+len(text)/2] ^= 4
		}
		undo = append(undo, func() error { return os.WriteFile(path, bytes.ReplaceAll(data, flipped(text), text), 0o644) })
		return os.WriteFile(path, data, 0o644)
	})
	if err == nil && len(undo) == 0 {
		err = fmt.Errorf("%w: no file in %s holds a value as it was written", errNotTested, dir)
	}
	return func() error {
		var errs []error
		for _, u := range undo {
			errs = append(errs, u())
		}
		return errors.Join(errs...)
	}, err
}

func flipped(text []byte) []byte {
	b := bytes.Clone(text)
	b[len(b)/2] ^= 4
	return b
}
