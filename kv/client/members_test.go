package client_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// answers serves one value, whatever is asked.
func answers(t *testing.T, v any) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderNode, "n")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}).address
}

// TestNodesWithoutAGroup: their answers do not end the search for one that has a group,
// wherever it is among them; where nobody has one, theirs is the answer.
func TestNodesWithoutAGroup(t *testing.T) {
	type everything struct { // both answers at once
		api.Members
		api.Status
	}
	n1 := api.Peer{ID: "n1", Address: "h:1"}
	alone := func() string { return answers(t, everything{}) }
	grouped := answers(t, everything{
		api.Members{Members: []api.Member{{Peer: n1, Voter: true, Leader: true}}},
		api.Status{Leader: &n1},
	})
	for name, endpoints := range map[string][]string{
		"first":  {grouped, alone(), alone(), refusing(t)},
		"second": {alone(), grouped, refusing(t), alone()},
		"third":  {alone(), refusing(t), grouped, alone()},
		"last":   {alone(), alone(), refusing(t), grouped},
	} {
		c := open(t, endpoints...)
		if members, err := c.Members(within(t, 10*time.Second)); err != nil || len(members) != 1 {
			t.Errorf("%s: members %v, %v", name, members, err)
		}
		if s, err := c.Status(within(t, 10*time.Second)); err != nil || s.Leader == nil {
			t.Errorf("%s: status %+v, %v", name, s, err)
		}
	}
	c := open(t, alone(), refusing(t), alone())
	if members, err := c.Members(within(t, 10*time.Second)); err != nil || len(members) != 0 {
		t.Errorf("members %v, %v", members, err)
	}
	if s, err := c.Status(within(t, 10*time.Second)); err != nil || s.Leader != nil {
		t.Errorf("status %+v, %v", s, err)
	}
}
