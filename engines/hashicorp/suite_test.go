package hashicorp_test

import (
	"testing"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
)

// TestEngine runs the conformance suite on the parts that differ for the engine: a wire or
// a transport of structs, a store without gaps, and both ways of persistence.
func TestEngine(t *testing.T) {
	onBolt := func(t *testing.T, dir string) core.LogStore {
		s, err := bolt.Open(dir, bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	short := hashicorp.Engine{Options: hashicorp.Options{TrailingLogs: 2, LogCache: -1}}
	for name, s := range map[string]coretest.EngineSubject{
		"bolt over tcp, overlapped": {Engine: short, Store: onBolt,
			Network: func(t *testing.T) core.Network { return clustertest.TCP(t) }, Tuning: core.Tuning{Persistence: core.Overlapped}},
		"inmem over inmem, serial": {Engine: short, Store: func(*testing.T, string) core.LogStore { return inmem.New() },
			Network: func(*testing.T) core.Network { return meminet.New(meminet.Options{}) }},
	} {
		t.Run(name, func(t *testing.T) { coretest.TestEngine(t, s) })
	}
}
