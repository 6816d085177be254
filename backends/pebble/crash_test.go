package pebble

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// TestPowerLoss copies the disk as a power loss would leave it, with all or a part of
// what was not flushed gone, after each of many calls and during one: what has returned
// is there, and of a call all or nothing.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	disk := vfs.NewCrashableMem()
	last, term := uint64(0), uint64(0)
	for round := range 40 {
		s, err := open(disk, "", Options{MemtableBytes: minBytes})
		if err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		first := checkAfter(t, seed, s, &last, term)
		for range 1 + random.IntN(8) {
			var batch []*raft.Log
			for range 1 + random.IntN(20) {
				last++
				batch = append(batch, entryAt(last))
			}
			if err := s.StoreLogs(batch); err != nil {
				t.Fatal(err)
			}
			if last > first+200 {
				first = last - 50
				if err := s.DeleteRange(1, first-1); err != nil {
					t.Fatal(err)
				}
			}
			term++
			if err := s.SetUint64([]byte("term"), term); err != nil {
				t.Fatal(err)
			}
		}
		cfg := vfs.CrashCloneCfg{}
		if random.IntN(2) == 0 {
			cfg = vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(100), RNG: random}
		}
		writing := make(chan error)
		go func() { writing <- s.StoreLogs([]*raft.Log{entryAt(last + 1), entryAt(last + 2), entryAt(last + 3)}) }()
		crashed := disk.CrashClone(cfg)
		if err := errors.Join(<-writing, s.Close()); err != nil {
			t.Fatal(err)
		}
		disk = crashed
	}
}

func entryAt(i uint64) *raft.Log {
	return &raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, int(100+i%7*500))}
}

// checkAfter checks what is there after a crash; the three entries that were being written
// may be, all of them. It returns the first index.
func checkAfter(t *testing.T, seed uint64, s *Store, last *uint64, term uint64) uint64 {
	t.Helper()
	first, errFirst := s.FirstIndex()
	now, errLast := s.LastIndex()
	got, errTerm := s.GetUint64([]byte("term"))
	if err := errors.Join(errFirst, errLast, errTerm); err != nil || got != term || now != *last && now != *last+3 {
		t.Fatalf("seed %d: the log ends at %d, want %d or 3 more; term %d, want %d; %v", seed, now, *last, got, term, err)
	}
	*last = now
	for i := first; i <= now && i > 0; i++ {
		var e raft.Log
		if err := s.GetLog(i, &e); err != nil || !bytes.Equal(e.Data, entryAt(i).Data) {
			t.Fatalf("seed %d: entry %d: %v", seed, i, err)
		}
	}
	return first
}

// TestFailedWrite: a flush or write of Pebble's log that fails is an error of the call,
// with its cause; every later write is refused, reads go on, and the process lives.
func TestFailedWrite(t *testing.T) {
	for _, cause := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for name, kind := range map[string][]errorfs.OpKind{"write": {errorfs.OpFileWrite}, "flush": {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}} {
			var failing atomic.Bool
			injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
				for _, k := range kind {
					if failing.Load() && op.Kind == k && strings.HasSuffix(op.Path, ".log") {
						return cause
					}
				}
				return nil
			})
			s, err := open(errorfs.Wrap(vfs.NewMem(), injector), "", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.StoreLog(entryAt(1)); err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			if err := s.StoreLog(entryAt(2)); !errors.Is(err, cause) {
				t.Errorf("where a %s fails: %v", name, err)
			}
			failing.Store(false)
			if err := s.SetUint64([]byte("term"), 1); !errors.Is(err, cause) {
				t.Errorf("after a failed %s: %v", name, err)
			}
			if err := s.GetLog(1, new(raft.Log)); err != nil {
				t.Errorf("read after a failed %s: %v", name, err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close after a failed %s: %v", name, err)
			}
		}
	}
}
