package process

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
	"github.com/themilchenko/raftlab/kv/client"
)

// gossip returns the flags of a node that finds the others by gossip.
//
// It may found a cluster only while no node of the file belongs to one, and then
// with all of the file's voters. So a node that is new, or has lost its state, never
// founds a second cluster: as long as one of the voters has state, they are not
// all there for it, even if its state was not seen from here.
func (s *situation) gossip(n clusterfile.Node) []string {
	file := s.cluster.file
	expect := 0
	if len(s.established()) == 0 && votes(file, n) {
		expect = min(len(voters(file, file.Nodes)), founding.MaxExpect) // the others join these
	}
	flags := []string{"-gossip", n.GossipAddress}
	var others []string
	for _, other := range file.Nodes {
		if other.Alias != n.Alias {
			others = append(others, other.GossipAddress)
		}
	}
	if len(others) > 0 {
		flags = append(flags, "-gossip-join", strings.Join(others, ","))
	}
	flags = append(flags, "-bootstrap-expect", strconv.Itoa(expect), "-cluster", file.ClusterName)
	if file.GossipKey != "" {
		flags = append(flags, "-gossip-key", file.Resolve(file.GossipKey))
	}
	if _, chosen := setting(file, n, "gossip-profile"); !chosen && local(file) {
		flags = append(flags, "-gossip-profile", "local")
	}
	return flags
}

// hasLog reports whether a node that runs says that it has got entries: those of the
// cluster that it belongs to.
func hasLog(ctx context.Context, nodes *client.Client, n clusterfile.Node) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := nodes.Node(n.HTTPAddress).Status(ctx)
	return err == nil && status.Me.ID == n.Alias && status.Me.LastIndex > 0
}

// voters returns those of the nodes that the file wants to vote.
func voters(f *clusterfile.File, nodes []clusterfile.Node) []clusterfile.Node {
	var voters []clusterfile.Node
	for _, n := range nodes {
		if votes(f, n) {
			voters = append(voters, n)
		}
	}
	return voters
}

func votes(f *clusterfile.File, n clusterfile.Node) bool {
	nonvoter, _ := setting(f, n, "nonvoter")
	return nonvoter != true
}

// setting returns what the file says of a setting of kvnode, which takes '_' for '-'.
func setting(f *clusterfile.File, n clusterfile.Node, name string) (value any, given bool) {
	for key, v := range f.Settings(n) {
		if strings.ReplaceAll(key, "_", "-") == name {
			return v, true
		}
	}
	return nil, false
}

// local reports whether all nodes gossip on this machine only.
func local(f *clusterfile.File) bool {
	for _, n := range f.Nodes {
		host, _, err := net.SplitHostPort(n.GossipAddress)
		if err != nil {
			return false
		}
		if ip, err := netip.ParseAddr(host); !strings.EqualFold(host, "localhost") && (err != nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
