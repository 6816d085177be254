package hashicorp_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
)

// TestEngine runs the conformance suite on the parts that differ for the engine: a wire or
// a transport of structs, and both ways of persistence.
func TestEngine(t *testing.T) {
	short := hashicorp.Engine{Options: hashicorp.Options{TrailingLogs: 2, LogCache: -1}}
	for name, s := range map[string]coretest.EngineSubject{
		"disk over tcp, overlapped": {Engine: short, Store: onDisk,
			Network: func(t *testing.T) core.Network { return clustertest.TCP(t) }, Tuning: core.Tuning{Persistence: core.Overlapped}},
		"inmem over inmem, serial": {Engine: short, Store: func(*testing.T, string) core.LogStore { return inmem.New() },
			Network: func(*testing.T) core.Network { return meminet.New(meminet.Options{}) }},
	} {
		t.Run(name, func(t *testing.T) { coretest.TestEngine(t, s) })
	}
}

// onDisk opens a log store that keeps what it has, without waiting for the disk, which may
// be busy; that of the second member takes no gaps.
func onDisk(t *testing.T, dir string) core.LogStore {
	s, err := bolt.Open(dir, bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(filepath.Dir(dir), "2") {
		return strict{s}
	}
	return s
}

// strict is a store that takes neither gaps nor entries that it has.
type strict struct{ core.LogStore }

func (strict) IsMonotonic() bool { return true }

func (s strict) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

func (s strict) StoreLogs(entries []*raft.Log) error {
	last, err := s.LastIndex()
	if err == nil && last > 0 && entries[0].Index != last+1 {
		err = fmt.Errorf("entry %d does not follow %d", entries[0].Index, last)
	}
	if err != nil {
		return err
	}
	return s.LogStore.StoreLogs(entries)
}
