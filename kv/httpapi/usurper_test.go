package httpapi_test

import (
	"testing"

	"github.com/themilchenko/raftlab/kv/api"
)

// TestJoinUnderTheLeadersID: two nodes of one id would take the place from each
// other for ever.
func TestJoinUnderTheLeadersID(t *testing.T) {
	g := start(t, 3, nil)
	leader := g.nodes[0]
	before := leader.replica.Status()
	for _, body := range []string{
		`{"id":"node1","address":"127.0.0.1:1","http_address":"` + leader.address() + `"}`,
		`{"id":"node1","address":"` + before.Address + `","http_address":"127.0.0.1:1"}`,
		`{"id":"node1","address":"127.0.0.1:1","http_address":"127.0.0.1:1"}`,
	} {
		g.do(g.nodes[1], "POST", "/join", body).refused(t, 400, api.CodeBadRequest, "kvnode --id ANOTHER-ID")
	}
	g.must(g.nodes[1], "POST", "/join", `{"id":"node1","address":"`+before.Address+`","http_address":"`+leader.address()+`"}`)
	if after := leader.replica.Status(); after.LastIndex != before.LastIndex {
		t.Errorf("entries up to %d were written, from %d", after.LastIndex, before.LastIndex)
	}
}
