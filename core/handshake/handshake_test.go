package handshake_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
)

const (
	ours, theirs = "00000000000000aa", "00000000000000bb"
	first, later = "1111111111111111", "2222222222222222"
)

// meet has a dial b, meaning to, and returns what either side makes of it.
func meet(t *testing.T, a, b, to core.Identity, admit func(core.Identity) error) (answers, calls core.Identity, dialled, accepted error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	deadline := time.Now().Add(10 * time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		calls, accepted = handshake.Accept(far, deadline, b, admit)
	}()
	answers, dialled = handshake.Dial(near, deadline, a, to)
	<-done
	return answers, calls, dialled, accepted
}

func TestMeeting(t *testing.T) {
	n1 := core.Identity{ID: "n1", Incarnation: first, Group: ours, Service: "127.0.0.1:1"}
	n2 := core.Identity{ID: "n2", Incarnation: first, Group: ours, Service: "127.0.0.1:2"}
	with := func(i core.Identity, change func(*core.Identity)) core.Identity { change(&i); return i }
	wiped := with(n2, func(i *core.Identity) { i.Incarnation, i.Group = later, "" })
	recovered := with(n2, func(i *core.Identity) { i.Incarnation, i.Group, i.Former = later, theirs, ours })
	for name, c := range map[string]struct {
		a, b, to core.Identity
		refused  string // what both sides are told; empty: they get on
	}{
		"members":            {n1, n2, n2, ""},
		"newcomer":           {n1, wiped, wiped, ""},
		"another group":      {n1, with(n2, func(i *core.Identity) { i.Group = theirs }), n2, "of group " + theirs},
		"to its successor":   {n1, recovered, n2, "n1#" + first + " is of group " + ours + ", which was recovered as group " + theirs},
		"from its successor": {recovered, n1, n1, "start it with --join 127.0.0.1:2, or: clusterctl replace n1"},
		"lost its data":      {n1, wiped, n2, "--join"},
		"another member":     {n1, with(n2, func(i *core.Identity) { i.ID = "n3" }), n2, "here is n3"},
		"caller of none":     {with(n1, func(i *core.Identity) { i.Group = "" }), n2, n2, "in no group"},
		"caller without id":  {with(n1, func(i *core.Identity) { i.ID = "" }), n2, n2, "does not say who it is"},
	} {
		t.Run(name, func(t *testing.T) {
			answers, calls, dialled, accepted := meet(t, c.a, c.b, c.to, nil)
			if c.refused == "" {
				if dialled != nil || accepted != nil || answers != c.b || calls != c.a {
					t.Fatalf("%v %v, %v %v", answers, dialled, calls, accepted)
				}
				return
			}
			for side, err := range map[string]error{"dials": dialled, "accepts": accepted} {
				var refusal *handshake.RefusedError
				if !errors.As(err, &refusal) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("who %s: %v", side, err)
				}
			}
		})
	}
	t.Run("not admitted", func(t *testing.T) {
		_, _, dialled, accepted := meet(t, n1, n2, n2, func(core.Identity) error { return errors.New("too many") })
		if dialled == nil || accepted == nil || !strings.Contains(dialled.Error(), "too many") {
			t.Errorf("%v, %v", dialled, accepted)
		}
	})
}

// FuzzAccept: whatever comes, the side that accepts neither panics nor takes it for a member.
func FuzzAccept(f *testing.F) {
	f.Add([]byte("rlab\x01\x00\x02{}"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("rlab\x01\xff\xff"))
	self := core.Identity{ID: "n1", Incarnation: first, Group: ours}
	f.Fuzz(func(t *testing.T, said []byte) {
		near, far := net.Pipe()
		go func() {
			defer near.Close()
			_, _ = near.Write(said)
			_ = near.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = near.Read(make([]byte, 8<<10))
		}()
		defer far.Close()
		if peer, err := handshake.Accept(far, time.Now().Add(time.Second), self, nil); err == nil && peer.Group != ours {
			t.Errorf("took %v for a member", peer)
		}
	})
}
