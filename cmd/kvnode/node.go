package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// Limits of the HTTP server. A large value may take its sender long, so only the
// header of a request is bounded here.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 512 << 10 // two keys of 64 KiB, percent-encoded, fit
)

// node is a running node and what it owns, in the order in which it comes up.
type node struct {
	settings settings
	id       string
	join     []string // HTTP addresses of members to ask to be added
	logger   *slog.Logger

	dir      *dataDir
	listener net.Listener
	http     string // host:port that others reach HTTP under
	link     core.Link
	raft     string // address that others reach Raft under
	store    *kv.Store
	logs     core.LogStore
	replica  core.Replica // owns link and logs
	api      *httpapi.Server
	server   *http.Server // owns listener

	serving  chan struct{} // closed when the server has ended
	serveErr error         // why; set before serving is closed
	expelled chan struct{} // closed when the engine has left its group
	endTasks context.CancelFunc
	tasks    sync.WaitGroup
}

// start brings a node up. On an error nothing is left running. ctx bounds the
// start only.
func start(ctx context.Context, s settings, logger *slog.Logger) (_ *node, err error) {
	n := &node{
		settings: s, logger: logger, store: kv.New(),
		serving: make(chan struct{}), expelled: make(chan struct{}),
	}
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
	founder, err := n.identify()
	if err != nil {
		return nil, err
	}
	n.logStart()
	if err := n.startReplica(founder); err != nil {
		return nil, err
	}
	if err := n.serve(); err != nil {
		return nil, err
	}
	n.electSelf(ctx)
	n.startTasks()
	return n, nil
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

// identify writes node.json where the folder is new, and settles how the node is
// to begin if it has no state: with others to join, or as the founder of a group.
// A node that was to join a group before, or has been a member, must not found
// one: it would part from the group that knows it.
func (n *node) identify() (founder bool, err error) {
	s := n.settings
	if n.dir.nodes != nil {
		n.join = s.join
		return false, nil
	}
	begin := identity{ID: n.id, Backend: s.backendName, Engine: s.engine.Describe().Name, Created: time.Now().UTC()}
	if n.dir.identity != nil {
		begin = *n.dir.identity
	}
	if len(s.join) > 0 {
		begin.Join = s.join
	}
	n.join = begin.Join
	founder = len(n.join) == 0
	if founder && s.nonvoter {
		return false, fmt.Errorf("%w: --nonvoter without --join: who founds a group needs its vote", core.ErrInvalid)
	}
	if s.inMemory {
		return founder, nil
	}
	return founder, n.dir.claim(begin)
}

func (n *node) logStart() {
	s := n.settings
	n.logger.Info("kvnode starts", "version", version(), "id", n.id, "data", s.data)
	n.logger.Info("HTTP listening", "address", n.listener.Addr().String(), "advertised", n.http)
	n.logger.Info("Raft listening", "address", n.raft, "transport", s.network.Describe().Name, "engine", s.engine.Describe().Name)
}

func (n *node) startReplica(founder bool) error {
	s := n.settings
	cfg := core.ReplicaConfig{
		ID: n.id, FSM: n.store, Link: n.link,
		Tuning: s.tuning, Logger: n.logger,
	}
	if !s.inMemory {
		cfg.SnapshotDir = n.dir.path
	}
	if founder {
		cfg.Bootstrap = []core.Member{{ID: n.id, Address: n.raft, Voter: true}}
	}
	if err := n.openStore(); err != nil {
		return err
	}
	cfg.Logs = n.logs
	if err := n.startEngine(cfg); err != nil {
		return err
	}
	if n.dir.nodes != nil && n.replica.Status().LastIndex == 0 {
		return fmt.Errorf("%s is empty, but %s has been a member and has voted: bring the log back, or start in another directory under another --id",
			filepath.Join(n.dir.path, logDir), n.id)
	}
	return nil
}

func (n *node) openStore() (err error) {
	s := n.settings
	dir := filepath.Join(n.dir.path, logDir)
	defer damaged(dir, &err)()
	if n.logs, err = s.backend.Open(dir, s.backendOptions); err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	store := n.logs.Describe()
	n.logger.Info("log store open", "backend", store.Name, "durability", store.Durability)
	if s.inMemory {
		n.logger.Warn("all is in memory: what this node holds, and its vote, are lost when it ends")
	}
	return nil
}

func (n *node) startEngine(cfg core.ReplicaConfig) (err error) {
	defer damaged(n.dir.path, &err)()
	replica, err := n.settings.engine.Start(cfg)
	if err != nil {
		return fmt.Errorf("start on the data in %s: %w", n.dir.path, err)
	}
	n.replica = replica
	return nil
}

// damaged, deferred, turns the panic of a library that stumbles over a damaged
// file, as BoltDB does, into an error. The process ends with it, so what the
// library leaves behind does not matter.
func damaged(path string, err *error) func() {
	before := debug.SetPanicOnFault(true) // a file shorter than its memory map
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%s is damaged: %v", path, p)
		}
	}
}

func (n *node) serve() (err error) {
	s := n.settings
	var syncs func() uint64
	if counter, ok := n.logs.(core.SyncCounter); ok {
		syncs = counter.SyncCount
	}
	n.api, err = httpapi.New(httpapi.Config{
		Replica: n.replica, Map: n.store, Logger: n.logger, Version: version(), HTTPAddress: n.http,
		Store: n.logs.Describe(), Syncs: syncs, Transport: s.network.Describe().Name, Timeout: s.requestTimeout,
	})
	if err != nil {
		return err
	}
	n.server = &http.Server{
		Handler:           n.api,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(n.logger.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(n.serving)
		n.serveErr = n.server.Serve(n.listener)
	}()
	return nil
}

// electSelf spares the only voter of a group the wait for an election.
func (n *node) electSelf(ctx context.Context) {
	campaigner, ok := n.replica.(core.Campaigner)
	if !ok || !n.votesAlone() {
		return
	}
	if err := campaigner.Campaign(ctx); err != nil {
		n.logger.Warn("cannot stand for election at once", "error", err)
	}
}

func (n *node) votesAlone() bool {
	votes := false
	for _, m := range n.replica.Status().Members {
		if m.Voter && m.ID != n.id {
			return false
		}
		votes = votes || m.Voter
	}
	return votes
}

// startTasks starts what goes on beside the requests; stop waits for it.
func (n *node) startTasks() {
	ctx, cancel := context.WithCancel(context.Background())
	n.endTasks = cancel
	m := &membership{
		id: n.id, raft: n.raft, http: n.http, nonvoter: n.settings.nonvoter,
		seeds: n.join, joining: len(n.join) > 0,
		remembered: n.dir.nodes, remember: n.dir.remember,
		replica: n.replica, store: n.store, logger: n.logger,
	}
	n.tasks.Go(func() { m.run(ctx) })
	n.tasks.Go(func() { n.watch(ctx) })
}

// wait returns nil once ctx ends, or why the node cannot go on.
func (n *node) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		n.logger.Info("stopping", "cause", context.Cause(ctx))
		return nil
	case <-n.replica.Done():
		return fmt.Errorf("the replica stopped: %w", n.replica.Err())
	case <-n.expelled:
		return errors.New("the replica stopped: it was removed from its group while it led it")
	case <-n.serving:
		return fmt.Errorf("serve HTTP: %w", n.serveErr)
	}
}
