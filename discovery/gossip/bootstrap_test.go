package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// freeAddress returns an address that nothing listens on: nodes that know each
// other in a ring must know where the others will be. It is none that the system
// gives to a connection meanwhile.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", address)
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// bootstrap runs Bootstrap on all agents at once, and announces their state as a
// node does that has started its replica.
func bootstrap(t *testing.T, agents []*Agent) [][]core.Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	results := make([][]core.Member, len(agents))
	var running sync.WaitGroup
	for i, a := range agents {
		running.Go(func() {
			members, err := a.Bootstrap(ctx)
			if err != nil {
				t.Errorf("%s: %v", a.cfg.ID, err)
				return
			}
			results[i] = members
			if members != nil {
				announceState(t, a)
			}
		})
	}
	running.Wait()
	return results
}

func announceState(t *testing.T, a *Agent) {
	t.Helper()
	self := a.cfg.Self
	self.HasState, self.Group = true, a.group()
	if err := a.Announce(self); err != nil {
		t.Error(err)
	}
}

// TestFiveInAnyOrder starts five nodes in a random order, each of which knows only
// one other.
func TestFiveInAnyOrder(t *testing.T) {
	const nodes = 5
	for run := range 4 {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(run), 7))
			addresses := make([]string, nodes)
			for i := range addresses {
				addresses[i] = freeAddress(t)
			}
			var agents []*Agent
			var want []core.Member
			for _, i := range r.Perm(nodes) {
				cfg := testConfig(fmt.Sprintf("node%d", i+1))
				cfg.Bind, cfg.Join, cfg.Expect = addresses[i], []string{addresses[(i+1)%nodes]}, nodes
				cfg.Memory = FileStore(filepath.Join(t.TempDir(), "founding.json"))
				agents = append(agents, start(t, cfg))
				want = append(want, core.Member{ID: cfg.ID, Incarnation: cfg.Self.Incarnation, Address: cfg.Self.RaftAddress, Voter: true})
			}
			slices.SortFunc(want, func(a, b core.Member) int { return cmpID(a, b) })
			for i, got := range bootstrap(t, agents) {
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s", agents[i].cfg.ID, diff)
				}
			}
			for _, a := range agents {
				await(t, a, "all are of one group", func() bool { return sameGroup(a, nodes) })
			}
		})
	}
}

func cmpID(a, b core.Member) int {
	if a.ID < b.ID {
		return -1
	}
	return 1
}

func sameGroup(a *Agent, nodes int) bool {
	peers := a.Peers()
	for _, p := range peers {
		if !p.HasState || p.Group == "" || p.Group != peers[0].Group {
			return false
		}
	}
	return len(peers) == nodes
}

// TestMoreThanExpected: seven nodes that expect five found one group, which the
// others join.
func TestMoreThanExpected(t *testing.T) {
	t.Parallel()
	var agents []*Agent
	first := ""
	for i := range 7 {
		cfg := testConfig(fmt.Sprintf("node%d", i+1))
		cfg.Expect = 5
		if first != "" {
			cfg.Join = []string{first}
		}
		a := start(t, cfg)
		first = a.Address()
		agents = append(agents, a)
	}
	var founded []core.Member
	founders := 0
	for i, members := range bootstrap(t, agents) {
		if members == nil {
			continue
		}
		founders++
		if founded == nil {
			founded = members
		}
		if diff := cmp.Diff(founded, members); diff != "" {
			t.Errorf("%s: %s", agents[i].cfg.ID, diff)
		}
	}
	if founders != 5 || len(founded) != 5 {
		t.Fatalf("%d nodes founded %v", founders, founded)
	}
	for _, a := range agents { // who was added belongs to the group
		announceState(t, a)
	}
	for _, a := range agents {
		await(t, a, "all are of one group", func() bool { return sameGroup(a, 7) })
	}
}

func TestBootstrapAlone(t *testing.T) {
	cfg := testConfig("a")
	cfg.Expect = 1
	got := bootstrap(t, []*Agent{start(t, cfg)})
	if diff := cmp.Diff([]core.Member{{ID: "a", Incarnation: incarnation("a"), Address: "a:12000", Voter: true}}, got[0]); diff != "" {
		t.Error(diff)
	}
}

// TestStateFoundsNothing: neither a node with state nor one that sees such a node.
func TestStateFoundsNothing(t *testing.T) {
	old := testConfig("old")
	old.Self.HasState, old.Expect = true, 1
	a := start(t, old)
	fresh := testConfig("fresh")
	fresh.Expect, fresh.Join = 1, []string{a.Address()}
	b := start(t, fresh)
	await(t, a, "b has not decided", func() bool { return peer(a, "fresh").Undecided })
	for i, members := range bootstrap(t, []*Agent{a, b}) {
		if members != nil {
			t.Errorf("%d founded %v", i, members)
		}
	}
	await(t, a, "b has decided", func() bool { p := peer(a, "fresh"); return p.State == discovery.Alive && !p.Undecided })
}

// TestJoinBeforeFounding: a node that was told of others does not found a group
// before it has reached them.
func TestJoinBeforeFounding(t *testing.T) {
	address := freeAddress(t)
	fresh := testConfig("fresh")
	fresh.Expect, fresh.Join = 1, []string{address}
	log := &journal{}
	fresh.Logger = log.logger()
	b := start(t, fresh)
	done := make(chan []core.Member, 1)
	go func() { done <- bootstrap(t, []*Agent{b})[0] }()
	await(t, b, "it says what it waits for", func() bool { return log.count("none of the addresses to join") == 1 })
	select {
	case members := <-done:
		t.Fatalf("founded %v", members)
	default:
	}
	old := testConfig("old")
	old.Self.HasState, old.Bind = true, address
	start(t, old)
	if members := <-done; members != nil {
		t.Fatalf("founded %v beside a group", members)
	}
}

// TestPromiseSurvives: a node that promised and crashed keeps to it, also under
// another address; and the others found the group without waiting.
func TestPromiseSurvives(t *testing.T) {
	members := []core.Member{
		{ID: "a", Incarnation: incarnation("a"), Address: "a:12000", Voter: true},
		{ID: "b", Incarnation: incarnation("b"), Address: "b:12000", Voter: true},
	}
	store := FileStore(filepath.Join(t.TempDir(), "founding.json"))
	if err := store.Save(Memory{Promise: members}); err != nil {
		t.Fatal(err)
	}
	moved := testConfig("a")
	moved.Self.RaftAddress, moved.Expect, moved.Memory = "elsewhere:1", 2, store
	a := start(t, moved)
	fresh := testConfig("b")
	fresh.Expect, fresh.Join = 2, []string{a.Address()}
	b := start(t, fresh)
	for i, got := range bootstrap(t, []*Agent{a, b}) {
		if diff := cmp.Diff(members, got); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
	}
	if got := peer(b, "a"); got.RaftAddress != "elsewhere:1" {
		t.Errorf("b knows a at %s", got.RaftAddress)
	}
	memory, err := store.Load()
	if err != nil || !memory.Founded || memory.Group != core.GroupID(members) {
		t.Errorf("stored: %+v, %v", memory, err)
	}
}

func TestBootstrapEnds(t *testing.T) {
	cfg := testConfig("a")
	cfg.Expect = 3
	a := start(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if members, err := a.Bootstrap(ctx); err == nil {
		t.Fatalf("founded %v", members)
	}
	go func() { _ = a.Close() }()
	if members, err := a.Bootstrap(t.Context()); err == nil {
		t.Fatalf("founded %v", members)
	}
}

// TestTwoGroups: nodes of two groups under one name log it, once each.
func TestTwoGroups(t *testing.T) {
	log := &journal{}
	var agents []*Agent
	for _, id := range []string{"a", "b"} {
		cfg := testConfig(id)
		cfg.Expect = 1
		if id == "a" {
			cfg.Logger = log.logger()
		}
		a := start(t, cfg)
		bootstrap(t, []*Agent{a})
		agents = append(agents, a)
	}
	agents[1].dial([]string{agents[0].Address()})
	await(t, agents[0], "the other group is noticed", func() bool { return log.count("two groups") == 1 })
	if err := agents[1].Announce(discovery.Self{Group: agents[1].group(), RaftAddress: "new:1", Voter: true, HasState: true}); err != nil {
		t.Fatal(err)
	}
	await(t, agents[0], "the update", func() bool { return peer(agents[0], "b").RaftAddress == "new:1" })
	if n := log.count("two groups"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
}
