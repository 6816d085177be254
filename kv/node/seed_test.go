package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// kept is a map as of entry 507, which was written in another group.
func kept() *kv.Store {
	m := kv.New()
	for i := range 8 {
		m.Apply(uint64(500+i), kv.EncodeSet(fmt.Sprintf("key%d", i), []byte("kept")))
	}
	announce, _ := kv.EncodeAnnounce("n9", "127.0.0.1:1")
	m.Apply(508, announce)
	return m
}

func beginning(m *kv.Store, term uint64) Beginning {
	image := m.Image()
	return Beginning{Index: image.Index(), Term: term, Image: image}
}

func contentOf(m *kv.Store) [32]byte { return m.Image().Content() }

// TestSeed: a new group begins with a map, goes on after its index, and takes in others,
// on either engine.
func TestSeed(t *testing.T) {
	for name, engine := range bothEngines() {
		t.Run(name, func(t *testing.T) {
			m := kept()
			want := contentOf(m)
			cfg := config(t, Config{ID: "n1", Engine: engine})
			group, err := Seed(t.Context(), cfg, beginning(m, 7))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Seed(t.Context(), cfg, beginning(m, 7)); !errors.Is(err, core.ErrInvalid) {
				t.Errorf("a second time: %v", err)
			}
			first := startSeeded(t, cfg)
			eventually(t, "n1 leads", func() bool { return first.replica.Status().Role == core.Leader })
			second := startSeeded(t, config(t, Config{ID: "n2", Engine: engine, Join: []string{first.http}}))
			for _, n := range []*Node{first, second} {
				eventually(t, n.id+" has the map", func() bool { return contentOf(n.store) == want && len(n.store.Nodes()) == 2 })
				s := n.replica.Status()
				if s.Group != group || s.Term <= 7 || s.LastIndex <= 508 {
					t.Errorf("%s: %+v, want group %s", n.id, s, group)
				}
				if _, index, ok := n.store.Get("key3"); !ok || index != 503 {
					t.Errorf("%s: key3 was changed at index %d, not 503", n.id, index)
				}
				if _, ok := n.store.HTTPAddress("n9"); ok {
					t.Errorf("%s knows a member of the group that the map comes from", n.id)
				}
			}
			if a, err := first.replica.Propose(t.Context(), kv.EncodeSet("more", nil)); err != nil || a.Index <= 508 {
				t.Errorf("a write at index %d: %v", a.Index, err)
			}
		})
	}
}

// TestSeedGossiping: with what a node of gossip is started with, too; it founds no other group.
func TestSeedGossiping(t *testing.T) {
	local, _ := ProfileOf(Local)
	cfg := config(t, Config{ID: "n1", Gossip: &Gossip{Bind: "127.0.0.1:0", Cluster: "test", Expect: 3}, Profile: local, Tuning: local.Tuned(core.Tuning{})})
	group, err := Seed(t.Context(), cfg, beginning(kept(), 7))
	if err != nil {
		t.Fatal(err)
	}
	n := startSeeded(t, cfg)
	eventually(t, "n1 leads", func() bool { return n.replica.Status().Role == core.Leader })
	if s := n.replica.Status(); s.Group != group || contentOf(n.store) != contentOf(kept()) {
		t.Errorf("%+v, want group %s and its map", s, group)
	}
}

func startSeeded(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Start(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestSeedEnds: a crash at any step leaves the whole state or none, and so does an error;
// where it left none, the next try does it.
func TestSeedEnds(t *testing.T) {
	want, steps, whole := contentOf(kept()), 0, 0
	for name, engine := range bothEngines() {
		for at := 1; ; at++ {
			cfg := config(t, Config{ID: "n1", Engine: engine})
			crashed, n := cfg, 0
			crashed.Data = filepath.Join(t.TempDir(), "crashed")
			fault := errors.New("ended")
			_, err := seed(t.Context(), cfg, beginning(kept(), 7), func(step string) error {
				if n++; n != at {
					return nil
				}
				steps++
				if err := os.CopyFS(crashed.Data, os.DirFS(cfg.Data)); err != nil {
					t.Fatal(err)
				}
				return fault
			})
			if n < at {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if !errors.Is(err, fault) {
				t.Fatalf("%s, step %d: %v", name, at, err)
			}
			for _, c := range []Config{cfg, crashed} {
				if hasSeed(t, c, want) {
					whole++
				} else if _, err := Seed(t.Context(), c, beginning(kept(), 7)); err != nil || !hasSeed(t, c, want) {
					t.Errorf("%s, step %d, again: %v", name, at, err)
				}
			}
		}
	}
	if steps < 8 || whole > 0 { // the last step is the decision
		t.Errorf("%d steps, %d of them with the whole state", steps, whole)
	}
}

// hasSeed opens a folder as a start does, and says whether it has the state, which then
// is whole.
func hasSeed(t *testing.T, cfg Config, want [32]byte) bool {
	t.Helper()
	d, err := openDataDir(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	none := d.identity == nil || d.identity.State == ""
	if none && d.identity != nil && d.identity.Incarnation != "" {
		t.Errorf("an incarnation without a state: %+v", d.identity)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if none {
		return false
	}
	r, err := openRemains(t.Context(), cfg.Data, testParts(), true)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.replay()
	if err := errors.Join(err, r.Close()); err != nil || contentOf(all) != want {
		t.Errorf("what is there is not whole: %v", err)
	}
	return true
}

// TestSeedRefuses where a group could not begin.
func TestSeedRefuses(t *testing.T) {
	used := config(t, Config{ID: "n1"})
	startSeeded(t, used)
	memory := config(t, Config{ID: "n1", InMemory: true})
	for name, cfg := range map[string]Config{"in memory": memory} {
		if _, err := Seed(t.Context(), cfg, beginning(kept(), 1)); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Seed(t.Context(), used, beginning(kept(), 1)); err == nil {
		t.Error("a folder in use was seeded")
	}
}
