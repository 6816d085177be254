package hashicorp_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// breaking returns stores of which node's fails all writes of kind op once the
// switch is set.
func breaking(node int, op faulty.Op) (store func(int) core.LogStore, breakNow *atomic.Bool) {
	breakNow = new(atomic.Bool)
	return func(n int) core.LogStore {
		return faulty.Wrap(inmem.New(), func(w faulty.Write) error {
			if n == node && w.Op == op && breakNow.Load() {
				return syscall.ENOSPC
			}
			return nil
		})
	}, breakNow
}

func waitStopped(t *testing.T, m *member) {
	t.Helper()
	select {
	case <-m.Done():
	case <-deadline(t).Done():
		t.Fatalf("%s never stopped", m.cfg.ID)
	}
	if err := m.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%s stopped because of %v", m.cfg.ID, err)
	}
}

// TestLeaderWithFailingStore: the write is in doubt, the replica stops with the
// cause, and the rest of the group goes on.
func TestLeaderWithFailingStore(t *testing.T) {
	store, breakNow := breaking(0, faulty.StoreLogs)
	members := group(t, options{nodes: 3, store: store, tuning: fast})
	put(t, members[0], "k", "v")
	breakNow.Store(true)
	_, err := members[0].Propose(deadline(t), kv.EncodeSet("k", []byte("lost")))
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, core.ErrOutcomeUnknown) {
		t.Fatalf("propose: %v", err)
	}
	waitStopped(t, members[0])
	if _, err := members[0].Propose(deadline(t), kv.EncodeSet("k", nil)); !errors.Is(err, core.ErrClosed) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("propose after the stop: %v", err)
	}
	var leader *member
	eventually(t, "another member leads", func() bool {
		for _, m := range members[1:] {
			if m.Status().Role == core.Leader {
				leader = m
			}
		}
		return leader != nil
	})
	put(t, leader, "k", "after")
}

// TestFollowerWithFailingStore: the group does not notice.
func TestFollowerWithFailingStore(t *testing.T) {
	store, breakNow := breaking(1, faulty.StoreLogs)
	members := group(t, options{nodes: 3, store: store})
	breakNow.Store(true)
	put(t, members[0], "k", "v")
	waitStopped(t, members[1])
	put(t, members[0], "k", "w")
}

// TestTermThatCannotBeSaved: the library panics there. The member that hears of
// a new term stops; the process and the others live on.
func TestTermThatCannotBeSaved(t *testing.T) {
	store, breakNow := breaking(2, faulty.Set)
	members := group(t, options{nodes: 3, store: store, tuning: fast})
	put(t, members[0], "k", "v")
	breakNow.Store(true)
	if err := members[0].TransferLeadership(deadline(t), "n2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 leads", func() bool { return members[1].Status().Role == core.Leader })
	waitStopped(t, members[2])
	put(t, members[1], "k", "w")
}

// TestStartWithFailingStore: an error, no panic, and nothing left running.
func TestStartWithFailingStore(t *testing.T) {
	for _, nth := range []int{1, 2, 3} {
		m := newMember(t, tcp.New(tcp.Options{}), "n1",
			faulty.Wrap(inmem.New(), faulty.From(faulty.Set, nth, syscall.ENOSPC)), core.Tuning{})
		m.cfg.Bootstrap = []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}}
		r, err := (hashicorp.Engine{}).Start(m.cfg)
		if err == nil { // the failure comes once it runs
			m.Replica = r
			waitStopped(t, m)
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("start with the %d. write failing: %v", nth, err)
		}
		if err := errors.Join(m.cfg.Link.Close(), m.cfg.Logs.Close()); err != nil {
			t.Error(err)
		}
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogGoesToTheSink(t *testing.T) {
	var log lockedBuffer
	m := newMember(t, tcp.New(tcp.Options{}), "n1", inmem.New(), fast)
	m.cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	m.start(t, []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}})
	eventually(t, "the election is in the log", func() bool { return strings.Contains(log.String(), "election won") })
	if strings.Contains(log.String(), "level=DEBUG") {
		t.Error("the sink passes on more than its level")
	}
}
