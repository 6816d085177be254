package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/discovery/static"
	"github.com/themilchenko/raftlab/discovery/steward"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// defaultHeartbeat is the engine's.
const defaultHeartbeat = time.Second

// discover returns the configuration with which the node founds a group, or nil.
// With gossip it waits for the other founders, and answers HTTP meanwhile.
func (n *node) discover(ctx context.Context) (founders []core.Member, err error) {
	self := n.self()
	if self.Group, err = n.group(); err != nil {
		return nil, err
	}
	if n.settings.gossip == nil {
		d, err := static.New(static.Config{ID: n.id, Self: self, Join: len(n.join) > 0})
		if err != nil {
			return nil, err
		}
		n.tasks.Go(func() { n.heedHangUps(n.running, nil) })
		return d.Bootstrap(ctx)
	}
	if err := n.startGossip(ctx, self); err != nil {
		return nil, err
	}
	n.serveHTTP(httpapi.Waiting(n.id, func() string { return cmp.Or(n.agent.Waiting(), "it starts") }))
	return n.bootstrap(ctx)
}

// group returns the group that the data in the log are of; empty: none.
func (n *node) group() (string, error) {
	group, err := core.ImprintedGroup(n.logs)
	if err == nil && group == "" && n.hasState {
		group = core.UnnamedGroup
	}
	return group, err
}

// bootstrap waits for the other founders for as long as HTTP is served.
func (n *node) bootstrap(ctx context.Context) ([]core.Member, error) {
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
	if n.settings.gossip.leaveOnStop {
		goodbye, end := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer end()
		err = errors.Join(err, n.agent.Leave(goodbye))
	}
	return nil, errors.Join(context.Cause(ctx), err)
}

// gossipConfig is what the settings say of gossip.
func (n *node) gossipConfig(self discovery.Self) gossip.Config {
	g := n.settings.gossip
	return gossip.Config{
		ID: n.id, Cluster: g.cluster, Self: self,
		Bind: g.bind, Advertise: g.advertise, Join: g.join, Expect: g.expect,
		KeyFile: g.keyFile, Profile: g.timings(), Logger: n.logger,
		// Until then a failed member must not be forgotten.
		ReapAfter: g.removeFailedAfter + 24*time.Hour,
	}
}

func (n *node) startGossip(ctx context.Context, self discovery.Self) (err error) {
	g := n.settings.gossip
	cfg := n.gossipConfig(self)
	if !n.settings.inMemory {
		cfg.Memory = gossip.FileStore(filepath.Join(n.dir.path, promiseName))
	}
	if len(n.join) > 0 && g.expect > 0 && !self.HasState {
		n.logger.Warn("not founding a group: this node was started with --join before, and may have been added to one", "join", n.join)
		cfg.Expect = 0
	}
	if n.agent, err = gossip.Start(ctx, cfg); err != nil {
		return err
	}
	n.logger.Info("gossip listening", "address", n.agent.Address(), "cluster", g.cluster, "encrypted", g.keyFile != "", "profile", g.profile)
	if cfg.Expect == 0 && len(cfg.Join) == 0 && !self.HasState {
		n.logger.Warn("this node waits until another one finds it: neither --gossip-join nor --bootstrap-expect is given")
	}
	var reload func() error
	if g.keyFile != "" {
		reload = n.agent.ReloadKeys
	}
	n.tasks.Go(func() { n.heedHangUps(n.running, reload) })
	return nil
}

// heedHangUps has each SIGHUP reload the keys of gossip, where there are any, until
// ctx ends. A node outlives the terminal that it was started from.
func (n *node) heedHangUps(ctx context.Context, reload func() error) {
	for {
		select {
		case <-n.hangUps:
			if reload == nil {
				n.logger.Info("SIGHUP: nothing to reload, the node goes on: it has gossip read --gossip-key again; to stop the node, send SIGTERM")
			} else if err := reload(); err != nil {
				n.logger.Error("gossip goes on with the keys it has", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// startSteward has the node look after the group's configuration while it leads.
func (n *node) startSteward() (err error) {
	n.agent.Know(func() []core.Member { return n.replica.Status().Members })
	g := n.settings.gossip
	heartbeat := cmp.Or(n.settings.tuning.HeartbeatTimeout, defaultHeartbeat)
	cfg := steward.Config{
		Replica: n.replica, Peers: n.agent, RemoveFailedAfter: g.removeFailedAfter, Logger: n.logger,
		LastContact: max(2*time.Second, 2*heartbeat),
	}
	if g.profile == "local" {
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
