// Package node is a node of the replicated key-value store: a replica, its data on disk,
// and the HTTP interface of docs/http-api.md. It serves every client that reaches its
// ports: it neither encrypts nor authenticates.
//
// A node without data founds a group of its own, or, with Config.Join, asks members of
// one to add it. With gossip nodes find each other: as many as Gossip.Expect says found
// a group together, and later ones are added by its leader. One that comes back goes on
// with what its folder holds:
//
//	node.json    identity of the data: id, log store, engine
//	nodes.json   HTTP addresses of the group's members; there once it is one
//	gossip.json  founders it has promised to found a group with, and where others were
//	log/         the log store's; log-STORE/ once it was migrated to another
//	snapshots/   the engine's
//	data-GROUP/  log/ and snapshots/ once GROUP was made by a recovery; those before it stay
//	trace.bin    with Config.Trace: what was traced, once the node has ended
//	LOCK         locked while a process uses the folder; holds its id
//
// It reads no command line, catches no signal and never ends the process. It is mostly
// run by kvnode, so its errors name kvnode's flags where one is to be given.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/discovery/steward"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/kv/respapi"
)

// Config is all that a node is made by. The strings are not checked here, but where
// they are used.
type Config struct {
	Data string // folder of the node, made where missing; nobody else may use it meanwhile
	ID   string // empty: what Data holds, or else RaftBind

	HTTPBind, RaftBind string // host:port to listen on; port 0: any free one
	RESPBind           string // host:port to serve the Redis protocol on; empty: nowhere
	RESPAdvertise      string // as HTTPAdvertise
	HTTPAdvertise      string // what others dial; port 0: the one listened on; empty: where HTTPBind turns out to listen
	RequestTimeout     time.Duration

	Join     []string          // HTTP addresses of members to ask to be added
	Peers    map[string]string // Raft addresses, by id, where members may be if they have moved
	Nonvoter bool
	Gossip   *Gossip // nil: the node is told where the others are

	Backend   string // name of the log store: a folder is used with one only
	OpenStore func(dir string) (core.LogStore, error)
	InMemory  bool // the log store outlives no process; then nor do snapshots
	Network   core.Network
	Engine    core.Engine
	Profile   Profile     // of gossip and of who looks after the group; of Raft, Tuning has it already
	Tuning    core.Tuning // see Profile.Tuned

	Trace   bool             // take down where the time of each entry goes, and leave it in the folder at the end
	HangUps <-chan os.Signal // at each the keys of gossip are reloaded; nil: none comes
	Logger  *slog.Logger
}

// Gossip is how a node finds the others by gossip.
type Gossip struct {
	Bind, Advertise   string        // host:port, as of HTTP
	Join              []string      // gossip addresses of any other nodes
	Expect            int           // founders; 0: the node waits to be added
	Cluster           string        // nodes of another name are kept out
	KeyFile           string        // empty: not encrypted
	RemoveFailedAfter time.Duration // of the steward; 0: never
	LeaveOnStop       bool          // Run takes the node out of its group for good when ctx ends
}

// Node is a running node and what it owns, in the order in which it comes up. Its
// methods are safe for concurrent use.
type Node struct {
	cfg  Config
	id   string
	join []string // HTTP addresses of members to ask to be added

	dir         *dataDir
	listener    net.Listener
	http        string // host:port that others reach HTTP under
	respLinks   net.Listener
	respAddress string // host:port that clients reach the Redis protocol under; empty: nowhere
	link        core.Link
	raft        string // address that others reach Raft under
	store       *kv.Store
	logs        core.LogStore
	hasState    bool                         // so says the engine
	incarnation string                       // of logs; empty: from before there were any
	agent       *gossip.Agent                // nil without gossip
	founders    []core.Member                // of the group that this node founds, sorted by id; nil: it founds none
	handler     atomic.Pointer[http.Handler] // another takes its place while it serves
	server      *http.Server                 // owns listener
	replica     core.Replica                 // owns link and logs
	spans       *trace.Buffer                // of the replica; nil: it is not traced
	api         *httpapi.Server
	resp        *respapi.Server  // nil without the Redis protocol; owns respLinks
	steward     *steward.Steward // nil without gossip

	respEnded chan error // why the Redis protocol is not served any more; nothing while it is, or in order

	serving  chan struct{} // closed when the server has ended
	serveErr error         // why; set before serving is closed
	expelled chan struct{} // closed when the engine has left its group
	ending   chan struct{} // closed when the node is to stop
	endOnce  sync.Once
	running  context.Context // of the tasks
	endTasks context.CancelFunc
	tasks    sync.WaitGroup
}

// Run runs a node until ctx ends, which is an orderly end, or the node cannot go on.
// What cannot be mended without a hand says what to type.
func Run(ctx context.Context, cfg Config) error {
	n, err := Start(ctx, cfg)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) { // it was still waiting for others
		cfg.Logger.Info("stopped before it had a group", "cause", context.Cause(ctx), "was", err)
		return nil
	}
	if err != nil {
		return wayBack(err, cfg)
	}
	failure := n.Wait(ctx)
	switch {
	case failure != nil:
		cfg.Logger.Error("stopping", "cause", failure)
	case cfg.Gossip != nil && cfg.Gossip.LeaveOnStop:
		n.leaveAtLast()
	}
	if err := errors.Join(failure, n.Stop()); err != nil {
		return wayBack(fmt.Errorf("%s: %w", n.id, err), cfg)
	}
	cfg.Logger.Info("stopped")
	return nil
}

// Start brings a node up; the caller stops it. With gossip it waits for the
// other founders. On an error nothing is left running; it is a core.ErrInvalid where the
// settings and what the folder holds contradict each other. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (_ *Node, err error) {
	n := &Node{
		cfg: cfg, store: kv.New(),
		serving: make(chan struct{}), respEnded: make(chan error, 1), expelled: make(chan struct{}), ending: make(chan struct{}),
	}
	n.running, n.endTasks = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, n.release())
		}
	}()
	for _, step := range []func(context.Context) error{
		n.openDir, n.listen, // before anything is written
		n.checkName, n.identify, n.openStore, n.discover, n.startReplica, n.serve, n.startTasks,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Version returns that of raftlab, as linked into this program.
func Version() string {
	version, _ := core.Program()
	return version
}

// HTTPAddress returns where clients and other nodes reach the node, as host:port.
func (n *Node) HTTPAddress() string { return n.http }

// openDir locks the folder and settles the node's ID.
func (n *Node) openDir(context.Context) (err error) {
	if n.dir, err = openDataDir(n.cfg.Data); err != nil {
		return err
	}
	want := identity{ID: n.cfg.ID, Backend: n.cfg.Backend, Engine: n.cfg.Engine.Describe().Name}
	if err := n.dir.check(want, n.cfg.InMemory); err != nil {
		return err
	}
	n.id = cmp.Or(n.cfg.ID, n.cfg.RaftBind)
	if n.dir.identity != nil {
		n.id = n.dir.identity.ID
	}
	return n.dir.settle(nil)
}

func (n *Node) listen(context.Context) (err error) {
	if n.listener, err = net.Listen("tcp", n.cfg.HTTPBind); err != nil {
		return fmt.Errorf("--haddr %s: %w", n.cfg.HTTPBind, err)
	}
	n.http = advertised(n.cfg.HTTPAdvertise, n.listener.Addr())
	if n.cfg.RESPBind != "" {
		if n.respLinks, err = net.Listen("tcp", n.cfg.RESPBind); err != nil {
			return fmt.Errorf("--resp %s: %w", n.cfg.RESPBind, err)
		}
		n.respAddress = advertised(n.cfg.RESPAdvertise, n.respLinks.Addr())
	}
	if n.link, err = n.cfg.Network.Listen(n.cfg.RaftBind); err != nil {
		return fmt.Errorf("--raddr %s: %w", n.cfg.RaftBind, err)
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
func (n *Node) checkName(context.Context) error {
	if n.dir.identity == nil && len(n.id) > discovery.MaxIDBytes {
		return fmt.Errorf("%w: the id %s has %d bytes, and %d are allowed: give a shorter --id", core.ErrInvalid, n.id, len(n.id), discovery.MaxIDBytes)
	}
	if n.cfg.Gossip == nil {
		return nil
	}
	self := n.self()
	self.Incarnation = core.NewIncarnation() // the node's own is not known yet, and no longer
	cfg := n.gossipConfig(self)
	return cfg.Check()
}

// self is what the node tells the others of itself.
func (n *Node) self() discovery.Self {
	return discovery.Self{Incarnation: n.incarnation, RaftAddress: n.raft, HTTPAddress: n.http, Voter: !n.cfg.Nonvoter, HasState: n.hasState}
}

// identify writes node.json where the folder is new, and settles which nodes are
// asked to add this one to their group. A node that was to join a group before must not
// found one: it would part from the group that knows it.
func (n *Node) identify(context.Context) error {
	if n.dir.nodes != nil {
		n.join = n.cfg.Join
		return n.dir.sign()
	}
	begin := identity{ID: n.id, Backend: n.cfg.Backend, Engine: n.cfg.Engine.Describe().Name, Created: time.Now().UTC()}
	if n.dir.identity != nil {
		begin = *n.dir.identity
	}
	if len(n.cfg.Join) > 0 {
		begin.Join = n.cfg.Join
	}
	begin.Gossip = begin.Gossip || n.cfg.Gossip != nil
	n.join = begin.Join
	if len(n.join) == 0 && n.cfg.Gossip == nil && n.cfg.Nonvoter {
		return fmt.Errorf("%w: --nonvoter without --join: a founder of a group needs its vote", core.ErrInvalid)
	}
	if n.cfg.InMemory {
		return nil
	}
	return n.dir.claim(begin)
}

func (n *Node) logStart() {
	n.cfg.Logger.Info("kvnode starts", "version", Version(), "id", n.id, "data", n.cfg.Data)
	if i := n.dir.identity; i != nil && len(i.Recovered) > 0 {
		r := i.Recovered[len(i.Recovered)-1]
		n.cfg.Logger.Info("its group was recovered", "group", r.Group, "from", r.From, "at", r.At, "kept_index", r.Index, "kept_term", r.Term)
	}
	n.cfg.Logger.Info("HTTP listening", "address", n.listener.Addr().String(), "advertised", n.http)
	if n.respLinks != nil {
		n.cfg.Logger.Info("Redis protocol listening", "address", n.respLinks.Addr().String(), "advertised", n.respAddress)
	}
	n.cfg.Logger.Info("Raft listening", "address", n.raft, "transport", n.cfg.Network.Describe().Name, "engine", n.cfg.Engine.Describe().Name)
}

// openStore opens the log store and looks whether there is a group to go on with.
func (n *Node) openStore(context.Context) (err error) {
	n.logStart()
	if n.logs, err = n.cfg.OpenStore(n.dir.logPath()); err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	store := n.logs.Describe()
	n.cfg.Logger.Info("log store open", "backend", store.Name, "durability", store.Durability, "persistence", n.cfg.Tuning.Persistence)
	if n.cfg.InMemory {
		n.cfg.Logger.Warn("all is in memory: what this node holds, and its vote, are lost when it ends")
	}
	if err := n.incarnate(); err != nil {
		return err
	}
	if !n.cfg.InMemory && !n.hasState && n.dir.identity.Gossip && n.cfg.Gossip == nil {
		return fmt.Errorf("%w: %s was started with --gossip and has no group yet, but may have promised others to found one: give --gossip again, or another directory",
			core.ErrInvalid, n.id)
	}
	return nil
}

func (n *Node) startReplica(context.Context) (err error) {
	cfg := core.ReplicaConfig{
		ID: n.id, Incarnation: n.incarnation, Joined: n.joined(), Service: n.http, FSM: n.store, Logs: n.logs, Link: n.link, Bootstrap: n.founders,
		Tuning: n.cfg.Tuning, Logger: n.cfg.Logger,
	}
	if n.cfg.Trace {
		if n.spans, err = trace.NewBuffer(trace.DefaultCapacity); err != nil {
			return err
		}
		cfg.Trace = n.spans
	}
	if !n.cfg.InMemory {
		cfg.SnapshotDir = n.dir.statePath()
	}
	switch {
	case n.agent != nil:
		cfg.Locate = n.agent.RaftAddress
	case len(n.cfg.Peers) > 0:
		cfg.Locate = func(id string) (address string, known bool) {
			address, known = n.cfg.Peers[id]
			return address, known
		}
	}
	replica, err := n.cfg.Engine.Start(cfg)
	if err != nil {
		return fmt.Errorf("start on the data in %s: %w", n.dir.path, err)
	}
	n.replica = replica
	return nil
}

// startTasks starts what goes on beside the requests; stop waits for it.
func (n *Node) startTasks(ctx context.Context) error {
	n.electSelf(ctx)
	n.tasks.Go(func() { n.watch(n.running) })
	if n.agent != nil {
		k := &keeper{Node: n, told: n.self()}
		n.tasks.Go(func() { k.run(n.running) })
		n.tasks.Go(func() { n.electFirst(n.running) })
		return n.startSteward()
	}
	m := &membership{Node: n, joining: len(n.join) > 0, remembered: n.dir.nodes}
	n.tasks.Go(func() { m.run(n.running) })
	return nil
}

// Wait returns nil once ctx ends, or why the node cannot go on.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		n.cfg.Logger.Info("stopping", "cause", context.Cause(ctx))
		return nil
	case <-n.ending:
		n.cfg.Logger.Info("stopping", "cause", "this node has left its group")
		return nil
	case <-n.replica.Done():
		return fmt.Errorf("the replica stopped: %w", n.replica.Err())
	case <-n.expelled:
		return errors.New("the replica stopped: it was removed from its group while it led it; " + asNew(n.id))
	case <-n.serving:
		return fmt.Errorf("serve HTTP: %w", n.serveErr)
	case err := <-n.respEnded:
		return fmt.Errorf("serve the Redis protocol: %w", err)
	}
}
