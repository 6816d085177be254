package hashicorp_test

import (
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestEngine runs the conformance suite on the parts that differ for the engine: a wire or
// a transport of structs, a store without gaps, and both ways of persistence.
func TestEngine(t *testing.T) {
	onWAL := func(t *testing.T, dir string) core.LogStore {
		s, err := wal.Open(dir, wal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	short := hashicorp.Engine{Options: hashicorp.Options{TrailingLogs: 2, LogCache: -1}}
	for name, s := range map[string]coretest.EngineSubject{
		"wal over tcp, overlapped": {Engine: short, Store: onWAL,
			Network: func() core.Network { return tcp.New(tcp.Options{}) }, Tuning: core.Tuning{Persistence: core.Overlapped}},
		"inmem over inmem, serial": {Engine: short, Store: func(*testing.T, string) core.LogStore { return inmem.New() },
			Network: func() core.Network { return meminet.New(meminet.Options{}) }},
	} {
		t.Run(name, func(t *testing.T) { coretest.TestEngine(t, s) })
	}
}
