package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// pipeTo returns a pipe and the node's end of it, which nobody reads.
func pipeTo(t *testing.T) (*pipe, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	node, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	return newPipe(raw), node
}

// TestDeafNode: a node that takes no bytes keeps no caller for longer than its deadline, nor
// more than a bounded part of what they want to send.
func TestDeafNode(t *testing.T) {
	p, _ := pipeTo(t)
	defer p.close()
	value := make([]byte, 16<<20)
	full := false
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		returned := make(chan error, 1)
		go func() {
			_, sent, err := p.do(ctx, []byte("SET"), []byte("k"), value)
			if !sent && errors.Is(err, errFull) {
				full, err = true, context.DeadlineExceeded
			}
			returned <- err
		}()
		select {
		case err := <-returned:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the caller has not returned 20 s after its deadline")
		}
		cancel()
	}
	if p.mu.Lock(); len(p.out) > maxQueuedBytes+len(value)+100 || !full {
		t.Errorf("%d bytes are queued, refused: %t", len(p.out), full)
	}
	p.mu.Unlock()
}

// TestQueuedMayBeSent: what a caller has queued behind a node that takes nothing is sent once
// the node takes it, also when the caller has gone: it was not told that nothing was.
func TestQueuedMayBeSent(t *testing.T) {
	p, node := pipeTo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	large := make(chan error)
	go func() {
		_, _, err := p.do(t.Context(), []byte("SET"), []byte("large"), make([]byte, 64<<20))
		large <- err
	}()
	for writing := false; !writing; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		writing = p.writing
		p.mu.Unlock()
	}
	if _, sent, err := p.do(ctx, []byte("SET"), []byte("queued"), nil); !sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sent: %t, %v", sent, err)
	}
	came, end := make([]byte, 1<<20), []byte(nil)
	for !bytes.Contains(end, []byte("queued")) {
		n, err := node.Read(came)
		if err != nil {
			t.Fatalf("it was not sent: %v", err)
		}
		end = append(end[max(0, len(end)-100):], came[:n]...)
	}
	p.close()
	if err := <-large; !errors.Is(err, errPipeClosed) {
		t.Error(err)
	}
}

// TestUnknownFirstWord: of a write, an error that this client does not know rules nothing out.
func TestUnknownFirstWord(t *testing.T) {
	for prefix, unknown := range map[string]bool{"UNKNOWN": true, "NEW": true, "": true, "ERR": false, "TIMEOUT": false, "NOTLEADER": false} {
		if err := error(&RESPError{Prefix: prefix}); errors.Is(err, ErrOutcomeUnknown) != unknown {
			t.Errorf("%q: unknown outcome %t", prefix, !unknown)
		}
	}
}

// FuzzReply: a reply is taken from the beginning of what has come, alike however much that is,
// and nothing is taken that has not come.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR no\r\n", ":-7\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "*-1\r\n", "$999999999999\r\n", "*1048577\r\n", "*1\r\n*1\r\n*1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r, size, err := parseReply(stream, 0)
		if size < 0 || size > len(stream) || err != nil && size != 0 {
			t.Fatalf("size %d of %d, %v", size, len(stream), err)
		}
		if size == 0 {
			return
		}
		if _, part, err := parseReply(stream[:size-1], 0); part != 0 || err != nil {
			t.Fatalf("without its last byte: %d, %v", part, err)
		}
		if _, more, err := parseReply(append(bytes.Clone(stream[:size]), "+OK\r\n"...), 0); more != size || err != nil {
			t.Fatalf("%d with more behind it, and %d: %v", more, size, err)
		}
		mine := r.own()
		clear(stream)
		if mine.Kind == 0 {
			t.Fatal("a reply of no kind")
		}
	})
}
