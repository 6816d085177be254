package hashicorp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// opTimeout bounds each call of the stress test, overdue how much later it may
// return: what is tested is that it does, not how fast.
const (
	opTimeout = 2 * time.Second
	overdue   = 5 * time.Second
)

// stress writes to one key per writer, on whatever member leads.
type stress struct {
	*testing.T
	members []*member
	stop    chan struct{}
	acked   []atomic.Uint64 // per writer: the log index of its last acknowledged write
	writes  atomic.Uint64
	reads   atomic.Uint64
}

func (s *stress) running() bool {
	select {
	case <-s.stop:
		return false
	default:
		return true
	}
}

// call runs one operation and sees that it returns.
func (s *stress) call(what string, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(s.Context(), opTimeout)
	defer cancel()
	begin := time.Now()
	err := op(ctx)
	if took := time.Since(begin); took > opTimeout+overdue {
		s.Errorf("%s took %v", what, took)
	}
	known := errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded)
	if err != nil && !known {
		s.Errorf("%s: error of no kind: %v", what, err)
	}
	return err
}

func (s *stress) write(w int) {
	for n := w; s.running(); n++ {
		var applied core.Applied
		err := s.call("propose", func(ctx context.Context) (err error) {
			applied, err = s.members[n%len(s.members)].Propose(ctx, kv.EncodeSet(fmt.Sprint(w), []byte("v")))
			return err
		})
		if err == nil {
			s.acked[w].Store(applied.Index)
			s.writes.Add(1)
		}
	}
}

// read sees that nothing acknowledged before a barrier is missing after it, and
// that no key goes back.
func (s *stress) read(m *member) {
	last := make([]uint64, len(s.acked))
	for s.running() {
		for w := range s.acked {
			last[w] = max(last[w], s.acked[w].Load())
		}
		if s.call("read barrier", m.ReadBarrier) != nil {
			time.Sleep(time.Millisecond) // not the leader now
			continue
		}
		s.reads.Add(1)
		for w := range last {
			_, index, _ := m.kv.Get(fmt.Sprint(w))
			if index < last[w] {
				s.Errorf("%s: writer %d: read the write at index %d, after that at %d was acknowledged or read", m.cfg.ID, w, index, last[w])
			}
			last[w] = index
		}
	}
}

// transfer hands leadership round, some of the time without waiting for it.
func (s *stress) transfer() {
	for round := 0; s.running(); round++ {
		for i, m := range s.members {
			if m.Status().Role != core.Leader {
				continue
			}
			ctx, cancel := context.WithTimeout(s.Context(), time.Duration(1+round%3*100)*time.Millisecond)
			_ = m.TransferLeadership(ctx, s.members[(i+1)%len(s.members)].cfg.ID)
			cancel()
		}
		time.Sleep(20 * time.Millisecond) // the load between two transfers, not a wait for something
	}
}

// TestLoadWhileLeadershipGoesRound: every call returns with a known kind of
// error, and no acknowledged write is missing after a later barrier.
func TestLoadWhileLeadershipGoesRound(t *testing.T) {
	const writers = 8
	s := &stress{T: t, members: group(t, options{nodes: 3, tuning: fast}), stop: make(chan struct{}), acked: make([]atomic.Uint64, writers)}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() { s.write(w) })
	}
	for _, m := range s.members {
		all.Go(func() { s.read(m) })
	}
	all.Go(s.transfer)
	time.Sleep(3 * time.Second) // the length of the load
	close(s.stop)
	all.Wait()
	t.Logf("%d writes, %d reads", s.writes.Load(), s.reads.Load())
	if s.writes.Load() == 0 || s.reads.Load() == 0 {
		t.Error("no writes or no reads were done")
	}
}
