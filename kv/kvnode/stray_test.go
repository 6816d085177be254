package kvnode

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStrayNode: nodes with the leader's id gossip among a group's. Neither one with the
// data of another group nor one without any gets the writes that are forwarded to the
// leader.
func TestStrayNode(t *testing.T) {
	t.Parallel()
	ours, strays := newCrowd(t), newCrowd(t)
	first := ours.started("node1", "--bootstrap-expect", "3")
	for _, id := range []string{"node2", "node3"} {
		ours.started(id, "--bootstrap-expect", "3", "--gossip-join", first.gossip)
	}
	leader := ours.agreed("node1 node2 node3")
	stray := strays.started(leader, "--bootstrap-expect", "1")
	strays.put(strays.agreed(leader), "whose", "theirs")
	until(t, func() error {
		_, err := os.Stat(filepath.Join(strays.dir, leader, nodesName))
		return err
	})
	stray.kill()
	strays.started(leader, "--gossip-join", first.gossip)
	ours.acknowledges(leader, "a")

	// A follower comes back and hears of the stray node first.
	follower := "node2"
	if leader == follower {
		follower = "node3"
	}
	ours.nodes[follower].kill()
	ours.started(follower, "--gossip-join", strays.nodes[leader].gossip)
	ours.agreed("node1 node2 node3")
	ours.acknowledges(leader, "b")

	empty := newCrowd(t)
	empty.started(leader, "--gossip-join", first.gossip)
	ours.acknowledges(leader, "c")
	if id := ours.agreed("node1 node2 node3"); id != leader {
		t.Logf("%s leads", id)
	}
	answer, err := ask(http.MethodGet, strays.nodes[leader].http+"/key/whose?consistency=stale", "")
	if err != nil || !strings.HasSuffix(answer, `{"whose":"theirs"}`) {
		t.Errorf("the stray node: %s %v", answer, err)
	}
}

// acknowledges writes by every node, and reads back all that was acknowledged.
func (c *crowd) acknowledges(leader, prefix string) {
	c.t.Helper()
	var keys []string
	for round := range 20 {
		for id := range c.nodes {
			key := fmt.Sprintf("%s-%s-%d", prefix, id, round)
			answer, err := ask(http.MethodPut, c.nodes[id].http+"/key/"+key, "v")
			if err != nil {
				c.t.Fatal(err)
			}
			if strings.HasPrefix(answer, "200 ") {
				keys = append(keys, key)
			}
		}
	}
	if len(keys) < 50 {
		c.t.Errorf("%d of 60 writes were acknowledged", len(keys))
	}
	lost := 0
	for _, key := range keys {
		if answer, err := ask(http.MethodGet, c.nodes[leader].http+"/key/"+key, ""); err != nil || !strings.HasPrefix(answer, "200 ") {
			lost++
		}
	}
	if lost > 0 {
		c.t.Errorf("%d of %d acknowledged writes are not in the group", lost, len(keys))
	}
}
