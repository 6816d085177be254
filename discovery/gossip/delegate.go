package gossip

import (
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/discovery"
)

// delegate is what memberlist calls. It calls with its own lock held, so nothing
// here may call back into it.
type delegate struct{ a *Agent }

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
	_ memberlist.MergeDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
)

var (
	errRefused  = errors.New("refused")
	errOutdated = errors.New("outdated")
)

// admit returns what n says of itself, or why it must not be one of us.
func (d *delegate) admit(n *memberlist.Node) (meta, error) {
	m, err := decodeMeta(n.Meta)
	switch {
	case err != nil:
		return m, fmt.Errorf("%w: node %s at %s: %w", errRefused, n.Name, n.Address(), err)
	case m.cluster != d.a.cfg.Cluster:
		return m, fmt.Errorf("%w: node %s at %s belongs to cluster %q, not %q", errRefused, m.id, n.Address(), m.cluster, d.a.cfg.Cluster)
	case n.Name != nodeName(m.cluster, m.id):
		return m, fmt.Errorf("%w: node %s at %s says that it is %s", errRefused, n.Name, n.Address(), m.id)
	}
	return m, nil
}

// check is admit that logs, once, that a node is refused.
func (d *delegate) check(n *memberlist.Node) (meta, error) {
	if !d.a.gate.enter() {
		return meta{}, errShutDown
	}
	defer d.a.gate.leave()
	m, err := d.admit(n)
	if err != nil && d.a.once.first(err.Error()) {
		d.a.logger.Warn(err.Error())
	}
	return m, err
}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps the node out.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := d.check(n)
	if err == nil && m.id != d.a.cfg.ID && d.a.table.outdated(m) {
		return errOutdated
	}
	return err
}

// NotifyMerge implements memberlist.MergeDelegate: an error ends the join.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if _, err := d.check(n); err != nil {
			return err
		}
	}
	return nil
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.heard(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.heard(n) }

func (d *delegate) heard(n *memberlist.Node) {
	if !d.a.gate.enter() {
		return
	}
	defer d.a.gate.leave()
	m, err := d.admit(n)
	if err != nil {
		return // cannot be: NotifyAlive has let it in
	}
	before := d.a.table.alive(m, string(n.Meta), n.Address())
	if m.id == d.a.cfg.ID {
		return
	}
	switch {
	case m.leaving && before != discovery.Left:
		d.a.logger.Info("node left", "peer", m.id)
	case !m.leaving && before != discovery.Alive:
		d.a.logger.Info("node is alive", "peer", m.id, "was", before, "gossip", n.Address(),
			"raft", m.RaftAddress, "http", m.HTTPAddress)
	}
	if own := d.a.group(); m.Group != "" && own != "" && m.Group != own && d.a.once.first("group of "+m.id+m.Group) {
		d.a.logger.Error("two groups were founded under one cluster name: "+m.id+" belongs to the other one. "+
			"Their data stay apart. Keep one: start the nodes of the other without their data and with --gossip-join, "+
			"or give it another --cluster", "own_group", own, "its_group", m.Group)
	}
}

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	if !d.a.gate.enter() {
		return
	}
	defer d.a.gate.leave()
	m, err := d.admit(n)
	if err != nil || m.id == d.a.cfg.ID {
		return
	}
	if d.a.table.gone(m.id) == discovery.Failed {
		d.a.logger.Warn("node failed", "peer", m.id, "gossip", n.Address())
		d.a.prod()
	}
}

// NotifyConflict implements memberlist.ConflictDelegate. It is called for each
// message, by all nodes: when a node came back under another address before the
// others saw that it was gone, which passes, and when two nodes run under one
// id, which does not.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	if !d.a.gate.enter() {
		return
	}
	defer d.a.gate.leave()
	if existing.Name == nodeName(d.a.cfg.Cluster, d.a.cfg.ID) {
		d.a.dispute()
	}
	args := []any{"node", existing.Name, "known", existing.Address(), "also", other.Address()}
	one, err := d.admit(existing)
	two, refusal := d.admit(other)
	if err == nil && refusal == nil {
		d.a.table.contend(two, other.Address())
		args = append(args, "known_incarnation", one.Incarnation, "known_group", one.Group,
			"also_incarnation", two.Incarnation, "also_group", two.Group)
	}
	key := "conflict " + existing.Name + existing.Address() + other.Address()
	switch {
	case d.a.once.first(key):
		d.a.logger.Info("a node announces another address; it is taken once the one that is known has failed", args...)
	case d.a.once.age(key) > d.a.cfg.Profile.patience() && d.a.once.first(key+" lasts"):
		d.a.logger.Error("two nodes run under one id: stop the one that is not the member, "+
			"and start it as another, kvnode --id ANOTHER-ID in a new directory", args...)
	}
}

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte {
	d.a.mu.Lock()
	defer d.a.mu.Unlock()
	return d.a.encoded
}

// NotifyMsg implements memberlist.Delegate; nothing is sent that way.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate; nothing is sent that way.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate: what goes to a node that this one compares
// all it knows with, beside the nodes that are there.
func (d *delegate) LocalState(bool) []byte { return d.a.table.farewells() }

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if !d.a.gate.enter() {
		return
	}
	defer d.a.gate.leave()
	readFarewells(b, func(m meta, encoded string) {
		if m.cluster == d.a.cfg.Cluster && m.id != d.a.cfg.ID && d.a.table.farewell(m, encoded) {
			d.a.logger.Info("node left", "peer", m.id)
		}
	})
}
