package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// state is what a store holds, as the test sees it.
type state struct {
	entries     map[uint64]string
	first, last uint64
	term        uint64
}

func (s state) clone() state { s.entries = maps.Clone(s.entries); return s }

func (s state) equal(o state) bool {
	return s.first == o.first && s.last == o.last && s.term == o.term && maps.Equal(s.entries, o.entries)
}

func (s state) String() string { return fmt.Sprintf("log %d to %d, term %d", s.first, s.last, s.term) }

func (s *state) remove(low, high uint64) {
	for i := range s.entries {
		if low <= i && i <= high {
			delete(s.entries, i)
		}
	}
	if len(s.entries) == 0 {
		s.first, s.last = 0, 0
	} else if low <= s.first {
		s.first = max(s.first, high+1)
	} else {
		s.last = min(s.last, low-1)
	}
}

// observe reads all that a store holds.
func observe(s core.LogStore) (o state, err error) {
	o.entries = map[uint64]string{}
	var errs [3]error
	o.first, errs[0] = s.FirstIndex()
	o.last, errs[1] = s.LastIndex()
	o.term, errs[2] = s.GetUint64([]byte("term"))
	if err := errors.Join(errs[:]...); err != nil {
		return o, err
	}
	for i := o.first; i <= o.last && i > 0; i++ {
		var e raft.Log
		if err := s.GetLog(i, &e); err != nil {
			return o, err
		}
		if e.Index != i {
			return o, fmt.Errorf("entry %d says that it is %d", i, e.Index)
		}
		o.entries[i] = string(e.Data)
	}
	return o, nil
}

// operation draws a change; want is what it makes of the state.
func operation(random *rand.Rand, now state, round int) (what string, want state, do func(core.LogStore) error) {
	want = now.clone()
	switch kind := random.IntN(10); {
	case kind < 6 || now.last == 0 && kind < 9:
		next := now.last + 1
		if now.last == 0 {
			next = 1 + random.Uint64N(50)
			want.first = next
		}
		var batch []*raft.Log
		for range 1 + random.IntN(12) {
			data := fmt.Sprintf("%d/%d ", round, next) + strings.Repeat("x", 8*random.IntN(400))
			batch = append(batch, &raft.Log{Index: next, Term: 1, Data: []byte(data)})
			want.entries[next], want.last = data, next
			next++
		}
		return fmt.Sprintf("store %d to %d", batch[0].Index, want.last), want, func(s core.LogStore) error { return s.StoreLogs(batch) }
	case kind < 9:
		low, high := now.first, now.first+random.Uint64N(now.last-now.first+1)
		if kind == 8 {
			low, high = high, now.last
		}
		want.remove(low, high)
		return fmt.Sprintf("delete %d to %d", low, high), want, func(s core.LogStore) error { return s.DeleteRange(low, high) }
	default:
		want.term++
		return "set the term", want, func(s core.LogStore) error { return s.SetUint64([]byte("term"), want.term) }
	}
}

func openOn(d *testDisk) (*Store, error) {
	return open(d, "", Options{SegmentBytes: MinSegmentBytes}, io.NopCloser(nil))
}

// TestTornEntryOfIndexThree: the number of a commit frame within the entry of a torn first append is
// no append that follows it.
func TestTornEntryOfIndexThree(t *testing.T) {
	const seed, runs = 18394996346844676404, 43
	random := rand.New(rand.NewPCG(seed, 0))
	for run := range runs {
		if err := crashRepeatedly(random, run); err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
	}
}

// TestPowerLoss crashes a machine at any call that changes its disk, again and again on one
// disk: what has returned is there, and of the call that was under way all or nothing;
// and what a store has served once it was opened again outlives the next crash.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for run := range 100 {
		if err := crashRepeatedly(random, run); err != nil {
			t.Fatalf("seed %d, run %d: %v", seed, run, err)
		}
	}
}

func crashRepeatedly(random *rand.Rand, run int) error {
	d := newTestDisk(random)
	possible := []state{{entries: map[uint64]string{}}}
	for round := range 8 {
		d.crashAt = d.calls + 1 + random.IntN(60)
		s, err := openOn(d)
		if err == nil {
			if possible, err = use(random, d, s, possible, run*100+round); err == nil {
				d.lose(true) // what was served is lost at once
				continue
			}
		}
		if !errors.Is(err, errDead) {
			return fmt.Errorf("round %d: %w", round, err)
		}
		switch random.IntN(4) {
		case 0:
			d.killed()
		case 1:
			d.lose(true)
		default:
			d.lose(false)
		}
	}
	return nil
}

// use reads the store, which holds one of the possible states, and changes it until the
// machine crashes. It returns which states are possible then. By chance it only reads,
// without an error.
func use(random *rand.Rand, d *testDisk, s *Store, possible []state, mark int) ([]state, error) {
	defer func() {
		if s != nil {
			_ = s.folder.closeAll() // what would have ended with the process
		}
	}()
	found, err := observe(s)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	now, err := oneOf(found, possible)
	if err != nil || random.IntN(3) == 0 {
		return []state{now}, err
	}
	for {
		what, want, do := operation(random, now, mark)
		if err := do(s); err != nil {
			return []state{now, want}, fmt.Errorf("%s: %w", what, err)
		}
		now = want
		if random.IntN(40) > 0 {
			continue
		}
		if err := s.Close(); err != nil {
			return []state{now}, err
		}
		if s, err = openOn(d); err != nil {
			return []state{now}, err
		}
	}
}

func oneOf(found state, possible []state) (state, error) {
	for _, p := range possible {
		if found.equal(p) {
			return p, nil
		}
	}
	return found, fmt.Errorf("it holds %v, want one of %v", found, possible)
}

// stored is a store on a disk, with ten entries and a term.
func stored(t *testing.T) (*testDisk, *Store) {
	t.Helper()
	d := newTestDisk(rand.New(rand.NewPCG(1, 1)))
	s, err := openOn(d)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		if err := s.StoreLog(entryAt(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetUint64([]byte("term"), 1); err != nil {
		t.Fatal(err)
	}
	return d, s
}

func entryAt(i uint64) *raft.Log {
	return &raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 100)}
}

// TestFailedWrite: a flush or a write that fails is an error of the call, with its cause,
// and is not tried again: no later write succeeds, nor flushes anything.
func TestFailedWrite(t *testing.T) {
	writes := map[string]func(s *Store) error{
		"store":  func(s *Store) error { return s.StoreLog(entryAt(11)) },
		"delete": func(s *Store) error { return s.DeleteRange(1, 3) },
		"set":    func(s *Store) error { return s.SetUint64([]byte("term"), 2) },
	}
	for _, cause := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, op := range []string{"write", "sync"} {
			for name, write := range writes {
				d, s := stored(t)
				d.refuse = func(at, _ string) error {
					if at == op {
						return cause
					}
					return nil
				}
				if err := write(s); !errors.Is(err, cause) {
					t.Errorf("%s where a %s fails: %v", name, op, err)
				}
				d.refuse = nil
				syncs := d.syncs
				for again, write := range writes {
					if err := write(s); !errors.Is(err, cause) {
						t.Errorf("%s after a %s whose %s had failed: %v", again, name, op, err)
					}
				}
				if err := s.GetLog(10, new(raft.Log)); err != nil {
					t.Errorf("read after a failure: %v", err)
				}
				if err := s.Close(); err != nil || d.syncs != syncs {
					t.Errorf("after a failed %s: %d flushes more, close: %v", op, d.syncs-syncs, err)
				}
			}
		}
	}
}

// TestFailedFlush: an append whose flush has failed may be seen once the store is opened
// again. What is seen then outlives a power loss.
func TestFailedFlush(t *testing.T) {
	for run := range uint64(20) {
		d, s := stored(t)
		d.random = rand.New(rand.NewPCG(run, 0))
		d.refuse = func(op, _ string) error {
			if op == "sync" {
				return syscall.EIO
			}
			return nil
		}
		if err := s.StoreLogs([]*raft.Log{entryAt(11), {Index: 12, Data: make([]byte, 5000)}}); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.refuse = nil
		kill(t, s)
		seen := reopened(t, d)
		d.lose(true)
		if after := reopened(t, d); !after.equal(seen) || seen.last != 12 {
			t.Errorf("run %d: seen %v, and after a power loss %v; want it up to 12", run, seen, after)
		}
	}
}

// reopened is what a store holds that is opened on the disk.
func reopened(t *testing.T, d *testDisk) state {
	t.Helper()
	s, err := openOn(d)
	if err != nil {
		t.Fatal(err)
	}
	o, err := observe(s)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, s)
	return o
}

// kill ends what would end with the process.
func kill(t *testing.T, s *Store) {
	t.Helper()
	if err := s.folder.closeAll(); err != nil {
		t.Fatal(err)
	}
}

// TestTornTail: nothing is left of an append that is not whole, and the segment keeps
// its length. Otherwise a later append that ends where the rest of an old one begins
// would bring that back.
func TestTornTail(t *testing.T) {
	d, s := stored(t)
	tail := s.folder.tail.Load()
	end, f := int(tail.flushed.Load()), tail.file.(*testFile).inode
	if err := s.StoreLogs([]*raft.Log{entryAt(11), entryAt(12)}); err != nil {
		t.Fatal(err)
	}
	kill(t, s)
	for _, torn := range []int{end, end + frameBytes, len(bytes.TrimRight(f.now, "\x00")) - 1} {
		whole := bytes.Clone(f.now)
		f.now[torn] ^= 0xff
		if o := reopened(t, d); o.last != 10 {
			t.Errorf("byte %d is torn: %v; want it up to 10", torn, o)
		}
		if !allZero(f.now[end:]) || len(f.now) != len(whole) || !bytes.Equal(f.now[:end], whole[:end]) || !bytes.Equal(f.now, f.durable) {
			t.Errorf("byte %d is torn: something is left of it, or not on the disk", torn)
		}
		f.now = whole
	}
}

// TestZeroAhead: room is zeroed in front of the writer, whatever it has written meanwhile
// stays, and that it cannot be is nobody's error.
func TestZeroAhead(t *testing.T) {
	for _, refused := range []bool{false, true} {
		d := newTestDisk(rand.New(rand.NewPCG(1, 1)))
		d.noZeros = refused
		s, err := open(d, "", Options{SegmentBytes: 3 << 20}, io.NopCloser(nil))
		if err != nil {
			t.Fatal(err)
		}
		const last = 300
		for i := uint64(1); i <= last; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, int(100+i*7919%8000))}); err != nil {
				t.Fatal(err)
			}
		}
		for i := uint64(1); i <= last; i++ {
			var e raft.Log
			if err := s.GetLog(i, &e); err != nil || !bytes.Equal(e.Data, bytes.Repeat([]byte{byte(i)}, int(100+i*7919%8000))) {
				t.Fatalf("entry %d: %v", i, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := d.zeroed > 0; got == refused {
			t.Errorf("zeros are refused: %v, and %d bytes were zeroed", refused, d.zeroed)
		}
	}
}

// TestNoRoomForSegment: the write that fills a segment is kept; that there is no room for
// the next one is the error of the write after, and opened with room again all is there.
func TestNoRoomForSegment(t *testing.T) {
	d, s := stored(t)
	d.refuse = func(op, name string) error {
		if op == "resize" && strings.HasSuffix(name, ".wal") {
			return syscall.ENOSPC
		}
		return nil
	}
	last, err := uint64(10), error(nil)
	for ; err == nil && last < 1000; last++ {
		err = s.StoreLog(&raft.Log{Index: last + 1, Term: 1, Data: make([]byte, 4000)})
	}
	last--
	if !errors.Is(err, syscall.ENOSPC) || last < 12 {
		t.Fatalf("after entry %d: %v", last, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d.refuse = nil
	again, err := openOn(d)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.LastIndex(); err != nil || got != last {
		t.Errorf("the log ends at %d, %v; want %d", got, err, last)
	}
	if err := errors.Join(again.StoreLog(entryAt(last+1)), again.Close()); err != nil {
		t.Error(err)
	}
}
