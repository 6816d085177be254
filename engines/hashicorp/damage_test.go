package hashicorp_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/checked"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// spoilable is a store of which all entries are damaged once it is told so.
type spoilable struct {
	core.LogStore
	spoilt atomic.Bool
}

func (s *spoilable) GetLog(index uint64, out *raft.Log) error {
	if s.spoilt.Load() {
		return fmt.Errorf("log entry %d is %w", index, core.ErrDamaged)
	}
	return s.LogStore.GetLog(index, out)
}

// TestDamageFoundWhileRunning: the library panics where it cannot read what it is to
// apply. The follower stops with the cause; the process and the others live on.
func TestDamageFoundWhileRunning(t *testing.T) {
	bad := &spoilable{LogStore: inmem.New()}
	cold := hashicorp.Options{LogCache: -1} // or nothing is read
	members := group(t, options{nodes: 3, tuning: fast, own: cold, store: func(n int) core.LogStore {
		if n == 1 {
			return bad
		}
		return inmem.New()
	}})
	put(t, members[0], "k", "v")
	bad.spoilt.Store(true)
	put(t, members[0], "k", "w")
	select {
	case <-members[1].Done():
	case <-deadline(t).Done():
		t.Fatal("it never stopped")
	}
	if err := members[1].Err(); !errors.Is(err, core.ErrDamaged) || !strings.Contains(err.Error(), "log entry") {
		t.Errorf("it stopped because of %v", err)
	}
	put(t, members[0], "k", "x")
}

// TestDamagedLeader: one that cannot read what it is to send stops too, and its
// goroutines with it.
func TestDamagedLeader(t *testing.T) {
	bad := &spoilable{LogStore: inmem.New()}
	members := group(t, options{nodes: 3, tuning: fast, own: hashicorp.Options{LogCache: -1}, store: func(n int) core.LogStore {
		if n == 0 {
			return bad
		}
		return inmem.New()
	}})
	put(t, members[0], "k", "v")
	bad.spoilt.Store(true)
	_, _ = members[0].Propose(deadline(t), []byte("lost or not"))
	select {
	case <-members[0].Done():
	case <-deadline(t).Done():
		t.Fatal("it never stopped")
	}
	if err := members[0].Err(); !errors.Is(err, core.ErrDamaged) {
		t.Errorf("it stopped because of %v", err)
	}
	put(t, waitLeader(t, members[1:]), "k", "x")
}

// openBolt opens the checked store of a folder.
func openBolt(t *testing.T, dir string) core.LogStore {
	t.Helper()
	bare, err := bolt.Open(dir, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := checked.Wrap(bare, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDamageFoundAtStart: one bit of a value that has turned over on the disk, and an
// entry that is gone: the start fails, names the file and the entry, and leaves nothing.
func TestDamageFoundAtStart(t *testing.T) {
	spoil := map[string]func(t *testing.T, dir string){
		"a flipped bit": func(t *testing.T, dir string) {
			path := filepath.Join(dir, "raft.db")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.LastIndex(data, []byte("precious"))
			if at < 0 {
				t.Fatal("the value is not in the file")
			}
			for at >= 0 { // also in pages that are free
				data[at] ^= 1
				at = bytes.LastIndex(data, []byte("precious"))
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a missing entry": func(t *testing.T, dir string) {
			s := openBolt(t, dir)
			last, errLast := s.LastIndex()
			if err := errors.Join(errLast, s.DeleteRange(last-1, last-1), s.Close()); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, spoilNow := range spoil {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			network := tcp.New(tcp.Options{})
			m := newMember(t, network, "n1", openBolt(t, dir), fast)
			m.start(t, []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}})
			eventually(t, "it leads", func() bool { return m.ReadBarrier(deadline(t)) == nil })
			put(t, m, "k", "precious")
			put(t, m, "l", "later")
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			spoilNow(t, dir)

			again := newMember(t, network, "n1", openBolt(t, dir), fast)
			_, err := (hashicorp.Engine{}).Start(again.cfg)
			if !errors.Is(err, core.ErrDamaged) || !strings.Contains(err.Error(), "log entry") {
				t.Errorf("start: %v", err)
			}
			if what == "a flipped bit" && err != nil && !strings.Contains(err.Error(), filepath.Join(dir, "raft.db")) {
				t.Errorf("the file is not named: %v", err)
			}
			if err := errors.Join(again.cfg.Link.Close(), again.cfg.Logs.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}
