package clusterfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Generate describes a new cluster of n nodes, node1 to noden, on host: leader
// node1, data_dir var, bin_path bin. The ports are free and differ from each
// other, and the system gives them to no outgoing connection; another program can
// still take one before the cluster starts.
func Generate(n int, host string) (*File, error) {
	f, err := generate(n, host, false)
	if err != nil {
		return nil, err
	}
	f.Leader = f.Nodes[0].Alias
	return f.checked()
}

// GenerateGossip is [Generate] of nodes that find each other by gossip, without a
// leader, under a cluster name that no other file has.
func GenerateGossip(n int, host string) (*File, error) {
	f, err := generate(n, host, true)
	if err != nil {
		return nil, err
	}
	f.ClusterName = "cluster-" + strings.ToLower(rand.Text()[:12])
	return f.checked()
}

func generate(n int, host string, gossip bool) (*File, error) {
	if n < 1 || n > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes: 1 to %d are possible", ErrInvalid, n, maxNodes)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return nil, fmt.Errorf("%w: host %q cannot be dialled by others", ErrInvalid, host)
	}
	f := &File{DataDir: "var", BinPath: "bin"}
	free := f.freePorts(host)
	for i := range n {
		f.Nodes = append(f.Nodes, free.node(fmt.Sprintf("node%d", i+1), gossip))
	}
	return f, free.close()
}

// NewNode describes a node beside those of the file, with ports of host that are free, as
// [Generate] has them, and that no node of the file has.
func (f *File) NewNode(alias, host string) (Node, error) {
	free := f.freePorts(host)
	n := free.node(alias, f.Gossips())
	return n, free.close()
}

// ServeRESP gives each node an address for the Redis protocol, on a port of host that is
// free, as [Generate] does.
func (f *File) ServeRESP(host string) error {
	free := f.freePorts(host)
	for i := range f.Nodes {
		f.Nodes[i].RESPAddress = free.tcp()
	}
	return free.close()
}

// checked returns the file if Parse would take it.
func (f *File) checked() (*File, error) {
	if _, err := f.Encode("generated.toml"); err != nil {
		return nil, err
	}
	return f, nil
}

// The ports that are tried: below those that systems give to outgoing connections
// (Linux from 32768, others from 49152), so that no connection takes a port of the
// cluster between two starts of a node.
const (
	firstPort = 10000
	lastPort  = 32767
)

// freePorts finds ports and keeps them open until close, so that none is found
// twice. After an error it finds nothing more; close returns the error.
type freePorts struct {
	host  string
	taken map[string]bool // ports of nodes that need not run
	open  []io.Closer
	err   error
}

func (f *File) freePorts(host string) freePorts {
	taken := map[string]bool{}
	for _, n := range f.Nodes {
		for _, address := range []string{n.HTTPAddress, n.RPCAddress, n.GossipAddress, n.RESPAddress} {
			if _, port, err := net.SplitHostPort(address); err == nil {
				taken[port] = true
			}
		}
	}
	return freePorts{host: host, taken: taken}
}

func (p *freePorts) node(alias string, gossips bool) Node {
	n := Node{Alias: alias, HTTPAddress: p.tcp(), RPCAddress: p.tcp()}
	if gossips {
		n.GossipAddress = p.both()
	}
	return n
}

// tcp returns the address of a free port.
func (p *freePorts) tcp() (address string) {
	if p.err != nil {
		return ""
	}
	const tries = 100 // a machine with half of the ports taken fails once in 2^100
	for range tries {
		port := strconv.Itoa(firstPort + mathrand.IntN(lastPort-firstPort+1))
		if p.taken[port] {
			p.err = syscall.EADDRINUSE
			continue
		}
		address = net.JoinHostPort(p.host, port)
		var l net.Listener
		if l, p.err = net.Listen("tcp", address); p.err == nil {
			p.open = append(p.open, l)
			return address
		}
		if !errors.Is(p.err, syscall.EADDRINUSE) {
			return ""
		}
	}
	return ""
}

// both returns the address of a port that is free for TCP and for UDP.
func (p *freePorts) both() (address string) {
	const tries = 20 // few programs hold a port for UDP alone
	var err error
	for range tries {
		address = p.tcp()
		if p.err != nil {
			return ""
		}
		var l net.PacketConn
		if l, err = net.ListenPacket("udp", address); err == nil {
			p.open = append(p.open, l)
			return address
		}
	}
	p.err = err
	return ""
}

func (p *freePorts) close() error {
	errs := []error{p.err}
	for _, l := range p.open {
		errs = append(errs, l.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("look for free ports on %q: %w", p.host, err)
	}
	return nil
}
