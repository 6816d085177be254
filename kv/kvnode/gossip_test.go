package kvnode

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/themilchenko/raftlab/kv/api"
)

// TestFoundTogether: five nodes started at once, in any order, each knowing only one
// other, become one group.
func TestFoundTogether(t *testing.T) {
	t.Parallel()
	for run := range 4 {
		t.Run(fmt.Sprint(run+1), func(t *testing.T) {
			c := newCrowd(t)
			c.mustFound()
			leader := c.agreed(five)
			c.put(leader, "key", fmt.Sprint(run))
			for id := range c.nodes {
				c.awaitKey(id, "key", fmt.Sprint(run))
			}
		})
	}
}

// TestFirstElection: a new group elects its leader at once, and does not wait until
// heartbeats are missed.
func TestFirstElection(t *testing.T) {
	c := newCrowd(t)
	c.timeout = "1h"
	c.mustFound()
	if leader := c.agreed(five); leader != "node1" {
		t.Errorf("%s leads", leader)
	}
}

// TestOtherEngine: nodes on etcd/raft found a group, one joins, the leader is killed, and what
// was acknowledged is there; a folder of theirs is no other engine's.
func TestOtherEngine(t *testing.T) {
	c := newCrowd(t)
	c.engine = "etcd"
	c.mustFound()
	leader := c.agreed(five)
	c.put(leader, "first", "1")
	c.started("node6", "--gossip-join", c.nodes[leader].gossip)
	c.agreed(five + " node6")
	c.awaitKey("node6", "first", "1")
	c.nodes[leader].kill()
	delete(c.nodes, leader)
	c.put("node6", "second", "2")
	for id := range c.nodes {
		c.awaitKey(id, "first", "1")
		c.awaitKey(id, "second", "2")
	}
	c.engine = "hashicorp"
	other := c.start(leader)
	defer delete(c.nodes, leader)
	if code, err := other.exit(); err != nil || code != exitFailed || !strings.Contains(other.output(), "give --engine etcd or another directory") {
		t.Errorf("exit code %d, %v\n%s", code, err, other.output())
	}
}

// TestLife: a node joins and leaves; two crash and come back elsewhere.
func TestLife(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.mustFound()
	leader := c.agreed(five)
	c.put(leader, "first", "1")
	c.forwards(leader)

	six := c.started("node6", "--gossip-join", c.nodes["node3"].gossip)
	c.agreed(five + " node6")
	c.awaitKey("node6", "first", "1")
	if answer, err := ask(http.MethodDelete, c.nodes["node1"].http+"/members/node6", ""); err != nil || !strings.Contains(answer, "POST /leave") {
		t.Errorf("removal of a node that would be added again: %s %v", answer, err)
	}
	if answer, err := ask(http.MethodPost, six.http+"/leave", ""); err != nil || answer != "200 " {
		t.Fatalf("leave: %s %v", answer, err)
	}
	if code, err := six.exit(); err != nil || code != 0 {
		t.Fatalf("exit code %d %v\n%s", code, err, six.output())
	}
	delete(c.nodes, "node6")
	c.agreed(five)
	c.awaitStates("node1", "node1 alive node2 alive node3 alive node4 alive node5 alive node6 left", "")

	// Two crash, the leader among them.
	leader = c.agreed(five)
	other := "node1"
	if leader == other {
		other = "node2"
	}
	dead := map[string]*gossiper{leader: c.nodes[leader], other: c.nodes[other]}
	for id, g := range dead {
		g.kill()
		delete(c.nodes, id)
	}
	c.agreed(five)
	alive := slices.Sorted(maps.Keys(c.nodes))
	c.put(alive[0], "meanwhile", "2")
	states := strings.ReplaceAll(five, " ", " alive ") + " alive"
	for id := range dead {
		states = strings.Replace(states, id+" alive", id+" failed", 1)
	}
	for _, id := range alive {
		c.awaitStates(id, states+" node6 left", "")
	}
	for id := range dead {
		c.started(id, "--gossip-join", c.nodes[alive[1]].gossip, "--bootstrap-expect", "5")
	}
	c.agreed(five)
	for id, before := range dead {
		c.awaitKey(id, "meanwhile", "2")
		if now := c.nodes[id]; now.http == before.http || now.raft == before.raft || now.gossip == before.gossip {
			t.Errorf("%s came back on an old port", id)
		}
	}
	for id := range c.nodes {
		c.awaitStates(id, strings.ReplaceAll(states, "failed", "alive"), "node6")
	}
	c.put(c.agreed(five), "after", "3")
	for id := range c.nodes {
		c.awaitKey(id, "after", "3")
		c.knows(id)
	}

	// All crash. What they were told at first does not make them found another group.
	all := maps.Clone(c.nodes)
	for _, g := range all {
		g.kill()
	}
	for id, g := range all {
		c.started(id, "--raddr", g.raft, "--gossip", g.gossip, "--gossip-join", all["node1"].gossip, "--bootstrap-expect", "5")
	}
	c.put(c.agreed(five), "last", "4")
	for id := range c.nodes {
		c.awaitKey(id, "first", "1")
		c.awaitKey(id, "last", "4")
	}

	// All crash again, and come back where none of the others looks for them.
	all = maps.Clone(c.nodes)
	for _, g := range all {
		g.kill()
	}
	known := []string{"--bootstrap-expect", "5"}
	for id, before := range all {
		now := c.started(id, known...)
		known = []string{"--gossip-join", now.gossip, "--bootstrap-expect", "5"}
		if now.raft == before.raft {
			t.Errorf("%s came back on its old port", id)
		}
	}
	c.put(c.agreed(five), "moved", "5")
	for id := range c.nodes {
		c.awaitKey(id, "moved", "5")
		c.knows(id)
		c.awaitRaft(id)
	}
}

// forwards sees that any node takes a write and tells where the leader is.
func (c *crowd) forwards(leader string) {
	c.t.Helper()
	for id, g := range c.nodes {
		r, err := http.NewRequest(http.MethodPut, "http://"+g.http+"/key/by-"+id, strings.NewReader("v"))
		if err != nil {
			c.t.Fatal(err)
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		response, err := client.Do(r)
		if err != nil {
			c.t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK || response.Header.Get(api.HeaderLeader) != c.nodes[leader].http || response.Header.Get(api.HeaderNode) != id {
			c.t.Errorf("%s: %s %v", id, response.Status, response.Header)
		}
	}
}

// TestStrangers: who has another key or another cluster's name gets in nowhere, and
// is told so once; two clusters that know each other's addresses stay two.
func TestStrangers(t *testing.T) {
	key := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const right, wrong = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
	ours, theirs, intruders := newCrowd(t), newCrowd(t), newCrowd(t)
	ring := key("ring", right)
	our1 := ours.started("node1", "--bootstrap-expect", "2", "--gossip-key", ring)
	their1 := theirs.started("node1", "--bootstrap-expect", "2", "--gossip-key", ring, "--cluster", "theirs")
	ours.started("node2", "--bootstrap-expect", "2", "--gossip-key", ring, "--gossip-join", our1.gossip+","+their1.gossip)
	their2 := theirs.started("node2", "--bootstrap-expect", "2", "--gossip-key", ring, "--cluster", "theirs", "--gossip-join", their1.gossip+","+our1.gossip)
	ours.put(ours.agreed("node1 node2"), "whose", "ours")
	theirs.put(theirs.agreed("node1 node2"), "whose", "theirs")

	intruder := intruders.started("node3", "--gossip-key", key("wrong", wrong), "--gossip-join", our1.gossip)
	bare := intruders.started("node4", "--gossip-join", our1.gossip)
	for _, g := range []*gossiper{intruder, bare, their2} {
		if _, err := g.find("level=WARN msg=.*(refused|cannot join)"); err != nil {
			t.Error(err)
		}
	}
	for _, cause := range []string{"belongs to another cluster", "does not have this cluster's key|does not encrypt"} {
		if _, err := our1.find("level=WARN msg=.*refused: it " + "(" + cause + ")"); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(our1.output(), "belongs to another cluster"); n > 2 { // over UDP and over TCP
		t.Errorf("another cluster is logged %d times", n)
	}
	for c, value := range map[*crowd]string{ours: "ours", theirs: "theirs"} {
		c.agreed("node1 node2")
		for id := range c.nodes {
			c.awaitStates(id, "node1 alive node2 alive", "")
			c.awaitKey(id, "whose", value)
		}
	}
	intruders.awaitStates("node3", "node3 alive", "")

	// With the key it gets in, without a stop on either side.
	if err := os.WriteFile(ring, []byte(right+"\n"+wrong+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"node1", "node2"} {
		if err := ours.nodes[id].cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.nodes[id].find(`msg="keys reloaded".* keys=2`); err != nil {
			t.Fatal(err)
		}
	}
	intruder.kill()
	ours.started("node3", "--gossip-key", key("keys", wrong+"\n"+right), "--gossip-join", our1.gossip)
	ours.agreed("node1 node2 node3")
}
