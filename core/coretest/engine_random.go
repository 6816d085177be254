package coretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/themilchenko/raftlab/core"
)

// call is one operation of the history that checkRandomFaults takes down.
type call struct {
	key   string
	write bool
	value string // written
}

// register is the model of one key.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(call).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(call); in.write {
			return true, in.value
		}
		return output == state, state
	},
}

// history takes down what clients see.
type history struct {
	begun time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// forever is when an operation returns of which nobody knows whether it takes effect.
const forever = time.Hour

// add takes down an operation that began then.
func (r *history) add(client int, in call, began time.Time, output string, unknown bool) {
	ended := time.Since(r.begun)
	if unknown {
		ended = forever
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(began.Sub(r.begun)), Output: output, Return: int64(ended)})
}

// done returns how many operations have returned.
func (r *history) done() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.ops {
		if o.Return < int64(forever) {
			n++
		}
	}
	return n
}

// checkRandomFaults: clients read and write a few keys on whatever member, while members
// are cut off, lose their power, take snapshots and hand leadership over, by a fixed
// seed. What the clients see is linearizable. Not all members have the same way of persistence.
func checkRandomFaults(t *checker, h engineHarness) {
	const clients, faults = 5, 8
	c := h.found(t, 3, func(c *cluster) { c.mixed = true })
	r := &history{begun: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	users := group{t: t}
	for client := range clients {
		users.do(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			for nth := 0; ctx.Err() == nil; nth++ {
				c.randomCall(ctx, random, r, client, nth)
			}
		})
	}
	random := rand.New(rand.NewPCG(2, 0))
	for range faults {
		c.randomFault(random)
		before := r.done()
		t.until("operations go on after a fault", func() bool { return r.done() >= before+20 })
	}
	c.put("last", "v")
	cancel()
	users.Wait()
	c.everywhere("last", "v")
	if got := porcupine.CheckOperationsTimeout(register, r.ops, t.patience); got != porcupine.Ok {
		t.Errorf("the history of %d operations: %v, want it to be linearizable", len(r.ops), got)
	}
}

// randomCall reads or writes on some member, mostly the leader.
func (c *cluster) randomCall(ctx context.Context, random *rand.Rand, r *history, client, nth int) {
	m := c.leaderNow()
	if m == nil || random.IntN(8) == 0 {
		m = c.members[random.IntN(len(c.members))]
	}
	replica, machine := m.now()
	ctx, cancel := context.WithTimeout(ctx, 3*beat)
	defer cancel()
	in := call{key: fmt.Sprint("r", random.IntN(3)), write: random.IntN(2) == 0}
	began := time.Now()
	if !in.write {
		if replica.ReadBarrier(ctx) == nil {
			value, _ := machine.get(in.key)
			r.add(client, in, began, value, false)
			return
		}
	} else {
		in.value = fmt.Sprintf("%d-%d", client, nth)
		_, err := replica.Propose(ctx, command(in.key, in.value))
		refused := (errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrClosed)) && !errors.Is(err, core.ErrOutcomeUnknown)
		if !refused {
			r.add(client, in, began, "", err != nil)
		}
		if err == nil {
			return
		}
	}
	time.Sleep(beat / 20) // there is no leader yet
}

// randomFault does something to a member and has it undone.
func (c *cluster) randomFault(random *rand.Rand) {
	m := c.members[random.IntN(len(c.members))]
	some := func() { time.Sleep(beat/2 + time.Duration(random.Int64N(int64(beat)))) }
	switch fault := random.IntN(5); {
	case fault == 0:
		c.isolate(m)
		some()
		c.routes.heal()
	case fault == 1:
		for _, other := range c.members {
			c.routes.hold(other.address, m.address)
		}
		some()
		c.routes.heal()
	case fault == 2 && c.h.durable:
		m.crash()
		some()
		m.start(nil)
	case fault == 3:
		_ = m.Snapshot(c.t.shortly(5)) // which may have stopped to lead, and so on
	default:
		if leader := c.leaderNow(); leader != nil {
			_ = leader.TransferLeadership(c.t.shortly(5), m.id)
		}
	}
}
