package fault

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Client is whoever uses a door and is none of the network's processes.
const Client = ""

// link is one direction between two processes.
type link struct{ from, to string }

// state of a link. The zero value is a good one.
type state struct {
	cut   bool
	delay time.Duration
}

// Network is the links between processes, each under a name. A new one does no harm.
// Its methods may be called concurrently.
type Network struct {
	mu      sync.Mutex
	pids    map[string]int
	packets map[netip.AddrPort]string // whose packets come from there
	links   map[link]state
	changed chan struct{} // closed and renewed with every change of links
	doors   map[*Door]struct{}
}

// NewNetwork returns a network without processes.
func NewNetwork() *Network {
	return &Network{
		pids: map[string]int{}, packets: map[netip.AddrPort]string{}, links: map[link]state{},
		changed: make(chan struct{}), doors: map[*Door]struct{}{},
	}
}

// Process says which process has a name from now on, and where its packets come from.
func (n *Network) Process(name string, pid int, packets ...netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pids[name] = pid
	for _, address := range packets {
		n.packets[address] = name
	}
}

// Cut holds back all that goes from one process to another: it is neither delivered
// nor refused.
func (n *Network) Cut(from, to string) { n.set(from, to, func(s *state) { s.cut = true }) }

// Slow delays all that goes from one process to another.
func (n *Network) Slow(from, to string, delay time.Duration) {
	n.set(from, to, func(s *state) { s.delay = delay })
}

func (n *Network) set(from, to string, change func(*state)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.links[link{from, to}]
	change(&s)
	n.links[link{from, to}] = s
	n.announce()
}

// Break resets all connections between two processes for the first of them. The other
// does not learn of it before it has got all that was sent, which on a cut link is when
// that heals.
func (n *Network) Break(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.doors {
		d.breakOff(link{from, to})
	}
}

// Heal makes all links good. What was held back is delivered, however late, or, with
// reset, lost together with the connections that it was on.
func (n *Network) Heal(reset bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.doors {
		if reset {
			d.resetHeld(n.links)
		}
	}
	n.links = map[link]state{}
	n.announce()
}

func (n *Network) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// look returns the state of a link, and a channel that is closed once it may be another.
func (n *Network) look(l link) (state, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[l], n.changed
}

// whose returns the name of the process that connected from one address to another.
func (n *Network) whose(from, to netip.AddrPort) (string, error) {
	inode, err := inodeOf(from, to)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	pids := maps.Clone(n.pids)
	n.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(pids)) {
		if inodes(pids[name])[inode] {
			return name, nil
		}
	}
	return Client, nil
}

func (n *Network) packetsOf(from netip.AddrPort) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.packets[from]
}

// Close closes all doors and waits until nothing passes any more.
func (n *Network) Close() {
	n.mu.Lock()
	doors := slices.Collect(maps.Keys(n.doors))
	n.mu.Unlock()
	for _, d := range doors {
		d.Close()
	}
}
