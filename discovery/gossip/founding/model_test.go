package founding_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// world is a model of nodes that run the protocol over a network which delivers
// records late and skips some, with a failure detector that says what it likes.
type world struct {
	expect  int
	nodes   []*node
	step    func(founding.Self, []founding.Record) founding.Decision
	forgets bool // a crash loses the promise, and not the incarnation
	same    bool // nor does losing all data
	fresh   int  // incarnations so far
	founded map[string][]core.Member
	errs    []string
}

// node is one of them. What others see of it is the list of records that it has
// published; each of them has got as far in the list as seen says.
type node struct {
	self      founding.Self
	state     bool
	group     string
	joining   bool
	published []founding.Record
	seen      []int // per other node: how many of its records have come, 0: none
	suspects  []bool
}

func newWorld(nodes, expect int) *world {
	w := &world{expect: expect, step: founding.Step, founded: map[string][]core.Member{}}
	for i := range nodes {
		n := &node{seen: make([]int, nodes), suspects: make([]bool, nodes)}
		n.self = founding.Self{ID: fmt.Sprintf("n%d", i), Incarnation: w.incarnation(), Address: fmt.Sprintf("h%d:1", i), Expect: expect}
		n.publish()
		w.nodes = append(w.nodes, n)
	}
	return w
}

// incarnation returns a new one.
func (w *world) incarnation() string {
	w.fresh++
	return fmt.Sprintf("%016x", w.fresh)
}

func (n *node) publish() {
	r := founding.Record{
		ID: n.self.ID, Incarnation: n.self.Incarnation, Address: n.self.Address, Voter: true, HasState: n.state, Group: n.group,
		Expect: n.self.Expect, Proposal: n.self.Proposal,
	}
	if n.self.Promise != nil {
		r.Promised, r.Proposal = true, founding.SetOf(n.self.Promise)
		r.Address = n.promisedAddress()
	}
	n.published = append(n.published, r)
}

func (n *node) promisedAddress() string {
	for _, m := range n.self.Promise {
		if m.ID == n.self.ID {
			return m.Address
		}
	}
	return n.self.Address
}

func (w *world) records(n *node) []founding.Record {
	var records []founding.Record
	for j, o := range w.nodes {
		if o != n && n.seen[j] > 0 {
			r := o.published[n.seen[j]-1]
			r.Alive = !n.suspects[j]
			records = append(records, r)
		}
	}
	return records
}

// act lets node n do its next step, if it has one.
func (w *world) act(n *node) (changed bool) {
	if n.state || n.joining {
		return false
	}
	d := w.step(n.self, w.records(n))
	switch d.Action {
	case founding.Propose:
		n.self.Proposal = founding.SetOf(d.Members)
	case founding.Promise:
		if n.self.Promise != nil && !w.forgets {
			w.errs = append(w.errs, n.self.ID+" promised twice")
		}
		n.self.Promise = d.Members
	case founding.Found:
		w.found(n, d.Members)
		if !n.self.Founded {
			n.self.Founded = true // stored; a crash may come before the state
			return true
		}
		n.state, n.group = true, core.GroupID(d.Members)
	case founding.Join:
		n.joining = true
		return true
	default:
		return false
	}
	n.publish()
	return true
}

// found checks the invariant.
func (w *world) found(n *node, members []core.Member) {
	if len(members) != w.expect || !slices.IsSortedFunc(members, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) }) ||
		!slices.ContainsFunc(members, func(m core.Member) bool { return m.ID == n.self.ID && m.Incarnation == n.self.Incarnation }) {
		w.errs = append(w.errs, fmt.Sprintf("%s founded %v", n.self.ID, members))
	}
	key := fmt.Sprint(members)
	for other, theirs := range w.founded {
		for _, m := range theirs {
			if other != key && slices.ContainsFunc(members, func(o core.Member) bool { return o.ID == m.ID && o.Incarnation == m.Incarnation }) {
				w.errs = append(w.errs, fmt.Sprintf("%s founded %s beside %s", n.self.ID, key, other))
			}
		}
	}
	w.founded[key] = members
}

// crash stops and starts a node: what it had not stored is gone, and so is what it
// had seen.
func (w *world) crash(n *node, moved bool) {
	n.self.Proposal, n.joining = nil, false
	clear(n.seen)
	clear(n.suspects)
	if w.forgets && !n.state {
		n.self.Promise, n.self.Founded = nil, false
	}
	if moved {
		n.self.Address += "1"
	}
	n.publish()
}

// wipe is a crash that all data are lost with.
func (w *world) wipe(n *node) {
	n.self.Promise, n.self.Founded, n.state, n.group = nil, false, false, ""
	if !w.same {
		n.self.Incarnation = w.incarnation()
	}
	w.crash(n, false)
}

// chaos makes one random thing happen.
func (w *world) chaos(pick func(int) int, crashes, suspicion, moves, wipes bool) {
	i := pick(len(w.nodes))
	n := w.nodes[i]
	switch pick(12) {
	case 0:
		switch {
		case wipes && pick(4) == 0:
			w.wipe(n)
		case crashes:
			w.crash(n, moves && pick(4) == 0)
		}
	case 1:
		if j := pick(len(w.nodes)); suspicion && j != i {
			n.suspects[j] = !n.suspects[j]
		}
	case 2, 3, 4, 5:
		w.act(n)
	default:
		if j := pick(len(w.nodes)); j != i {
			if ahead := len(w.nodes[j].published) - n.seen[j]; ahead > 0 {
				n.seen[j] += 1 + pick(ahead)
			}
		}
	}
}

// settle delivers everything to everybody, again and again until nothing happens.
func (w *world) settle() {
	for changed := true; changed; {
		changed = false
		for _, n := range w.nodes {
			for j, o := range w.nodes {
				n.seen[j], n.suspects[j] = len(o.published), false
			}
			changed = w.act(n) || changed
		}
	}
}

func TestSafety(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 9).Draw(t, "nodes"), rapid.IntRange(1, 4).Draw(t, "expect"))
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		for range rapid.IntRange(0, 400).Draw(t, "events") {
			w.chaos(pick, true, true, true, true)
		}
		w.settle()
		if len(w.errs) > 0 {
			t.Fatal(w.errs)
		}
		if w.fresh < 2*w.expect && len(w.founded) > 1 { // who lost its data counts anew
			t.Fatalf("%d groups: %v", len(w.founded), w.founded)
		}
	})
}

// TestSafetyMoreOften walks many more runs than rapid does, in less time each.
func TestSafetyMoreOften(t *testing.T) {
	founded := 0
	for seed := range uint64(400) {
		w := randomRun(seed, founding.Step, false, seed%2 == 0, false)
		if len(w.errs) > 0 {
			t.Fatalf("seed %d: %v", seed, w.errs)
		}
		founded += len(w.founded)
	}
	if founded < 100 {
		t.Fatalf("only %d groups were founded: the runs show little", founded)
	}
}

func randomRun(seed uint64, step func(founding.Self, []founding.Record) founding.Decision, forgets, wipes, same bool) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	expect := 2 + r.IntN(3)
	w := newWorld(expect+r.IntN(expect), expect)
	w.step, w.forgets, w.same = step, forgets, same
	for range 600 {
		w.chaos(r.IntN, true, true, true, wipes)
	}
	w.settle()
	return w
}

// TestModelCanFail sees that the model finds the fault of protocols that lack one
// of the rules.
func TestModelCanFail(t *testing.T) {
	onProposals := func(self founding.Self, others []founding.Record) founding.Decision {
		d := founding.Step(self, others)
		if d.Action == founding.Promise {
			d.Action = founding.Found // does not wait for the promises
		}
		return d
	}
	onSight := func(self founding.Self, others []founding.Record) founding.Decision {
		d := founding.Step(self, others)
		if d.Action == founding.Propose && d.Members != nil {
			d.Action = founding.Found // bootstrap-expect as it is often done
		}
		return d
	}
	for name, c := range map[string]struct {
		step          func(founding.Self, []founding.Record) founding.Decision
		forgets, same bool
	}{
		"promises forgotten":   {founding.Step, true, false},
		"the same incarnation": {founding.Step, false, true},
		"founded on proposals": {onProposals, false, false},
		"founded on sight":     {onSight, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(200_000) {
				if w := randomRun(seed, c.step, c.forgets, c.same, c.same); len(w.errs) > 0 {
					t.Logf("seed %d: %s", seed, w.errs[0])
					return
				}
			}
			t.Error("no violation found")
		})
	}
}

// TestProgress: as long as none fails, any number of nodes that see each other in
// any order come to one group, and the others join it.
func TestProgress(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		expect := 1 + r.IntN(4)
		w := newWorld(min(expect+r.IntN(4), max(2*expect-1, 1)), expect)
		for range r.IntN(300) {
			w.chaos(r.IntN, false, false, false, false)
		}
		w.settle()
		assertSettled(t, w, seed)
	}
}

// TestProgressAfterFailures: exactly as many nodes as expected found a group once
// all are up, whatever happened before.
func TestProgressAfterFailures(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		expect := 1 + r.IntN(5)
		w := newWorld(expect, expect)
		for range r.IntN(400) {
			w.chaos(r.IntN, true, true, false, false)
		}
		w.settle()
		assertSettled(t, w, seed)
	}
}

func assertSettled(t *testing.T, w *world, seed uint64) {
	t.Helper()
	if len(w.errs) > 0 || len(w.founded) != 1 {
		t.Fatalf("seed %d: %v; founded: %v", seed, w.errs, w.founded)
	}
	for _, n := range w.nodes {
		if !n.state && !n.joining {
			t.Fatalf("seed %d: %s neither founded nor joins: %+v", seed, n.self.ID, founding.Step(n.self, w.records(n)))
		}
	}
}
