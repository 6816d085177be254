package gossip

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

func TestFileStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "founding.json")
	s := FileStore(path)
	if m, err := s.Load(); err != nil || !m.equal(Memory{}) {
		t.Fatalf("of nothing: %+v, %v", m, err)
	}
	promise := []core.Member{
		{ID: "a", Incarnation: incarnation("a"), Address: "a:1", Voter: true},
		{ID: "b", Incarnation: incarnation("b"), Address: "b:1", Voter: true},
	}
	group := core.GroupID(promise)
	for _, want := range []Memory{
		{Promise: promise}, {Promise: promise, Founded: true, Group: group, Member: true}, {Group: group, Peers: []string{"a:1", "b:2"}}, {},
	} {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFileStoreErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "founding.json")
	for _, text := range []string{
		"", "{", `{"format":2,"group":"x"}`, `{"format":2,"promise":[{"id":"a"}]}`, `{"format":3}`,
		`{"format":2,"promise":[{"id":"b","incarnation":"` + incarnation("b") + `"},{"id":"a","incarnation":"` + incarnation("a") + `"}]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := FileStore(path).Load(); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
	lost := FileStore(filepath.Join(t.TempDir(), "none", "founding.json"))
	if err := lost.Save(Memory{Group: core.UnnamedGroup}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("save without a folder: %v", err)
	}
	// A node that cannot store its promise makes none.
	cfg := testConfig("a")
	cfg.Expect, cfg.Memory = 1, lost
	a := start(t, cfg)
	if members, err := a.Bootstrap(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("founded %v, %v", members, err)
	}
	if a.local.promised {
		t.Error("published a promise that was not stored")
	}
}

// TestFirstFormat: what an earlier release has stored. Its promise was of a node
// without an incarnation, and its names of groups were of gossip alone.
func TestFirstFormat(t *testing.T) {
	promise := `"promise":[{"id":"a","address":"a:12000"},{"id":"b","address":"b:12000"}]`
	peers := `"peers":["h:1"]`
	for text, want := range map[string]Memory{
		`{"founded":false,` + peers + `}`:                                           {Peers: []string{"h:1"}},
		`{` + promise + `,"founded":false}`:                                         {},
		`{` + promise + `,"founded":true,"group":"8c1f00d2b3a49576",` + peers + `}`: {Group: core.UnnamedGroup, Peers: []string{"h:1"}},
		`{"founded":false,"group":"8c1f00d2b3a49576"}`:                              {Group: core.UnnamedGroup},
	} {
		path := filepath.Join(t.TempDir(), "gossip.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := FileStore(path).Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		// With state it goes on; without, the promise does not bind it.
		for _, hasState := range []bool{true, false} {
			cfg := testConfig("a")
			cfg.Memory = FileStore(path)
			if cfg.Self.HasState = hasState; hasState {
				cfg.Self.Incarnation, cfg.Self.Group = "", core.UnnamedGroup
			}
			a := start(t, cfg)
			if a.local.promised || a.group() != want.Group && !hasState {
				t.Errorf("%s: promised %v, group %q", text, a.local.promised, a.group())
			}
		}
	}
}

// TestMemberWithoutData: what a node remembers of gossip says that it has been a member,
// and its log is gone.
func TestMemberWithoutData(t *testing.T) {
	cfg := testConfig("a")
	cfg.Expect, cfg.Memory = 1, InMemory()
	a := start(t, cfg)
	bootstrap(t, []*Agent{a})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := Start(t.Context(), cfg); !errors.Is(err, core.ErrLogLost) || !strings.Contains(err.Error(), "--gossip-join") {
		t.Errorf("start without the log: %v", err)
		if err == nil {
			_ = again.Close()
		}
	}
	cfg.Self.HasState, cfg.Self.Group = true, a.group()
	start(t, cfg)
}

// TestFindsOthersWhereTheyWere: whom c was told to ask is gone, and those that are
// left do not know where c is now.
func TestFindsOthersWhereTheyWere(t *testing.T) {
	memory := FileStore(filepath.Join(t.TempDir(), "gossip.json"))
	a := start(t, testConfig("a"))
	joining := testConfig("b")
	joining.Join = []string{a.Address()}
	b := start(t, joining)
	joining = testConfig("c")
	joining.Join, joining.Memory = []string{b.Address()}, memory
	c := start(t, joining)
	want := []string{a.Address(), b.Address()}
	slices.Sort(want)
	await(t, c, "c has stored where the others are", func() bool {
		m, err := memory.Load()
		return err == nil && slices.Equal(m.Peers, want)
	})
	for _, gone := range []*Agent{c, b} {
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
	}
	awaitView(t, a, "a alive, b failed, c failed")
	c = start(t, joining) // on another port
	await(t, c, "c has found a", func() bool { return peer(c, "a").State == discovery.Alive })
	awaitView(t, a, "a alive, b failed, c alive")
}

// TestGoesOnLookingWhereTheyWere: c is found by b before a, of whom c alone knows
// where it was, is back there.
func TestGoesOnLookingWhereTheyWere(t *testing.T) {
	first := testConfig("a")
	first.Bind = freeAddress(t)
	moved := testConfig("c")
	moved.Memory = InMemory()
	if err := moved.Memory.Save(Memory{Peers: []string{first.Bind}}); err != nil {
		t.Fatal(err)
	}
	c := start(t, moved)
	joining := testConfig("b")
	joining.Join = []string{c.Address()}
	start(t, joining)
	await(t, c, "c has stored where b is", func() bool {
		m, err := moved.Memory.Load()
		return err == nil && len(m.Peers) == 1 && m.Peers[0] == peer(c, "b").GossipAddress
	})
	start(t, first)
	awaitView(t, c, "a alive, b alive, c alive")
}

// TestOwnAddressIsNobodyElse: a node that has reached itself has asked nobody whether
// there is a group.
func TestOwnAddressIsNobodyElse(t *testing.T) {
	binds := []string{freeAddress(t), freeAddress(t)}
	cfg := testConfig("a")
	cfg.Bind, cfg.Join, cfg.Expect = binds[0], binds, 1
	a := start(t, cfg)
	if !a.dial([]string{a.Address()})[a.Address()] {
		t.Fatal("a does not reach itself")
	}
	if a.contacted.Load() {
		t.Error("a takes itself for another node")
	}
	other := testConfig("b")
	other.Bind = binds[1]
	start(t, other)
	await(t, a, "a has reached b", a.contacted.Load)
}

// FuzzMemory: whatever is read is written so that the same is read again.
func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"format":2,"promise":[{"id":"a","incarnation":"0123456789abcdef","address":"h:1"}],"founded":true,"group":"0000000000000000"}`))
	f.Add([]byte(`{"promise":[{"id":"a","address":"h:1"}],"founded":true,"group":"7f","peers":["h:2"]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMemory(text)
		if err != nil {
			return
		}
		again, err := m.format()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseMemory(again); err != nil || !got.equal(m) {
			t.Errorf("%+v, %v; it was %+v", got, err, m)
		}
	})
}
