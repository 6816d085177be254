package gossip

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// trio starts a, b and c, which know each other.
func trio(t *testing.T, change func(*Config)) []*Agent {
	t.Helper()
	var agents []*Agent
	for _, id := range []string{"a", "b", "c"} {
		cfg := testConfig(id)
		if len(agents) > 0 {
			cfg.Join = []string{agents[0].Address()}
		}
		if change != nil {
			change(&cfg)
		}
		agents = append(agents, start(t, cfg))
	}
	for _, a := range agents {
		awaitView(t, a, "a alive, b alive, c alive")
	}
	return agents
}

func TestStates(t *testing.T) {
	agents := trio(t, func(c *Config) { c.Bind = freeAddress(t) })
	if err := agents[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := peer(agents[0], "b").State; got != discovery.Left {
		t.Errorf("as soon as Leave has returned: %s", got)
	}
	if err := agents[1].Close(); err != nil {
		t.Fatal(err)
	}
	if err := agents[2].Close(); err != nil {
		t.Fatal(err)
	}
	awaitView(t, agents[0], "a alive, b left, c failed")
	p := peer(agents[0], "c")
	if p.Since.IsZero() || p.RaftAddress != "c:12000" || !p.Voter || p.Protocol != discovery.Protocol {
		t.Errorf("c: %+v", p)
	}
	if address, ok := agents[0].HTTPAddress("c"); !ok || address != "c:11000" {
		t.Errorf("c serves at %q, %v", address, ok)
	}
	if err := agents[1].Leave(t.Context()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("leave after close: %v", err)
	}
	if err := agents[1].Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	// Both come back, one of them on another port.
	for _, id := range []string{"b", "c"} {
		cfg := testConfig(id)
		cfg.Join = []string{agents[0].Address()}
		cfg.Self.RaftAddress = id + ":99"
		if id == "b" {
			cfg.Bind = agents[1].Address()
		}
		start(t, cfg)
		await(t, agents[0], id+" is back", func() bool {
			p := peer(agents[0], id)
			return p.State == discovery.Alive && p.RaftAddress == id+":99"
		})
	}
	awaitView(t, agents[0], "a alive, b alive, c alive")
}

// TestMovesAtOnce: a node that comes back on another port before the others have
// seen that it was gone is updated, not duplicated. It does not wait for
// a comparison that is due.
func TestMovesAtOnce(t *testing.T) {
	log := &journal{}
	agents := trio(t, func(c *Config) {
		c.Profile.PushPullInterval = time.Hour
		if c.ID == "a" {
			c.Logger = log.logger()
		}
	})
	old := agents[2].Address()
	if err := agents[2].Close(); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig("c")
	cfg.Join = []string{agents[0].Address()}
	cfg.Self.RaftAddress = "c:99"
	cfg.Profile.PushPullInterval = time.Hour
	c := start(t, cfg)
	for _, a := range agents[:2] {
		await(t, a, "c has moved", func() bool {
			p := peer(a, "c")
			return p.State == discovery.Alive && p.RaftAddress == "c:99" && p.GossipAddress == c.Address()
		})
		awaitView(t, a, "a alive, b alive, c alive")
	}
	if n := log.count("announces another address", "known="+old); n > 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
	if n := log.count("level=ERROR"); n > 0 {
		t.Errorf("%d errors, though this passes:\n%s", n, log)
	}
}

func TestTwoNodesWithOneID(t *testing.T) {
	log := &journal{}
	impatient := func(c *Config) { c.Profile.ProbeInterval, c.Profile.SuspicionMult = 50*time.Millisecond, 2 }
	agents := trio(t, func(c *Config) {
		impatient(c)
		if c.ID == "a" {
			c.Logger = log.logger()
		}
	})
	twin := testConfig("b")
	impatient(&twin)
	twin.Join = []string{agents[0].Address()}
	b := start(t, twin)
	await(t, agents[0], "the twin is noticed", func() bool {
		return log.count("level=ERROR", "two nodes run under one id", "also="+b.Address()) == 1
	})
	for range 5 {
		b.dial([]string{agents[0].Address()})
	}
	for _, line := range []string{"announces another address", "two nodes run"} {
		if n := log.count(line, "also="+b.Address()); n != 1 {
			t.Errorf("%q logged %d times:\n%s", line, n, log)
		}
	}
}

// TestStrangersAreRefused: who has another cluster name or key joins nothing, sees
// nobody, and is logged once by either side.
func TestStrangersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		ours, theirs string // keys
		cluster      string
		logged       string // by us
	}{
		"another cluster":       {"", "", "other", "another cluster"},
		"another cluster, keys": {keyA, keyA, "other", "another cluster"},
		"another key":           {keyA, keyB, "test", "does not have this cluster's key"},
		"no key":                {keyA, "", "test", "does not encrypt"},
		"a key too many":        {"", keyA, "test", "this node has no key"},
	} {
		t.Run(name, func(t *testing.T) {
			log, stranger := &journal{}, &journal{}
			cfg := testConfig("a")
			cfg.Logger = log.logger()
			if c.ours != "" {
				cfg.KeyFile = keyFile(t, c.ours)
			}
			a := start(t, cfg)
			cfg = testConfig("b")
			cfg.Cluster, cfg.Join, cfg.Logger = c.cluster, []string{a.Address()}, stranger.logger()
			if c.theirs != "" {
				cfg.KeyFile = keyFile(t, c.theirs)
			}
			b := start(t, cfg)
			before := b.Stats().Sent.Streams
			await(t, b, "some tries", func() bool { return b.Stats().Sent.Streams >= before+4 })
			// Also over UDP, as from a node that has just got another key.
			for range 3 {
				_ = b.list.SendToAddress(memberlist.Address{Addr: a.Address()}, []byte("hello"))
			}
			await(t, a, "the packets", func() bool { return a.Stats().Received.Packets >= 3 })
			if view(a) != "a alive" || view(b) != "b alive" {
				t.Errorf("a sees %s; b sees %s", view(a), view(b))
			}
			if n := log.count("level=WARN", c.logged); n != 1 {
				t.Errorf("we logged it %d times:\n%s", n, log)
			}
			if n := stranger.count("level=WARN", "cannot join "+a.Address()); n != 1 {
				t.Errorf("they logged it %d times:\n%s", n, stranger)
			}
		})
	}
}

// TestAdmit looks at what the label alone would let in.
func TestAdmit(t *testing.T) {
	log := &journal{}
	cfg := testConfig("a")
	cfg.Logger = log.logger()
	d := &delegate{start(t, cfg)}
	encoded := func(m meta) []byte {
		b, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := meta{id: "b", cluster: "test", Self: discovery.Self{RaftAddress: "h:1"}}
	other := good
	other.cluster = "other"
	for name, c := range map[string]struct {
		node memberlist.Node
		ok   bool
	}{
		"ours":          {memberlist.Node{Name: "test/b", Meta: encoded(good)}, true},
		"other cluster": {memberlist.Node{Name: "other/b", Meta: encoded(other)}, false},
		"other id":      {memberlist.Node{Name: "test/c", Meta: encoded(good)}, false},
		"other version": {memberlist.Node{Name: "test/b", Meta: []byte{99}}, false},
		"no metadata":   {memberlist.Node{Name: "test/b"}, false},
	} {
		for range 3 {
			alive, merge := d.NotifyAlive(&c.node), d.NotifyMerge([]*memberlist.Node{&c.node})
			if (alive == nil) != c.ok || (merge == nil) != c.ok {
				t.Errorf("%s: %v, %v", name, alive, merge)
			}
		}
	}
	if n := log.count("level=WARN", "refused"); n != 4 {
		t.Errorf("logged %d times, want once each:\n%s", n, log)
	}
}

// split cuts one node off from the others, over UDP and TCP, in both directions.
type split struct {
	on   atomic.Bool
	lone atomic.Value // its gossip address
}

func (s *split) decorate(id string) func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
	return func(n memberlist.NodeAwareTransport) memberlist.NodeAwareTransport { return cut{n, s, id == "a"} }
}

// cut is the network of one node.
type cut struct {
	memberlist.NodeAwareTransport
	split *split
	lone  bool
}

func (c cut) off(to string) bool {
	return c.split.on.Load() && (c.lone || to == c.split.lone.Load())
}

var errCut = errors.New("dial tcp: the network is cut")

func (c cut) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if c.off(a.Addr) {
		return time.Now(), nil
	}
	return c.NodeAwareTransport.WriteToAddress(b, a)
}

func (c cut) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if c.off(a.Addr) {
		return nil, errCut
	}
	return c.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

// TestSplitHeals: after a split that lasted longer than memberlist remembers its
// dead, the sides find each other again, also if neither has anybody left to join.
func TestSplitHeals(t *testing.T) {
	var s split
	agents := trio(t, func(c *Config) {
		c.Profile.GossipToDead = 50 * time.Millisecond
		c.Decorate = s.decorate(c.ID)
	})
	s.lone.Store(agents[0].Address())
	s.on.Store(true)
	for i, want := range []string{"a alive, b failed, c failed", "a failed, b alive, c alive", "a failed, b alive, c alive"} {
		awaitView(t, agents[i], want)
		await(t, agents[i], "memberlist forgets", func() bool {
			return agents[i].list.NumMembers() == strings.Count(want, "alive")
		})
	}
	s.on.Store(false)
	for _, a := range agents {
		awaitView(t, a, "a alive, b alive, c alive")
	}
}

// TestOldWordOfOneThatLeft: somebody still believes that a node is alive which has
// left, long after the others have forgotten it.
func TestOldWordOfOneThatLeft(t *testing.T) {
	agents := trio(t, func(c *Config) { c.Profile.GossipToDead = 50 * time.Millisecond })
	entry := *agents[1].list.LocalNode()
	if err := agents[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, agents[0], "b is gone", func() bool { return agents[0].list.NumMembers() == 2 })
	if err := (&delegate{agents[0]}).NotifyAlive(&entry); !errors.Is(err, errOutdated) {
		t.Errorf("the old word: %v", err)
	}
	if got := peer(agents[0], "b").State; got != discovery.Left {
		t.Errorf("b is %s", got)
	}
}

func TestReap(t *testing.T) {
	agents := trio(t, func(c *Config) { c.ReapAfter = time.Nanosecond })
	if err := agents[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(agents[1].Close(), agents[2].Close()); err != nil {
		t.Fatal(err)
	}
	awaitView(t, agents[0], "a alive")
}

func TestStats(t *testing.T) {
	agents := trio(t, nil)
	before := agents[0].Stats()
	await(t, agents[0], "traffic both ways", func() bool {
		s := agents[0].Stats()
		return s.Sent.Packets > before.Sent.Packets && s.Received.Packets > before.Received.Packets &&
			s.Sent.Bytes() > before.Sent.Bytes() && s.Received.Bytes() > before.Received.Bytes() &&
			s.Received.Streams >= 2 && s.Sent.StreamBytes > 0 && s.Received.StreamBytes > 0
	})
	// Nothing is lost on the loopback: what all have sent, all have received.
	await(t, agents[0], "the sums agree", func() bool {
		var sum Stats
		for _, a := range agents {
			s := a.Stats()
			sum.Sent.Packets += s.Sent.Packets
			sum.Received.Packets += s.Received.Packets
			sum.Sent.PacketBytes += s.Sent.PacketBytes
			sum.Received.PacketBytes += s.Received.PacketBytes
		}
		return sum.Sent.Packets == sum.Received.Packets && sum.Sent.PacketBytes == sum.Received.PacketBytes
	})
	if m := agents[0].Stats().Received; m.Messages() != m.Packets+m.Streams {
		t.Errorf("%+v", m)
	}
}

func TestAnnounceReachesAll(t *testing.T) {
	agents := trio(t, nil)
	for i := range 5 {
		want := discovery.Self{Incarnation: incarnation("b"), RaftAddress: fmt.Sprintf("h:%d", i), HTTPAddress: fmt.Sprintf("h:1%d", i), HasState: true}
		if err := agents[1].Announce(want); err != nil {
			t.Fatal(err)
		}
		for _, a := range agents {
			await(t, a, "the news", func() bool { return peer(a, "b").Self == want })
		}
	}
}
