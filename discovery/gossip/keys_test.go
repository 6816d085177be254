package gossip

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
)

const (
	keyA = "00112233445566778899aabbccddeeff"
	keyB = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	keyC = "202122232425262728292a2b2c2d2e2f3031323334353637"
)

func keyFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gossip.key")
	writeKeys(t, path, lines...)
	return path
}

func writeKeys(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadKeys(t *testing.T) {
	keys, err := ReadKeys(keyFile(t, "# ours", "", keyA, "  "+keyB+"\r", keyC))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, k := range keys {
		sizes = append(sizes, len(k))
	}
	if diff := cmp.Diff([]int{16, 32, 24}, sizes); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none":       {[]string{"# nothing"}, ":1: "},
		"short":      {[]string{keyA, "0011"}, ":2: invalid: a key of 2 bytes"},
		"no key":     {[]string{"", "secret!"}, ":2: invalid: neither"},
		"twice":      {[]string{keyA, keyB, keyA}, ":3: "},
		"hex is odd": {[]string{keyA[1:]}, ":1: "},
	} {
		path := keyFile(t, c.lines...)
		_, err := ReadKeys(path)
		if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), path+c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, line := range c.lines {
			if len(line) > 4 && strings.Contains(strings.TrimPrefix(err.Error(), path), line) {
				t.Errorf("%s: the error holds the key: %v", name, err)
			}
		}
	}
	if _, err := ReadKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// FuzzKeyFile: never a panic; keys have a valid length and are distinct.
func FuzzKeyFile(f *testing.F) {
	for _, lines := range []string{"", keyA, "# x\n" + keyB + "\n\n" + keyC, keyA + "\n" + keyA, "secret!"} {
		f.Add([]byte(lines))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) || keys != nil {
				t.Fatal(keys, err)
			}
			return
		}
		for i, k := range keys {
			if memberlist.ValidateKey(k) != nil || slices.ContainsFunc(keys[:i], func(o []byte) bool { return bytes.Equal(o, k) }) {
				t.Fatalf("key %d: %x", i, k)
			}
		}
		if len(keys) == 0 {
			t.Fatal("no keys and no error")
		}
	})
}

func TestInstall(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }
	ring, err := memberlist.NewKeyring([][]byte{key(2), key(3), key(4)}, key(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][][]byte{
		{key(1), key(2), key(3), key(4), key(5)},
		{key(5), key(3)},
		{key(3), key(9), key(5)},
		{key(7)},
	} {
		if err := install(ring, want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, ring.GetKeys()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestRotation changes the key of two nodes under way, in the three steps that
// ReloadKeys tells.
func TestRotation(t *testing.T) {
	var agents []*Agent
	var files []string
	join := ""
	for _, id := range []string{"a", "b"} {
		cfg := testConfig(id)
		cfg.KeyFile = keyFile(t, keyA)
		if join != "" {
			cfg.Join = []string{join}
		}
		a := start(t, cfg)
		join = a.Address()
		agents, files = append(agents, a), append(files, cfg.KeyFile)
	}
	for _, lines := range [][]string{{keyA, keyB}, {keyB, keyA}, {keyB}} {
		for i, a := range agents {
			writeKeys(t, files[i], lines...)
			if err := a.ReloadKeys(); err != nil {
				t.Fatal(err)
			}
			address := lines[0][:4] + ":1"
			self := a.cfg.Self
			self.RaftAddress = address
			if err := a.Announce(self); err != nil {
				t.Fatal(err)
			}
			other := agents[1-i]
			await(t, other, "news under the new keys", func() bool { return peer(other, a.cfg.ID).RaftAddress == address })
			awaitView(t, other, "a alive, b alive")
		}
	}
	// Who has the old key alone is out now.
	log := &journal{}
	late := testConfig("c")
	late.KeyFile, late.Join, late.Logger = keyFile(t, keyA), []string{join}, log.logger()
	c := start(t, late)
	await(t, c, "c is refused", func() bool { return log.count("cannot join "+join) == 1 })
	writeKeys(t, files[0], "nonsense")
	if err := agents[0].ReloadKeys(); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("reload of nonsense: %v", err)
	}
	if err := start(t, testConfig("d")).ReloadKeys(); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("reload without keys: %v", err)
	}
	awaitView(t, agents[0], "a alive, b alive")
}
