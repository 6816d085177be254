package failstop_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
)

// TestLimits: a short heartbeat timeout makes no stall of a slow flush.
func TestLimits(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ heartbeat, setTimeout, setLimit, timeout, limit time.Duration }{
		{150 * ms, 0, 0, time.Second, 10 * time.Second},
		{3 * time.Second, 0, 0, 3 * time.Second, 30 * time.Second},
		{150 * ms, 200 * ms, 0, 200 * ms, 10 * time.Second},
		{150 * ms, time.Minute, 0, time.Minute, 2 * time.Minute},
		{150 * ms, 200 * ms, 300 * ms, 200 * ms, 300 * ms},
	} {
		timeout, limit, err := failstop.Limits(core.Tuning{StallTimeout: c.setTimeout, StallLimit: c.setLimit}, c.heartbeat)
		if err != nil || timeout != c.timeout || limit != c.limit {
			t.Errorf("%+v: %v, %v, %v", c, timeout, limit, err)
		}
	}
	if _, _, err := failstop.Limits(core.Tuning{StallLimit: ms}, time.Second); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a limit below the timeout: %v", err)
	}
}

// located is a store in a file.
type located struct{ core.LogStore }

func (located) Path() string { return "log/raft.db" }

// unreadable is a store whose stable values cannot be read.
type unreadable struct{ core.LogStore }

func (unreadable) Get([]byte) ([]byte, error) { return nil, core.ErrDamaged }

// TestStoreFailsForGood: whatever fails, the replica is told once, with the first cause, and
// no write is tried after it. What is only not there is no failure.
func TestStoreFailsForGood(t *testing.T) {
	stable := []byte("key")
	for what, c := range map[string]struct {
		fails func(*failstop.Store) error
		want  error
		says  string
	}{
		"a write":            {func(s *failstop.Store) error { return s.Set([]byte("bad"), nil) }, syscall.EIO, ""},
		"a read":             {func(s *failstop.Store) error { _, err := s.Get(stable); return err }, core.ErrDamaged, ""},
		"a write that hangs": {func(s *failstop.Store) error { s.GiveUp(time.Second); return s.Failed() }, core.ErrStalled, "log/raft.db has not returned for 1s"},
	} {
		tried, told := 0, []error(nil)
		logs := unreadable{faulty.Wrap(inmem.New(), func(w faulty.Write) error {
			tried++
			if w.Op == faulty.Set {
				return syscall.EIO
			}
			return nil
		})}
		s := failstop.Wrap(located{logs}, failstop.NewWatch(time.Minute, time.Minute), func(err error) { told = append(told, err) })
		if err := s.GetLog(1, new(raft.Log)); err != raft.ErrLogNotFound || s.Failed() != nil {
			t.Errorf("an entry that is not there: %v, failed: %v", err, s.Failed())
		}
		err := c.fails(s)
		if !errors.Is(err, c.want) || !errors.Is(err, failstop.ErrStoreFailed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s fails: %v", what, err)
		}
		before := tried
		if err := s.StoreLog(&raft.Log{Index: 1}); !errors.Is(err, c.want) || tried != before {
			t.Errorf("a write after %s has failed: %v, tried %d times", what, err, tried-before)
		}
		_ = s.Fail(errors.New("another cause"))
		if len(told) != 1 || !errors.Is(told[0], c.want) || !errors.Is(s.Failed(), c.want) {
			t.Errorf("%s: told %v, failed because of %v", what, told, s.Failed())
		}
	}
}
