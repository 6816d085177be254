package hashicorp_test

import (
	"net"
	"testing"
	"time"
)

// TestCloseWithAMutePeer: a peer that takes requests and does not answer does not hold
// up the end of a replica.
func TestCloseWithAMutePeer(t *testing.T) {
	leader := group(t, options{nodes: 1})[0]
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	if err := leader.AddNonvoter(deadline(t), "mute", mute.Addr().String()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // for heartbeats and for entries
		conn, err := mute.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	begin := time.Now()
	if err := leader.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %v to close", took)
	}
}
