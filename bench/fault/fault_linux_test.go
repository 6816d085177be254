package fault

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second
	moment   = 100 * time.Millisecond // in which a good link has long delivered
)

// echo answers what it gets, until the test ends.
func echo(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// between returns a network in which this process, as "a", talks to an echo, "b".
func between(t *testing.T, packets bool) (*Network, *Proxy) {
	n := NewNetwork()
	n.Process("a", os.Getpid())
	d, err := n.Open(packets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, d
}

func dial(t *testing.T, d *Proxy) net.Conn {
	c, err := net.DialTimeout("tcp4", d.Address(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func say(t *testing.T, c net.Conn, word string) {
	t.Helper()
	if _, err := c.Write([]byte(word)); err != nil {
		t.Fatal(err)
	}
}

// hears says whether the word comes back in time.
func hears(t *testing.T, c net.Conn, word string, within time.Duration) bool {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	got := make([]byte, len(word))
	_, err := io.ReadFull(c, got)
	if err == nil && string(got) != word {
		t.Fatalf("heard %q, not %q", got, word)
	}
	return err == nil
}

func TestLinks(t *testing.T) {
	n, d := between(t, false)
	if err := d.Forward("b", echo(t)); err != nil {
		t.Fatal(err)
	}
	c := dial(t, d)
	say(t, c, "one")
	if !hears(t, c, "one", patience) {
		t.Fatal("a good link delivers nothing")
	}
	for name, cut := range map[string]func(){
		"there": func() { n.Cut("a", "b") },
		"back":  func() { n.Cut("b", "a") },
	} {
		cut()
		say(t, c, "two")
		if hears(t, c, "two", moment) {
			t.Errorf("%s: a cut link delivers", name)
		}
		n.Heal(false)
		if !hears(t, c, "two", patience) {
			t.Errorf("%s: what was held back is lost", name)
		}
	}
	n.Cut("b", "c") // others
	say(t, c, "three")
	if !hears(t, c, "three", patience) {
		t.Error("the cut of another link ends this one")
	}
	n.Slow("a", "b", 2*moment)
	begin := time.Now()
	say(t, c, "four")
	if !hears(t, c, "four", patience) || time.Since(begin) < 2*moment {
		t.Error("a slow link is not slow")
	}
	n.Heal(false)
	n.Cut("a", "b")
	say(t, c, "five")
	n.Heal(true)
	if hears(t, c, "five", patience) {
		t.Error("the connection is not reset")
	}
}

// TestBreak: the sender sees its connection reset, and what it had sent arrives late.
func TestBreak(t *testing.T) {
	n, d := between(t, false)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := d.Forward("b", l.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, d)
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	n.Cut("a", "b")
	say(t, c, "late")
	if hears(t, served, "late", moment) {
		t.Fatal("a cut link delivers")
	}
	n.Break("a", "b")
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the sender sees %v", err)
	}
	n.Heal(false)
	if !hears(t, served, "late", patience) {
		t.Error("what was sent is lost")
	}
	_ = served.SetReadDeadline(time.Now().Add(patience))
	if _, err := served.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after it: %v", err)
	}
}

func TestProxyKeepsItsAddress(t *testing.T) {
	_, d := between(t, false)
	refused := func() error {
		c, err := net.DialTimeout("tcp4", d.Address(), patience)
		if err == nil {
			c.Close()
		}
		return err
	}
	for range 3 {
		if err := refused(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("a proxy to nobody: %v", err)
		}
		if err := d.Forward("b", echo(t)); err != nil {
			t.Fatal(err)
		}
		c := dial(t, d)
		say(t, c, "here")
		if !hears(t, c, "here", patience) {
			t.Fatal("the proxy does not lead")
		}
		d.Refuse()
		if hears(t, c, "x", patience) {
			t.Error("a connection outlives its process")
		}
	}
}

func TestPackets(t *testing.T) {
	n, d := between(t, true)
	inner, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	if err := d.Forward("b", inner.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", d.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n.Process("a", os.Getpid(), c.LocalAddr().(*net.UDPAddr).AddrPort())
	n.Cut("a", "b")
	say(t, c, "cut")
	time.Sleep(moment)
	n.Heal(false)
	say(t, c, "healed")
	got := make([]byte, 16)
	_ = inner.SetReadDeadline(time.Now().Add(patience))
	k, err := inner.Read(got)
	if err != nil || string(got[:k]) != "healed" {
		t.Errorf("%q, %v", got[:k], err)
	}
}

func TestListening(t *testing.T) {
	at := echo(t)
	tcp, _, err := Listening(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range tcp {
		if a == at {
			return
		}
	}
	t.Errorf("%v is not among %v", at, tcp)
}

// TestDiagnose: the kernel's answer is the socket of the connection.
func TestDiagnose(t *testing.T) {
	n, d := between(t, false)
	if err := d.Forward("b", echo(t)); err != nil {
		t.Fatal(err)
	}
	c := dial(t, d)
	from := c.LocalAddr().(*net.TCPAddr).AddrPort()
	asked, err := diagnose(from, d.address)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var open string
	err = raw.Control(func(fd uintptr) { open, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)) })
	if err != nil || open != "socket:["+asked+"]" || !inodes(os.Getpid())[asked] {
		t.Errorf("socket %s, but the connection is %s, %v", asked, open, err)
	}
	if name, err := n.dialler(from, d.address); name != "a" || err != nil {
		t.Errorf("this process connected as %q, %v", name, err)
	}
	n.Process("a", 1<<30) // no process
	if name, err := n.dialler(from, d.address); name != Client || err != nil {
		t.Errorf("a process without a name connected as %q, %v", name, err)
	}
	if _, err := diagnose(from, netip.AddrPortFrom(from.Addr(), 1)); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a connection that is not there: %v", err)
	}
}

func TestDisk(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "f")
	text := strings.Repeat("x", 50) + "mark:abcdefg" + strings.Repeat("y", 50)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FlipBitOf(path, []byte("mark:"), random); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil || len(now) != len(text) || string(now[50:55]) == text[50:55] {
		t.Errorf("%q, %v", now, err)
	}
	if _, err := FlipBitOf(path, []byte("nowhere"), random); !errors.Is(err, ErrNothingThere) {
		t.Error(err)
	}
	if _, err := FlipBit(path, random); err != nil {
		t.Error(err)
	}
	if _, err := CutOff(path, random); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() >= int64(len(text)) {
		t.Error(info, err)
	}
}
