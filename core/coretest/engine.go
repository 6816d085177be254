package coretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// EngineSubject is an engine and what its replicas run on.
type EngineSubject struct {
	// Engine makes the replicas. It must keep few entries in the log behind a snapshot, a
	// dozen at most, so that a member which lags needs the snapshot.
	Engine core.Engine
	// Store opens the log store that lives in dir, making it where it is missing, as for
	// [TestLogStore]. Where it keeps nothing (core.DurableNothing), what is to survive a
	// restart is not checked.
	Store func(t *testing.T, dir string) core.LogStore
	// Network makes the network of one group; it is asked for once per group. A member that
	// starts again listens where it did before, so what Listen("") gives must stay free
	// meanwhile. On TCP that takes a host of the group's own, such as 127.1.2.3.
	Network func(t *testing.T) core.Network
	// Tuning is what all replicas run with, such as a way of persistence. The timeouts
	// are the suite's.
	Tuning core.Tuning
}

// TestEngine checks an engine against the contracts of core.Engine and core.Replica, and
// those of core.Offline, and of core.Proposer, core.Campaigner, core.Prober and
// core.Acquainted that its replicas offer. Each property founds a group of its own, of 1, 3 or 5 members, in this
// process:
//
//	func TestEngine(t *testing.T) {
//		coretest.TestEngine(t, coretest.EngineSubject{
//			Engine:  myengine.Engine{Options: myengine.Options{TrailingLogs: 4}},
//			Store:   func(t *testing.T, dir string) core.LogStore { … },
//			Network: func(t *testing.T) core.Network { return clustertest.TCP(t) },
//		})
//	}
//
// Call it once for each kind of link that the engine takes, and each way of persistence
// that it has. Some properties run beside each other, since they wait most of the time.
//
// Beside what a property is named for, every group is watched: members apply the same
// commands in the same order, each once; no state machine is called twice at a time or
// put back; no term has two leaders; no index or term of a status falls.
func TestEngine(t *testing.T, s EngineSubject, opts ...Option) {
	t.Helper()
	left := goroutinesOf(func() {
		h, cfg := engineHarness{EngineSubject: s}, configOf(append([]Option{WithDeadline(engineDeadline)}, opts...))
		within(t, cfg.deadline, h.probe)
		if !t.Failed() {
			runBeside(t, cfg, h, h.properties())
		}
	})
	if t.Failed() {
		return // what hangs is there still
	}
	within(t, defaultDeadline, func(t *checker) {
		t.eventually("no goroutine is left of the replicas, all of which are closed", left)
	})
}

// goroutinesOf runs do and returns what finds the goroutines that are left of all that do
// has begun.
func goroutinesOf(do func()) (left func() error) {
	const key = "coretest"
	label := strconv.FormatUint(rand.Uint64(), 36)
	// Goroutines have the labels of the one that began them.
	pprof.Do(context.Background(), pprof.Labels(key, label), func(context.Context) { do() })
	return func() error {
		var all strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
			return err
		}
		for stacks := range strings.SplitSeq(all.String(), "\n\n") {
			if strings.Contains(stacks, fmt.Sprintf("%q:%q", key, label)) {
				return errors.New(stacks)
			}
		}
		return nil
	}
}

// engineHarness founds groups for the properties and knows what the subject offers.
type engineHarness struct {
	EngineSubject
	durable bool // what the log store has is there after a restart
	wire    bool // the network moves bytes
	able    abilities
}

// abilities are the optional interfaces of a replica.
type abilities struct{ proposes, campaigns, probes, acquaints, offline bool }

// probe starts one replica to learn what it offers.
func (h *engineHarness) probe(t *checker) {
	s := h.Store(t.T, t.TempDir())
	h.durable = s.Describe().Durability != core.DurableNothing
	t.must("closing an empty store", s.Close())
	h.wire = h.Network(t.T).Describe().Wire
	if info := h.Engine.Describe(); info.Name == "" || info.Library == "" || info.Version == "" {
		t.Errorf("Describe() = %+v: want a name, a library and its version", info)
	}
	m := newCluster(t, *h, 1).members[0]
	m.start(nil)
	_, h.able.proposes = m.Replica.(core.Proposer)
	_, h.able.campaigns = m.Replica.(core.Campaigner)
	_, h.able.probes = m.Replica.(core.Prober)
	_, h.able.acquaints = m.Replica.(core.Acquainted)
	_, h.able.offline = h.Engine.(core.Offline)
	m.stop()
}

type engineProperty = property[engineHarness]

// properties returns those that the subject promises.
func (h engineHarness) properties() []engineProperty {
	var all []engineProperty
	offer := func(offered bool, some ...engineProperty) {
		if offered {
			all = append(all, some...)
		}
	}
	offer(h.durable, // which take longest
		engineProperty{"PowerCut", checkPowerCut},
		engineProperty{"Restart", checkRestart},
		engineProperty{"ReadAfterRestart", checkReadAfterRestart},
		engineProperty{"LeaseAfterRestart", checkLeaseAfterRestart},
		engineProperty{"WipedVoter", checkWipedVoter},
		engineProperty{"TwoGroups", checkTwoGroups},
		engineProperty{"Moved", checkMoved},
		engineProperty{"DamagedLog", checkDamagedLog})
	offer(true,
		engineProperty{"RandomFaults", checkRandomFaults},
		engineProperty{"Failover", checkFailover},
		engineProperty{"Close", checkEngineClose},
		engineProperty{"Settings", checkSettings},
		engineProperty{"Propose", checkPropose},
		engineProperty{"ProposeCopies", checkProposeCopies},
		engineProperty{"OnFollower", checkOnFollower},
		engineProperty{"WithoutQuorum", checkWithoutQuorum},
		engineProperty{"CloseWithProposals", checkCloseWithProposals},
		engineProperty{"LargeEntries", checkLargeProposals},
		engineProperty{"ReadBarrier", checkReadBarrier},
		engineProperty{"ReadIndex", checkReadIndex},
		engineProperty{"ReadsTogether", checkReadsTogether},
		engineProperty{"ReadAfterTransfer", checkReadAfterTransfer},
		engineProperty{"DeposedLeader", checkDeposedLeader},
		engineProperty{"OldAnswers", checkOldAnswers},
		engineProperty{"Lease", checkLease},
		engineProperty{"Election", checkElection},
		engineProperty{"Transfer", checkTransfer},
		engineProperty{"Membership", checkMembership},
		engineProperty{"RemoveLeader", checkRemoveLeader},
		engineProperty{"Address", checkAddress},
		engineProperty{"Replaced", checkReplaced},
		engineProperty{"Snapshot", checkSnapshot},
		engineProperty{"Install", checkInstall},
		engineProperty{"InstallUnderLoad", checkInstallUnderLoad},
		engineProperty{"WriteFails", checkWriteFails},
		engineProperty{"TermFails", checkTermFails},
		engineProperty{"StartFails", checkStartFails},
		engineProperty{"ReadFails", checkReadFails},
		engineProperty{"HangingLeader", checkHangingLeader},
		engineProperty{"HangingFollower", checkHangingFollower},
		engineProperty{"ShortStall", checkShortStall},
		engineProperty{"HangBeyondLimit", checkHangBeyondLimit},
		engineProperty{"CloseWhileItHangs", checkCloseWhileItHangs},
		engineProperty{"LostLog", checkLostLog},
		engineProperty{"NotBeforeDisk", checkNotBeforeDisk},
		engineProperty{"Trace", checkTrace})
	offer(h.durable && h.able.offline,
		engineProperty{"Remains", checkRemains},
		engineProperty{"DamagedRemains", checkDamagedRemains},
		engineProperty{"Found", checkFound},
		engineProperty{"FoundRefuses", checkFoundRefuses},
		engineProperty{"FoundFails", checkFoundFails})
	offer(h.able.proposes,
		engineProperty{"Begin", checkBegin},
		engineProperty{"BeginTellsOnce", checkBeginTellsOnce})
	offer(h.able.campaigns, engineProperty{"Campaign", checkCampaign})
	offer(h.able.acquaints && h.wire, // structs are carried without connections
		engineProperty{"Acquaintance", checkAcquaintance})
	offer(h.able.probes, engineProperty{"Probe", checkProbe})
	return all
}

// engineDeadline is how long a property may take where nothing is said. On a machine that is
// busy with other things elections take many tries.
const engineDeadline = 3 * time.Minute

// atOnce is how many properties of engines run beside each other.
const atOnce = 4

// runBeside is runAll for properties that wait most of the time: some run at once.
func runBeside(t *testing.T, cfg config, h engineHarness, properties []engineProperty) {
	t.Helper()
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for _, p := range properties {
		slots <- struct{}{}
		running.Go(func() {
			runAll(t, cfg, h, []engineProperty{p})
			<-slots
		})
	}
	running.Wait()
}

// beside runs a part of a property for each of some values, beside each other.
func beside[V any](t *checker, values []V, part func(V)) {
	parts := group{t: t}
	for _, v := range values {
		parts.do(func() { part(v) })
	}
	parts.Wait()
}

// beat is the timeout that the suite's elections wait for.
const beat = 200 * time.Millisecond

// tuning returns the settings of a group: those of the subject, and timeouts short enough
// to wait for.
func (h engineHarness) tuning() core.Tuning {
	t := h.Tuning
	t.HeartbeatTimeout, t.ElectionTimeout, t.LeaderLeaseTimeout = beat, beat, beat*3/4
	return t
}
