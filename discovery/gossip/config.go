package gossip

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
	"github.com/themilchenko/raftlab/internal/hostport"
)

// Config says which node it is and how it finds the others.
type Config struct {
	// ID names the node for good, and Cluster the cluster. Nodes of clusters with
	// different names do not talk, also where their addresses are mixed up.
	ID, Cluster string
	// Self is what the others are told at first; Announce changes it.
	Self discovery.Self

	// Bind is the host:port to gossip on, over UDP and TCP. Port 0 lets the
	// system choose; Agent.Address tells what it chose. Without a host it
	// listens on all addresses and advertises a private one of this machine.
	Bind string
	// Advertise is the host:port that the others reach Bind under, where that
	// is another one; empty: it is not.
	Advertise string
	// Join lists host:port of other nodes. Each is tried until it was reached
	// once, and all again whenever the node finds itself alone; so is where Memory
	// says that others were. Its own address may be among them.
	Join []string

	// Expect is how many voters without state found a group together: as many as
	// the group is to have at first, the same number on each of them, at most
	// founding.MaxExpect. 0: the node founds nothing and waits to be added.
	Expect int
	// Memory keeps what the node promises to the others while they found a
	// group, and where they are. Nil keeps it in memory: only right for a node
	// without a disk.
	Memory Store

	// KeyFile is a file for ReadKeys; empty: gossip is neither encrypted nor
	// authenticated, and all that reach the port can join.
	KeyFile string

	// Profile holds the timings. Zero: LAN().
	Profile Profile
	// ReapAfter is how long nodes that failed or left are remembered. Until then
	// it is tried to reach failed ones again. 0: 24 hours.
	ReapAfter time.Duration

	// Decorate wraps the network below the counters, so that tests can delay and
	// cut it. Nil: nothing.
	Decorate func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport

	// Logger takes what operators should know. Nil is quiet.
	Logger *slog.Logger
}

// Profile holds the timings of gossip. Shorter: changes are seen sooner, for more
// traffic at rest and more nodes taken for failed when a machine stalls.
type Profile struct {
	ProbeInterval    time.Duration // how often a node asks another one whether it is alive
	ProbeTimeout     time.Duration // how long it waits for the answer before it asks others to try
	SuspicionMult    int           // a node without an answer has about this many ProbeIntervals to object
	SlowDown         int           // how many times slower a node probes that finds itself too slow
	GossipInterval   time.Duration // how often news are passed on
	PushPullInterval time.Duration // how often a node compares all it knows with another one
	StreamTimeout    time.Duration // of connections over TCP
	// GossipToDead is for how long news still go to a failed node, and at least how
	// long memberlist remembers it.
	GossipToDead time.Duration
	// Reclaim is how long a node must have been seen as failed before it may come
	// back under another address.
	Reclaim time.Duration
	// Rejoin is how soon an address that was not reached is tried again; the
	// pause doubles up to RejoinMax.
	Rejoin, RejoinMax time.Duration
}

// LAN returns timings for a data centre: a crash is seen after some five seconds.
func LAN() Profile {
	return Profile{
		ProbeInterval:    time.Second,
		ProbeTimeout:     500 * time.Millisecond,
		SuspicionMult:    4,
		SlowDown:         8,
		GossipInterval:   200 * time.Millisecond,
		PushPullInterval: 30 * time.Second,
		StreamTimeout:    3 * time.Second,
		GossipToDead:     30 * time.Second,
		Reclaim:          time.Millisecond,
		Rejoin:           250 * time.Millisecond,
		RejoinMax:        10 * time.Second,
	}
}

// Local returns timings for nodes on one machine, as in tests: a crash is seen
// after about half a second.
func Local() Profile {
	return Profile{
		ProbeInterval:    100 * time.Millisecond,
		ProbeTimeout:     50 * time.Millisecond,
		SuspicionMult:    4,
		SlowDown:         2,
		GossipInterval:   20 * time.Millisecond,
		PushPullInterval: 500 * time.Millisecond,
		StreamTimeout:    time.Second,
		GossipToDead:     2 * time.Second,
		Reclaim:          time.Millisecond,
		Rejoin:           50 * time.Millisecond,
		RejoinMax:        250 * time.Millisecond,
	}
}

// WAN returns timings for nodes in several data centres: a crash is seen after some
// thirty seconds.
func WAN() Profile {
	return Profile{
		ProbeInterval:    5 * time.Second,
		ProbeTimeout:     3 * time.Second,
		SuspicionMult:    6,
		SlowDown:         8,
		GossipInterval:   500 * time.Millisecond,
		PushPullInterval: time.Minute,
		StreamTimeout:    10 * time.Second,
		GossipToDead:     time.Minute,
		Reclaim:          time.Millisecond,
		Rejoin:           time.Second,
		RejoinMax:        30 * time.Second,
	}
}

// patience is longer than it takes until a node that went is seen as failed.
func (p Profile) patience() time.Duration {
	return 10 * time.Duration(p.SuspicionMult) * p.ProbeInterval
}

func (c *Config) setDefaults() {
	c.Memory = cmp.Or(c.Memory, InMemory())
	c.Profile = cmp.Or(c.Profile, LAN())
	c.ReapAfter = cmp.Or(c.ReapAfter, 24*time.Hour)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
}

// Check returns the error with which Start refuses what c says of the node itself. It
// touches nothing.
func (c *Config) Check() error {
	err := c.validate()
	if err == nil {
		err = c.meta().fits(c.Expect)
	}
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// meta is what the others are told at first.
func (c *Config) meta() meta {
	m := meta{id: c.ID, cluster: c.Cluster, Self: c.Self, protocol: discovery.Protocol, expect: uint8(c.Expect)}
	if m.HasState {
		m.expect = 0
	}
	return m
}

func (c *Config) validate() error {
	switch {
	case c.ID == "" || len(c.ID) > discovery.MaxIDBytes:
		return fmt.Errorf("%w: id %q: with gossip 1 to %d bytes are allowed; give another --id", core.ErrInvalid, c.ID, discovery.MaxIDBytes)
	case c.Cluster == "" || len(c.Cluster) > discovery.MaxIDBytes:
		return fmt.Errorf("%w: cluster name %q: 1 to %d bytes are allowed; give another --cluster", core.ErrInvalid, c.Cluster, discovery.MaxIDBytes)
	case c.Self.RaftAddress == "":
		return fmt.Errorf("%w: no Raft address to tell the others", core.ErrInvalid)
	case c.Self.Incarnation == "" && !c.Self.HasState, c.Self.Incarnation != "" && !core.IsIncarnation(c.Self.Incarnation):
		return fmt.Errorf("%w: incarnation %q of a node: want one of core.NewIncarnation", core.ErrInvalid, c.Self.Incarnation)
	case c.Expect < 0 || c.Expect > founding.MaxExpect:
		return fmt.Errorf("%w: cannot expect %d founders: 0 to %d are allowed", core.ErrInvalid, c.Expect, founding.MaxExpect)
	case c.Expect > 0 && !c.Self.Voter:
		return fmt.Errorf("%w: a non-voter cannot found a group: expect 0 founders", core.ErrInvalid)
	}
	return nil
}

// memberlist returns the library's settings.
func (c *Config) memberlist() *memberlist.Config {
	p := c.Profile
	m := memberlist.DefaultLANConfig()
	m.Name = nodeName(c.Cluster, c.ID)
	m.Label = c.Cluster
	m.ProbeInterval, m.ProbeTimeout = p.ProbeInterval, p.ProbeTimeout
	m.SuspicionMult, m.AwarenessMaxMultiplier = p.SuspicionMult, p.SlowDown
	m.GossipInterval, m.PushPullInterval = p.GossipInterval, p.PushPullInterval
	m.TCPTimeout = p.StreamTimeout
	m.GossipToTheDeadTime, m.DeadNodeReclaimTime = p.GossipToDead, p.Reclaim
	return m
}

// nodeName is what memberlist calls a node: two of them with one id are noticed.
func nodeName(cluster, id string) string { return cluster + "/" + id }

// resolve splits a host:port and looks the host up. No host is no address.
func resolve(ctx context.Context, what, address string) (ip string, port int, err error) {
	host, number, err := hostport.Split(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s address %q: %w: %w", what, address, core.ErrInvalid, err)
	}
	port = int(number)
	if host == "" {
		return "", port, nil
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return "", 0, fmt.Errorf("%s address %q: %w", what, address, err)
	}
	ip = found[0].IP.String()
	for _, f := range found {
		if f.IP.To4() != nil {
			return f.IP.String(), port, nil
		}
	}
	return ip, port, nil
}
