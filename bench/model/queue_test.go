package model

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// group simulates a serial group: the leader writes all that has come in, then sends it; a
// follower writes all that it was sent meanwhile; a commit is noticed between two writes
// of the leader.
type group struct {
	now      float64
	events   events
	random   *rand.Rand
	write    Dist
	pause    Dist // of a client, before its next operation
	majority int

	pending   []float64 // when each waiting proposal came in
	writing   bool
	committed []float64 // proposals whose clients are to be answered

	followers []follower
	latencies []float64
}

type follower struct {
	queue   []*batch
	writing bool
}

type batch struct {
	came []float64
	acks int
}

type event struct {
	at float64
	do func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (g *group) in(seconds float64, do func()) { heap.Push(&g.events, event{g.now + seconds, do}) }

// propose is a client's next operation. Those that come at the same moment are taken
// together.
func (g *group) propose() {
	g.pending = append(g.pending, g.now)
	g.in(0, g.lead)
}

func (g *group) lead() {
	if g.writing || len(g.pending) == 0 {
		return
	}
	b := &batch{came: g.pending, acks: 1}
	g.pending, g.writing = nil, true
	g.in(draw(g.write, g.random), func() {
		g.writing = false
		for i := range g.followers {
			g.followers[i].queue = append(g.followers[i].queue, b)
			g.follow(i)
		}
		g.count(b, 0)
		g.answer()
		g.lead()
	})
}

func (g *group) follow(i int) {
	f := &g.followers[i]
	if f.writing || len(f.queue) == 0 {
		return
	}
	batches := f.queue
	f.queue, f.writing = nil, true
	g.in(draw(g.write, g.random), func() {
		f.writing = false
		for _, b := range batches {
			g.count(b, 1)
		}
		if !g.writing {
			g.answer()
		}
		g.follow(i)
	})
}

func (g *group) count(b *batch, acks int) {
	before := b.acks
	b.acks += acks
	if b.acks == g.majority && (before < g.majority || acks == 0) {
		g.committed = append(g.committed, b.came...)
	}
}

func (g *group) answer() {
	for _, came := range g.committed {
		g.latencies = append(g.latencies, g.now-came)
		g.in(draw(g.pause, g.random), g.propose)
	}
	g.committed = nil
}

// simulate returns the median latency.
func simulate(nodes, clients int, write, pause Dist, seed uint64) float64 {
	g := &group{random: rand.New(rand.NewPCG(seed, 0)), write: write, pause: pause, majority: nodes/2 + 1, followers: make([]follower, nodes-1)}
	for range clients {
		g.in(g.random.Float64()*write.Mean(), g.propose)
	}
	for len(g.latencies) < 4000+100*clients {
		e := heap.Pop(&g.events).(event)
		g.now = e.at
		e.do()
	}
	steady := g.latencies[20*clients:]
	slices.Sort(steady)
	return steady[len(steady)/2]
}

// TestQueue: what a simulation of the queues gives lies within the bounds, give or take
// 5 %, and is the formula itself for one client. Without pauses all clients soon go in
// step, which is the lower bound; pauses part them.
func TestQueue(t *testing.T) {
	writes := map[string]Dist{"constant": constant(1e-3), "uniform": uniform(0.5e-3, 1.5e-3), "with a tail": slices.Concat(uniform(0.8e-3, 1.2e-3)[:46], uniform(3e-3, 8e-3)[:5])}
	for name, write := range writes {
		for _, nodes := range []int{1, 3, 5} {
			for _, clients := range []int{1, 2, 3, 16, 64, 256} {
				low, high := machine(write, 0).Latency(Case{Nodes: nodes, Clients: clients, Flushes: 1})
				for _, pause := range []Dist{nil, uniform(0, write.Mean())} {
					got := simulate(nodes, clients, write, pause, 7)
					what := fmt.Sprintf("%s, %d nodes, %d clients, pauses of %.1f ms: simulated %.3f ms, from %.3f to %.3f ms",
						name, nodes, clients, pause.Median()*1e3, got*1e3, low*1e3, high*1e3)
					t.Log(what)
					if got < 0.95*low || got > 1.05*high {
						t.Error(what)
					}
				}
			}
		}
	}
}
