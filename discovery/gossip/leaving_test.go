package gossip

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

func TestLeaveWithoutAnswer(t *testing.T) {
	var s split
	agents := trio(t, func(c *Config) { c.Decorate = s.decorate(c.ID) })
	s.on.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := agents[0].Leave(ctx); err == nil {
		t.Error("left, though nobody could be told")
	}
	alone := start(t, testConfig("d"))
	if err := alone.Leave(t.Context()); err != nil {
		t.Errorf("leave alone: %v", err)
	}
}

// TestLeaveUnheard: who could not be told learns from the others that a node has left, and
// did not fail.
func TestLeaveUnheard(t *testing.T) {
	var s split
	agents := trio(t, func(c *Config) { c.Decorate = s.decorate(c.ID) })
	s.lone.Store(agents[0].Address())
	s.on.Store(true)
	if err := agents[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.on.Store(false)
	awaitView(t, agents[0], "a alive, b left, c alive")
}

// TestLeaveMissed: a node that comes later is told of members that have left, and of
// nobody else.
func TestLeaveMissed(t *testing.T) {
	agents := trio(t, nil)
	for _, a := range agents[1:] {
		if err := errors.Join(a.Leave(t.Context()), a.Close()); err != nil {
			t.Fatal(err)
		}
	}
	await(t, agents[0], "b and c are gone", func() bool { return agents[0].list.NumMembers() == 1 })
	cfg := testConfig("d")
	cfg.Join = []string{agents[0].Address()}
	d := start(t, cfg)
	d.Know(func() []core.Member {
		return []core.Member{{ID: "b", Incarnation: incarnation("b")}, {ID: "c", Incarnation: incarnation("x")}}
	})
	awaitView(t, d, "a alive, b left, d alive")
}

// TestFarewellOfAnotherLife: what a node has said before it came back counts no more.
func TestFarewellOfAnotherLife(t *testing.T) {
	table := newTable(time.Now, 0)
	cfg := testConfig("b")
	m := cfg.meta()
	m.life = 2
	table.alive(m, "", "")
	table.gone("b")
	m.leaving = true
	for m.life = 1; m.life <= 2; m.life++ {
		if news := table.farewell(m, ""); news != (m.life == 2) {
			t.Errorf("life %d: %v", m.life, news)
		}
	}
	if got := table.list()[0].State; got != discovery.Left {
		t.Errorf("b is %s", got)
	}
}

func FuzzFarewells(f *testing.F) {
	table := newTable(time.Now, 0)
	for _, id := range []string{"b", "c"} {
		cfg := testConfig(id)
		m := cfg.meta()
		m.leaving = id == "b"
		encoded, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		table.alive(m, string(encoded), "")
	}
	f.Add(table.farewells())
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		readFarewells(b, func(m meta, encoded string) {
			if !m.leaving {
				t.Errorf("%+v has not left", m)
			}
			again = append(append(again, byte(len(encoded)>>8), byte(len(encoded))), encoded...)
		})
		if !bytes.HasPrefix(b, again) {
			t.Errorf("%x read as %x", b, again)
		}
	})
}
