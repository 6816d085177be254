package httpapi_test

import (
	"fmt"
	"testing"

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
