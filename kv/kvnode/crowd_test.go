package kvnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/api"
)

// What a node keeps in its folder.
const (
	nodesName     = "nodes.json"
	snapshotsName = "snapshots"
)

// five is the configuration that five nodes found.
const five = "node1 node2 node3 node4 node5"

// crowd is nodes that gossip, each a process.
type crowd struct {
	t       *testing.T
	dir     string
	timeout string // of heartbeats
	engine  string
	nodes   map[string]*gossiper
}

type gossiper struct {
	*process
	http, raft, gossip string
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t, dir: t.TempDir(), timeout: "200ms", engine: "hashicorp", nodes: map[string]*gossiper{}}
	t.Cleanup(func() {
		for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
			c.nodes[id].kill()
			if t.Failed() {
				t.Logf("%s:\n%s", id, c.nodes[id].output())
			}
		}
	})
	return c
}

// start starts a node on new ports, and on the data of its id, if there are any.
func (c *crowd) start(id string, args ...string) *gossiper {
	c.t.Helper()
	args = append([]string{"--id", id, "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "--profile", "local", "--engine", c.engine,
		"--raft-option", "heartbeat_timeout=" + c.timeout, "--raft-option", "election_timeout=" + c.timeout, "--raft-option", "leader_lease_timeout=" + c.timeout}, args...)
	if !slices.Contains(args, "--gossip") {
		args = append(args, "--gossip", "127.0.0.1:0")
	}
	p, err := launch(c.dir, filepath.Join(c.dir, id+".log"), append(args, filepath.Join(c.dir, id))...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = &gossiper{process: p}
	return c.nodes[id]
}

var errPortTaken = errors.New("another program has taken the port")

// locate reads the node's addresses in its log.
func (g *gossiper) locate() error {
	for what, address := range map[string]*string{"HTTP": &g.http, "Raft": &g.raft, "gossip": &g.gossip} {
		found, err := g.find(`msg="` + what + ` listening" address=(\S+)|address already in use`)
		switch {
		case err != nil:
			return err
		case found[1] == "":
			return errPortTaken
		}
		*address = found[1]
	}
	return nil
}

func (c *crowd) started(id string, args ...string) *gossiper {
	c.t.Helper()
	g := c.start(id, args...)
	if err := g.locate(); err != nil {
		c.t.Fatal(err)
	}
	return g
}

// found starts five nodes at once in a random order. Each knows only the next in
// a ring of another random order.
func (c *crowd) found() error {
	c.t.Helper()
	ids := strings.Fields(five)
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	free, err := clusterfile.GenerateGossip(len(ids), "127.0.0.1")
	if err != nil {
		c.t.Fatal(err)
	}
	gossip := map[string]string{}
	for i, id := range ids {
		gossip[id] = free.Nodes[i].GossipAddress
	}
	for i, at := range rand.Perm(len(ids)) {
		next := gossip[ids[(at+1)%len(ids)]]
		c.t.Logf("start %d: %s at %s knows %s", i+1, ids[at], gossip[ids[at]], next)
		c.start(ids[at], "--gossip", gossip[ids[at]], "--gossip-join", next, "--bootstrap-expect", "5")
	}
	for _, id := range ids {
		if err := c.nodes[id].locate(); err != nil {
			return err
		}
	}
	return nil
}

// mustFound is found, with other ports where one has been taken meanwhile.
func (c *crowd) mustFound() {
	c.t.Helper()
	for range 5 {
		err := c.found()
		if err == nil {
			return
		}
		if !errors.Is(err, errPortTaken) {
			c.t.Fatal(err)
		}
		for id, g := range c.nodes {
			g.kill()
			if err := os.RemoveAll(filepath.Join(c.dir, id)); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	c.t.Fatal("no free ports")
}

func get[T any](g *gossiper, path string) (T, error) {
	var v T
	answer, err := ask(http.MethodGet, g.http+path, "")
	if err == nil {
		status, body, _ := strings.Cut(answer, " ")
		if err = json.Unmarshal([]byte(body), &v); status != "200" {
			err = errors.New(answer)
		}
	}
	return v, err
}

// agreed returns the leader once all nodes of the crowd name the same one, it says
// that it leads, nobody else does, and all know the voters and no other members.
func (c *crowd) agreed(voters string) (leader string) {
	c.t.Helper()
	until(c.t, func() (err error) {
		leader, err = c.agree(voters)
		return err
	})
	return leader
}

// until calls f until it returns nil.
func until(t *testing.T, f func() error) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
		if last = f(); last == nil {
			return
		}
	}
	t.Fatal(last)
}

func (c *crowd) agree(voters string) (leader string, err error) {
	for id, g := range c.nodes {
		s, err := get[api.Status](g, "/status")
		if err != nil {
			return "", err
		}
		m, err := get[api.Members](g, "/members")
		if err != nil {
			return "", err
		}
		var all []string
		for _, member := range m.Members {
			if !member.Voter {
				member.ID += "(reader)"
			}
			all = append(all, member.ID)
		}
		switch {
		case s.Leader == nil:
			return "", fmt.Errorf("%s knows no leader", id)
		case leader != "" && s.Leader.ID != leader:
			return "", fmt.Errorf("%s follows %s, not %s", id, s.Leader.ID, leader)
		case (s.Me.Role == "leader") != (s.Leader.ID == id):
			return "", fmt.Errorf("%s is %s under %s", id, s.Me.Role, s.Leader.ID)
		case strings.Join(all, " ") != voters:
			return "", fmt.Errorf("%s knows the members %v", id, all)
		}
		leader = s.Leader.ID
	}
	return leader, nil
}

// put writes by any node.
func (c *crowd) put(id, key, value string) {
	c.t.Helper()
	if answer, err := ask(http.MethodPut, c.nodes[id].http+"/key/"+key, value); err != nil || !strings.HasPrefix(answer, "200 ") {
		c.t.Fatalf("put %s on %s: %s %v", key, id, answer, err)
	}
}

// awaitKey waits until the node itself has the value.
func (c *crowd) awaitKey(id, key, value string) {
	c.t.Helper()
	until(c.t, func() error {
		answer, err := ask(http.MethodGet, c.nodes[id].http+"/key/"+key+"?consistency=stale", "")
		if want := fmt.Sprintf(`200 {"%s":"%s"}`, key, value); err == nil && answer != want {
			err = fmt.Errorf("%s: %s", id, answer)
		}
		return err
	})
}

// awaitStates waits until the node sees the others so: "node1 alive node2 failed".
// Who came back later has never heard of the node that is gone.
func (c *crowd) awaitStates(id, want, gone string) {
	c.t.Helper()
	until(c.t, func() error {
		s, err := get[api.Status](c.nodes[id], "/status")
		var states []string
		for _, p := range s.Gossip {
			if p.ID != gone {
				states = append(states, p.ID+" "+p.State)
			}
		}
		if got := strings.Join(states, " "); err == nil && got != want {
			err = fmt.Errorf("%s sees: %s", id, got)
		}
		return err
	})
}

// knows waits until the replicated directory, as the node has it on disk, has the
// addresses of all nodes of the crowd and no others.
func (c *crowd) knows(id string) {
	c.t.Helper()
	want := map[string]string{}
	for id, g := range c.nodes {
		want[id] = g.http
	}
	until(c.t, func() error {
		text, err := os.ReadFile(filepath.Join(c.dir, id, nodesName))
		if err != nil {
			return err
		}
		var nodes map[string]string
		if err := json.Unmarshal(text, &nodes); err != nil || !maps.Equal(nodes, want) {
			return fmt.Errorf("%s remembers %v, want %v; %v", id, nodes, want, err)
		}
		return nil
	})
}

// awaitRaft waits until the configuration, as the node has it, has the addresses where
// the nodes of the crowd listen for Raft.
func (c *crowd) awaitRaft(id string) {
	c.t.Helper()
	until(c.t, func() error {
		m, err := get[api.Members](c.nodes[id], "/members")
		for _, member := range m.Members {
			if want := c.nodes[member.ID].raft; err == nil && member.Address != want {
				err = fmt.Errorf("%s has %s at %s, not %s", id, member.ID, member.Address, want)
			}
		}
		return err
	})
}
