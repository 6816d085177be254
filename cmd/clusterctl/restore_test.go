package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/backup"
	"github.com/themilchenko/raftlab/kv/client"
)

var kills = flag.Int("kills", 0, "how often a leader, a follower and the client are killed at each step of a restore; 0: now and then")

// Steps of a restore of what largeBackup writes: so many parts, and the commit.
const (
	parts      = 4
	commitStep = parts
)

// largeBackup writes a backup of parts parts, in which every value is of the byte.
func largeBackup(t *testing.T, path string, value byte) (content backup.Digest) {
	t.Helper()
	m := kv.New()
	for i := range parts {
		m.Apply(uint64(i+1), kv.EncodeSet(fmt.Sprintf("key%d", i), bytes.Repeat([]byte{value}, partBytes*3/4)))
	}
	var file bytes.Buffer
	s, err := backup.Write(&file, backup.Header{}, m.Image(), nil)
	if err == nil {
		err = os.WriteFile(path, file.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Content
}

// killer is a client that kills a node before or after a step of a restore.
type killer struct {
	*client.Client
	at    int
	after bool
	kill  func()
	step  int
}

func (k *killer) around(do func() error) error {
	now := k.step == k.at
	if now && !k.after {
		k.kill()
	}
	err := do()
	if now && k.after {
		k.kill()
	}
	k.step++
	return err
}

func (k *killer) RestorePart(ctx context.Context, restore string, part int, pairs []byte) error {
	return k.around(func() error { return k.Client.RestorePart(ctx, restore, part, pairs) })
}

func (k *killer) RestoreCommit(ctx context.Context, restore string, keys uint64, content [32]byte) (index uint64, err error) {
	err = k.around(func() error {
		index, err = k.Client.RestoreCommit(ctx, restore, keys, content)
		return err
	})
	return index, err
}

// restored is a cluster that is restored again and again, by turns from one and the other.
type restored struct {
	*testing.T
	*session
	nodes *client.Client
	paths [2]string
	holds [2]backup.Digest
	now   int // which of them the map is
}

// TestRestoreKilled kills the leader, a follower, and the client, at each step of a restore:
// then every node has the old map, or every one the new.
func TestRestoreKilled(t *testing.T) {
	t.Chdir(t.TempDir())
	generate(t)
	r := startRestored(t)
	steps := []struct {
		victim string // role
		at     int
		after  bool
	}{{"leader", 0, true}, {"follower", 2, false}, {"leader", commitStep, false}, {"follower", commitStep, true}, {"leader", commitStep, true}}
	if *kills > 0 {
		steps = steps[:0]
		for at := range commitStep + 1 {
			for i := range 4 {
				steps = append(steps, struct {
					victim string
					at     int
					after  bool
				}{[]string{"leader", "follower"}[i%2], at, i/2 == 1})
			}
		}
	}
	for _, s := range steps {
		for range max(*kills/2, 1) { // before and after are one step
			r.killNode(s.victim, s.at, s.after)
		}
	}
	took := r.killClient(time.Minute) // is not killed
	for range max(*kills*(commitStep+1), 3) {
		r.killClient(rand.N(took * 5 / 4))
	}
}

func startRestored(t *testing.T) *restored {
	t.Helper()
	file, err := clusterfile.Read(clusterfile.DefaultPath)
	if err != nil {
		t.Fatal(err)
	}
	r := &restored{T: t, paths: [2]string{"a.backup", "b.backup"}}
	r.session = &session{narrator: newNarrator(io.Discard, io.Discard), path: clusterfile.DefaultPath, file: file, cluster: process.New(file, process.Options{})}
	for i, path := range r.paths {
		r.holds[i] = largeBackup(t, path, byte('a'+i))
	}
	t.Cleanup(func() {
		if err := r.cluster.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := r.cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.nodes, err = r.client(t.Context(), "", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.nodes.Close() })
	if err := r.replaceBy(r.nodes, 0); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *restored) replaceBy(to restorer, which int) error {
	file, err := os.Open(r.paths[which])
	if err != nil {
		return err
	}
	defer file.Close()
	return r.restoreFrom(r.Context(), to, file, r.paths[which])
}

// killNode restores what the map is not, and kills a node at a step of that.
func (r *restored) killNode(role string, at int, after bool) {
	r.Helper()
	leader := r.leader()
	victim := leader
	if role != "leader" {
		for _, n := range r.file.Nodes {
			if n.Alias != leader {
				victim = n.Alias
			}
		}
	}
	k := &killer{Client: r.nodes, at: at, after: after, kill: func() {
		if err := r.cluster.Kill(r.Context(), victim); err != nil {
			r.Error(err)
		}
	}}
	err := r.replaceBy(k, 1-r.now)
	if k.step <= at {
		r.Fatalf("%s was not killed at step %d: %v", role, at, err)
	}
	r.check(fmt.Sprintf("%s killed at step %d, after it: %v: %v", role, at, after, err), err)
}

func (r *restored) leader() string {
	r.Helper()
	status, err := r.nodes.Status(r.Context())
	if err != nil || status.Leader == nil {
		r.Fatalf("no leader: %v", err)
	}
	return status.Leader.ID
}

// killClient has clusterctl restore what the map is not, kills it after the time, and
// returns how long it took.
func (r *restored) killClient(after time.Duration) time.Duration {
	r.Helper()
	cmd := exec.Command(clustertest.Program(r, "clusterctl"), "restore", "--yes", r.paths[1-r.now])
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	took := time.Since(begun)
	if kill.Stop() && err != nil {
		r.Errorf("restore: %v", err)
	}
	if err != nil { // of one that was killed nobody knows what it has done
		err = fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	}
	r.check(fmt.Sprintf("client killed after %v: %v", after, err), err)
	return took
}

// check wants every node to have the same map, which is one of the two, and the one that err
// tells, if it does.
func (r *restored) check(what string, err error) {
	r.Helper()
	if err := r.cluster.Start(r.Context()); err != nil {
		r.Fatalf("%s: %v", what, err)
	}
	var first backup.Digest
	for i, n := range r.file.Nodes { // each has caught up before it answers
		stream, err := r.nodes.Node(n.HTTPAddress).Backup(r.Context(), client.Linearizable)
		if err != nil {
			r.Fatalf("%s: %s: %v", what, n.Alias, err)
		}
		s, err := backup.Read(stream, nil, nil)
		if err := errors.Join(err, stream.Close()); err != nil {
			r.Fatalf("%s: %s: %v", what, n.Alias, err)
		}
		if i == 0 {
			first = s.Content
		}
		if s.Content != first || s.Content != r.holds[0] && s.Content != r.holds[1] {
			r.Fatalf("%s: %s has %s, the first node %s: want %s, on all", what, n.Alias, s.Content, first, r.holds)
		}
	}
	was := r.now
	if first != r.holds[r.now] {
		r.now = 1 - r.now
	}
	switch {
	case err == nil && r.now == was:
		r.Errorf("%s: it said that it is done, and the map is as it was", what)
	case err != nil && !errors.Is(err, core.ErrOutcomeUnknown) && r.now != was:
		r.Errorf("%s: it said that nothing has changed, and the map is another", what)
	}
}
