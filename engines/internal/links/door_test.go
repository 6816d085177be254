package links

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a door of the member n1 of group g whose handlers read until the end.
func open(t *testing.T) (d *Door, self *identity.Self, dial func() net.Conn) {
	t.Helper()
	link, err := tcp.New(tcp.Options{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	self = identity.New(core.Identity{ID: "n1", Incarnation: core.NewIncarnation(), Group: "g"})
	d = Open(link.Wire, self, slog.New(slog.DiscardHandler), func(c *Conn) error {
		_, err := io.Copy(io.Discard, c)
		return err
	})
	t.Cleanup(func() {
		if err := d.Shut(); err != nil {
			t.Error(err)
		}
		d.Wait()
	})
	return d, self, func() net.Conn {
		t.Helper()
		conn, err := link.Wire.Dial(raft.ServerAddress(link.Address()), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// ended waits until the other side has closed a connection.
func ended(t *testing.T, what string, conn net.Conn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%s: %v, want that it is closed", what, err)
	}
}

// waitFor waits until a door has so many connections of name.
func waitFor(t *testing.T, d *Door, name string, want int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		n := 0
		d.mu.Lock()
		for c := range d.conns {
			if c.name == name && !c.dropped {
				n++
			}
		}
		d.mu.Unlock()
		if n == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections of %q, want %d", n, name, want)
		}
	}
}

// introduce says on a connection who has dialled.
func introduce(conn net.Conn, who core.Identity, self *identity.Self) error {
	_, err := handshake.Dial(conn, time.Now().Add(30*time.Second), who, core.Identity{ID: self.ID, Incarnation: self.Identity().Incarnation})
	return err
}

// TestCrowd: of those who say nothing, and of one member's connections, the oldest makes room; nobody
// else's does.
func TestCrowd(t *testing.T) {
	d, self, dial := open(t)
	other := core.Identity{ID: "n3", Incarnation: core.NewIncarnation(), Group: "g"}
	if err := introduce(dial(), other, self); err != nil {
		t.Fatal(err)
	}
	var silent []net.Conn
	for i := range maxUnknown + 1 {
		silent = append(silent, dial())
		waitFor(t, d, "", min(i+1, maxUnknown))
	}
	ended(t, "the first that said nothing", silent[0])

	peer := core.Identity{ID: "n2", Incarnation: core.NewIncarnation(), Group: "g"}
	name := identity.Name(peer.ID, peer.Incarnation)
	var of []net.Conn
	for i := range MaxPerMember + 1 {
		of = append(of, dial())
		if err := introduce(of[i], peer, self); err != nil {
			t.Fatal(err)
		}
		waitFor(t, d, name, min(i+1, MaxPerMember))
		if i == MaxPerMember-1 { // the first is in use, the second is idle
			if _, err := of[0].Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			waitUsed(t, d, of[0].LocalAddr().String(), of[i].LocalAddr().String())
		}
	}
	ended(t, "the one that was idle for longest", of[1])
	waitFor(t, d, identity.Name(other.ID, other.Incarnation), 1)
	if who, ok := self.Met(name); !ok || who.ID != peer.ID {
		t.Errorf("%+v, %t: the member was not met", who, ok)
	}
}

// waitUsed waits until bytes have come on one connection after the other was made.
func waitUsed(t *testing.T, d *Door, one, other string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		used := map[string]int64{}
		d.mu.Lock()
		for c := range d.conns {
			used[c.RemoteAddr().String()] = c.used.Load()
		}
		d.mu.Unlock()
		if used[one] > used[other] {
			return
		}
	}
	t.Fatal("what was written has not come")
}

// TestNotIntroduced: whoever is of another group, or speaks otherwise, does not reach the handler.
func TestNotIntroduced(t *testing.T) {
	_, self, dial := open(t)
	conn := dial()
	if err := introduce(conn, core.Identity{ID: "n2", Incarnation: core.NewIncarnation(), Group: "h"}, self); err == nil {
		t.Error("a node of another group was let in")
	}
	conn = dial()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := conn.Read(make([]byte, 64)); err != nil {
			break
		}
	}
	if _, met := self.Met("n2"); met {
		t.Error("it was met")
	}
}

// TestShut: handlers end with their connections, and Wait waits for them; it may be shut twice.
func TestShut(t *testing.T) {
	link, err := tcp.New(tcp.Options{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	var began, returned atomic.Int32
	d := Open(link.Wire, nil, slog.New(slog.DiscardHandler), func(c *Conn) error { // nobody is introduced
		began.Add(1)
		_, err := c.Read(make([]byte, 1))
		returned.Add(1)
		return err
	})
	conn, err := link.Wire.Dial(raft.ServerAddress(link.Address()), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for end := time.Now().Add(30 * time.Second); began.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(d.Shut(), d.Shut()); err != nil {
		t.Error(err)
	}
	d.Wait()
	select {
	case <-d.Done():
	default:
		t.Error("it is not done")
	}
	if began.Load() != 1 || returned.Load() != 1 {
		t.Errorf("%d handlers began, %d have returned", began.Load(), returned.Load())
	}
}
