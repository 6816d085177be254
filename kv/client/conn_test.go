package client

import (
	"errors"
	"net"
	"net/http/httptrace"
	"testing"
)

// TestSendingKnowsWhatLeft follows one request over a connection at a time.
func TestSendingKnowsWhatLeft(t *testing.T) {
	pair := func(t *testing.T) (*conn, net.Conn) {
		here, there := net.Pipe()
		t.Cleanup(func() { here.Close(); there.Close() })
		return &conn{Conn: here}, there
	}
	follow := func(t *testing.T, c *conn) *sending {
		s := &sending{}
		httptrace.ContextClientTrace(s.trace(t.Context())).GotConn(httptrace.GotConnInfo{Conn: c})
		return s
	}
	t.Run("no connection", func(t *testing.T) {
		if (&sending{}).stop() {
			t.Error("sent")
		}
	})
	t.Run("nothing written", func(t *testing.T) {
		c, there := pair(t)
		if follow(t, c).stop() {
			t.Error("sent")
		}
		there.Close() // so that a write that gets through fails, too
		if _, err := c.Write([]byte("late")); !errors.Is(err, errGivenUp) {
			t.Errorf("write after the end: %v", err)
		}
	})
	t.Run("refused write", func(t *testing.T) {
		c, there := pair(t)
		there.Close()
		s := follow(t, c)
		if _, err := c.Write([]byte("x")); err == nil {
			t.Fatal("write to a closed pipe")
		}
		if s.stop() {
			t.Error("sent")
		}
	})
	t.Run("under way", func(t *testing.T) {
		c, there := pair(t)
		s := follow(t, c)
		done := make(chan struct{})
		go func() { defer close(done); c.Write([]byte("xy")) }()
		if _, err := there.Read(make([]byte, 1)); err != nil { // it is in the middle of it now
			t.Fatal(err)
		}
		if !s.stop() {
			t.Error("not sent")
		}
		there.Close()
		<-done
	})
	t.Run("earlier request", func(t *testing.T) {
		c, there := pair(t)
		go there.Read(make([]byte, 1))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if follow(t, c).stop() {
			t.Error("sent")
		}
	})
}
