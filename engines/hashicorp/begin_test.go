package hashicorp_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// outcomes takes what became of proposals, in the order in which it is told.
type outcomes struct {
	mu    sync.Mutex
	of    map[int][]error
	index map[int]uint64
	order []int
}

type numbered struct {
	n  int
	to *outcomes
}

// Complete implements core.Completion.
func (c numbered) Complete(applied core.Applied, err error) {
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	c.to.of[c.n] = append(c.to.of[c.n], err)
	c.to.index[c.n] = applied.Index
	c.to.order = append(c.to.order, c.n)
}

func (o *outcomes) told() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.order)
}

func newOutcomes() *outcomes { return &outcomes{of: map[int][]error{}, index: map[int]uint64{}} }

// TestBegin: what one goroutine begins is appended in that order and told in it.
func TestBegin(t *testing.T) {
	leader := group(t, options{nodes: 3})[0]
	o := newOutcomes()
	const n = 500
	for i := range n {
		leader.Replica.(core.Proposer).Begin(kv.EncodeSet("k", fmt.Append(nil, i)), numbered{i, o})
	}
	eventually(t, "all are told", func() bool { return o.told() == n })
	for i := range n {
		if o.order[i] != i || len(o.of[i]) != 1 || o.of[i][0] != nil || i > 0 && o.index[i] <= o.index[i-1] {
			t.Fatalf("proposal %d: told as number %d, %v, index %d after %d", i, o.order[i], o.of[i], o.index[i], o.index[max(i-1, 0)])
		}
	}
	if value, _, _ := leader.kv.Get("k"); string(value) != fmt.Sprint(n-1) {
		t.Fatalf("the last one to be begun is not the last: %s", value)
	}
}

// TestBeginWithoutLeader: a follower refuses what is begun, as it does what is proposed.
func TestBeginWithoutLeader(t *testing.T) {
	members := group(t, options{nodes: 3})
	o := newOutcomes()
	members[1].Replica.(core.Proposer).Begin(kv.EncodeSet("k", nil), numbered{0, o})
	members[1].Replica.(core.Proposer).Begin(nil, numbered{1, o})
	eventually(t, "both are told", func() bool { return o.told() == 2 })
	for i := range 2 {
		if err := o.of[i][0]; !errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrOutcomeUnknown) {
			t.Fatalf("proposal %d on a follower: %v", i, err)
		}
	}
}

// TestBeginTellsOnce: through losses of leadership and to the end of the replica each
// proposal is told exactly once, and what is told to be written is.
func TestBeginTellsOnce(t *testing.T) {
	members := group(t, options{nodes: 3})
	o := newOutcomes()
	begun := 0
	for round := range 6 {
		for range 50 {
			m := members[begun%3]
			m.Replica.(core.Proposer).Begin(kv.EncodeSet(fmt.Sprint(begun), []byte("v")), numbered{begun, o})
			begun++
		}
		for _, m := range members {
			if m.Status().Role == core.Leader && round%2 == 0 {
				_ = m.TransferLeadership(deadline(t), "") // it may be refused: another one will do
			}
		}
	}
	for range 50 { // under way when the replica ends
		members[0].Replica.(core.Proposer).Begin(kv.EncodeSet(fmt.Sprint(begun), []byte("v")), numbered{begun, o})
		begun++
	}
	if err := members[0].Close(); err != nil {
		t.Fatal(err)
	}
	members[0].Replica.(core.Proposer).Begin(kv.EncodeSet("late", nil), numbered{begun, o})
	eventually(t, "all are told", func() bool { return o.told() == begun+1 })
	if err := o.of[begun][0]; !errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrOutcomeUnknown) {
		t.Fatalf("begun after the end: %v", err)
	}
	for i := range begun {
		if len(o.of[i]) != 1 {
			t.Fatalf("proposal %d was told %d times: %v", i, len(o.of[i]), o.of[i])
		}
		if o.of[i][0] != nil {
			continue
		}
		eventually(t, "what was told to be written is there", func() bool {
			_, _, ok := members[1].kv.Get(fmt.Sprint(i))
			return ok
		})
	}
}
