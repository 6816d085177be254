package httpapi

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestUnusedConnections: at its end a server closes those that no request has come on,
// and no others.
func TestUnusedConnections(t *testing.T) {
	c := connections{limit: 3, open: map[net.Conn]*connection{}}
	var ends []net.Conn
	for _, states := range [][]http.ConnState{
		{http.StateNew},
		{http.StateNew, http.StateActive},
		{http.StateNew, http.StateActive, http.StateIdle},
	} {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		c.enter(t.Context(), server)
		for _, state := range states {
			c.track(server, state)
		}
		ends = append(ends, server)
	}
	c.closeUnused()
	for i, end := range ends {
		err := end.SetDeadline(time.Time{})
		if closed := errors.Is(err, io.ErrClosedPipe); closed != (i == 0) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}
