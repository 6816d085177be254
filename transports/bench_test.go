package transports_test

import (
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/transports"
)

// BenchmarkTransport compares every transport in the catalogue, under the
// framing of the default engine where it has a wire.
func BenchmarkTransport(b *testing.B) {
	c := transports.Builtin()
	for _, name := range c.Names() {
		b.Run("transport="+name, func(b *testing.B) {
			coretest.BenchmarkTransport(b, func(b *testing.B) (sender, receiver core.Transport) {
				return pair(b, c, name)
			})
		})
	}
}

// pair makes two members of a new network.
func pair(b *testing.B, c *transports.Catalog, name string) (sender, receiver core.Transport) {
	b.Helper()
	tr, err := c.Lookup(name)
	if err != nil {
		b.Fatal(err)
	}
	n, err := tr.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	var ends [2]core.Transport
	for i := range ends {
		link, err := n.Listen("")
		if err != nil {
			b.Fatal(err)
		}
		if ends[i] = link.Transport; link.Wire != nil {
			ends[i] = hashicorp.Frame(link.Wire, hashicorp.FrameOptions{})
		}
	}
	return ends[0], ends[1]
}
