package kvnode

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/api"
)

// trio is three nodes that do not gossip, each a process with a folder of its own.
type trio struct {
	t     *testing.T
	dir   string
	file  *clusterfile.File // where they are
	nodes map[string]*process
}

// newTrio launches three nodes on free ports, each with the flags that args returns.
func newTrio(t *testing.T, args func(file *clusterfile.File, i int) []string) *trio {
	t.Helper()
	for range 5 {
		c := &trio{t: t, dir: t.TempDir(), nodes: map[string]*process{}}
		t.Cleanup(func() {
			for _, p := range c.nodes {
				p.kill()
			}
			if t.Failed() {
				for id, p := range c.nodes {
					t.Logf("%s:\n%s", id, p.output())
				}
			}
		})
		c.move()
		if c.launch(args) {
			return c
		}
	}
	t.Fatal("no free ports")
	return nil
}

// move has the nodes run on other ports from now on.
func (c *trio) move() {
	c.t.Helper()
	free, err := clusterfile.Generate(3, "127.0.0.1")
	if err != nil {
		c.t.Fatal(err)
	}
	c.file = free
}

// launch starts the nodes, and says whether the ports were free.
func (c *trio) launch(args func(file *clusterfile.File, i int) []string) bool {
	c.t.Helper()
	for i, n := range c.file.Nodes {
		flags := append([]string{"--id", n.Alias, "--haddr", n.HTTPAddress, "--raddr", n.RPCAddress, "--raft-option", "heartbeat_timeout=300ms"}, args(c.file, i)...)
		p, err := launch(c.dir, filepath.Join(c.dir, n.Alias+".log"), append(flags, filepath.Join(c.dir, n.Alias))...)
		if err != nil {
			c.t.Fatal(err)
		}
		c.nodes[n.Alias] = p
	}
	for _, p := range c.nodes {
		if found, err := p.find("msg=\"Raft listening\"|address already in use"); err != nil {
			c.t.Fatal(err)
		} else if strings.HasPrefix(found[0], "address") {
			c.kill()
			return false
		}
	}
	return true
}

func (c *trio) kill() {
	for _, p := range c.nodes {
		p.kill()
	}
}

// settled waits until every node knows all under the addresses of the file, and
// that they vote.
func (c *trio) settled() {
	c.t.Helper()
	want := ""
	for _, n := range c.file.Nodes {
		want += fmt.Sprintf(" %s at %s and %s", n.Alias, n.RPCAddress, n.HTTPAddress)
	}
	for _, n := range c.file.Nodes {
		until(c.t, func() error {
			m, err := get[api.Members](&gossiper{http: n.HTTPAddress}, "/members")
			got := ""
			for _, m := range m.Members {
				got += fmt.Sprintf(" %s at %s and %s", m.ID, m.Address, m.HTTPAddress)
				if !m.Voter {
					got += " without a vote"
				}
			}
			if err == nil && got != want {
				err = fmt.Errorf("%s knows%s, want%s", n.Alias, got, want)
			}
			return err
		})
	}
}

// TestJoinEachOther: nodes without a group that are told of each other get into the
// founder's, wherever in the list it is.
func TestJoinEachOther(t *testing.T) {
	for name, order := range map[string][]int{"founder last": {1, 2, 0}, "founder first": {0, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			newTrio(t, func(file *clusterfile.File, i int) []string {
				if i == 0 {
					return nil
				}
				var all []string
				for _, at := range order {
					all = append(all, file.Nodes[at].HTTPAddress)
				}
				return []string{"--join", strings.Join(all, ",")}
			}).settled()
		})
	}
}

// TestAllMoved: where all nodes of a group come back at new addresses at once, --peers
// has them find each other; they elect a leader, serve, and correct the configuration.
func TestAllMoved(t *testing.T) {
	t.Parallel()
	testMoved(t, (*trio).move)
}

// TestProcessesGoRound: each of three static nodes comes back at the Raft address that
// another one had. The configuration, which holds an address once, gets right.
func TestProcessesGoRound(t *testing.T) {
	t.Parallel()
	testMoved(t, func(c *trio) {
		n := c.file.Nodes
		n[0].RPCAddress, n[1].RPCAddress, n[2].RPCAddress = n[1].RPCAddress, n[2].RPCAddress, n[0].RPCAddress
	})
}

func testMoved(t *testing.T, move func(c *trio)) {
	t.Helper()
	c := newTrio(t, func(file *clusterfile.File, i int) []string {
		if i == 0 {
			return nil
		}
		return []string{"--join", file.Nodes[0].HTTPAddress}
	})
	c.settled()
	write := func(key string) {
		t.Helper()
		until(t, func() error {
			answer, err := ask("PUT", c.file.Nodes[1].HTTPAddress+"/key/"+key, "1")
			if err == nil && !strings.HasPrefix(answer, "200") {
				err = fmt.Errorf("%s", answer)
			}
			return err
		})
	}
	write("before")

	moved := false
	for range 5 { // ports may be taken
		c.kill()
		move(c)
		if moved = c.launch(func(file *clusterfile.File, _ int) []string {
			var peers []string
			for _, n := range file.Nodes {
				peers = append(peers, n.Alias+"="+n.RPCAddress)
			}
			return []string{"--peers", strings.Join(peers, ",")}
		}); moved {
			break
		}
	}
	if !moved {
		t.Fatal("no free ports")
	}
	write("after")
	c.settled()
	for _, n := range c.file.Nodes {
		for _, key := range []string{"before", "after"} {
			answer, err := ask("GET", n.HTTPAddress+"/key/"+key, "")
			if want := fmt.Sprintf(`200 {"%s":"1"}`, key); err != nil || answer != want {
				t.Errorf("%s: %s %v", n.Alias, answer, err)
			}
		}
	}
}
