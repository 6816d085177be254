package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/discovery/steward"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// node is a running node and what it owns, in the order in which it comes up.
type node struct {
	settings settings
	id       string
	join     []string // HTTP addresses of members to ask to be added
	logger   *slog.Logger
	hangUps  <-chan os.Signal

	dir         *dataDir
	listener    net.Listener
	http        string // host:port that others reach HTTP under
	link        core.Link
	raft        string // address that others reach Raft under
	store       *kv.Store
	logs        core.LogStore
	hasState    bool          // logs do
	incarnation string        // of logs; empty: from before there were any
	agent       *gossip.Agent // nil without gossip
	founders    []core.Member // of the group that this node founds, sorted by id; nil: it founds none
	handler     replaceable
	server      *http.Server // owns listener
	replica     core.Replica // owns link and logs
	api         *httpapi.Server
	steward     *steward.Steward // nil without gossip

	serving  chan struct{} // closed when the server has ended
	serveErr error         // why; set before serving is closed
	expelled chan struct{} // closed when the engine has left its group
	ending   chan struct{} // closed when the node is to stop
	endOnce  sync.Once
	running  context.Context // of the tasks
	endTasks context.CancelFunc
	tasks    sync.WaitGroup
}

// start brings a node up. On an error nothing is left running. ctx bounds the
// start only.
func start(ctx context.Context, s settings, hangUps <-chan os.Signal, logger *slog.Logger) (_ *node, err error) {
	n := &node{
		settings: s, logger: logger, hangUps: hangUps, store: kv.New(),
		serving: make(chan struct{}), expelled: make(chan struct{}), ending: make(chan struct{}),
	}
	n.running, n.endTasks = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, n.release())
		}
	}()
	if err := n.openDir(); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil { // before anything is written
		return nil, err
	}
	if err := n.checkName(); err != nil {
		return nil, err
	}
	if err := n.identify(); err != nil {
		return nil, err
	}
	n.logStart()
	if err := n.openStore(); err != nil {
		return nil, err
	}
	if n.founders, err = n.discover(ctx); err != nil {
		return nil, err
	}
	if err := n.startReplica(); err != nil {
		return nil, err
	}
	if err := n.serve(); err != nil {
		return nil, err
	}
	n.electSelf(ctx)
	return n, n.startTasks()
}

// openDir locks the folder and settles the node's ID.
func (n *node) openDir() (err error) {
	s := n.settings
	if n.dir, err = openDataDir(s.data); err != nil {
		return err
	}
	want := identity{ID: s.id, Backend: s.backendName, Engine: s.engine.Describe().Name}
	if err := n.dir.check(want, s.inMemory); err != nil {
		return err
	}
	n.id = cmp.Or(s.id, s.raddr)
	if n.dir.identity != nil {
		n.id = n.dir.identity.ID
	}
	return nil
}

func (n *node) listen() (err error) {
	s := n.settings
	if n.listener, err = net.Listen("tcp", s.haddr); err != nil {
		return fmt.Errorf("--haddr %s: %w", s.haddr, err)
	}
	n.http = advertised(s.httpAddr, n.listener.Addr())
	if n.link, err = s.network.Listen(s.raddr); err != nil {
		return fmt.Errorf("--raddr %s: %w", s.raddr, err)
	}
	n.raft = n.link.Address()
	return nil
}

// advertised is the address that others are to dial: the given one, with the
// real port in place of 0, or else where we listen.
func advertised(given string, bound net.Addr) string {
	if given == "" {
		return bound.String()
	}
	host, port, err := net.SplitHostPort(given)
	if tcp, ok := bound.(*net.TCPAddr); err == nil && ok && port == "0" {
		return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
	}
	return given
}

// checkName refuses what the others could not be told of the node. A folder may hold a
// longer id that was given to it earlier; without gossip that does no harm.
func (n *node) checkName() error {
	if n.dir.identity == nil && len(n.id) > discovery.MaxIDBytes {
		return fmt.Errorf("%w: the id %s has %d bytes, and %d are allowed: give a shorter --id", core.ErrInvalid, n.id, len(n.id), discovery.MaxIDBytes)
	}
	if n.settings.gossip == nil {
		return nil
	}
	self := n.self()
	self.Incarnation = core.NewIncarnation() // the node's own is not known yet, and no longer
	cfg := n.gossipConfig(self)
	return cfg.Check()
}

// self is what the node tells the others of itself.
func (n *node) self() discovery.Self {
	return discovery.Self{Incarnation: n.incarnation, RaftAddress: n.raft, HTTPAddress: n.http, Voter: !n.settings.nonvoter, HasState: n.hasState}
}

// identify writes node.json where the folder is new, and settles whom the node asks
// to be added to their group. A node that was to join a group before must not
// found one: it would part from the group that knows it.
func (n *node) identify() error {
	s := n.settings
	if n.dir.nodes != nil {
		n.join = s.join
		return nil
	}
	begin := identity{ID: n.id, Backend: s.backendName, Engine: s.engine.Describe().Name, Created: time.Now().UTC()}
	if n.dir.identity != nil {
		begin = *n.dir.identity
	}
	if len(s.join) > 0 {
		begin.Join = s.join
	}
	begin.Gossip = begin.Gossip || s.gossip != nil
	n.join = begin.Join
	if len(n.join) == 0 && s.gossip == nil && s.nonvoter {
		return fmt.Errorf("%w: --nonvoter without --join: who founds a group needs its vote", core.ErrInvalid)
	}
	if s.inMemory {
		return nil
	}
	return n.dir.claim(begin)
}

func (n *node) logStart() {
	s := n.settings
	n.logger.Info("kvnode starts", "version", version(), "id", n.id, "data", s.data)
	n.logger.Info("HTTP listening", "address", n.listener.Addr().String(), "advertised", n.http)
	n.logger.Info("Raft listening", "address", n.raft, "transport", s.network.Describe().Name, "engine", s.engine.Describe().Name)
}

// openStore opens the log store and looks whether there is a group to go on with.
func (n *node) openStore() (err error) {
	s := n.settings
	dir := filepath.Join(n.dir.path, logDir)
	if n.logs, err = s.backend.Open(dir, s.backendOptions); err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	store := n.logs.Describe()
	n.logger.Info("log store open", "backend", store.Name, "durability", store.Durability)
	if s.inMemory {
		n.logger.Warn("all is in memory: what this node holds, and its vote, are lost when it ends")
	}
	if err := n.incarnate(); err != nil {
		return err
	}
	if !s.inMemory && !n.hasState && n.dir.identity.Gossip && s.gossip == nil {
		return fmt.Errorf("%w: %s was started with --gossip and has no group yet, but may have promised others to found one: give --gossip again, or another directory",
			core.ErrInvalid, n.id)
	}
	return nil
}

func (n *node) startReplica() (err error) {
	s := n.settings
	cfg := core.ReplicaConfig{
		ID: n.id, Incarnation: n.incarnation, Joined: n.joined(), Service: n.http, FSM: n.store, Logs: n.logs, Link: n.link, Bootstrap: n.founders,
		Tuning: s.tuning, Logger: n.logger,
	}
	if !s.inMemory {
		cfg.SnapshotDir = n.dir.path
	}
	switch {
	case n.agent != nil:
		cfg.Locate = n.agent.RaftAddress
	case len(s.peers) > 0:
		cfg.Locate = s.peers.locate
	}
	replica, err := s.engine.Start(cfg)
	if err != nil {
		return fmt.Errorf("start on the data in %s: %w", n.dir.path, err)
	}
	n.replica = replica
	return nil
}

// startTasks starts what goes on beside the requests; stop waits for it.
func (n *node) startTasks() error {
	n.tasks.Go(func() { n.watch(n.running) })
	if n.agent != nil {
		k := &keeper{
			id: n.id, discovery: n.agent, remember: n.dir.remember, replica: n.replica, store: n.store, logger: n.logger,
			self: n.self(),
		}
		n.tasks.Go(func() { k.run(n.running) })
		n.tasks.Go(func() { n.electFirst(n.running) })
		return n.startSteward()
	}
	m := &membership{
		id: n.id, incarnation: n.incarnation, raft: n.raft, http: n.http, nonvoter: n.settings.nonvoter,
		seeds: n.join, joining: len(n.join) > 0, hasState: n.hasState,
		remembered: n.dir.nodes, remember: n.dir.remember,
		replica: n.replica, store: n.store, logger: n.logger,
	}
	n.tasks.Go(func() { m.run(n.running) })
	return nil
}

// wait returns nil once ctx ends, or why the node cannot go on.
func (n *node) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		n.logger.Info("stopping", "cause", context.Cause(ctx))
		return nil
	case <-n.ending:
		n.logger.Info("stopping", "cause", "this node has left its group")
		return nil
	case <-n.replica.Done():
		return fmt.Errorf("the replica stopped: %w", n.replica.Err())
	case <-n.expelled:
		return errors.New("the replica stopped: it was removed from its group while it led it")
	case <-n.serving:
		return fmt.Errorf("serve HTTP: %w", n.serveErr)
	}
}
