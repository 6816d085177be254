package httpapi_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/themilchenko/raftlab/kv/api"
)

// TestReadYourWrites writes through any node and reads from any other right
// after: every linearizable read sees at least the writes that were acknowledged
// before it began.
func TestReadYourWrites(t *testing.T) {
	g := start(t, 3, nil)
	const clients, rounds = 4, 40
	var wait sync.WaitGroup
	for c := range clients {
		wait.Go(func() {
			dice := rand.New(rand.NewPCG(1, uint64(c)))
			for i := range rounds {
				path := fmt.Sprintf("/key/%d", c)
				index := g.must(g.nodes[dice.IntN(3)], "PUT", path, strconv.Itoa(i)).Header.Get(api.HeaderIndex)
				r := g.must(g.nodes[dice.IntN(3)], "GET", path, "")
				if want := fmt.Sprintf(`{"%d":"%d"}`, c, i); r.body != want || r.Header.Get("ETag") != `"`+index+`"` {
					t.Errorf("read %s at %s, want %s at %s", r.body, r.Header.Get("ETag"), want, index)
				}
			}
		})
	}
	wait.Wait()
}

// TestLevels reads on every level on every node, and then on one that has lost its
// leader, and on one that has stopped.
func TestLevels(t *testing.T) {
	g := start(t, 3, nil)
	leader, follower := g.nodes[0], g.nodes[2]
	g.must(leader, "PUT", "/key/k", "1")
	for _, n := range g.nodes {
		for _, level := range []string{api.Linearizable, api.Leader, api.Stale} {
			eventually(t, func() error {
				if r := g.do(n, "GET", "/key/k?consistency="+level, ""); r.body != `{"k":"1"}` {
					return fmt.Errorf("%s on %s: %d %s", level, n.id, r.StatusCode, r.body)
				}
				return nil
			})
		}
	}
	// Without the others the follower has no leader: it still answers stale reads.
	for _, n := range g.nodes[:2] {
		if err := n.replica.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		if id := g.must(follower, "GET", "/status", "").Header.Get(api.HeaderLeaderID); id != "" {
			return fmt.Errorf("%s still leads", id)
		}
		return nil
	})
	g.must(follower, "GET", "/key/k?consistency=stale&timeout=1ms", "")
	g.must(follower, "GET", "/key?consistency=stale", "")
	for _, c := range []struct{ method, target, body string }{
		{"GET", "/key/k?timeout=60ms", ""},
		{"GET", "/key?timeout=0.06", ""},
		{"GET", "/key/k?consistency=leader&timeout=60ms", ""},
		{"PUT", "/key/k?timeout=60ms", "2"},
		{"DELETE", "/key/k?timeout=60ms", ""},
		{"POST", "/key?timeout=60ms", `{"k":"2"}`},
		{"POST", "/transfer?timeout=60ms", ``},
		{"DELETE", "/members/node1?timeout=60ms", ""},
	} {
		g.do(follower, c.method, c.target, c.body).refused(t, 503, api.CodeNoLeader, "node3 knows no leader")
	}
	g.do(leader, "GET", "/key/k?consistency=stale", "").refused(t, 503, api.CodeStopped, "node1 has stopped")
	g.do(leader, "PUT", "/key/k", "2").refused(t, 503, api.CodeStopped, "node1 has stopped")
	g.do(leader, "GET", "/healthz", "").refused(t, 503, api.CodeStopped, "node1 has stopped")
	g.do(leader, "GET", "/readyz", "").refused(t, 503, api.CodeStopped, "node1 has stopped")
	g.must(follower, "GET", "/healthz", "")
	g.do(follower, "GET", "/readyz", "").refused(t, 503, api.CodeNotReady, "knows no leader")
	if role := decode[api.Status](t, g.must(leader, "GET", "/status", "")).Me.Role; role != "stopped" {
		t.Errorf("role %q", role)
	}
}

// TestForwardedOnce sees that a request goes to the leader at most once.
func TestForwardedOnce(t *testing.T) {
	g := start(t, 3, nil)
	leader, follower := g.nodes[0], g.nodes[1]
	by := forwardedTo(follower)
	for _, c := range []struct{ method, target, body string }{
		{"PUT", "/key/k", "v"},
		{"POST", "/key", `{"k":"v"}`},
		{"DELETE", "/key/k", ""},
		{"GET", "/key/k", ""},
		{"GET", "/key/k?consistency=leader", ""},
		{"POST", "/transfer", ""},
		{"DELETE", "/members/node3", ""},
		{"GET", "/internal/read-index", ""},
	} {
		e := g.do(follower, c.method, c.target, c.body, by...).refused(t, 503, api.CodeNotLeader, "not the leader")
		if e.Leader != leader.id {
			t.Errorf("%s %s: the leader is %q", c.method, c.target, e.Leader)
		}
	}
	g.must(leader, "PUT", "/key/k", "v", forwardedTo(leader)...)
	commands := g.commands()
	g.do(leader, "PUT", "/key/k", "v", by...).refused(t, 503, api.CodeNotLeader, "this is node node1")
	for at, name := range map[int]string{3: "id", 5: "incarnation", 7: "group"} {
		for _, value := range []string{"", "0123456789abcdef"} {
			headers := forwardedTo(leader)
			headers[at] = value
			if e := g.do(leader, "PUT", "/key/k", "v", headers...); e.StatusCode != 503 {
				t.Errorf("with %s %q: %d", name, value, e.StatusCode)
			}
		}
	}
	if g.commands() != commands {
		t.Error("a request for another node was served")
	}
}

// forwardedTo returns the headers of a request that was forwarded to n.
func forwardedTo(n *node) []string {
	status := n.replica.Status()
	return []string{api.HeaderForwarded, "node3", api.HeaderLeaderID, n.id,
		api.HeaderIncarnation, status.Incarnation, api.HeaderGroup, status.Group}
}

// TestFailover stops the leader while writes go on through the others. A write is
// acknowledged or its fate is open; those acknowledged are all there in the end.
func TestFailover(t *testing.T) {
	g := start(t, 3, nil)
	var acknowledged, unknown []string
	for i := range 60 {
		if i == 20 {
			if err := g.nodes[0].replica.Close(); err != nil {
				t.Fatal(err)
			}
		}
		key := strconv.Itoa(i)
		switch r := g.do(g.nodes[1+i%2], "PUT", "/key/"+key+"?timeout=10s", "v"); {
		case r.StatusCode == 200:
			acknowledged = append(acknowledged, key)
		default:
			r.refused(t, 504, api.CodeOutcomeUnknown, "")
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 1 {
		t.Errorf("unknown: %v", unknown)
	}
	for _, key := range acknowledged {
		g.must(g.nodes[1], "GET", "/key/"+key, "")
		g.must(g.nodes[2], "GET", "/key/"+key+"?consistency=leader", "")
	}
}
