package gossip

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

var metas = map[string]meta{
	"least": {id: "a", Self: discovery.Self{RaftAddress: "h:1"}},
	"most": {
		id: strings.Repeat("i", discovery.MaxIDBytes), cluster: strings.Repeat("c", discovery.MaxIDBytes), protocol: math.MaxUint16,
		Self: discovery.Self{
			Incarnation: "ffffffffffffffff", Group: core.UnnamedGroup, RaftAddress: strings.Repeat("r", 80),
			HTTPAddress: strings.Repeat("h", 80), Voter: true, HasState: true,
		},
		leaving: true, life: math.MaxUint64, revision: math.MaxUint32, expect: founding.MaxExpect, promised: true, founder: "f:1",
		proposal: founding.Set{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, math.MaxUint64},
	},
	"voter":     {id: "a", cluster: "c", Self: discovery.Self{RaftAddress: "h:1", Voter: true}, expect: 3},
	"proposes":  {id: "a", cluster: "c", Self: discovery.Self{RaftAddress: "h:1", Voter: true}, proposal: founding.Set{7}},
	"state":     {id: "a", cluster: "c", Self: discovery.Self{RaftAddress: "h:1", HTTPAddress: "h:2", HasState: true, Group: "0000000000000009"}, protocol: 1},
	"imprinted": {id: "a", cluster: "c", Self: discovery.Self{RaftAddress: "h:1", Incarnation: core.UnnamedGroup}},
	"longest":   {id: "a", Self: discovery.Self{RaftAddress: strings.Repeat("r", 255)}},
	"leaves":    {id: "a", cluster: "c", Self: discovery.Self{RaftAddress: "h:1"}, leaving: true},
}

func TestMeta(t *testing.T) {
	for name, m := range metas {
		b, err := m.encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := decodeMeta(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(m, got, cmp.AllowUnexported(meta{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for i := range b {
			if _, err := decodeMeta(b[:i]); !errors.Is(err, errMeta) {
				t.Errorf("%s cut to %d bytes: %v", name, i, err)
			}
		}
		if _, err := decodeMeta(append(b, 0)); !errors.Is(err, errMeta) {
			t.Errorf("%s with a byte too many: %v", name, err)
		}
		b[0]++
		if _, err := decodeMeta(b); err == nil || !strings.Contains(err.Error(), "unknown version") {
			t.Errorf("%s of another version: %v", name, err)
		}
	}
}

func TestMetaTooLong(t *testing.T) {
	m := metas["most"]
	m.HTTPAddress = strings.Repeat("h", 200)
	if _, err := m.encode(); err == nil || !strings.Contains(err.Error(), "HTTP address (200)") {
		t.Errorf("encode: %v", err)
	}
	cfg := testConfig("a")
	cfg.Self.RaftAddress, cfg.Self.HTTPAddress = strings.Repeat("r", 200), strings.Repeat("h", 200)
	start(t, cfg) // fits, but not with fingerprints
	cfg.Expect = founding.MaxExpect
	if a, err := Start(t.Context(), cfg); err == nil {
		t.Error("started", a.Close())
	}
	a := start(t, testConfig("b"))
	if err := a.Announce(discovery.Self{RaftAddress: strings.Repeat("r", 300)}); !errors.Is(err, errMeta) {
		t.Errorf("announce: %v", err)
	}
	if got := peer(a, "b").RaftAddress; got != "b:12000" {
		t.Errorf("announced %q", got)
	}
}

// FuzzMeta: never a panic, and what is decoded has this one encoding.
func FuzzMeta(f *testing.F) {
	for _, m := range metas {
		b, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(nil))
	f.Add(bytes.Repeat([]byte{metaVersion}, memberlist.MetaMaxSize+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			if !errors.Is(err, errMeta) {
				t.Fatal(err)
			}
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%x decodes to %+v, which encodes to %x, %v", b, m, again, err)
		}
	})
}

func TestConfigRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no id":                  func(c *Config) { c.ID = "" },
		"long id":                func(c *Config) { c.ID = strings.Repeat("i", discovery.MaxIDBytes+1) },
		"no cluster":             func(c *Config) { c.Cluster = "" },
		"no incarnation":         func(c *Config) { c.Self.Incarnation = "" },
		"no such incarnation":    func(c *Config) { c.Self.Incarnation = "x" },
		"no Raft address":        func(c *Config) { c.Self.RaftAddress = "" },
		"too many founders":      func(c *Config) { c.Expect = founding.MaxExpect + 1 },
		"a founder with no vote": func(c *Config) { c.Expect, c.Self.Voter = 3, false },
		"no port":                func(c *Config) { c.Bind = "127.0.0.1" },
		"no number":              func(c *Config) { c.Bind = "127.0.0.1:http" },
		"port too high":          func(c *Config) { c.Advertise = "127.0.0.1:70000" },
		"another's promise": func(c *Config) {
			c.Memory = InMemory()
			if err := c.Memory.Save(Memory{Promise: []core.Member{{ID: "x", Address: "x:1"}}}); err != nil {
				t.Fatal(err)
			}
		},
		"another incarnation's promise": func(c *Config) {
			c.Memory = InMemory()
			if err := c.Memory.Save(Memory{Promise: []core.Member{{ID: "a", Incarnation: incarnation("x"), Address: "a:12000"}}}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		cfg := testConfig("a")
		change(&cfg)
		if a, err := Start(t.Context(), cfg); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				_ = a.Close()
			}
		}
	}
}

func TestAddressInUse(t *testing.T) {
	a := start(t, testConfig("a"))
	cfg := testConfig("b")
	cfg.Bind = a.Address()
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), a.Address()) {
		t.Errorf("start on %s: %v", a.Address(), err)
	}
}
