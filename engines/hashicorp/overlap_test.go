package hashicorp_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	memory "github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// owned gives the store entries of its own, as the library does.
type owned struct {
	*hashicorp.Overlap
	store   core.LogStore
	drained bool // each write is durable when it returns
}

// SetUint64 goes round the guard, which gives the library no error.
func (s owned) SetUint64(key []byte, value uint64) error {
	return errors.Join(s.Drain(), s.store.SetUint64(key, value))
}

func (s owned) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

func (s owned) StoreLogs(entries []*raft.Log) error {
	var own []*raft.Log
	for _, e := range entries {
		c := *e
		c.Data, c.Extensions = bytes.Clone(e.Data), bytes.Clone(e.Extensions)
		own = append(own, &c)
	}
	err := s.Overlap.StoreLogs(own)
	if err == nil && s.drained {
		err = s.Drain()
	}
	return err
}

// TestOverlapIsALogStore: what is pending is read as if it were stored, and what is
// drained is as durable as the store below.
func TestOverlapIsALogStore(t *testing.T) {
	t.Run("pending", func(t *testing.T) {
		coretest.TestLogStore(t, func(*testing.T, string) core.LogStore {
			s := inmem.New()
			return owned{hashicorp.NewOverlap(s, time.Minute), s, false}
		})
	})
	t.Run("drained", func(t *testing.T) {
		coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
			s, err := bolt.Open(dir, bolt.Options{NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			return owned{hashicorp.NewOverlap(s, time.Minute), s, true}
		})
	})
}

func command(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "%d of term %d", index, term)}
}

// onPlatter returns an overlapped log whose writes are held back while the gate is shut.
func onPlatter(t *testing.T) (*platter, *hashicorp.Overlap) {
	t.Helper()
	p := newPlatter()
	o := hashicorp.NewOverlap(p.open(), time.Minute)
	t.Cleanup(func() {
		p.Before.Open()
		p.After.Open()
		_ = o.Close()
	})
	return p, o
}

func mustStore(t *testing.T, o *hashicorp.Overlap, entries ...*raft.Log) {
	t.Helper()
	if err := o.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
}

func bounds(t *testing.T, s core.LogStore) (first, last uint64) {
	t.Helper()
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return first, last
}

// TestPendingEntries: a command is there before it is on disk; what is written meanwhile
// goes into one write.
func TestPendingEntries(t *testing.T) {
	p, o := onPlatter(t)
	p.Before.Shut()
	for index := uint64(1); index <= 20; index++ {
		mustStore(t, o, command(index, 1))
	}
	eventually(t, "the first is being written", func() bool { return p.Before.Waiting() == 1 })
	if first, last := bounds(t, o); first != 1 || last != 20 || o.Durable(last) != 0 {
		t.Errorf("the log goes from %d to %d, and %d is durable", first, last, o.Durable(last))
	}
	var got raft.Log
	if err := o.GetLog(7, &got); err != nil || string(got.Data) != "7 of term 1" {
		t.Errorf("entry 7: %q, %v", got.Data, err)
	}
	if err := o.GetLog(21, &got); err != raft.ErrLogNotFound {
		t.Errorf("entry 21: %v", err)
	}
	p.Before.Open()
	if err := o.Await(20); err != nil {
		t.Fatal(err)
	}
	if _, last := bounds(t, p.logs); last != 20 || p.Writes() > 2 {
		t.Errorf("the disk ends at %d after %d writes, want 20 after 1 or 2", last, p.Writes())
	}
}

// TestWhatMayNotBePending: anything but a command, a stable value and a truncation wait
// for the disk, and for all that is pending.
func TestWhatMayNotBePending(t *testing.T) {
	for name, do := range map[string]func(o *hashicorp.Overlap) error{
		"noop":          func(o *hashicorp.Overlap) error { return o.StoreLog(&raft.Log{Index: 3, Type: raft.LogNoop}) },
		"configuration": func(o *hashicorp.Overlap) error { return o.StoreLog(&raft.Log{Index: 3, Type: raft.LogConfiguration}) },
		"barrier":       func(o *hashicorp.Overlap) error { return o.StoreLog(&raft.Log{Index: 3, Type: raft.LogBarrier}) },
		"one of many": func(o *hashicorp.Overlap) error {
			return o.StoreLogs([]*raft.Log{command(3, 1), {Index: 4, Type: raft.LogBarrier}})
		},
		"vote":        func(o *hashicorp.Overlap) error { return o.Set([]byte("vote"), []byte("n1")) },
		"term":        func(o *hashicorp.Overlap) error { return o.SetUint64([]byte("term"), 2) },
		"suffix":      func(o *hashicorp.Overlap) error { return o.DeleteRange(2, 2) },
		"everything":  func(o *hashicorp.Overlap) error { return o.DeleteRange(1, 2) },
		"not leading": func(o *hashicorp.Overlap) error { hashicorp.Depose(o); return o.StoreLog(command(3, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			p, o := onPlatter(t)
			p.Before.Shut()
			mustStore(t, o, command(1, 1), command(2, 1))
			done := make(chan error, 1)
			go func() { done <- do(o) }()
			eventually(t, "the write is held back", func() bool { return p.Before.Waiting() == 1 })
			select {
			case err := <-done:
				t.Fatalf("it returned (%v) before what is pending is on disk", err)
			case <-time.After(5 * time.Millisecond): // if it does not wait, it is mostly seen
			}
			p.Before.Open()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if _, last := bounds(t, o); o.Durable(last) != last {
				t.Error("it returned, and something is still pending")
			}
		})
	}
}

// TestDeleteBesideWrites: a snapshot's deletion waits for no write; one of everything does,
// and leaves nothing that would be waited for for ever.
func TestDeleteBesideWrites(t *testing.T) {
	p, o := onPlatter(t)
	mustStore(t, o, command(1, 1), command(2, 1), command(3, 1))
	if err := o.Drain(); err != nil {
		t.Fatal(err)
	}
	p.Before.Shut()
	mustStore(t, o, command(4, 1))
	eventually(t, "the write is held back", func() bool { return p.Before.Waiting() == 1 })
	deleted := make(chan error, 1)
	go func() { deleted <- o.DeleteRange(1, 2) }()
	eventually(t, "the deletion is on its way too", func() bool { return p.Before.Waiting() == 2 })
	p.Before.Open()
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if first, last := bounds(t, o); first != 3 || last != 4 {
		t.Fatalf("the log goes from %d to %d, want 3 to 4", first, last)
	}
	if err := o.DeleteRange(3, 4); err != nil {
		t.Fatal(err)
	}
	if err := o.Drain(); err != nil {
		t.Fatal(err)
	}
	if err := o.Await(4); err != nil {
		t.Fatal(err)
	}
	mustStore(t, o, command(100, 2)) // as behind a snapshot
	if first, last := bounds(t, o); first != 100 || last != 100 || o.Durable(last) != last {
		t.Errorf("the log goes from %d to %d", first, last)
	}
}

// TestFailingWrite: what was pending never becomes durable, nothing is written any more,
// and nobody waits.
func TestFailingWrite(t *testing.T) {
	p := newPlatter()
	var gate faulty.Gate
	broken := faulty.From(faulty.StoreLogs, 2, syscall.EIO)
	o := hashicorp.NewOverlap(faulty.Wrap(p.open(), func(w faulty.Write) error {
		_ = gate.Hold(faulty.StoreLogs)(w)
		return broken(w)
	}), time.Minute)
	mustStore(t, o, command(1, 1))
	if err := o.Drain(); err != nil {
		t.Fatal(err)
	}
	gate.Shut()
	mustStore(t, o, command(2, 1))
	mustStore(t, o, command(3, 1))
	waited := make(chan error, 1)
	go func() { waited <- o.Await(3) }()
	gate.Open()
	if err := <-waited; !errors.Is(err, syscall.EIO) {
		t.Errorf("the answer that waited: %v", err)
	}
	if err := o.Await(1); err != nil {
		t.Errorf("an answer for what is durable: %v", err)
	}
	for name, err := range map[string]error{
		"command": o.StoreLog(command(4, 1)), "noop": o.StoreLog(&raft.Log{Index: 4, Type: raft.LogNoop}),
		"vote": o.Set([]byte("vote"), []byte("n1")), "deletion": o.DeleteRange(2, 3),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after the failure: %v", name, err)
		}
	}
	if o.Durable(3) != 1 || p.Writes() != 1 {
		t.Errorf("%d is durable after %d writes", o.Durable(3), p.Writes())
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

// TestFullQueue: a leader whose disk is slower than its clients waits in the end.
func TestFullQueue(t *testing.T) {
	p, o := onPlatter(t)
	p.Before.Shut()
	large := make([]byte, 16<<20)
	stored := make(chan uint64, 100)
	go func() {
		defer close(stored)
		for index := uint64(1); index <= 8; index++ {
			if err := o.StoreLog(&raft.Log{Index: index, Type: raft.LogCommand, Data: large}); err != nil {
				t.Error(err)
			}
			stored <- index
		}
	}()
	eventually(t, "four of 16 MiB are pending", func() bool { return len(stored) == 4 })
	time.Sleep(5 * time.Millisecond) // if a fifth is let in, it is mostly seen
	if len(stored) != 4 {
		t.Errorf("%d of 16 MiB are pending", len(stored))
	}
	p.Before.Open()
	for range stored {
	}
	if err := o.Await(8); err != nil {
		t.Error(err)
	}
}

// openPipeline returns a pipeline from one end of a network to the other, whose answers
// wait for o. The other end agrees to requests with a commit index, and refuses the rest.
func openPipeline(t *testing.T, network core.Network, o *hashicorp.Overlap) raft.AppendPipeline {
	t.Helper()
	var ends [2]core.Transport
	for i := range ends {
		link, err := network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = hashicorp.Holding(link, o)
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case rpc := <-ends[1].Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Success: rpc.Command.(*raft.AppendEntriesRequest).LeaderCommitIndex > 0}, nil)
			case <-stop:
				return
			}
		}
	}()
	p, err := ends[0].AppendEntriesPipeline("", ends[1].LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// seen is an answer as the library has it.
type seen struct {
	req  *raft.AppendEntriesRequest
	resp *raft.AppendEntriesResponse
}

// TestAnswersOfAPipeline: each is seen once what it acknowledges is durable, in order; one
// that acknowledges what never will be is a refusal, and so is one that waits when the
// pipeline is closed. So it is with a pipeline of the framing and with one that is relayed.
func TestAnswersOfAPipeline(t *testing.T) {
	of := func(ok uint64, entries ...*raft.Log) *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{LeaderCommitIndex: ok, Entries: entries}
	}
	for name, network := range map[string]core.Network{
		"framed":  tcp.New(tcp.Options{}),
		"relayed": memory.New(memory.Options{MaxInFlight: 16}),
	} {
		// held begins with entry 1 durable and 2 pending, and an answer for the latter.
		held := func(t *testing.T) (*platter, raft.AppendPipeline, <-chan seen) {
			p, o := onPlatter(t)
			mustStore(t, o, command(1, 1))
			if err := o.Drain(); err != nil {
				t.Fatal(err)
			}
			pipeline := openPipeline(t, network, o)
			p.Before.Shut()
			mustStore(t, o, command(2, 1))
			eventually(t, "it is being written", func() bool { return p.Before.Waiting() == 1 })
			sent := []*raft.AppendEntriesRequest{of(1, command(1, 1)), of(1), of(0, command(2, 1)), of(1, command(1, 1), command(2, 1)), of(1)}
			for _, req := range sent {
				if _, err := pipeline.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
					t.Fatal(err)
				}
			}
			answers := make(chan seen, len(sent))
			var looking sync.WaitGroup
			looking.Go(func() {
				for range sent {
					a := <-pipeline.Consumer()
					answers <- seen{a.Request(), a.Response()}
				}
			})
			t.Cleanup(func() { _ = pipeline.Close(); looking.Wait() })
			for i, req := range sent[:3] {
				if a := <-answers; a.req != req || a.resp.Success != (req.LeaderCommitIndex > 0) {
					t.Fatalf("answer %d: %+v to %+v", i, a.resp, a.req)
				}
			}
			eventually(t, "all have come", func() bool { return len(pipeline.Consumer()) == 1 })
			select {
			case a := <-answers:
				t.Fatalf("%+v is seen, of what is pending", a.resp)
			case <-time.After(5 * time.Millisecond): // if it is not held, it is mostly seen
			}
			return p, pipeline, answers
		}
		t.Run(name+"/until it is durable", func(t *testing.T) {
			p, _, answers := held(t)
			p.Before.Open()
			for _, entries := range []int{2, 0} {
				if a := <-answers; len(a.req.Entries) != entries || !a.resp.Success {
					t.Errorf("%+v to %+v", a.resp, a.req)
				}
			}
		})
		t.Run(name+"/a write that fails", func(t *testing.T) {
			p, _, answers := held(t)
			p.Cut()
			p.Before.Open()
			if a := <-answers; a.resp.Success {
				t.Errorf("%+v to %+v", a.resp, a.req)
			}
		})
		t.Run(name+"/closed", func(t *testing.T) {
			_, pipeline, answers := held(t)
			if err := pipeline.Close(); err != nil {
				t.Error(err)
			}
			if a := <-answers; a.resp.Success {
				t.Errorf("%+v to %+v", a.resp, a.req)
			}
		})
	}
}

// TestOverlapAgainstAModel: whatever is done, and whenever the power is cut, the disk has a
// prefix of what the log was, with all that was durable, and with the whole log of
// when a stable value was last written.
func TestOverlapAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlatter()
		o := hashicorp.NewOverlap(p.open(), time.Minute)
		var log []*raft.Log // V
		start, term := uint64(1), uint64(1)
		last := func() uint64 { return start + uint64(len(log)) - 1 }
		settled := uint64(0) // the last index when something last had to be durable
		steps := map[string]func(){
			"commands": func() {
				if len(log) == 0 {
					p.Before.Open() // what does not follow an entry is written at once
				}
				var batch []*raft.Log
				for range rapid.IntRange(1, 4).Draw(rt, "entries") {
					batch = append(batch, command(last()+1+uint64(len(batch)), term))
				}
				log = append(log, batch...)
				check(rt, o.StoreLogs(batch))
			},
			"noop": func() {
				p.Before.Open()
				log = append(log, &raft.Log{Index: last() + 1, Term: term, Type: raft.LogNoop})
				check(rt, o.StoreLog(log[len(log)-1]))
				settled = last()
			},
			"term": func() {
				p.Before.Open()
				term++
				check(rt, o.SetUint64([]byte("term"), term))
				settled = last()
			},
			"truncate": func() {
				p.Before.Open()
				from := rapid.Uint64Range(start, last()+1).Draw(rt, "from")
				if from <= last() {
					check(rt, o.DeleteRange(from, last()))
					log = log[:from-start]
				}
				settled = min(settled, last())
			},
			"compact": func() {
				if until := o.Durable(last()); until >= start && until < last() && p.Before.Waiting() == 0 {
					p.Before.Open()
					check(rt, o.DeleteRange(start, until))
					log, start = log[until+1-start:], until+1
				}
			},
			"slow": func() { p.Before.Shut() },
			"fast": func() { p.Before.Open() },
		}
		names := []string{"commands", "commands", "commands", "noop", "term", "truncate", "compact", "slow", "fast"}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			steps[rapid.SampledFrom(names).Draw(rt, "step")]()
			sameLog(rt, o, start, log)
		}
		durable := max(settled, o.Durable(last()))
		p.Cut()
		p.Before.Open()
		_ = o.Close()

		disk := p.open()
		end, err := disk.LastIndex()
		check(rt, err)
		if len(log) > 0 && durable >= start && end < durable || end > last() && end >= start {
			rt.Fatalf("the disk ends at %d; %d was durable, and the log ended at %d", end, durable, last())
		}
		if end >= start {
			sameLog(rt, disk, start, log[:end+1-start])
		}
		if stored, err := disk.GetUint64([]byte("term")); err == nil && stored > term {
			rt.Fatalf("term %d is stored, and it was %d", stored, term)
		}
	})
}

func check(rt *rapid.T, err error) {
	rt.Helper()
	if err != nil {
		rt.Fatal(err)
	}
}

func sameLog(rt *rapid.T, s core.LogStore, start uint64, want []*raft.Log) {
	rt.Helper()
	last, err := s.LastIndex()
	check(rt, err)
	if len(want) > 0 && last != start+uint64(len(want))-1 {
		rt.Fatalf("the log ends at %d, want %d", last, start+uint64(len(want))-1)
	}
	for _, w := range want {
		var got raft.Log
		check(rt, s.GetLog(w.Index, &got))
		if got.Index != w.Index || got.Term != w.Term || !bytes.Equal(got.Data, w.Data) {
			rt.Fatalf("entry %d is %+v, want %+v", w.Index, got, *w)
		}
	}
}
