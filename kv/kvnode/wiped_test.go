package kvnode

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// shown is a node as /members and /status show it.
type shown struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"`
	Voter       bool   `json:"voter"`
	HTTPAddress string `json:"http_address"`
}

// joinFounder are the flags of a trio whose first node founds the group.
func joinFounder(backend string) func(file *clusterfile.File, i int) []string {
	return func(file *clusterfile.File, i int) []string {
		flags := []string{"--backend", backend}
		if i > 0 {
			flags = append(flags, "--join", file.Nodes[0].HTTPAddress)
		}
		return flags
	}
}

func (c *trio) node(id string) clusterfile.Node {
	c.t.Helper()
	for _, n := range c.file.Nodes {
		if n.Alias == id {
			return n
		}
	}
	c.t.Fatalf("no node %s", id)
	return clusterfile.Node{}
}

func (c *trio) folder(id string) string { return filepath.Join(c.dir, id) }

// again starts a node that has ended on the ports that it had.
func (c *trio) again(id string, args ...string) *process {
	c.t.Helper()
	n := c.node(id)
	flags := append([]string{"--id", id, "--haddr", n.HTTPAddress, "--raddr", n.RPCAddress, "--raft-option", "heartbeat_timeout=300ms"}, args...)
	for deadline := time.Now().Add(patience); ; { // a killed process may hold its ports a little
		p, err := launch(c.dir, filepath.Join(c.dir, id+".log"), append(flags, c.folder(id))...)
		if err != nil {
			c.t.Fatal(err)
		}
		c.nodes[id] = p
		found, err := p.find("msg=\"Raft listening\"|address already in use|kvnode: .*")
		if err != nil {
			c.t.Fatal(err)
		}
		if found[0] != "address already in use" || time.Now().After(deadline) {
			return p
		}
		p.kill()
	}
}

func (c *trio) wipe(id string) {
	c.t.Helper()
	c.nodes[id].kill()
	if err := os.RemoveAll(c.folder(id)); err != nil {
		c.t.Fatal(err)
	}
}

// whole waits until every node counts all as voters, with the data that they have.
func (c *trio) whole() {
	c.t.Helper()
	for _, n := range c.file.Nodes {
		until(c.t, func() error {
			m, err := get[struct{ Members []shown }](&gossiper{http: n.HTTPAddress}, "/members")
			if err != nil {
				return err
			}
			if len(m.Members) != len(c.file.Nodes) {
				return fmt.Errorf("%s counts %d members: %+v", n.Alias, len(m.Members), m.Members)
			}
			for _, member := range m.Members {
				s, err := get[struct{ Me shown }](&gossiper{http: c.node(member.ID).HTTPAddress}, "/status")
				if err != nil {
					return err
				}
				if !member.Voter || member.Incarnation != s.Me.Incarnation {
					return fmt.Errorf("%s counts %+v, which is %+v", n.Alias, member, s.Me)
				}
			}
			return nil
		})
	}
}

// write sets a key through a node, until it is acknowledged.
func (c *trio) write(id, key, value string) {
	c.t.Helper()
	until(c.t, func() error {
		answer, err := ask("PUT", c.node(id).HTTPAddress+"/key/"+key, value)
		if err == nil && !strings.HasPrefix(answer, "200") {
			err = fmt.Errorf("write %s: %s", key, answer)
		}
		return err
	})
}

// reads waits until a linearizable read of the key is answered by each node, and then
// wants the value.
func (c *trio) reads(key, value string, ids ...string) {
	c.t.Helper()
	for _, id := range ids {
		answer := ""
		until(c.t, func() (err error) {
			answer, err = ask("GET", c.node(id).HTTPAddress+"/key/"+key, "")
			if err == nil && !strings.HasPrefix(answer, "200") && !strings.HasPrefix(answer, "404") {
				err = fmt.Errorf("read %s: %s", key, answer)
			}
			return err
		})
		if want := fmt.Sprintf(`200 {%q:%q}`, key, value); answer != want {
			c.t.Errorf("%s of %s: %s, want %s", key, id, answer, want)
		}
	}
}

func (c *trio) join(ids ...string) []string {
	var at []string
	for _, id := range ids {
		at = append(at, c.node(id).HTTPAddress)
	}
	return []string{"--join", strings.Join(at, ",")}
}

// TestWipedVoter: a voter that comes back without its data does not vote in its old
// place. With a third member that lags it would elect one that has never heard of
// what the group has acknowledged.
func TestWipedVoter(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"bolt", "mdb"} {
		t.Run(backend, func(t *testing.T) {
			c := newTrio(t, joinFounder(backend))
			c.whole()
			c.write("node1", "before", "1")
			c.nodes["node3"].kill()
			c.write("node1", "acknowledged", "1")
			c.wipe("node2")
			c.nodes["node1"].kill()
			lagging := c.again("node3", "--backend", backend)
			wiped := append(c.join("node1", "node3"), "--backend", backend)
			c.again("node2", wiped...)
			// The lagging one asks for the votes of both, in vain.
			if _, err := lagging.find(`leader is node[23]|whose data are not those of the member`); err != nil {
				t.Fatal(err)
			}
			c.again("node1", "--backend", backend)
			c.whole()
			c.reads("acknowledged", "1", "node1", "node2", "node3")
			// The new vote counts: without node1 the group goes on.
			c.nodes["node1"].kill()
			c.write("node2", "after", "1")
			c.reads("acknowledged", "1", "node2", "node3")
		})
	}
}

// TestWipedFounder: a founder that comes back without its data, started as it was the
// first time, founds a group of its own, and the two do not mix. As one that joins it
// comes back to the one there is.
func TestWipedFounder(t *testing.T) {
	c := newTrio(t, joinFounder("bolt"))
	c.whole()
	c.write("node2", "k", "ours")
	c.wipe("node1")
	c.write("node2", "k2", "ours")
	alone := c.again("node1")
	c.write("node1", "k", "its own")
	if _, err := alone.find(`refused what comes from no member of this group.*in a new directory with --join`); err != nil {
		t.Error(err)
	}
	led := false
	for _, id := range []string{"node2", "node3"} {
		led = led || strings.Contains(c.nodes[id].output(), "two groups that use the same ports")
	}
	if !led {
		t.Error("the leader does not say that there are two groups")
	}
	c.reads("k", "ours", "node2", "node3")
	c.wipe("node1")
	c.again("node1", c.join("node2", "node3")...)
	c.whole()
	c.reads("k", "ours", "node1", "node2", "node3")
}

// TestEmptiedLog: a snapshot, or the list of members, that is left beside a log without
// a term does not make it a log. The error says what to type.
func TestEmptiedLog(t *testing.T) {
	t.Parallel()
	empty := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	for name, damage := range map[string]struct {
		backend string
		empty   func(folder string) error
	}{
		"bolt emptied": {"bolt", func(folder string) error { return empty(filepath.Join(folder, "log", "raft.db")) }},
		"bolt removed": {"bolt", func(folder string) error { return os.Remove(filepath.Join(folder, "log", "raft.db")) }},
		"mdb emptied":  {"mdb", func(folder string) error { return empty(filepath.Join(folder, "log", "mdb", "data.mdb")) }},
		"mdb removed":  {"mdb", func(folder string) error { return os.Remove(filepath.Join(folder, "log", "mdb", "data.mdb")) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTrio(t, joinFounder(damage.backend))
			c.whole()
			c.write("node1", "k", "1")
			for _, left := range []string{"snapshot", "node.json"} {
				c.write("node2", "k", "1")
				n2 := c.node("node2")
				if answer, err := ask("POST", n2.HTTPAddress+"/snapshot", ""); err != nil || !strings.HasPrefix(answer, "200") {
					t.Fatal(answer, err)
				}
				until(t, func() error { _, err := os.Stat(filepath.Join(c.folder("node2"), nodesName)); return err })
				c.nodes["node2"].kill()
				if err := damage.empty(c.folder("node2")); err != nil {
					t.Fatal(err)
				}
				remove := []string{nodesName}
				if left == "node.json" {
					remove = append(remove, snapshotsName)
				}
				for _, other := range remove {
					if err := os.RemoveAll(filepath.Join(c.folder("node2"), other)); err != nil {
						t.Fatal(err)
					}
				}
				join := c.join("node1", "node3")
				p := c.again("node2", append(join, "--backend", damage.backend)...)
				if code, err := p.exit(); err != nil || code != exitFailed {
					t.Fatalf("beside %s: exit code %d, %v", left, code, err)
				}
				if !strings.Contains(p.output(), "(mv "+c.folder("node2")+" ") || !strings.Contains(p.output(), "--join ") {
					t.Errorf("beside %s:\n%s", left, p.output())
				}
				if err := os.Rename(c.folder("node2"), c.folder("node2")+"."+left); err != nil {
					t.Fatal(err)
				}
				c.again("node2", append(join, "--backend", damage.backend)...)
				c.whole()
				c.reads("k", "1", "node2")
			}
		})
	}
}

// TestOldGroupsNode: a node of a former group is started on the ports that it had,
// which a new group with the same ids has now.
func TestOldGroupsNode(t *testing.T) {
	t.Parallel()
	c := newTrio(t, joinFounder("bolt"))
	c.whole()
	for i := range 50 { // the older log is the longer one
		c.write("node1", fmt.Sprintf("old%d", i), "old")
	}
	c.kill()
	for _, n := range c.file.Nodes {
		if err := os.Rename(c.folder(n.Alias), c.folder(n.Alias)+".old"); err != nil {
			t.Fatal(err)
		}
	}
	c.again("node1")
	c.again("node2", c.join("node1")...)
	c.again("node3", c.join("node1")...)
	c.whole()
	c.write("node1", "k", "new")
	c.nodes["node3"].kill()
	if err := os.RemoveAll(c.folder("node3")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.folder("node3")+".old", c.folder("node3")); err != nil {
		t.Fatal(err)
	}
	c.again("node3")
	c.write("node1", "k2", "new")
	c.nodes["node1"].kill()
	n2 := c.nodes["node2"]
	if _, err := n2.find(`leader is node3|refused.* two groups that use the same ports`); err != nil {
		t.Fatal(err)
	}
	answer, err := ask("PUT", c.node("node3").HTTPAddress+"/key/k?timeout=300ms", "old")
	if err != nil || strings.HasPrefix(answer, "200") {
		t.Errorf("the old group's node takes a write: %s %v", answer, err)
	}
	c.again("node1")
	c.reads("k", "new", "node1", "node2")
	c.reads("k2", "new", "node1", "node2")
	for _, id := range []string{"node1", "node2"} {
		if answer, err := ask("GET", c.node(id).HTTPAddress+"/key/old1", ""); err != nil || !strings.HasPrefix(answer, "404") {
			t.Errorf("a key of the old group at %s: %s %v", id, answer, err)
		}
	}
	if _, err := c.nodes["node3"].find(`in a new directory with --join`); err != nil {
		t.Error(err)
	}
}

// TestCrashWhileReplaced kills the node that joins anew, or the leader that replaces
// it, at any moment: what is done is gone on with.
func TestCrashWhileReplaced(t *testing.T) {
	t.Parallel()
	c := newTrio(t, joinFounder("bolt"))
	c.whole()
	for round := range 4 {
		c.write("node3", fmt.Sprintf("round%d", round), "1")
		c.wipe("node2")
		victims := []string{"node2", "node1"}
		for range 3 {
			join := c.join("node1", "node3")
			c.again("node2", join...)
			victim := victims[rand.N(len(victims))]
			moment := rand.N(400 * time.Millisecond)
			t.Logf("round %d: %s is killed after %s", round, victim, moment)
			time.Sleep(moment) // any moment will do
			c.nodes[victim].kill()
			if victim == "node1" {
				c.again("node1")
			}
			c.nodes["node2"].kill()
		}
		c.again("node2")
		c.whole()
		for r := range round + 1 {
			c.reads(fmt.Sprintf("round%d", r), "1", "node1", "node2", "node3")
		}
	}
}

// TestSecondNodeOfAnID: a second node with the id of a member, or of the leader, is told
// what to do, and what others know of the member stays.
func TestSecondNodeOfAnID(t *testing.T) {
	c := newTrio(t, joinFounder("bolt"))
	c.whole()
	c.write("node1", "k", "1")
	for _, id := range []string{"node1", "node2"} {
		args := append([]string{"--id", id, "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0"}, c.join("node3")...)
		p, err := launch(c.dir, filepath.Join(c.dir, "second."+id+".log"), append(args, filepath.Join(c.dir, "second."+id))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		if _, err := p.find("kvnode --id ANOTHER-ID"); err != nil {
			t.Error(err)
		}
	}
	for _, at := range c.file.Nodes {
		m, err := get[struct{ Members []shown }](&gossiper{http: at.HTTPAddress}, "/members")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range m.Members {
			if want := c.node(m.ID).HTTPAddress; m.HTTPAddress != want {
				t.Errorf("%s knows %s at %s, want %s", at.Alias, m.ID, m.HTTPAddress, want)
			}
		}
	}
	c.whole()
}
