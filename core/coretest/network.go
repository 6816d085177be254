package coretest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// TestNetwork checks a network reboundst the contract of core.Network. make
// returns a new one on each call.
func TestNetwork(t *testing.T, make func() core.Network, opts ...Option) {
	t.Helper()
	properties := []property[networkHarness]{
		{"Describe", checkNetworkDescribe},
		{"OneEnd", checkOneEnd},
		{"ChoosesAddress", checkChoosesAddress},
		{"AddressTaken", checkAddressTaken},
		{"AddressFreed", checkAddressFreed},
	}
	if make().Describe().Remote {
		properties = append(properties, property[networkHarness]{"Remote", checkRemote})
	} else {
		properties = append(properties, property[networkHarness]{"Apart", checkApart})
	}
	runAll(t, configOf(opts), networkHarness{make}, properties)
}

type networkHarness struct {
	make func() core.Network
}

// listen makes a link and closes it when the subtest ends.
func listen(t *checker, n core.Network, bind string) core.Link {
	t.Helper()
	link, err := n.Listen(bind)
	t.must("Listen on "+strconv.Quote(bind), err)
	t.Cleanup(func() { link.Close() })
	return link
}

// reach returns how a link fails to reach an address, or nil. The member there
// must be answering.
func reach(from core.Link, address string) error {
	target := raft.ServerAddress(address)
	if from.Transport != nil {
		return from.Transport.RequestVote("peer", target, new(raft.RequestVoteRequest), new(raft.RequestVoteResponse))
	}
	conn, err := from.Wire.Dial(target, 0)
	if err != nil {
		return err
	}
	return conn.Close()
}

// answering makes a link answer what reach asks.
func answering(t *checker, link core.Link) {
	t.Helper()
	if link.Transport != nil {
		serve(t, link.Transport, echo(link.Transport))
		return
	}
	accepted := start(func() error {
		for {
			conn, err := link.Wire.Accept()
			if err != nil {
				return nil // closed
			}
			conn.Close()
		}
	})
	t.Cleanup(func() {
		link.Close()
		receive(t, accepted, "the end of Accept")
	})
}

func checkNetworkDescribe(t *checker, h networkHarness) {
	info := h.make().Describe()
	if info.Name == "" {
		t.Error("Describe().Name is empty")
	}
	if info.Library != "" && info.Version == "" {
		t.Errorf("Describe() names the library %s without a version", info.Library)
	}
}

func checkOneEnd(t *checker, h networkHarness) {
	n := h.make()
	link := listen(t, n, "")
	if (link.Wire == nil) == (link.Transport == nil) {
		t.Fatalf("the link has the wire %v and the transport %v, want exactly one", link.Wire, link.Transport)
	}
	if wire := n.Describe().Wire; wire != (link.Wire != nil) {
		t.Errorf("Describe().Wire is %v, and the link has the wire %v", wire, link.Wire)
	}
}

func checkChoosesAddress(t *checker, h networkHarness) {
	n := h.make()
	a, b := listen(t, n, ""), listen(t, n, "")
	if a.Address() == "" || a.Address() == b.Address() {
		t.Fatalf("chosen addresses: %q and %q, want two different ones", a.Address(), b.Address())
	}
	answering(t, b)
	t.succeeds("reaching a member", func() error { return reach(a, b.Address()) })
}

func checkAddressTaken(t *checker, h networkHarness) {
	n := h.make()
	taken := listen(t, n, "").Address()
	link, err := n.Listen(taken)
	if err == nil {
		link.Close()
		t.Fatalf("Listen(%q) on a taken address: no error", taken)
	}
	if !strings.Contains(err.Error(), taken) {
		t.Errorf("Listen(%q) on a taken address: error %q does not name it", taken, err)
	}
	if link != (core.Link{}) {
		t.Errorf("Listen(%q) on a taken address: returned a link beside the error", taken)
	}
}

func checkAddressFreed(t *checker, h networkHarness) {
	n := h.make()
	a, b := listen(t, n, ""), listen(t, n, "")
	t.must("Close", b.Close())
	rebound := listen(t, n, b.Address())
	if rebound.Address() != b.Address() {
		t.Errorf("Listen(%q): the address is %q", b.Address(), rebound.Address())
	}
	answering(t, rebound)
	t.succeeds("reaching a member at an address that was freed", func() error { return reach(a, rebound.Address()) })
}

// checkRemote reaches a member in another process.
func checkRemote(t *checker, h networkHarness) {
	link := listen(t, h.make(), "")
	if childTask(t) != nil {
		answering(t, link)
		say("listening", link.Address())
		<-t.Context().Done() // the parent kills this process before
		return
	}
	_, address := startChild(t).next(t)
	t.succeeds("reaching a member in another process", func() error { return reach(link, address) })
}

// checkApart: two networks within the process are two worlds.
func checkApart(t *checker, h networkHarness) {
	n, other := h.make(), h.make()
	a := listen(t, n, "node-a")
	b := listen(t, other, "node-b")
	answering(t, b)
	t.fails("reaching a member of another network", func() error { return reach(a, b.Address()) })
	twin := listen(t, other, "node-a") // the same address, in the other network
	answering(t, twin)
	t.succeeds("reaching a member of the same network", func() error { return reach(b, twin.Address()) })
}
