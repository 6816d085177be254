package tcp_test

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func noDelay(t *testing.T, conn net.Conn) bool {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var errGet error
	if err := raw.Control(func(fd uintptr) {
		value, errGet = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
	}); err != nil || errGet != nil {
		t.Fatal(err, errGet)
	}
	return value != 0
}

func TestNagleSetsBothEnds(t *testing.T) {
	for _, nagle := range []bool{false, true} {
		w := listen(t, tcp.Options{Nagle: nagle}, "")
		defer w.Close()
		dialled, err := w.Dial(raft.ServerAddress(w.Addr().String()), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer dialled.Close()
		accepted, err := w.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if noDelay(t, dialled) == nagle || noDelay(t, accepted) == nagle {
			t.Errorf("Nagle %v: TCP_NODELAY is %v at the dialler and %v at the acceptor",
				nagle, noDelay(t, dialled), noDelay(t, accepted))
		}
	}
}

// fullListener returns the address of a socket whose queue of connections is
// full, so that the next dial gets no answer at all.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	for range 100 {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue of a listening socket is never full")
	return ""
}

func TestCloseEndsDialUnderWay(t *testing.T) {
	addr := fullListener(t)
	w := listen(t, tcp.Options{}, "")
	dialling := make(chan error, 1)
	go func() {
		_, err := w.Dial(raft.ServerAddress(addr), 0)
		dialling <- err
	}()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-dialling:
		if !errors.Is(err, core.ErrClosed) {
			t.Errorf("Dial that was under way at Close: %v, want core.ErrClosed", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Dial goes on after Close")
	}
}
