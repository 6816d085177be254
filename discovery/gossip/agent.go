package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// Agent is one node that gossips. All methods are safe for concurrent use.
type Agent struct {
	cfg       Config
	logger    *slog.Logger
	once      *once
	logs      *logs
	gate      gate // for all that memberlist calls
	table     *table
	transport *transport
	ring      *memberlist.Keyring // nil: not encrypted
	list      *memberlist.Memberlist
	address   string

	mu      sync.Mutex // held for no call of memberlist: it calls back with locks of its own
	local   meta       // what the others are to know
	encoded []byte
	memory  Memory

	saving     sync.Mutex // one remember at a time
	pushing    sync.Mutex // one push at a time
	reloading  sync.Mutex // one ReloadKeys at a time
	founding   atomic.Bool
	waiting    atomic.Value  // string: what Bootstrap waits for
	disputed   atomic.Int64  // until when to assume that others know this node under another address, Unix ns
	contacted  atomic.Bool   // another node was reached under an address of Join, or all addresses were
	wake       chan struct{} // makes keepJoined look at once
	ctx        context.Context
	cancel     context.CancelFunc
	goroutines sync.WaitGroup

	life   sync.Mutex // Leave and Close exclude each other
	left   atomic.Bool
	closed bool
}

// Start joins the gossip. ctx bounds the start only. The node is alive to the
// others until Leave or Close.
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	a := &Agent{
		cfg:    cfg,
		logger: cfg.Logger.With("component", "gossip"),
		once:   newOnce(),
		table:  newTable(time.Now, cfg.Profile.patience()+2*cfg.Profile.PushPullInterval),
		wake:   make(chan struct{}, 1),
	}
	a.logs = &logs{logger: cfg.Logger, once: a.once, gate: &a.gate}
	if err := a.recall(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := a.listen(ctx); err != nil {
		a.cancel()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	a.goroutines.Go(a.keepJoined)
	a.goroutines.Go(a.keepPeers)
	a.goroutines.Go(a.chooseGroup)
	return a, nil
}

// recall loads what the node has promised and makes its first metadata.
func (a *Agent) recall() error {
	memory, err := a.cfg.Memory.Load()
	if err != nil {
		return err
	}
	a.memory = memory
	a.local = a.cfg.meta()
	a.local.life = rand.Uint64()
	if !a.local.HasState {
		if err := a.recallPromise(); err != nil {
			return err
		}
	}
	if a.encoded, err = a.local.encode(); err != nil {
		return err
	}
	return a.local.fits(a.cfg.Expect)
}

// recallPromise is recall for a node without state.
func (a *Agent) recallPromise() error {
	m := a.memory
	if m.Member {
		return fmt.Errorf("%s is remembered as a member of group %s, but it has no data: bring its log back, "+
			"or start it in a new directory with --gossip-join: %w", a.cfg.ID, m.Group, core.ErrLogLost)
	}
	a.local.Group = m.Group
	if m.Group != "" && !m.Founded && a.cfg.Expect > 0 {
		a.logger.Warn("not founding a group: this node waits to be added to one, and may have been", "group", m.Group)
		a.cfg.Expect, a.local.expect = 0, 0
	}
	return a.local.promise(m.Promise)
}

// listen opens the sockets and creates the library's node on them.
func (a *Agent) listen(ctx context.Context) error {
	conf := a.cfg.memberlist()
	ip, port, err := resolve(ctx, "bind", a.cfg.Bind)
	if err != nil {
		return err
	}
	if a.cfg.Advertise != "" {
		if conf.AdvertiseAddr, conf.AdvertisePort, err = resolve(ctx, "advertised", a.cfg.Advertise); err != nil {
			return err
		}
	}
	if a.cfg.KeyFile != "" {
		keys, err := ReadKeys(a.cfg.KeyFile)
		if err != nil {
			return err
		}
		if a.ring, err = memberlist.NewKeyring(keys, keys[0]); err != nil {
			return err
		}
		conf.Keyring = a.ring
	}
	conf.Logger = a.logs.standard()
	network, err := a.openSockets(ip, port, conf)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", a.cfg.Bind, err)
	}
	a.transport = newTransport(network)
	conf.Transport = a.transport
	d := &delegate{a}
	conf.Delegate, conf.Events, conf.Conflict, conf.Merge, conf.Alive = d, d, d, d, d
	list, err := memberlist.Create(conf)
	if err != nil {
		return errors.Join(err, a.transport.Shutdown())
	}
	a.list = list
	self := list.LocalNode()
	a.address = net.JoinHostPort(self.Addr.String(), strconv.Itoa(int(self.Port)))
	return nil
}

// openSockets listens on TCP and UDP. With port 0 the one that the system gives for
// TCP can be taken on UDP, so that it takes more than one try.
func (a *Agent) openSockets(ip string, port int, conf *memberlist.Config) (memberlist.NodeAwareTransport, error) {
	ip = cmp.Or(ip, "0.0.0.0")
	conf.BindAddr = ip
	var network *memberlist.NetTransport
	var err error
	for range 10 {
		network, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{ip}, BindPort: port, Logger: conf.Logger,
		})
		if err == nil || port != 0 || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	conf.BindPort = network.GetAutoBindPort()
	if conf.AdvertiseAddr != "" && conf.AdvertisePort == 0 {
		conf.AdvertisePort = conf.BindPort
	}
	if a.cfg.Decorate != nil {
		return a.cfg.Decorate(network), nil
	}
	return network, nil
}

// Address returns the host:port that the others reach this node's gossip under.
func (a *Agent) Address() string { return a.address }

// Stats returns what was sent and received since the start.
func (a *Agent) Stats() Stats { return a.transport.stats() }

// Peers returns what is known of all nodes, this one included, sorted by id. The slice is
// the caller's.
func (a *Agent) Peers() []discovery.Peer { return a.table.list() }

// Changes returns a channel that is closed at the next change of what Peers returns. Call
// it before Peers, so that no change is missed.
func (a *Agent) Changes() <-chan struct{} { return a.table.changes() }

// Know tells the agent what the group's configuration is, as this node knows it: from
// then on, of several nodes that gossip under the id of a member, only the one with the
// member's data goes for it. members must not block, nor call the agent.
func (a *Agent) Know(members func() []core.Member) { a.table.know(members) }

// HTTPAddress returns where the node id serves HTTP, as host:port, or did before it
// failed. It is what was said of it, and proves nothing: core.Acquainted knows members by
// what they have proved.
func (a *Agent) HTTPAddress(id string) (string, bool) {
	m, _, ok := a.table.find(id)
	return m.HTTPAddress, ok && m.HTTPAddress != ""
}

// RaftAddress returns where the node id says that it answers Raft. It suits
// core.ReplicaConfig.Locate.
func (a *Agent) RaftAddress(id string) (string, bool) {
	m, state, ok := a.table.find(id)
	return m.RaftAddress, ok && state == discovery.Alive
}

// Announce replaces what the others are told of this node, but for its incarnation. Call
// it once the replica has state: from then on no node founds another group beside it. It
// does not wait for the others. With an error they go on to know what they knew.
func (a *Agent) Announce(self discovery.Self) error {
	self.Incarnation = a.cfg.Self.Incarnation
	if self.HasState {
		if err := a.remember(func(m *Memory) { m.Group, m.Member = self.Group, true }); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
	}
	err := a.publish(func(m *meta) error {
		if !self.HasState {
			self.Group = a.memory.Group
		}
		m.Self = self
		if self.HasState {
			m.expect, m.proposal, m.promised, m.founder = 0, nil, false, ""
			return nil
		}
		return m.promise(a.memory.Promise)
	})
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// ReloadKeys reads the key file again. To change the key without a stop: append the
// new key to the file of each node and reload all; then make it the first line
// everywhere and reload all; then remove the old one and reload all.
func (a *Agent) ReloadKeys() error {
	if a.ring == nil {
		return fmt.Errorf("gossip keys: %w: this node was started without a key file", core.ErrInvalid)
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	keys, err := ReadKeys(a.cfg.KeyFile)
	if err != nil {
		return err
	}
	if err := install(a.ring, keys); err != nil {
		return fmt.Errorf("gossip keys: %s: %w", a.cfg.KeyFile, err)
	}
	a.logger.Info("keys reloaded", "file", a.cfg.KeyFile, "keys", len(keys))
	return nil
}

// publish changes what the others are told of this node.
// change is called with a.mu held.
func (a *Agent) publish(change func(*meta) error) error {
	if err := a.change(change); err != nil {
		return err
	}
	a.push()
	return nil
}

func (a *Agent) change(change func(*meta) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.local
	if err := change(&m); err != nil {
		return err
	}
	m.revision++
	encoded, err := m.encode()
	if err != nil {
		return err
	}
	a.local, a.encoded = m, encoded
	return nil
}

// push hands the metadata to memberlist until it has taken it: an update that
// crosses an objection ("I am not dead") of the same node is lost in there.
func (a *Agent) push() {
	a.pushing.Lock()
	defer a.pushing.Unlock()
	for range 5 {
		a.mu.Lock()
		encoded := string(a.encoded)
		a.mu.Unlock()
		if a.left.Load() || a.table.encoded(a.cfg.ID) == encoded {
			return
		}
		// It is queued at once. That it was sent is not waited for: the library
		// can miss that.
		_ = a.list.UpdateNode(time.Nanosecond)
	}
}

// remember changes what is stored. It writes without a.mu: memberlist's calls wait
// for that.
func (a *Agent) remember(change func(*Memory)) error {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	before := a.memory
	a.mu.Unlock()
	after := before
	change(&after)
	if after.equal(before) {
		return nil
	}
	if err := a.cfg.Memory.Save(after); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.memory = after
	return nil
}

// Close stops without a word: to the others the node has failed, unless it left. It waits
// for the goroutines. Idempotent.
func (a *Agent) Close() error {
	a.cancel()
	a.life.Lock()
	defer a.life.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.gate.close() // connections that break from here on are no news
	err := a.list.Shutdown()
	a.goroutines.Wait()
	if err != nil {
		return fmt.Errorf("close gossip: %w", err)
	}
	return nil
}
