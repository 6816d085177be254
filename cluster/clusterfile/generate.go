package clusterfile

import (
	"fmt"
	"net"
)

// Generate describes a new cluster of n nodes, node1 to noden, on host: leader
// node1, data_dir var, bin_path bin. The ports are free and differ from each
// other; another program can still take one before the cluster starts.
func Generate(n int, host string) (*File, error) {
	if n < 1 || n > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes: 1 to %d are possible", ErrInvalid, n, maxNodes)
	}
	addresses, err := freeAddresses(2*n, host)
	if err != nil {
		return nil, err
	}
	f := &File{DataDir: defaultDataDir, BinPath: defaultBinPath, Leader: "node1"}
	for i := range n {
		f.Nodes = append(f.Nodes, Node{
			Alias:       fmt.Sprintf("node%d", i+1),
			HTTPAddress: addresses[i],
			RPCAddress:  addresses[n+i],
		})
	}
	if _, err := f.Encode("generated.toml"); err != nil {
		return nil, err
	}
	return f, nil
}

// freeAddresses keeps every port open until all are chosen: the system gives
// none of them twice.
func freeAddresses(n int, host string) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("look for free ports on %q: %w", host, err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("look for free ports on %q: %w", host, err)
		}
		addresses = append(addresses, net.JoinHostPort(host, port))
	}
	return addresses, nil
}
