package coretest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
)

// TestWire checks a wire against the contract of core.Wire. make returns two
// wires that can dial each other; the suite closes both.
func TestWire(t *testing.T, make func(t *testing.T) (a, b core.Wire), opts ...Option) {
	t.Helper()
	runAll(t, configOf(opts), wireHarness{make}, []property[wireHarness]{
		{"BothWays", checkBothWays},
		{"Bytes", checkWireBytes},
		{"Chunks", checkWireChunks},
		{"CloseAfterWrite", checkCloseAfterWrite},
		{"ReadDeadline", checkReadDeadline},
		{"WriteDeadline", checkWriteDeadline},
		{"CloseUnblocksRead", checkCloseUnblocksRead},
		{"ManyConnections", checkManyConnections},
		{"DialClosed", checkDialClosed},
		{"CloseUnblocksAccept", checkCloseUnblocksAccept},
		{"ConnectionsOutliveWire", checkConnectionsOutliveWire},
	})
}

type wireHarness struct {
	make func(t *testing.T) (a, b core.Wire)
}

// pair makes two wires and closes them when the subtest ends. A wire's Close
// need not be idempotent, so what a second one returns is ignored.
func (h wireHarness) pair(t *checker) (a, b core.Wire) {
	t.Helper()
	a, b = h.make(t.T)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func addressOf(w core.Wire) raft.ServerAddress { return raft.ServerAddress(w.Addr().String()) }

// connect dials from one wire to the other and returns both ends, which are
// closed when the subtest ends.
func connect(t *checker, from, to core.Wire) (dialled, accepted net.Conn) {
	t.Helper()
	taken := start(func() (err error) { accepted, err = to.Accept(); return err })
	dialled, err := from.Dial(addressOf(to), t.patience)
	t.must("Dial", err)
	t.Cleanup(func() { dialled.Close() })
	// Some wires show a connection to Accept only once bytes have come.
	write(t, dialled, []byte("hi"))
	t.must("Accept", t.ended("Accept of a connection", taken))
	t.Cleanup(func() { accepted.Close() })
	wantRead(t, accepted, []byte("hi"))
	return dialled, accepted
}

func write(t *checker, to io.Writer, p []byte) {
	t.Helper()
	if n, err := to.Write(p); err != nil || n != len(p) {
		t.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
	}
}

func wantRead(t *checker, from io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil {
		t.Fatalf("reading %d bytes: %v after %d", len(want), err, n)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("other bytes arrived than were sent (%d of them)", len(want))
	}
}

func randomBytes(n int, seed byte) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func checkBothWays(t *checker, h wireHarness) {
	a, b := h.pair(t)
	if addressOf(a) == "" || addressOf(a) == addressOf(b) {
		t.Fatalf("Addr of the wires: %q and %q, want two different ones", addressOf(a), addressOf(b))
	}
	for _, dir := range []struct{ from, to core.Wire }{{a, b}, {b, a}} {
		dialled, accepted := connect(t, dir.from, dir.to)
		write(t, dialled, []byte("question"))
		wantRead(t, accepted, []byte("question"))
		write(t, accepted, []byte("answer"))
		wantRead(t, dialled, []byte("answer"))
		for _, address := range []net.Addr{dialled.LocalAddr(), dialled.RemoteAddr(), accepted.LocalAddr(), accepted.RemoteAddr()} {
			if address == nil {
				t.Error("LocalAddr or RemoteAddr of a connection is nil")
			}
		}
	}
}

// checkWireBytes sends 1 MiB in each direction at the same time.
func checkWireBytes(t *checker, h wireHarness) {
	a, b := h.pair(t)
	x, y := connect(t, a, b)
	there, back := randomBytes(1<<20, 1), randomBytes(1<<20, 2)
	writing := []<-chan error{
		start(func() error { _, err := x.Write(there); return err }),
		start(func() error { _, err := y.Write(back); return err }),
	}
	reading := start(func() error {
		got := make([]byte, len(back))
		_, err := io.ReadFull(x, got)
		if err == nil && !bytes.Equal(got, back) {
			err = errors.New("other bytes arrived than were sent")
		}
		return err
	})
	wantRead(t, y, there)
	t.succeeded("reading at the dialler", reading)
	for _, done := range writing {
		t.succeeded("Write", done)
	}
}

// checkWireChunks writes and reads in pieces of any size.
func checkWireChunks(t *checker, h wireHarness) {
	a, b := h.pair(t)
	x, y := connect(t, a, b)
	sizes := rapid.SliceOfN(rapid.IntRange(1, 20_000), 1, 10)
	rapid.Check(t, func(rt *rapid.T) {
		writes, reads := sizes.Draw(rt, "write sizes"), sizes.Draw(rt, "read sizes")
		total := 0
		for _, n := range writes {
			total += n
		}
		sent := randomBytes(total, rapid.Byte().Draw(rt, "seed"))
		writing := start(func() error {
			rest := sent
			for _, n := range writes {
				if _, err := x.Write(rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		})
		got := make([]byte, 0, total)
		for i := 0; len(got) < total; i++ {
			n := min(reads[i%len(reads)], total-len(got))
			m, err := y.Read(got[len(got) : len(got)+n])
			got = got[:len(got)+m]
			if err != nil {
				rt.Fatalf("Read: %v after %d of %d bytes", err, len(got), total)
			}
		}
		if err := <-writing; err != nil {
			rt.Fatalf("Write: %v", err)
		}
		if !bytes.Equal(got, sent) {
			rt.Fatalf("other bytes arrived than were sent (%d of them)", total)
		}
	})
}

// checkCloseAfterWrite: what was written before Close arrives, then io.EOF.
func checkCloseAfterWrite(t *checker, h wireHarness) {
	a, b := h.pair(t)
	x, y := connect(t, a, b)
	sent := randomBytes(100_000, 3)
	writing := start(func() error {
		_, err := x.Write(sent)
		return errors.Join(err, x.Close())
	})
	got, err := io.ReadAll(y)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("after the other end wrote and closed: read %d bytes, %v, want %d and io.EOF", len(got), err, len(sent))
	}
	t.succeeded("Write and Close", writing)
}

// timedOut wants a call on a connection to end by its deadline.
func timedOut(t *checker, what string, done <-chan error) {
	t.Helper()
	err := t.ended(what, done)
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) && !(errors.As(err, &timeout) && timeout.Timeout()) {
		t.Errorf("%s: %v, want a timeout", what, err)
	}
}

// checkReadDeadline: a deadline ends a Read that waits already, fails later
// ones, and once lifted leaves a connection that works.
func checkReadDeadline(t *checker, h wireHarness) {
	a, b := h.pair(t)
	x, y := connect(t, a, b)
	read := func() error { _, err := y.Read(make([]byte, 1)); return err }
	waiting := start(read)
	t.must("SetReadDeadline", y.SetReadDeadline(time.Now()))
	timedOut(t, "Read that waited when its deadline came", waiting)
	timedOut(t, "Read past its deadline", start(read))
	t.must("SetReadDeadline", y.SetReadDeadline(time.Time{}))
	write(t, x, []byte("late"))
	wantRead(t, y, []byte("late"))
}

// checkWriteDeadline writes to an end that does not read until that blocks.
func checkWriteDeadline(t *checker, h wireHarness) {
	const enough = 1 << 30 // bytes that no wire holds
	a, b := h.pair(t)
	x, _ := connect(t, a, b)
	t.must("SetWriteDeadline", x.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
	writing := start(func() error {
		p := make([]byte, 1<<20)
		for range enough / len(p) {
			if _, err := x.Write(p); err != nil {
				return err
			}
		}
		return nil
	})
	timedOut(t, "Write past its deadline", writing)
}

func checkCloseUnblocksRead(t *checker, h wireHarness) {
	a, b := h.pair(t)
	x, y := connect(t, a, b)
	for what, conn := range map[string]net.Conn{"dialled": x, "accepted": y} {
		reading := start(func() error { _, err := conn.Read(make([]byte, 1)); return err })
		t.should("Close of the "+what+" end", conn.Close())
		t.failed("Read at the "+what+" end, closed meanwhile", reading)
	}
}

func checkManyConnections(t *checker, h wireHarness) {
	const connections = 20
	a, b := h.pair(t)
	ends, diallers := group{t: t}, group{t: t}
	ends.do(func() {
		for range connections {
			conn, err := b.Accept()
			if err != nil {
				t.Errorf("Accept: %v", err)
				return
			}
			ends.do(func() {
				defer conn.Close()
				io.Copy(conn, conn) // the dialler sees whatever is missing
			})
		}
	})
	for i := range connections {
		diallers.do(func() {
			conn, err := a.Dial(addressOf(b), 0)
			if err != nil {
				t.Errorf("Dial: %v", err)
				b.Close() // lets the accepting goroutine go
				return
			}
			defer conn.Close()
			sent, got := randomBytes(5000, byte(i)), make([]byte, 5000)
			_, errWrite := conn.Write(sent)
			_, errRead := io.ReadFull(conn, got)
			if err := errors.Join(errWrite, errRead); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("connection %d: other bytes came back than were sent, %v", i, err)
			}
		})
	}
	diallers.Wait()
	ends.Wait()
}

func checkDialClosed(t *checker, h wireHarness) {
	a, b := h.pair(t)
	t.must("Close", b.Close())
	dialling := start(func() error {
		conn, err := a.Dial(addressOf(b), t.patience/2)
		if err == nil {
			conn.Close()
		}
		return err
	})
	t.failed("Dial to a closed wire", dialling)
}

func checkCloseUnblocksAccept(t *checker, h wireHarness) {
	a, _ := h.pair(t)
	accept := func() error {
		conn, err := a.Accept()
		if err == nil {
			conn.Close()
		}
		return err
	}
	waiting := start(accept)
	t.must("Close", a.Close())
	t.failed("Accept of a closed wire", waiting)
	t.fails("Accept after Close", accept)
}

func checkConnectionsOutliveWire(t *checker, h wireHarness) {
	a, b := h.pair(t)
	x, y := connect(t, a, b)
	for _, w := range []core.Wire{a, b} {
		t.must("Close", w.Close())
	}
	write(t, x, []byte("still here"))
	wantRead(t, y, []byte("still here"))
	write(t, y, []byte("so am I"))
	wantRead(t, x, []byte("so am I"))
}
