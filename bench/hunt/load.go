//go:build linux

package hunt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
)

const (
	requestTime = 2 * time.Second
	clients     = 4 // through kv/client; and one for each node that asks only that
	think       = 8 * time.Millisecond
	// keysAtOnce are used for an epoch; later they are only read. So no key has more
	// operations than can be checked.
	keysAtOnce = 4
	epoch      = time.Second
)

// valueMark begins every value. What follows it is random, so that a flipped bit makes
// no other value.
const valueMark = "value:"

// load is clients that run until it is stopped.
type load struct {
	group  *group
	stop   func()
	joined int // clients that joined
}

func startLoad(ctx context.Context, g *group, seed uint64) *load {
	l := &load{group: g}
	var all []*worker
	for i := range clients + g.cfg.Nodes {
		all = append(all, &worker{load: l, name: fmt.Sprintf("c%d", i), node: i - clients, random: rand.New(rand.NewPCG(seed, uint64(1000+i)))})
	}
	l.stop = l.run(ctx, all...)
	return l
}

// join adds a client of one node that does one thing only, and returns what ends it.
func (l *load) join(ctx context.Context, node int, only func(*worker) workload.Op) (end func()) {
	l.joined++
	return l.run(ctx, &worker{load: l, name: fmt.Sprintf("x%d", l.joined), node: node, only: only,
		random: rand.New(rand.NewPCG(uint64(l.joined), 2))})
}

// run has clients add to the history until end is called, which waits for the answers
// that are out.
func (l *load) run(ctx context.Context, workers ...*worker) (end func()) {
	loop := &workload.Loop{OpTimeout: requestTime, Finish: true}
	for _, w := range workers {
		node := ""
		if w.node >= 0 {
			node = l.group.nodes[w.node].id
		}
		loop.Clients = append(loop.Clients, workload.Client{Source: w, Target: w, Recorders: []workload.Recorder{l.group.history.Recorder(w.name, node)}})
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = loop.Run(ctx) // a history can always be added to
		for _, w := range workers {
			w.disconnect()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// worker is one client: it makes operations, and sends them.
type worker struct {
	load    *load
	name    string
	node    int // negative: any
	random  *rand.Rand
	only    func(*worker) workload.Op // nil: the mix
	writes  int
	compare bool      // what the last operation has read is to be replaced by the next one
	at      *[]string // the endpoints that its connections are to
	target  target
}

// Next implements workload.Source.
func (w *worker) Next(op *workload.Op, last error) (wait time.Duration, ok bool) {
	if w.compare && last == nil && len(op.Value) > 0 {
		w.compare = false
		*op = workload.Op{Kind: workload.CompareAndSet, Key: op.Key, Value: w.value(), Expect: op.Value, IfIndex: op.Index}
		return 0, true
	}
	w.compare = false
	if w.only != nil {
		*op = w.only(w)
	} else {
		*op = w.mix()
	}
	return time.Duration(w.random.Int64N(int64(think))), true
}

// mix makes one operation of the mix.
func (w *worker) mix() workload.Op {
	dice := w.random.IntN(100)
	if w.load.group.quiet.Load() {
		dice = 60 + w.random.IntN(40)
	}
	switch {
	case dice < 40:
		return w.set()
	case dice < 45:
		return workload.Op{Kind: workload.Delete, Key: w.key(false)}
	case dice < 50:
		return workload.Op{Kind: workload.CompareAndSet, Key: w.key(false), Value: w.value()}
	case dice < 60:
		w.compare = true
		return workload.Op{Kind: workload.Read, Key: w.key(false)}
	default:
		return workload.Op{Kind: workload.Read, Key: w.key(true), Lease: dice >= 80}
	}
}

func (w *worker) set() workload.Op {
	return workload.Op{Kind: workload.Write, Key: w.key(false), Value: w.value()}
}

func (w *worker) readByLease() workload.Op {
	return workload.Op{Kind: workload.Read, Key: w.key(false), Lease: true}
}

// value makes one that nobody else writes.
func (w *worker) value() []byte {
	w.writes++
	return fmt.Appendf(nil, "%s%016x%016x:%s-%d", valueMark, w.random.Uint64(), w.random.Uint64(), w.name, w.writes)
}

// key picks one of the present keys; a read takes a quarter of its keys from before.
func (w *worker) key(reading bool) string {
	now := int(w.load.group.history.Now() / epoch)
	if reading && w.random.IntN(4) == 0 {
		now = w.random.IntN(now + 1)
	}
	return fmt.Sprintf("k%d-%d", now, w.random.IntN(keysAtOnce))
}

// Do implements workload.Target. It makes a new connection where the nodes have moved.
func (w *worker) Do(ctx context.Context, op *workload.Op) error {
	if endpoints := w.load.group.endpoints.Load(); endpoints != w.at {
		w.disconnect()
		t, err := w.open(*endpoints)
		if err != nil {
			return err
		}
		w.target, w.at = t, endpoints
	}
	return w.target.Do(ctx, op)
}

func (w *worker) disconnect() {
	if w.target != nil {
		_ = w.target.Close() // it always succeeds
	}
	w.target, w.at = nil, nil
}
