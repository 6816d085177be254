package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
	"github.com/themilchenko/raftlab/kv/client"
)

// Start starts the nodes that do not run and returns once all are ready, agree
// on one leader and are in its configuration.
//
// Only while no node has state and none runs does the file's leader found the
// cluster: it is started first, and the others join it once it leads. Otherwise
// all are started together, and a node without state joins those that have some,
// the file's leader too: it never founds a second cluster.
//
// Nodes that gossip are always started together. While none belongs to a cluster
// they found one, all voters of the file at once; otherwise none may.
//
// The errors of nodes are [*StartError]s, joined. When one node fails the others
// are not waited for, and stay as they are; of a Foreground cluster, those that
// this call started are killed.
func (c *Cluster) Start(ctx context.Context) error {
	return c.starting(ctx, func(s *situation) error {
		if err := s.start(ctx, c.file.Nodes, ready); err != nil {
			return err
		}
		return c.awaitAgreement(ctx, s.nodes, s.attempts)
	})
}

// StartNodes starts some of the nodes, in the way of [Cluster.Start], and returns
// once they are ready. While most nodes of the file do not run they cannot become
// that; then StartNodes returns once they answer.
func (c *Cluster) StartNodes(ctx context.Context, aliases ...string) error {
	var wanted []clusterfile.Node
	for _, alias := range aliases {
		n, err := c.node(alias)
		if err != nil {
			return err
		}
		if !contains(wanted, alias) {
			wanted = append(wanted, n)
		}
	}
	return c.starting(ctx, func(s *situation) error {
		met, err := s.attainable(wanted)
		if err != nil {
			return err
		}
		return s.start(ctx, wanted, met)
	})
}

// situation is what a start finds, and then what it has brought about.
type situation struct {
	cluster  *Cluster
	nodes    *client.Client
	found    []NodeStatus    // at first, of all nodes of the file
	attempts []*attempt      // of the nodes that run
	stateful map[string]bool // nodes that have state of a cluster
}

// starting looks at what is there, calls start and cleans up after it.
func (c *Cluster) starting(ctx context.Context, start func(*situation) error) error {
	if err := os.MkdirAll(c.dataDir(), 0o755); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	return c.Exclusively(ctx, func() error {
		if err := c.Foreign(); err != nil {
			return err
		}
		nodes, err := client.New(addresses(c.file.Nodes), client.Options{})
		if err != nil {
			return err
		}
		defer nodes.Close()
		s := &situation{cluster: c, nodes: nodes, found: c.status(ctx, nodes), stateful: make(map[string]bool)}
		defer s.close()
		if err := s.look(); err != nil {
			return err
		}
		if err = start(s); err != nil && c.opts.Foreground {
			err = errors.Join(err, s.undo())
		}
		return err
	})
}

// look gets hold of the nodes that run, and sees which have state of a cluster. A node
// that gossips may have it without a file that says so: if it keeps nothing on disk.
func (s *situation) look() error {
	file := s.cluster.file
	for i, n := range file.Nodes {
		p, err := s.cluster.running(n.Alias)
		if err != nil {
			return err
		}
		if p != nil {
			s.attempts = append(s.attempts, &attempt{node: n, process: p, moved: time.Now()})
		}
		_, err = os.Stat(s.cluster.statePath(n.Alias))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		status := s.found[i].Status
		hasLog := file.Gossips() && p != nil && status != nil && status.Me.LastIndex > 0
		s.stateful[n.Alias] = err == nil || hasLog
	}
	return nil
}

func (s *situation) close() {
	for _, a := range s.attempts {
		a.process.close()
	}
}

// undo kills what this call started.
func (s *situation) undo() error {
	var errs []error
	for _, a := range s.attempts {
		if a.ours {
			errs = append(errs, s.cluster.end(a.node.Alias))
		}
	}
	return errors.Join(errs...)
}

// attempt returns that of a node that runs, nil if it does not.
func (s *situation) attempt(alias string) *attempt {
	for _, a := range s.attempts {
		if a.node.Alias == alias {
			return a
		}
	}
	return nil
}

// start brings up the nodes, first the one that founds the cluster where one has to.
func (s *situation) start(ctx context.Context, wanted []clusterfile.Node, met condition) error {
	if err := s.unobstructed(wanted); err != nil {
		return err
	}
	if s.cluster.file.Gossips() || len(s.established()) > 0 {
		return s.bringUp(ctx, wanted, met)
	}
	founder, err := s.cluster.founder()
	if err != nil {
		return err
	}
	if err := s.bringUp(ctx, []clusterfile.Node{founder}, leads); err != nil {
		return err
	}
	return s.bringUp(ctx, without(wanted, founder.Alias), met)
}

// bringUp starts those of the nodes that do not run and waits for all of them.
func (s *situation) bringUp(ctx context.Context, wanted []clusterfile.Node, met condition) error {
	flags := make([][]string, len(wanted)) // before any start: no node joins one that is new itself
	for i, n := range wanted {
		flags[i] = s.discovery(n)
	}
	var attempts []*attempt
	for i, n := range wanted {
		a := s.attempt(n.Alias)
		if a == nil {
			var err error
			if a, err = s.cluster.launch(n, flags[i]); err != nil {
				return err
			}
			s.attempts = append(s.attempts, a)
		} else {
			s.cluster.tell(s.cluster.startEvent(AlreadyRunning, a))
		}
		attempts = append(attempts, a)
	}
	return s.cluster.awaitAll(ctx, s.nodes, attempts, met)
}

// unobstructed returns an error for each of the nodes that has something in its way
// that can be seen before any is started.
func (s *situation) unobstructed(wanted []clusterfile.Node) error {
	var errs []error
	for i, n := range s.cluster.file.Nodes {
		other := s.found[i].answers
		switch a := s.attempt(n.Alias); {
		case !contains(wanted, n.Alias):
		case a != nil:
			errs = append(errs, s.cluster.usable(a))
		case other != nil: // it would be asked in place of ours, which would fail only at its port
			errs = append(errs, fmt.Errorf("start %s: %s is answered by another node: id %q, pid %d, which is none of %s: it is another cluster's, or was started from another folder: stop it there, or give %[1]s another http_address",
				n.Alias, n.HTTPAddress, other.ID, other.PID, s.cluster.Dir(n.Alias)))
		}
	}
	return errors.Join(errs...)
}

// usable returns an error if a node that runs already would never answer: it is
// paused, or serves another address. Its log tells nothing of that.
func (c *Cluster) usable(a *attempt) error {
	var obstacle error
	if paused, err := a.process.paused(); err == nil && paused {
		obstacle = fmt.Errorf("it is paused: %s lets it go on", c.Command("resume "+a.node.Alias))
	} else if serves := flagOf(commandLine(a.process.pid), "haddr"); serves != "" && serves != a.node.HTTPAddress {
		obstacle = fmt.Errorf("process %d in %s serves %s, not %s: it was started from another cluster file, or this one has changed since: %s ends it; or give this cluster another data_dir",
			a.process.pid, c.Dir(a.node.Alias), serves, a.node.HTTPAddress, c.Command("stop "+a.node.Alias))
	}
	if obstacle == nil {
		return nil
	}
	return &StartError{Alias: a.node.Alias, LogPath: c.LogPath(a.node.Alias), Err: obstacle}
}

// flagOf returns the value of a flag on a command line, "" if it is not there.
func flagOf(args []string, name string) string {
	for i, arg := range args {
		given, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case given != name || !strings.HasPrefix(arg, "-"):
		case joined:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}

// attainable returns what can become of nodes that are started without the others.
func (s *situation) attainable(wanted []clusterfile.Node) (condition, error) {
	file := s.cluster.file
	running := slices.Clone(wanted)
	for _, a := range s.attempts {
		if !contains(wanted, a.node.Alias) {
			running = append(running, a.node)
		}
	}
	noCluster := func(format string, args ...any) error {
		return fmt.Errorf("start %s: there is no cluster to join yet: "+format, append([]any{list(wanted)}, args...)...)
	}
	switch {
	case len(s.established()) > 0 && 2*len(running) <= len(file.Nodes):
		return serves, nil
	case len(s.established()) > 0:
		return ready, nil
	case file.Gossips():
		if all := voters(file, file.Nodes); voters(file, running) < all {
			return nil, noCluster("%d nodes found it together: %s starts them all", all, s.cluster.Command("start"))
		}
		return ready, nil
	}
	founder, err := s.cluster.founder()
	if err == nil && !contains(wanted, founder.Alias) {
		err = noCluster("%s founds it: %s starts it first", founder.Alias, s.cluster.Command("start "+founder.Alias))
	}
	return ready, err
}

// founder returns the node that founds the cluster.
func (c *Cluster) founder() (clusterfile.Node, error) {
	if c.file.Leader == "" {
		return clusterfile.Node{}, fmt.Errorf("%s: %w: add leader: %s, or another node that is to found the cluster; or let the nodes gossip",
			c.file.Path, ErrNoLeader, c.file.Nodes[0].Alias)
	}
	return c.node(c.file.Leader)
}

// established lists the nodes that belong to a cluster as far as can be seen
// from here.
func (s *situation) established() []clusterfile.Node {
	return slices.DeleteFunc(slices.Clone(s.cluster.file.Nodes), func(n clusterfile.Node) bool {
		enters := s.attempt(n.Alias) != nil && !s.cluster.file.Gossips() // it founds or joins, as it was told
		return !s.stateful[n.Alias] && !enters
	})
}

// discovery returns the flags that tell a node how to find the others.
//
// With a leader they say which nodes it asks to be let in. A node with state is mostly
// in already, which it finds out itself; but it may have been stopped before it was. The
// file's leader with state is the founder, which no other needs to let in.
func (s *situation) discovery(n clusterfile.Node) []string {
	switch others := without(s.established(), n.Alias); {
	case s.cluster.file.Gossips():
		return s.gossip(n)
	case n.Alias == s.cluster.file.Leader && s.stateful[n.Alias], len(others) == 0:
		return nil
	default:
		return []string{"-join", strings.Join(addresses(others), ",")}
	}
}

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
		expect = min(voters(file, file.Nodes), founding.MaxExpect) // the others join these
	}
	flags := []string{"-gossip", n.GossipAddress}
	var others []string
	for _, other := range without(file.Nodes, n.Alias) {
		others = append(others, other.GossipAddress)
	}
	if len(others) > 0 {
		flags = append(flags, "-gossip-join", strings.Join(others, ","))
	}
	flags = append(flags, "-bootstrap-expect", strconv.Itoa(expect), "-cluster", file.ClusterName)
	if file.GossipKey != "" {
		flags = append(flags, "-gossip-key", file.Resolve(file.GossipKey))
	}
	return flags
}

// profile returns the flags that give a node the timings for one machine, if all nodes
// are on one and the file does not say which it wants.
func (c *Cluster) profile(n clusterfile.Node) []string {
	if setting(c.file, n, "profile") != nil || setting(c.file, n, "gossip-profile") != nil || slices.ContainsFunc(c.file.Nodes, onNetwork) {
		return nil
	}
	return []string{"-profile", "local"}
}

// onNetwork reports whether a node talks to other machines.
func onNetwork(n clusterfile.Node) bool {
	for _, address := range []string{n.RPCAddress, n.GossipAddress} {
		host, _, err := net.SplitHostPort(address)
		ip, ipErr := netip.ParseAddr(host)
		if address != "" && (err != nil || !strings.EqualFold(host, "localhost") && (ipErr != nil || !ip.IsLoopback())) {
			return true
		}
	}
	return false
}

// voters counts those of the nodes that the file wants to vote.
func voters(f *clusterfile.File, nodes []clusterfile.Node) (count int) {
	for _, n := range nodes {
		if votes(f, n) {
			count++
		}
	}
	return count
}

func votes(f *clusterfile.File, n clusterfile.Node) bool { return setting(f, n, "nonvoter") != true }

// setting returns what the file says of a setting of kvnode, which takes '_' for '-';
// nil if it says nothing.
func setting(f *clusterfile.File, n clusterfile.Node, name string) any {
	for key, v := range f.Settings(n) {
		if strings.ReplaceAll(key, "_", "-") == name {
			return v
		}
	}
	return nil
}

func contains(nodes []clusterfile.Node, alias string) bool {
	return slices.ContainsFunc(nodes, func(n clusterfile.Node) bool { return n.Alias == alias })
}

func without(nodes []clusterfile.Node, alias string) []clusterfile.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n clusterfile.Node) bool { return n.Alias == alias })
}

// list names nodes.
func list(nodes []clusterfile.Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Alias)
	}
	return strings.Join(names, ", ")
}
