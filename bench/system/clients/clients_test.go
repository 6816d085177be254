package clients

import (
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/client"
)

// loadOf is a cell of the Redis protocol.
func loadOf(connections int, target string) *record.CellInfo {
	return &record.CellInfo{Cell: experiment.Cell{Load: experiment.Load{Client: experiment.ClientRESP, Connections: connections, Target: target}}}
}

// TestParts: so many connections are shared by the clients in turn, and so are the members
// that they ask.
func TestParts(t *testing.T) {
	nodes := []clusterfile.Node{
		{HTTPAddress: "127.0.0.1:4", RESPAddress: "127.0.0.1:1"}, {HTTPAddress: "127.0.0.1:5", RESPAddress: "127.0.0.1:2"}, {HTTPAddress: "127.0.0.1:6", RESPAddress: "127.0.0.1:3"},
	}
	overHTTP := func(target string) *record.CellInfo {
		c := loadOf(0, target)
		c.Load.Client = ""
		return c
	}
	for _, x := range []struct {
		cell *record.CellInfo
		want int
	}{
		{loadOf(0, ""), 1}, {loadOf(1, ""), 1}, {loadOf(3, "leader"), 3}, {loadOf(3, "followers"), 4}, {loadOf(0, "all"), 3},
		{overHTTP(""), 1}, {overHTTP("followers"), 2}, {overHTTP("all"), 3},
	} {
		c, err := Open(nodes, x.cell)
		if err != nil || len(c.loads) != x.want {
			t.Fatalf("%+v: %d loads, %v", x.cell.Load, len(c.loads), err)
		}
		seen := map[client.Map]int{}
		for i := range 12 {
			seen[c.Target("").(workload.Parted).Part(i).(*target).loads[0].Map]++
		}
		if len(seen) != x.want {
			t.Errorf("%+v: 12 clients share %d", x.cell.Load, len(seen))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
