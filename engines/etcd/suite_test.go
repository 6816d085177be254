package etcd_test

import (
	"testing"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/etcd"
)

// TestEngine runs the conformance suite on the parts that differ for the engine: a store that
// outlives the replica or not, and each way in which it writes.
func TestEngine(t *testing.T) {
	onBolt := func(t *testing.T, dir string) core.LogStore {
		s, err := bolt.Open(dir, bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	network := func(t *testing.T) core.Network { return clustertest.TCP(t) }
	short := etcd.Engine{Options: etcd.Options{TrailingLogs: 2, LogCache: -1}}
	async := etcd.Engine{Options: etcd.Options{TrailingLogs: 2, AsyncStorageWrites: true}}
	for name, s := range map[string]coretest.EngineSubject{
		"bolt":                 {Engine: short, Store: onBolt, Network: network},
		"inmem, serial, async": {Engine: async, Store: func(*testing.T, string) core.LogStore { return inmem.New() }, Network: network, Tuning: core.Tuning{Persistence: core.Serial}},
	} {
		t.Run(name, func(t *testing.T) { coretest.TestEngine(t, s) })
	}
}
