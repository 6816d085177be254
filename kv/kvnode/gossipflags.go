package kvnode

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
	"github.com/themilchenko/raftlab/kv/node"
)

var (
	_ pflag.Value = (*number)(nil)
	_ pflag.Value = (*span)(nil)
)

func defaultGossip() node.Gossip {
	return node.Gossip{Cluster: "raftlab", Profile: "lan", RemoveFailedAfter: 72 * time.Hour}
}

// flagsOf returns those that set g.
func flagsOf(g *node.Gossip) *pflag.FlagSet {
	f := pflag.NewFlagSet("gossip", pflag.ContinueOnError)
	f.SortFlags = false
	f.Var(&text{&g.Bind, "host:port", checkBind}, "gossip",
		"Find the other nodes by gossip, from this bind address (UDP and TCP); port 0: any free one. In place of --join")
	f.Var(&text{&g.Advertise, "host:port", checkAdvertise}, "gossip-advertise", "Set the gossip address that others are to dial, if not the bind address")
	f.Var((*addressList)(&g.Join), "gossip-join", "Gossip addresses of any other nodes, with commas. One that runs is enough")
	f.Var(&number{&g.Expect, founding.MaxExpect}, "bootstrap-expect",
		"How many voters without data found the group together, the same on each of them; 0: this node waits to be added")
	f.Var(&text{&g.Cluster, "name", checkCluster}, "cluster", "Name of the cluster: nodes of others are kept out")
	f.Var(&text{&g.KeyFile, "file", func(string) error { return nil }}, "gossip-key",
		"Encrypt gossip with the AES keys in this file, one a line; the first encrypts. SIGHUP has it read again")
	f.Var(&text{&g.Profile, "name", oneOf("lan", "local")}, "gossip-profile", "Timings of gossip: lan, or local for nodes on one machine")
	f.Var(&span{&g.RemoveFailedAfter}, "remove-failed-after", "How long a member must have failed before it is removed; 0: it never is")
	f.BoolVar(&g.LeaveOnStop, "leave-on-stop", false, "Leave the group for good on SIGTERM or SIGINT")
	return f
}

// chooseGossip checks what is said about gossip as a whole.
func (c *commandLine) chooseGossip(s *settings) error {
	if c.gossip.Bind == "" {
		return c.noGossip()
	}
	s.Gossip = &c.gossip
	switch {
	case len(c.join) > 0:
		return errors.New("--join and --gossip contradict each other: with gossip a node does not ask to be added, " +
			"the leader adds whom it hears of. Give --gossip-join HOST:PORT, a gossip address, in place of --join")
	case len(c.peers) > 0:
		return errors.New("--peers and --gossip contradict each other: gossip finds members that have moved by itself; leave --peers out")
	case c.nonvoter && c.gossip.Expect > 0:
		return errors.New("--nonvoter and --bootstrap-expect contradict each other: who founds a group needs its vote")
	case c.gossip.KeyFile == "":
		return nil
	}
	if _, err := gossip.ReadKeys(c.gossip.KeyFile); err != nil {
		return fmt.Errorf("--gossip-key: %w", err)
	}
	return nil
}

// noGossip refuses flags that mean nothing without --gossip.
func (c *commandLine) noGossip() error {
	var idle []string
	c.gossipFlags.VisitAll(func(f *pflag.Flag) {
		if c.rank(f.Name) > 0 {
			idle = append(idle, "--"+f.Name)
		}
	})
	if len(idle) == 0 {
		return nil
	}
	return fmt.Errorf("%s: means nothing without gossip: give --gossip HOST:PORT too", strings.Join(idle, ", "))
}

// checkCluster admits names that gossip can carry and a log can show.
func checkCluster(name string) error {
	if len(name) > 64 || checkID(name) != nil {
		return errors.New("want 1 to 64 bytes of printable text without spaces")
	}
	return nil
}

// number is the value of a flag that takes a whole number from 0 on.
type number struct {
	value *int
	most  int
}

// String implements pflag.Value.
func (n *number) String() string { return strconv.Itoa(*n.value) }

// Type implements pflag.Value.
func (n *number) Type() string { return "number" }

// Set implements pflag.Value.
func (n *number) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 || v > n.most {
		return fmt.Errorf("want a whole number from 0 to %d", n.most)
	}
	*n.value = v
	return nil
}

// span is the value of a flag that takes a time of any length.
type span struct{ value *time.Duration }

// String implements pflag.Value.
func (d *span) String() string {
	s := d.value.String()
	return cmp.Or(strings.TrimSuffix(s, "0m0s"), s) // 72h
}

// Type implements pflag.Value.
func (d *span) Type() string { return "duration" }

// Set implements pflag.Value.
func (d *span) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return errors.New(`want a duration such as "72h"`)
	}
	*d.value = v
	return nil
}
