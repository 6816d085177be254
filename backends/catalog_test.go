package backends_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
)

func TestEveryBackendDescribesItself(t *testing.T) {
	c := backends.Builtin()
	names := c.Names()
	for name, b := range c.All() {
		if name != names[0] {
			t.Errorf("%s instead of %s", name, names[0])
		}
		names = names[1:]
		info, err := b.Info(nil)
		if err != nil || info.Name != name || info.Durability == "" || b.Summary == "" {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		if b.Available != nil && b.Available() != nil {
			continue
		}
		s, err := b.Open(t.TempDir(), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Describe() != info {
			t.Errorf("%s: opened it says %+v, in the catalogue %+v", name, s.Describe(), info)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(names) > 0 {
		t.Errorf("left out: %q", names)
	}
}

// TestUnknownOption: every backend refuses an option that it does not have, and
// names those that it has.
func TestUnknownOption(t *testing.T) {
	c := backends.Builtin()
	for _, name := range c.Names() {
		b, _ := c.Lookup(name)
		_, errInfo := b.Info(core.Options{"colour": "blue"})
		_, errOpen := b.Open(t.TempDir(), core.Options{"colour": "blue"})
		for _, err := range []error{errInfo, errOpen} {
			if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), `"colour"`) {
				t.Errorf("%s: %v", name, err)
			}
			for _, known := range b.Options {
				if err != nil && !strings.Contains(err.Error(), known) {
					t.Errorf("%s: %q does not name the option %s", name, err, known)
				}
			}
		}
	}
}

func TestUnknownBackend(t *testing.T) {
	_, err := backends.Builtin().Lookup("bold")
	if !errors.Is(err, core.ErrUnknownName) || !strings.Contains(err.Error(), "bolt, inmem, mdb, pebble, wal") {
		t.Fatalf("lookup: %v", err)
	}
}

func TestRegister(t *testing.T) {
	c := backends.Builtin()
	bolt, _ := c.Lookup("bolt")
	if err := c.Register("bolt", bolt); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a second bolt: %v", err)
	}
	if err := c.Register("", bolt); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a backend without a name: %v", err)
	}
	if err := c.Register("bolt2", bolt); err != nil {
		t.Errorf("bolt2: %v", err)
	}
	if _, err := backends.Builtin().Lookup("bolt2"); err == nil {
		t.Error("registered for everyone: the catalogue is shared")
	}
}
