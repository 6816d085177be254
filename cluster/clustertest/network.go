package clustertest

import (
	"net"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TCP returns a network of TCP connections on a [Host] of its own, until the test ends: an
// address stays free while the member that has it is away.
func TCP(t testing.TB) core.Network {
	t.Helper()
	host, release, err := Host()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return network{tcp.New(tcp.Options{}), net.JoinHostPort(host, "0")}
}

type network struct {
	core.Network
	free string
}

// Listen implements core.Network.
func (n network) Listen(bind string) (core.Link, error) {
	if bind == "" {
		bind = n.free
	}
	return n.Network.Listen(bind)
}
