// Package static is discovery without asking around: a node founds a group of
// its own, or is told with -join where the group is. It knows the others from
// the replicated configuration and directory, and watches nobody.
//
// It opens no socket and sends nothing: joining is a request to the leader's
// HTTP interface, which is not made here.
package static

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

var _ discovery.Discovery = (*Discovery)(nil)

// Directory is the replicated table of HTTP addresses; *kv.Store is one.
type Directory interface {
	HTTPAddress(id string) (string, bool)
}

// Config says what a node was told.
type Config struct {
	ID   string // required
	Self discovery.Self
	// Join is true where the node waits to be added to a group.
	Join bool
	// Members returns the group's configuration as this node knows it; nil is
	// allowed, as is returning nil while the replica has not started.
	Members func() []core.Member
	// Directory is optional.
	Directory Directory
}

// Discovery implements [discovery.Discovery].
type Discovery struct {
	cfg     Config
	changes chan struct{} // never closed: nobody watches
}

// New checks cfg and returns a Discovery.
func New(cfg Config) (*Discovery, error) {
	switch {
	case cfg.ID == "":
		return nil, fmt.Errorf("%w: static discovery needs the node's id", core.ErrInvalid)
	case cfg.Self.RaftAddress == "":
		return nil, fmt.Errorf("%w: static discovery of %s needs its Raft address", core.ErrInvalid, cfg.ID)
	case !cfg.Join && !cfg.Self.HasState && !cfg.Self.Voter:
		return nil, fmt.Errorf("%w: node %s wants no vote, so it cannot found a group: let it join one", core.ErrInvalid, cfg.ID)
	}
	return &Discovery{cfg: cfg, changes: make(chan struct{})}, nil
}

// Bootstrap returns the node alone, or nil if it has state or joins. It never blocks.
func (d *Discovery) Bootstrap(ctx context.Context) ([]core.Member, error) {
	if d.cfg.Join || d.cfg.Self.HasState {
		return nil, ctx.Err()
	}
	return []core.Member{{
		ID: d.cfg.ID, Incarnation: d.cfg.Self.Incarnation, Address: d.cfg.Self.RaftAddress, Voter: true,
	}}, ctx.Err()
}

// Announce does nothing: there is nobody to tell. The leader learns a node's
// addresses from its request to join.
func (d *Discovery) Announce(discovery.Self) error { return nil }

// Peers returns the members of the configuration; the state of all is Unknown.
func (d *Discovery) Peers() []discovery.Peer {
	var members []core.Member
	if d.cfg.Members != nil {
		members = d.cfg.Members()
	}
	peers := make([]discovery.Peer, 0, len(members))
	for _, m := range members {
		p := discovery.Peer{ID: m.ID, State: discovery.Unknown}
		p.Incarnation, p.RaftAddress, p.Voter, p.HasState = m.Incarnation, m.Address, m.Voter, true
		p.HTTPAddress, _ = d.HTTPAddress(m.ID)
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b discovery.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}

// HTTPAddress returns what the directory holds; of itself the node knows better.
func (d *Discovery) HTTPAddress(id string) (string, bool) {
	if id == d.cfg.ID {
		return d.cfg.Self.HTTPAddress, d.cfg.Self.HTTPAddress != ""
	}
	if d.cfg.Directory == nil {
		return "", false
	}
	return d.cfg.Directory.HTTPAddress(id)
}

// Changes returns a channel that is never closed.
func (d *Discovery) Changes() <-chan struct{} { return d.changes }

// Leave fails: without gossip a node leaves by a request to the leader.
func (d *Discovery) Leave(context.Context) error {
	return fmt.Errorf("leave: %w without gossip: remove %s on the leader", core.ErrUnsupported, d.cfg.ID)
}

// Close does nothing.
func (d *Discovery) Close() error { return nil }
