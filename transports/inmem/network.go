// Package inmem is a network inside one process: it hands Raft's messages over
// as structs, without encoding them. It is the base line of every comparison of
// transports: what is left of the latency once moving bytes costs nothing.
//
// There is no wire, so nothing below the messages can be delayed or cut here,
// and no engine but one that speaks hashicorp/raft's messages can use it. It
// never copies a message: sender and receiver share it, and neither may change
// it (see core.Transport).
package inmem

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Name is the network's name in the catalogue.
const Name = "inmem"

// Defaults of [Options], those of hashicorp/raft's own network transport.
const (
	DefaultMaxInFlight = raft.DefaultMaxRPCsInFlight
	DefaultTimeout     = 10 * time.Second
)

// Options of a network. The zero value has the defaults.
type Options struct {
	// MaxInFlight is how many AppendEntries messages may be under way in one
	// pipeline. 1 turns pipelining off, as in hashicorp/raft; less than 1 means
	// DefaultMaxInFlight.
	MaxInFlight int

	// Timeout is how long a call waits for its answer; an InstallSnapshot waits
	// that long per 256 KiB. Not above 0 means DefaultTimeout.
	Timeout time.Duration
}

var _ core.Network = (*Network)(nil)

// Network connects the links that were made by its Listen, and nothing else.
// Make one with [New]. Safe for concurrent use.
type Network struct {
	opts Options

	mu    sync.RWMutex
	links map[raft.ServerAddress]*transport
	named int // addresses chosen so far
}

// New returns a network without links.
func New(opts Options) *Network {
	if opts.MaxInFlight < 1 {
		opts.MaxInFlight = DefaultMaxInFlight
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	return &Network{opts: opts, links: make(map[raft.ServerAddress]*transport)}
}

// Info describes the network.
func Info() core.NetworkInfo { return core.NetworkInfo{Name: Name} }

// Describe implements core.Network.
func (n *Network) Describe() core.NetworkInfo { return Info() }

// Listen implements core.Network. Any text is an address; an empty one, or one
// that ends in port 0, lets the network choose "mem-1", "mem-2" and so on.
func (n *Network) Listen(bind string) (core.Link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	address := raft.ServerAddress(bind)
	if bind == "" || strings.HasSuffix(bind, ":0") {
		address = n.choose()
	}
	if n.links[address] != nil {
		return core.Link{}, fmt.Errorf("inmem: listen on %s: %w", address, syscall.EADDRINUSE)
	}
	t := newTransport(n, address)
	n.links[address] = t
	return core.Link{Transport: t}, nil
}

// choose must be called with the lock held.
func (n *Network) choose() raft.ServerAddress {
	for {
		n.named++
		address := raft.ServerAddress("mem-" + strconv.Itoa(n.named))
		if n.links[address] == nil {
			return address
		}
	}
}

func (n *Network) find(address raft.ServerAddress) (*transport, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	t := n.links[address]
	if t == nil {
		return nil, fmt.Errorf("nobody listens there: %w", core.ErrNotFound)
	}
	return t, nil
}

func (n *Network) forget(t *transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, t.address)
}
