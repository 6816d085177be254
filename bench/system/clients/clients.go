// Package clients is what the clients of a cell ask where its members are processes: over
// which protocol, which of the members, and on how many connections. It starts no member and
// measures nothing.
package clients

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/client"
)

// Protocol is that of the clients of a cell.
func Protocol(cell experiment.Cell) string {
	return cmp.Or(cell.Load.Client, experiment.ClientHTTP)
}

// Clients drive the members of a cell. All methods are safe for concurrent use; those that
// ask are for members that have started.
type Clients struct {
	loads []load
	load  experiment.Load
}

// load is what clients ask: the group for writes, or a node that forwards them, and one
// node for reads.
type load struct {
	client.Map
	reads interface {
		Get(ctx context.Context, key string, level client.Consistency) (client.Value, error)
	}
	// Over HTTP; nil: there are none over the protocol.
	scans interface {
		Scan(ctx context.Context, prefix, after string, limit int, level client.Consistency) (client.Page, error)
	}
	compareAndSet func(context.Context, *workload.Op) error
	// connect has so many connections to the node ready. Nil: those over the protocol are few
	// and shared.
	connect func(ctx context.Context, connections int) error
}

// opened counts the connections that were opened for it.
func (l load) opened() int64 {
	n := l.Opened()
	if r, apart := l.reads.(*client.RESP); apart {
		n += r.Opened()
	}
	return n
}

// Open returns the clients of a cell, for each member that they ask as many as they have
// connections; they connect when they are used. The caller closes them.
func Open(nodes []clusterfile.Node, cell *record.CellInfo) (*Clients, error) {
	c := &Clients{load: cell.Load}
	over, perNode := func(nodes []clusterfile.Node, stay bool) (load, error) {
		return overHTTP(nodes, underWay(cell.Load), stay)
	}, 1
	if Protocol(cell.Cell) == experiment.ClientRESP {
		connections := cell.Load.Connections
		over = func(nodes []clusterfile.Node, stay bool) (load, error) { return overRESP(nodes, connections, stay) }
		perNode = max(1, connections)
	}
	asked := [][]clusterfile.Node{nodes} // the leader, which is the first, or whoever follows it
	if t := cell.Load.Target; t == experiment.TargetFollowers || t == experiment.TargetAll {
		asked = nil
		for i := range nodes {
			asked = append(asked, nodes[i:i+1])
		}
		if t == experiment.TargetFollowers {
			asked = asked[1:]
		}
		perNode = (perNode + len(asked) - 1) / len(asked)
	}
	for range perNode {
		for _, which := range asked {
			l, err := over(which, len(asked) > 1 || len(which) < len(nodes))
			if err != nil {
				return nil, errors.Join(err, c.Close())
			}
			c.loads = append(c.loads, l)
		}
	}
	return c, nil
}

// overHTTP returns a load that asks the leader among nodes, or, with stay, whichever of
// them it is, and keeps so many connections.
func overHTTP(nodes []clusterfile.Node, connections int, stay bool) (load, error) {
	var endpoints []string
	for _, n := range nodes {
		endpoints = append(endpoints, n.HTTPAddress)
	}
	c, err := client.New(endpoints, client.Options{Stay: stay, Connections: connections})
	if err != nil {
		return load{}, err
	}
	first := c.Nodes()[0]
	compareAndSet := func(ctx context.Context, op *workload.Op) (err error) {
		op.Index, err = c.CompareAndSet(ctx, op.Key, op.Value, op.IfIndex)
		return err
	}
	connect := func(ctx context.Context, connections int) error { return c.Connect(ctx, endpoints[0], connections) }
	return load{c, first, first, compareAndSet, connect}, nil
}

// overRESP returns the same over the Redis protocol, with one connection for writes and one
// for reads, or, of no connections, as many as kv/client has by itself.
func overRESP(nodes []clusterfile.Node, connections int, stay bool) (load, error) {
	var endpoints []string
	for _, n := range nodes {
		endpoints = append(endpoints, n.RESPAddress)
	}
	options := client.Options{Connections: min(1, connections), Stay: stay}
	writes, errWrites := client.NewRESP(endpoints, options)
	reads, errReads := client.NewRESP(endpoints[:1], options)
	if err := errors.Join(errWrites, errReads); err != nil {
		return load{}, err // neither has connected yet
	}
	return load{writes, reads, nil, func(ctx context.Context, op *workload.Op) error {
		return writes.SetIfEqual(ctx, op.Key, op.Value, op.Expect)
	}, nil}, nil
}

// underWay is how many requests of a load there may be at a time, open loops that a
// measurement makes of it too. So many connections are kept, or each request beyond would
// have to open one, and that would be measured.
func underWay(l experiment.Load) int { return max(l.Clients, workload.DefaultMaxInFlight) }

// usuallyUnderWay is how many there are of a load that goes well: of an open loop, those that
// come in the time that an operation takes (Little, 1961), with room for times that are bad.
func usuallyUnderWay(l experiment.Load) int {
	const takes, room = 0.05, 16 // seconds; requests
	if l.Rate > 0 {
		return min(int(l.TopRate()*takes)+room, underWay(l))
	}
	return l.Clients
}

// Connect has the connections ready that the load will usually need: what that takes is no
// part of an operation.
func (c *Clients) Connect(ctx context.Context) error {
	for _, x := range c.loads {
		if x.connect == nil {
			continue
		}
		if err := x.connect(ctx, (usuallyUnderWay(c.load)+len(c.loads)-1)/len(c.loads)); err != nil {
			return err
		}
	}
	return nil
}

// Set writes all keys of ops in one entry.
func (c *Clients) Set(ctx context.Context, ops []kv.Op) error {
	pairs := map[string][]byte{}
	for _, op := range ops {
		pairs[op.Key] = op.Value
	}
	_, err := c.loads[0].SetAll(ctx, pairs)
	return err
}

// Target is what system.Group has.
func (c *Clients) Target(level string) workload.Target {
	levels := map[string]client.Consistency{experiment.ReadLease: client.Leader, experiment.ReadStale: client.Stale}
	return &target{loads: c.loads, level: cmp.Or(levels[level], client.Linearizable)}
}

// Opened counts the connections that were opened so far.
func (c *Clients) Opened() (n int64) {
	for _, l := range c.loads {
		n += l.opened()
	}
	return n
}

// Close closes all connections.
func (c *Clients) Close() (err error) {
	for _, l := range c.loads {
		err = errors.Join(err, l.Close())
		if r, ok := l.reads.(*client.RESP); ok {
			err = errors.Join(err, r.Close())
		}
	}
	return err
}

// target drives the leader, as a client that knows it, or other members. What is sure
// not to have been taken is sent again, and its latency goes on counting.
type target struct {
	loads []load
	level client.Consistency // of reads
}

var _ workload.Parted = (*target)(nil)

// Part implements workload.Parted.
func (t *target) Part(client int) workload.Target {
	at := client % len(t.loads)
	return &target{t.loads[at : at+1], t.level}
}

// Do implements workload.Target.
func (t *target) Do(ctx context.Context, op *workload.Op) (err error) {
	l := &t.loads[0]
	switch op.Kind {
	case workload.Write:
		op.Index, err = l.Set(ctx, op.Key, op.Value)
		return err
	case workload.WriteBatch:
		op.Index, err = l.SetAll(ctx, op.Batch)
		return err
	case workload.CompareAndSet:
		if err = l.compareAndSet(ctx, op); errors.Is(err, client.ErrCondition) {
			err = fmt.Errorf("%w: %w", workload.ErrCondition, err)
		}
		return err
	case workload.Scan:
		return t.scan(ctx, op)
	}
	v, err := l.reads.Get(ctx, op.Key, t.level)
	op.Value, op.Index = v.Data, v.Index
	if errors.Is(err, core.ErrNotFound) {
		return fmt.Errorf("read %s: %w", op.Key, system.ErrMissing)
	}
	return err
}

// scan asks for pages until it has as many keys as it wants, or there are no more: a node
// bounds a page in bytes too.
func (t *target) scan(ctx context.Context, op *workload.Op) error {
	for after, left := op.Key, op.Limit; left > 0; {
		page, err := t.loads[0].scans.Scan(ctx, "", after, left, t.level)
		if err != nil || page.Next == "" {
			return err
		}
		after, left = page.Next, left-len(page.Pairs)
	}
	return nil
}
