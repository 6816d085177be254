// Package etcd is the system whose members are the official etcd server
// (go.etcd.io/etcd/server/v3), each in a process of its own on this machine, and whose
// clients use etcd's official Go client. All that raftlab measures of its own systems it
// measures of this one, with the same generator and clock.
//
// The members run with the defaults that etcd ships with, but for the addresses and the
// quota of the store (see member.arguments). The package changes nothing of etcd, and
// claims of it only what etcd documents.
package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/conf"
)

// Name is the word of cluster.mode.
const Name = "etcd"

// The modules that members and clients are made of.
const (
	serverModule = "go.etcd.io/etcd/server/v3"
	clientModule = "go.etcd.io/etcd/client/v3"
)

// maxRequestBytes is how large a request may be with etcd's defaults, less what a put says
// beside key and value.
const maxRequestBytes = 3<<19 - 1<<10

// New returns the system. The program that calls it must be one whose main begins with
// IsMember.
func New() *system.System {
	return &system.System{
		Name:      Name,
		Abilities: []system.Ability{system.Kills},
		Describe: func(_ context.Context, cell experiment.Cell) (record.CellInfo, error) {
			return describe(cell)
		},
		New: func(s system.Spec) (system.Group, error) { return newGroup(s) },
	}
}

// describe says what is run for a cell, and refuses what etcd cannot do.
func describe(cell experiment.Cell) (record.CellInfo, error) {
	server, client := "v"+version.Version, core.ModuleVersion(clientModule)
	info := record.CellInfo{
		Cell:            cell,
		Engine:          record.Part{Name: "etcd", Library: serverModule, Version: server},
		Backend:         record.Part{Name: "bbolt and WAL, etcd's own", Library: serverModule, Version: server},
		Transport:       record.Part{Name: "HTTP among members, gRPC to clients", Library: clientModule, Version: client},
		Durability:      string(core.DurableDisk),
		Acknowledgement: system.Answered,
		Protocol:        "grpc",
		Wire:            true,
		ReadLevel:       system.ReadLevel(cell),
	}
	_, tuning := tuning(cell.Raft)
	return info, errors.Join(refuseParts(cell.Cluster), refuseLoad(cell), tuning)
}

// refuseParts refuses parts that only a group of raftlab's has. What stands in a cell
// because nothing else was said is none of that.
func refuseParts(c experiment.Cluster) error {
	var errs []error
	schema := experiment.Schema(nil)
	for _, x := range []struct{ key, is string }{
		{"cluster.engine", c.Engine}, {"cluster.backend", c.Backend}, {"cluster.transport", c.Transport},
	} {
		if x.is != schema.Find(x.key).Default {
			errs = append(errs, fmt.Errorf("%s = %q: etcd has its own and takes no other; set it in the levels of raftlab's systems only", x.key, x.is))
		}
	}
	return errors.Join(errs...)
}

func refuseLoad(cell experiment.Cell) error {
	l := cell.Load
	if l.Shares().Looks() > 0 && l.ReadLevel != experiment.ReadLinearizable && l.ReadLevel != experiment.ReadStale {
		return fmt.Errorf("load.read_level = %q: etcd has none by that name; it has %q and %q", l.ReadLevel, experiment.ReadLinearizable, experiment.ReadStale)
	}
	if l.Connections != 0 {
		return fmt.Errorf("load.connections = %d: etcd's client has one for all, over which its calls go side by side; set it in the levels of raftlab's systems only", l.Connections)
	}
	if l.Target != "" && l.Target != experiment.TargetLeader {
		return fmt.Errorf("load.target = %q: etcd's leader is asked here, and nobody else; set it in the levels of raftlab's systems only", l.Target)
	}
	if l.SnapshotEvery != 0 {
		return fmt.Errorf("load.snapshot_every = %s: etcd writes a snapshot after so many entries (raft.snapshot_threshold), and cannot be told to", l.SnapshotEvery)
	}
	keys := 1
	if l.Mix.Batch > 0 {
		keys = cmp.Or(l.BatchSize, experiment.DefaultBatchSize)
	}
	if keys > maxTxnOps {
		return fmt.Errorf("load.batch_size = %d: a transaction of etcd has %d operations at most", keys, maxTxnOps)
	}
	return system.RefuseWrites(cell, system.Limit{Bytes: uint64(max(1, maxRequestBytes-keys*l.KeySize)), What: "a request to etcd"})
}

// maxTxnOps is how many operations a transaction may have with etcd's defaults.
const maxTxnOps = 128

// The shares and bounds of etcd's timers: it ships with a heartbeat every 100 ms and an
// election after 1 s, and refuses elections beyond 50 s.
const (
	heartbeatsPerElection = 10
	minElection           = 10 * time.Millisecond
	maxElection           = 50 * time.Second
)

// tuning maps [raft] to flags of etcd. A follower of both waits for one to two times
// heartbeat_timeout (etcd's election timeout) without news of a leader before it stands for
// election, and a candidate as long before it tries again.
func tuning(r experiment.Raft) (flags []string, err error) {
	set := conf.Map(r)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if !slices.Contains([]string{"heartbeat_timeout", "election_timeout", "snapshot_threshold"}, key) {
			errs = append(errs, fmt.Errorf("raft.%s: etcd has no such setting; set it in the levels of raftlab's systems only", key))
		}
	}
	election := max(r.HeartbeatTimeout, r.ElectionTimeout)
	switch {
	case r.HeartbeatTimeout > 0 && r.ElectionTimeout > 0 && r.HeartbeatTimeout != r.ElectionTimeout:
		errs = append(errs, fmt.Errorf("raft.election_timeout = %s: etcd has one timeout for followers and candidates, and raft.heartbeat_timeout is %s: make them equal", r.ElectionTimeout, r.HeartbeatTimeout))
	case election > 0 && (election < minElection || election > maxElection || election%minElection != 0):
		errs = append(errs, fmt.Errorf("raft.heartbeat_timeout = %s: etcd takes multiples of %s up to %s", election, minElection, maxElection))
	case election > 0:
		flags = append(flags,
			fmt.Sprintf("--election-timeout=%d", election.Milliseconds()),
			fmt.Sprintf("--heartbeat-interval=%d", (election/heartbeatsPerElection).Milliseconds()))
	}
	if r.SnapshotThreshold > 0 {
		flags = append(flags, fmt.Sprintf("--snapshot-count=%d", r.SnapshotThreshold))
	}
	return flags, errors.Join(errs...)
}

// lastLine returns the last line of a text that says anything.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
