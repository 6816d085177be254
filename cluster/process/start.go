package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
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
	return c.starting(ctx, func(s *situation, nodes *client.Client) error {
		if err := s.start(ctx, nodes, c.file.Nodes, ready); err != nil {
			return err
		}
		return c.awaitAgreement(ctx, nodes, s.attempts)
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
		named := func(other clusterfile.Node) bool { return other.Alias == alias }
		if !slices.ContainsFunc(wanted, named) {
			wanted = append(wanted, n)
		}
	}
	return c.starting(ctx, func(s *situation, nodes *client.Client) error {
		met, err := s.attainable(wanted)
		if err != nil {
			return err
		}
		return s.start(ctx, nodes, wanted, met)
	})
}

// start brings up the nodes, first the one that founds the cluster where one has to.
func (s *situation) start(ctx context.Context, nodes *client.Client, wanted []clusterfile.Node, met condition) error {
	if err := s.unobstructed(ctx, nodes, wanted); err != nil {
		return err
	}
	if s.cluster.file.Gossips() || len(s.established()) > 0 {
		return s.bringUp(ctx, nodes, wanted, met)
	}
	founder, err := s.cluster.founder()
	if err != nil {
		return err
	}
	if err := s.bringUp(ctx, nodes, []clusterfile.Node{founder}, leads); err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(wanted), func(n clusterfile.Node) bool { return n.Alias == founder.Alias })
	return s.bringUp(ctx, nodes, rest, met)
}

// attainable returns what can become of nodes that are started without the others.
func (s *situation) attainable(wanted []clusterfile.Node) (condition, error) {
	file := s.cluster.file
	names := func(alias string) bool {
		return slices.ContainsFunc(wanted, func(n clusterfile.Node) bool { return n.Alias == alias })
	}
	running := slices.Clone(wanted)
	for _, a := range s.attempts {
		if !names(a.node.Alias) {
			running = append(running, a.node)
		}
	}
	switch {
	case len(s.established()) > 0 && 2*len(running) <= len(file.Nodes):
		return serves, nil
	case len(s.established()) > 0:
		return ready, nil
	case file.Gossips():
		if all, here := len(voters(file, file.Nodes)), len(voters(file, running)); here < all {
			return nil, fmt.Errorf("start %s: there is no cluster to join yet: %d nodes found it together: %s starts them all", list(wanted), all, s.cluster.Command("start"))
		}
		return ready, nil
	}
	founder, err := s.cluster.founder()
	if err == nil && !names(founder.Alias) {
		err = fmt.Errorf("start %s: there is no cluster to join yet: %s founds it: %s starts it first", list(wanted), founder.Alias, s.cluster.Command("start "+founder.Alias))
	}
	return ready, err
}

// list names nodes.
func list(nodes []clusterfile.Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Alias)
	}
	return strings.Join(names, ", ")
}

// founder returns the node that founds the cluster.
func (c *Cluster) founder() (clusterfile.Node, error) {
	if c.file.Leader == "" {
		return clusterfile.Node{}, fmt.Errorf("%s: %w: add leader: %s, or another node that is to found the cluster; or let the nodes gossip",
			c.file.Path, ErrNoLeader, c.file.Nodes[0].Alias)
	}
	return c.node(c.file.Leader)
}

// situation is what a start finds, and then what it has brought about.
type situation struct {
	cluster  *Cluster
	attempts []*attempt      // of the nodes that run
	stateful map[string]bool // nodes that have state of a cluster
}

// starting looks at what is there, calls start and cleans up after it.
func (c *Cluster) starting(ctx context.Context, start func(*situation, *client.Client) error) error {
	if err := os.MkdirAll(c.dataDir(), 0o755); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	return c.exclusively(ctx, func() (err error) {
		if err := c.Foreign(); err != nil {
			return err
		}
		nodes, err := client.New(addresses(c.file.Nodes), client.Options{})
		if err != nil {
			return err
		}
		defer nodes.Close()
		s := &situation{cluster: c, stateful: make(map[string]bool)}
		defer s.close()
		if err := s.look(ctx, nodes); err != nil {
			return err
		}
		if err = start(s, nodes); err != nil && c.opts.Foreground {
			err = errors.Join(err, s.undo())
		}
		return err
	})
}

func (s *situation) look(ctx context.Context, nodes *client.Client) error {
	for _, n := range s.cluster.file.Nodes {
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
		s.stateful[n.Alias] = err == nil || p != nil && s.cluster.file.Gossips() && hasLog(ctx, nodes, n)
	}
	return nil
}

func (s *situation) close() {
	for _, a := range s.attempts {
		a.process.close()
	}
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

// established lists the nodes that belong to a cluster as far as can be seen
// from here.
func (s *situation) established() []clusterfile.Node {
	var nodes []clusterfile.Node
	for _, n := range s.cluster.file.Nodes {
		enters := s.attempt(n.Alias) != nil && !s.cluster.file.Gossips() // it founds or joins, as it was told
		if s.stateful[n.Alias] || enters {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// discovery returns the flags that tell a node how to find the others.
//
// With a leader they say whom it asks to be let in. A node with state is mostly in
// already, which it finds out itself; but it may have been stopped before it
// was. The file's leader with state is the founder, whom nobody needs to let in.
func (s *situation) discovery(n clusterfile.Node) []string {
	if s.cluster.file.Gossips() {
		return s.gossip(n)
	}
	if n.Alias == s.cluster.file.Leader && s.stateful[n.Alias] {
		return nil
	}
	var others []clusterfile.Node
	for _, other := range s.established() {
		if other.Alias != n.Alias {
			others = append(others, other)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return []string{"-join", strings.Join(addresses(others), ",")}
}

// bringUp starts those of the nodes that do not run and waits for all of them.
func (s *situation) bringUp(ctx context.Context, nodes *client.Client, wanted []clusterfile.Node, met condition) error {
	flags := make([][]string, len(wanted)) // before any start: nobody joins a node that is new itself
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
			s.cluster.tell(Event{Kind: AlreadyRunning, Node: n, Leader: n.Alias == s.cluster.file.Leader, PID: a.process.id.pid})
		}
		attempts = append(attempts, a)
	}
	return s.cluster.awaitAll(ctx, nodes, attempts, met)
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
