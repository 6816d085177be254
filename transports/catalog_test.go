package transports_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports"
)

func TestBuiltinMakesEveryNetwork(t *testing.T) {
	c := transports.Builtin()
	if got, want := c.Names(), []string{"inmem", "tcp"}; !slices.Equal(got, want) {
		t.Fatalf("Names() = %v, want %v", got, want)
	}
	for _, name := range c.Names() {
		tr, err := c.Lookup(name)
		if err != nil {
			t.Fatalf("Lookup(%q): %v", name, err)
		}
		n, err := tr.New(nil)
		if err != nil {
			t.Fatalf("%s: New without options: %v", name, err)
		}
		info, err := tr.Info(nil)
		if err != nil || info != n.Describe() || info.Name != name {
			t.Errorf("%s: Info() = %+v, %v, and the network says %+v", name, info, err, n.Describe())
		}
		if tr.Summary == "" {
			t.Errorf("%s has no summary", name)
		}
	}
}

// validOptions holds every option of every transport with a value it takes.
func validOptions() map[string]core.Options {
	return map[string]core.Options{
		"inmem": {"max_in_flight": int64(8), "timeout": "3s"},
		"tcp":   {"advertise": "127.0.0.1", "no_delay": false, "keep_alive": "5s"},
	}
}

func TestOptionsAreTheDeclaredOnes(t *testing.T) {
	c := transports.Builtin()
	for name, valid := range validOptions() {
		tr, err := c.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.New(valid); err != nil {
			t.Errorf("%s with valid options: %v", name, err)
		}
		declared := slices.Sorted(slices.Values(tr.Options))
		if got := slices.Sorted(maps.Keys(valid)); !slices.Equal(got, declared) {
			t.Errorf("%s declares the options %v, the test knows %v", name, declared, got)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	c := transports.Builtin()
	for _, bad := range []struct {
		name, key string
		value     any
	}{
		{"inmem", "max_in_flight", "many"}, {"inmem", "max_in_flight", int64(0)}, {"inmem", "max_in_flight", 1.5},
		{"inmem", "timeout", int64(3)}, {"inmem", "timeout", "0s"}, {"inmem", "timeout", "-1s"},
		{"tcp", "no_delay", "yes"}, {"tcp", "keep_alive", "soon"}, {"tcp", "advertise", int64(1)},
		{"tcp", "nodelay", true}, {"inmem", "latency", "1ms"},
	} {
		tr, err := c.Lookup(bad.name)
		if err != nil {
			t.Fatal(err)
		}
		opts := core.Options{bad.key: bad.value}
		_, errInfo := tr.Info(opts)
		n, errNew := tr.New(opts)
		if n != nil {
			t.Errorf("%s with %s = %v: New returned a network", bad.name, bad.key, bad.value)
		}
		for _, err := range []error{errInfo, errNew} {
			if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), bad.key) {
				t.Errorf("%s with %s = %v: error is %v, want core.ErrInvalid that names the key", bad.name, bad.key, bad.value, err)
			}
		}
	}
}

func TestLookupOfUnknownName(t *testing.T) {
	_, err := transports.Builtin().Lookup("quick")
	if !errors.Is(err, core.ErrUnknownName) {
		t.Fatalf("Lookup of an unknown name: %v, want core.ErrUnknownName", err)
	}
	for _, word := range []string{"quick", "inmem", "tcp"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("Lookup of an unknown name: %q does not mention %q", err, word)
		}
	}
}

func TestRegister(t *testing.T) {
	c := transports.Builtin()
	tcp, err := c.Lookup("tcp")
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a taken name":   c.Register("tcp", tcp),
		"an empty name":  c.Register("", tcp),
		"no constructor": c.Register("mine", transports.Transport{Info: tcp.Info}),
		"no description": c.Register("mine", transports.Transport{New: tcp.New}),
	} {
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Register with %s: %v, want core.ErrInvalid", what, err)
		}
	}
	if err := c.Register("mine", tcp); err != nil {
		t.Fatalf("Register: %v", err)
	}
	if _, err := c.Lookup("mine"); err != nil {
		t.Errorf("Lookup of a registered name: %v", err)
	}
	if _, err := transports.Builtin().Lookup("mine"); err == nil {
		t.Error("a name registered in one catalogue shows in another")
	}
}
