// Package clustertest gives tests an address of their own, on which nobody takes the
// ports that they found free, and the programs to start there. It is for tests only, and
// starts no node.
package clustertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
)

// claimPort is taken on a host for as long as somebody has it. It is above the ports
// that clusterfile gives to nodes.
const claimPort = 33333

// Host returns a loopback address that no other test of this machine has until release
// is called. A cluster needs one: its nodes end and start again, and meanwhile their
// ports are free for everything that listens on the same address.
//
// Only Linux has more than one; elsewhere all get 127.0.0.1, and the ports are as
// good as luck has it.
func Host() (host string, release func(), err error) {
	if runtime.GOOS != "linux" {
		return "127.0.0.1", func() {}, nil
	}
	const tries = 100
	for range tries {
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(256), 1+rand.IntN(250))
		var claim net.Listener
		if claim, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(claimPort))); err == nil {
			return host, func() { _ = claim.Close() }, nil
		}
	}
	return "", nil, fmt.Errorf("no loopback address is to be had: %w", err)
}
