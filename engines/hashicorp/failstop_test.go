package hashicorp_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/tcp"
)

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
