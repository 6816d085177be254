package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/discovery/steward"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// defaultHeartbeat is the engine's.
const defaultHeartbeat = time.Second

// discover settles the configuration with which the node founds a group, or that it
// founds none. With gossip it waits for the other founders, and answers HTTP meanwhile.
func (n *Node) discover(ctx context.Context) (err error) {
	self := n.self()
	if self.Group, err = n.group(); err != nil {
		return err
	}
	if n.cfg.Gossip == nil {
		if n.founders, err = foundAlone(n.id, self, len(n.join) > 0); err != nil {
			return err
		}
		n.tasks.Go(func() { n.heedHangUps(n.running, nil) })
		return ctx.Err()
	}
	if err := n.startGossip(ctx, self); err != nil {
		return err
	}
	n.serveHTTP(httpapi.Waiting(n.id, func() string { return cmp.Or(n.agent.Waiting(), "it starts") }))
	n.founders, err = n.bootstrap(ctx)
	return err
}

// foundAlone returns the configuration with which a node that does not gossip founds a
// group: itself; nil if it has state or joins one.
func foundAlone(id string, self discovery.Self, joins bool) ([]core.Member, error) {
	switch {
	case joins || self.HasState:
		return nil, nil
	case !self.Voter:
		return nil, fmt.Errorf("%w: node %s wants no vote, so it cannot found a group: let it join one", core.ErrInvalid, id)
	}
	return []core.Member{{ID: id, Incarnation: self.Incarnation, Address: self.RaftAddress, Voter: true}}, nil
}

// group returns the group that the data in the log are of; empty: none.
func (n *Node) group() (string, error) {
	group, err := core.ImprintedGroup(n.logs)
	if err == nil && group == "" && n.hasState {
		group = core.UnnamedGroup
	}
	return group, err
}

// bootstrap waits for the other founders for as long as HTTP is served.
func (n *Node) bootstrap(ctx context.Context) ([]core.Member, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.tasks.Go(func() {
		select {
		case <-n.serving:
			cancel(fmt.Errorf("serve HTTP: %w", n.serveErr))
		case <-ctx.Done():
		}
	})
	founders, err := n.agent.Bootstrap(ctx)
	if err == nil {
		return founders, nil
	}
	if n.cfg.Gossip.LeaveOnStop {
		goodbye, end := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer end()
		err = errors.Join(err, n.agent.Leave(goodbye))
	}
	return nil, errors.Join(context.Cause(ctx), err)
}

// gossipConfig is what the settings say of gossip.
func (n *Node) gossipConfig(self discovery.Self) gossip.Config {
	g := n.cfg.Gossip
	return gossip.Config{
		ID: n.id, Cluster: g.Cluster, Self: self,
		Bind: g.Bind, Advertise: g.Advertise, Join: g.Join, Expect: g.Expect,
		KeyFile: g.KeyFile, Profile: n.cfg.Profile.Gossip, Logger: n.cfg.Logger,
		// Until then a failed member must not be forgotten.
		ReapAfter: g.RemoveFailedAfter + 24*time.Hour,
	}
}

func (n *Node) startGossip(ctx context.Context, self discovery.Self) (err error) {
	g := n.cfg.Gossip
	cfg := n.gossipConfig(self)
	if !n.cfg.InMemory {
		cfg.Memory = gossip.FileStore(filepath.Join(n.dir.path, promiseName))
	}
	if len(n.join) > 0 && g.Expect > 0 && !self.HasState {
		n.cfg.Logger.Warn("not founding a group: this node was started with --join before, and may have been added to one", "join", n.join)
		cfg.Expect = 0
	}
	if n.agent, err = gossip.Start(ctx, cfg); err != nil {
		return err
	}
	n.cfg.Logger.Info("gossip listening", "address", n.agent.Address(), "cluster", g.Cluster, "encrypted", g.KeyFile != "", "profile", n.cfg.Profile.Name)
	if cfg.Expect == 0 && len(cfg.Join) == 0 && !self.HasState {
		n.cfg.Logger.Warn("this node waits until another one finds it: neither --gossip-join nor --bootstrap-expect is given")
	}
	var reload func() error
	if g.KeyFile != "" {
		reload = n.agent.ReloadKeys
	}
	n.tasks.Go(func() { n.heedHangUps(n.running, reload) })
	return nil
}

// heedHangUps has each SIGHUP reload the keys of gossip, where there are any, until
// ctx ends. A node outlives the terminal that it was started from.
func (n *Node) heedHangUps(ctx context.Context, reload func() error) {
	for {
		select {
		case <-n.cfg.HangUps:
			if reload == nil {
				n.cfg.Logger.Info("SIGHUP: no keys of gossip to read again, the node goes on; to stop it, send SIGTERM")
			} else if err := reload(); err != nil {
				n.cfg.Logger.Error("gossip goes on with the keys it has", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// startSteward has the node look after the group's configuration while it leads.
func (n *Node) startSteward() (err error) {
	n.agent.Know(func() []core.Member { return n.replica.Status().Members })
	g := n.cfg.Gossip
	heartbeat := cmp.Or(n.cfg.Tuning.HeartbeatTimeout, defaultHeartbeat)
	cfg := steward.Config{
		Replica: n.replica, Peers: n.agent, RemoveFailedAfter: g.RemoveFailedAfter, Logger: n.cfg.Logger,
		LastContact: max(2*time.Second, 2*heartbeat),
	}
	if n.cfg.Profile.Name == Local {
		cfg.LastContact = max(time.Second, 2*heartbeat)
		cfg.Stabilization, cfg.Interval = 250*time.Millisecond, 100*time.Millisecond
	}
	n.steward, err = steward.Start(cfg)
	return err
}

// directory finds HTTP addresses of members that have not answered Raft here: in the
// replicated directory, where the leader has seen to it that they are the members',
// and otherwise by gossip, which anyone can take part in.
type directory struct{ proven, said httpapi.Directory }

// HTTPAddress implements httpapi.Directory.
func (d directory) HTTPAddress(id string) (string, bool) {
	if address, ok := d.proven.HTTPAddress(id); ok {
		return address, true
	}
	return d.said.HTTPAddress(id)
}

// A new group need not wait until heartbeats are missed that nobody could send. To
// stand for election at once does not change which members may be elected; if it fails,
// the election comes by itself.

// electSelf makes the only voter of a group stand for election.
func (n *Node) electSelf(ctx context.Context) {
	members := n.replica.Status().Members
	voters := slices.DeleteFunc(slices.Clone(members), func(m core.Member) bool { return !m.Voter })
	if len(voters) == 1 && voters[0].ID == n.id {
		n.campaign(ctx)
	}
}

// electFirst makes the first of the founders stand for election once a majority of
// them can vote. There is one first, so votes are not split.
func (n *Node) electFirst(ctx context.Context) {
	if len(n.founders) < 2 || n.founders[0].ID != n.id {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(n.cfg.Tuning.HeartbeatTimeout, defaultHeartbeat))
	defer cancel()
	for n.replica.Status().LeaderID == "" {
		changed := n.agent.Changes()
		if n.mayVote() > len(n.founders)/2 {
			n.campaign(ctx)
			return
		}
		select {
		case <-changed:
		case <-n.replica.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// mayVote counts the founders whose replica runs.
func (n *Node) mayVote() int {
	founders := map[string]core.Member{}
	for _, m := range n.founders {
		founders[m.ID] = m
	}
	count := 0
	for _, p := range n.agent.Peers() {
		m, ok := founders[p.ID]
		if ok && p.Is(m, core.GroupID(n.founders)) && p.HasState && p.State == discovery.Alive {
			count++
		}
	}
	return count
}

func (n *Node) campaign(ctx context.Context) {
	campaigner, ok := n.replica.(core.Campaigner)
	if !ok {
		return
	}
	if err := campaigner.Campaign(ctx); err != nil && ctx.Err() == nil {
		n.cfg.Logger.Warn("cannot stand for election at once", "error", err)
	}
}
