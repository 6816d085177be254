package engines_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// offline returns the engines that can read what replicas have left.
func offline(t testing.TB) map[string]core.Offline {
	t.Helper()
	all := map[string]core.Offline{}
	for _, name := range engines.Libraries(engines.Builtin()) {
		e, err := engines.New(engines.Builtin(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = e.(core.Offline)
	}
	return all
}

// kept is a log store that outlives its replica. Nothing is nil to it.
type kept struct{ core.LogStore }

// GetLog implements raft.LogStore.
func (k kept) GetLog(index uint64, out *raft.Log) error {
	err := k.LogStore.GetLog(index, out)
	if len(out.Data) == 0 {
		out.Data = nil
	}
	return err
}

// Close implements core.LogStore.
func (kept) Close() error { return nil }

// TestRemainsOfBefore: what is left of a replica from before there were incarnations and
// groups says so; a command may be empty.
func TestRemainsOfBefore(t *testing.T) {
	for name, engine := range offline(t) {
		link, err := tcp.New(tcp.Options{}).Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		logs, dir := kept{inmem.New()}, t.TempDir()
		first := []core.Member{{ID: "n1", Address: link.Address(), Voter: true}}
		r, err := engine.(core.Engine).Start(core.ReplicaConfig{ID: "n1", FSM: kv.New(), Logs: logs, Link: link, SnapshotDir: dir, Bootstrap: first})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for err = core.ErrNotLeader; errors.Is(err, core.ErrNotLeader); {
			_, err = r.Propose(ctx, nil)
		}
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		left, err := engine.Remains(t.Context(), logs, dir)
		if err != nil {
			t.Fatal(err)
		}
		commands := 0
		for e, err := range left.Entries {
			if err != nil {
				t.Error(err)
			}
			if e.Command != nil {
				commands++
			}
		}
		if (left.Identity != core.Identity{Group: core.UnnamedGroup}) || !reflect.DeepEqual(left.Members, first) || commands != 1 {
			t.Errorf("%s has left %+v, with %d commands", name, left, commands)
		}
	}
}

// notes are log lines that come from several goroutines.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// TestFormerMembersAreTold: a member of a group that was recovered without it comes back.
// Its log and those of the group say what has happened, and what to do; also where the
// member that it meets has joined after the recovery, and was started again since.
func TestFormerMembersAreTold(t *testing.T) {
	for name, engine := range offline(t) {
		t.Run(name, func(t *testing.T) {
			listen := func() core.Link {
				link, err := tcp.New(tcp.Options{}).Listen("127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				return link
			}
			start := func(id, incarnation string, logs core.LogStore, link core.Link, dir string, first []core.Member) (core.Replica, *notes) {
				var log notes
				r, err := engine.(core.Engine).Start(core.ReplicaConfig{ID: id, Incarnation: incarnation, Service: id + ".example:80", FSM: kv.New(),
					Logs: logs, Link: link, SnapshotDir: dir, Bootstrap: first, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = r.Close() })
				return r, &log
			}
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			await := func(what string, done func() bool) {
				t.Helper()
				if err := poll.Until(ctx, 10*time.Millisecond, func() (bool, error) { return done(), nil }); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			link1, link2, link3, later2 := listen(), listen(), listen(), listen()
			member := func(id string, link core.Link) core.Member {
				return core.Member{ID: id, Incarnation: core.NewIncarnation(), Address: link.Address(), Voter: true}
			}
			old := []core.Member{member("n1", link1), member("n2", later2), member("n3", link3)}
			now := []core.Member{member("n1", link1)}
			want := "n3#" + old[2].Incarnation + " is of group " + core.GroupID(old) + ", which was recovered as group " + core.GroupID(now)
			told := func(log *notes, by string) func() bool {
				return func() bool {
					return strings.Contains(log.String(), want) && strings.Contains(log.String(), "start it with --join "+by+".example:80, or: clusterctl replace n3")
				}
			}

			state, err := kv.New().Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			logs, dir := inmem.New(), t.TempDir()
			if err := engine.Found(logs, dir, core.Founding{ID: "n1", Members: now, Former: core.GroupID(old), Index: 5, Term: 2, State: state}); err != nil {
				t.Fatal(err)
			}
			n1, log1 := start("n1", now[0].Incarnation, logs, link1, dir, nil)
			joiner, logs2, dir2 := member("n2", link2), kept{inmem.New()}, t.TempDir()
			joiner.Voter = false
			n2, _ := start("n2", joiner.Incarnation, logs2, link2, dir2, nil)
			await("n1 adds n2", func() bool { return n1.Add(ctx, joiner) == nil })
			await("n2 is in the group", func() bool { return n2.Status().Group == core.GroupID(now) })
			logs3, dir3 := kept{inmem.New()}, t.TempDir()
			n3, log3 := start("n3", old[2].Incarnation, logs3, link3, dir3, old)
			await("n1 and n3 tell that they met", func() bool { return told(log1, "n1")() && told(log3, "n1")() })

			if err := errors.Join(n1.Close(), n2.Close(), n3.Close()); err != nil {
				t.Fatal(err)
			}
			_, log2 := start("n2", joiner.Incarnation, logs2, later2, dir2, nil)
			_, log3 = start("n3", old[2].Incarnation, logs3, listen(), dir3, nil)
			await("n2 and n3 tell that they met", func() bool { return told(log2, "n2")() && told(log3, "n2")() })
		})
	}
}

// TestRemainsOfUnfinished: nothing counts of a founding that a crash has ended.
func TestRemainsOfUnfinished(t *testing.T) {
	logs := inmem.New()
	for key, value := range map[string]string{
		"raftlab.engine": "etcd", "etcd.members": `{"commit":1,"index":1,"members":[{"id":"n1","address":"a:1","voter":true}]}`,
	} {
		if err := logs.Set([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := logs.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	left, err := offline(t)["etcd"].Remains(t.Context(), logs, "")
	if err != nil {
		t.Fatal(err)
	}
	left.Entries = nil
	if !reflect.DeepEqual(*left, core.Remains{}) {
		t.Errorf("%+v", left)
	}
}

// FuzzRemains: whatever is in a log store and beside it is read, or is damage.
func FuzzRemains(f *testing.F) {
	configuration := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a:1"}}})
	meta, err := json.Marshal(map[string]any{"Version": 1, "ID": "2-1-0", "Index": 1, "Term": 2, "ConfigurationIndex": 1, "CRC": []byte("12345678")})
	if err != nil {
		f.Fatal(err)
	}
	vote := []byte{7: 2, 15: 1}
	f.Add(uint8(raft.LogConfiguration), configuration, vote, []byte(`{"commit":1,"index":1,"members":[{"id":"n1"}]}`), meta, []byte("raftlab1"))
	f.Add(uint8(raft.LogCommand), []byte{0xff}, vote, []byte(nil), []byte("{}"), []byte(nil))
	f.Add(uint8(raft.LogConfiguration), []byte("\x0a\x02\x08\x01\x12\x03{}x"), []byte("short"), []byte("{"), []byte(nil), []byte(nil))
	root, all := f.TempDir(), offline(f)
	f.Fuzz(func(t *testing.T, kind uint8, entry, vote, members, meta, state []byte) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if path := filepath.Join(dir, "snapshots", "2-1-0"); len(meta) > 0 {
			err = errors.Join(os.MkdirAll(path, 0o700), os.WriteFile(filepath.Join(path, "meta.json"), meta, 0o600), os.WriteFile(filepath.Join(path, "state.bin"), state, 0o600))
		}
		for name, engine := range all {
			logs := inmem.New()
			err = errors.Join(err, logs.SetUint64([]byte("CurrentTerm"), 2))
			for key, value := range map[string][]byte{"etcd.vote": vote, "etcd.members": members} {
				if len(value) > 0 {
					err = errors.Join(err, logs.Set([]byte(key), value))
				}
			}
			if name == "etcd" {
				err = errors.Join(err, logs.Set([]byte("raftlab.engine"), []byte(name)))
			}
			for i := range uint64(3) {
				err = errors.Join(err, logs.StoreLog(&raft.Log{Index: i + 1, Term: 2, Type: raft.LogType(kind), Data: entry}))
			}
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, engine, logs, dir)
		}
	})
}

func readAll(t *testing.T, engine core.Offline, logs core.LogStore, dir string) {
	left, err := engine.Remains(t.Context(), logs, dir)
	if err != nil {
		if !errors.Is(err, core.ErrDamaged) {
			t.Error(err)
		}
		return
	}
	last := left.SnapshotIndex
	for e, err := range left.Entries {
		if err != nil {
			if !errors.Is(err, core.ErrDamaged) {
				t.Error(err)
			}
			break
		}
		if last++; e.Index != last {
			t.Errorf("entry %d comes as the one of %d", e.Index, last)
		}
	}
	if last != left.LastIndex {
		t.Errorf("the entries end with %d: %+v", last, left)
	}
	if left.Snapshot == nil {
		return
	}
	data, err := left.Snapshot()
	if err == nil {
		_, err = io.Copy(io.Discard, data)
		err = errors.Join(err, data.Close())
	}
	if err != nil && !errors.Is(err, core.ErrDamaged) {
		t.Error(err)
	}
}
