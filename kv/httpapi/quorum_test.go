package httpapi_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// TestJoinOfNobody: who does not answer where it says that it is is not added, with a
// vote or without.
func TestJoinOfNobody(t *testing.T) {
	g := start(t, 1, nil)
	leader := g.nodes[0]
	gone, err := g.network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Address()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	there := g.newcomer("n2")
	for id, address := range map[string]string{"n2": nobody, "n3": there.replica.Status().Address} {
		for _, nonvoter := range []bool{false, true} {
			body := fmt.Sprintf(`{"id":%q,"address":%q,"http_address":"h:1","nonvoter":%t}`, id, address, nonvoter)
			g.do(leader, "POST", "/join", body).refused(t, 400, api.CodeBadRequest, "does not answer")
		}
	}
	g.must(leader, "PUT", "/key/k", "v")
	g.must(leader, "POST", "/join", joinBody(there, true))
	g.must(leader, "POST", "/join", joinBody(there, false))
	if got := g.memberList(leader); got != "n2, node1 (leader)" {
		t.Errorf("members: %s", got)
	}
}

// TestRemoveKeepsAQuorum: of three, one of which is gone, no other can be removed
// before that one is.
func TestRemoveKeepsAQuorum(t *testing.T) {
	g := start(t, 3, nil)
	leader := g.nodes[0]
	if err := g.nodes[1].replica.Close(); err != nil {
		t.Fatal(err)
	}
	g.do(leader, "DELETE", "/members/node3", "").
		refused(t, 503, api.CodeNotReady, "of the 2 voters that would be left 1 answer")
	g.must(leader, "DELETE", "/members/node2", "")
	g.must(leader, "DELETE", "/members/node3", "")
	g.must(leader, "PUT", "/key/k", "v")
}

// TestJoinTellsNothingOfPorts: whoever asks learns by it whether a node answers Raft, and
// nothing else of the addresses that it names, neither from the answer nor from how
// long that takes.
func TestJoinTellsNothingOfPorts(t *testing.T) {
	g := start(t, 1, nil)
	other := g.newcomer("other")
	greets := listen(t, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0\r\n")) })
	answers := map[string]string{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for what, address := range map[string]string{
		"closed": freeAddress(t), "silent": hangs(t), "another protocol": greets, "another node": other.replica.Status().Address,
		"the leader's own": g.nodes[0].address(),
	} {
		wait.Go(func() {
			begun := time.Now()
			r := g.do(g.nodes[0], "POST", "/join", fmt.Sprintf(`{"id":"n2","address":%q,"http_address":"h:1"}`, address))
			if took := time.Since(begun); took < 2*time.Second {
				t.Errorf("%s: answered after %s already", what, took)
			}
			if _, err := r.isRefused(400, api.CodeBadRequest, "n2 does not answer"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[what] = strings.ReplaceAll(r.body, address, "ADDRESS")
		})
	}
	wait.Wait()
	for what, answer := range answers {
		if answer != answers["closed"] {
			t.Errorf("%s is told from a closed port:\n%s\n%s", what, answer, answers["closed"])
		}
	}
}

// TestLongID: an id that gossip could not carry is refused before anything is stored.
func TestLongID(t *testing.T) {
	g := start(t, 1, nil)
	leader := g.nodes[0]
	before := leader.replica.Status().LastIndex
	id := strings.Repeat("i", 65)
	for _, nonvoter := range []bool{true, false} {
		n := g.newcomer(id)
		g.do(leader, "POST", "/join", joinBody(n, nonvoter)).refused(t, 400, api.CodeBadRequest, "at most 64")
	}
	if after := leader.replica.Status().LastIndex; after != before {
		t.Errorf("entries up to %d were written, from %d", after, before)
	}
	fits := g.newcomer(id[:64])
	g.must(leader, "POST", "/join", joinBody(fits, false))
}
