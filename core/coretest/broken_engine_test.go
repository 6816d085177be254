package coretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// engineSubject is hashicorp's engine, on disks in memory.
func engineSubject() EngineSubject {
	var mu sync.Mutex
	d := disks{}
	return EngineSubject{
		Engine: hashicorp.Engine{Options: hashicorp.Options{TrailingLogs: 2, LogCache: -1}},
		Store: func(_ *testing.T, dir string) core.LogStore {
			mu.Lock()
			defer mu.Unlock()
			return d.open(dir, core.DurableDisk)
		},
		Network: func(t *testing.T) core.Network { return clustertest.TCP(t) },
	}
}

// everyEngineProperty returns those of an engine that offers all there is.
func everyEngineProperty() []engineProperty {
	return engineHarness{durable: true, wire: true, able: abilities{true, true, true, true, true}}.properties()
}

// brokenEngine is an engine with a defect.
type brokenEngine struct {
	core.Engine
	config  func(*core.ReplicaConfig)  // what is changed before the start; nil: nothing
	replica func(hooks *hookedReplica) // what is changed of the replica; nil: nothing
	failed  func(error) error          // what becomes of the error of a start; nil: it stays
	remains func(*core.Remains)        // what is changed of what is left; nil: nothing
	found   func(found func(core.Founding) error, f core.Founding) error
}

// Remains implements core.Offline.
func (e brokenEngine) Remains(ctx context.Context, logs core.LogStore, dir string) (*core.Remains, error) {
	r, err := e.Engine.(core.Offline).Remains(ctx, logs, dir)
	if err == nil && e.remains != nil {
		e.remains(r)
	}
	return r, err
}

// Found implements core.Offline.
func (e brokenEngine) Found(logs core.LogStore, dir string, f core.Founding) error {
	found := func(f core.Founding) error { return e.Engine.(core.Offline).Found(logs, dir, f) }
	if e.found == nil {
		return found(f)
	}
	return e.found(found, f)
}

// Start implements core.Engine.
func (e brokenEngine) Start(cfg core.ReplicaConfig) (core.Replica, error) {
	if e.config != nil {
		e.config(&cfg)
	}
	r, err := e.Engine.Start(cfg)
	if err != nil && e.failed != nil {
		err = e.failed(err)
	}
	if err != nil || e.replica == nil {
		return r, err
	}
	h := &hookedReplica{
		Replica: r, Campaigner: r.(core.Campaigner), Prober: r.(core.Prober), Acquainted: r.(core.Acquainted), cfg: cfg,
		propose: r.Propose, barrier: r.ReadBarrier, index: r.ReadIndex, wait: r.WaitApplied, lease: r.LeaseBarrier, status: r.Status,
		cause: r.Err, add: r.Add, remove: r.Remove, transfer: r.TransferLeadership, snapshot: r.Snapshot, close: r.Close,
		begin: r.(core.Proposer).Begin, campaign: r.(core.Campaigner).Campaign, probe: r.(core.Prober).Probe, acquaintance: r.(core.Acquainted).Acquaintance,
	}
	e.replica(h)
	return h, nil
}

// hookedReplica is a replica with some of its methods replaced.
type hookedReplica struct {
	core.Replica
	core.Campaigner
	core.Prober
	core.Acquainted
	cfg          core.ReplicaConfig
	propose      func(context.Context, []byte) (core.Applied, error)
	barrier      func(context.Context) error
	index        func(context.Context) (uint64, error)
	wait         func(context.Context, uint64) error
	lease        func(context.Context) error
	status       func() core.Status
	cause        func() error
	add          func(context.Context, core.Member) error
	remove       func(context.Context, string) error
	transfer     func(context.Context, string) error
	snapshot     func(context.Context) error
	close        func() error
	begin        func([]byte, core.Completion)
	campaign     func(context.Context) error
	probe        func(context.Context, core.Member) (core.Identity, error)
	acquaintance func(string) (core.Identity, bool)
}

func (h *hookedReplica) Propose(ctx context.Context, c []byte) (core.Applied, error) {
	return h.propose(ctx, c)
}
func (h *hookedReplica) ReadBarrier(ctx context.Context) error           { return h.barrier(ctx) }
func (h *hookedReplica) ReadIndex(ctx context.Context) (uint64, error)   { return h.index(ctx) }
func (h *hookedReplica) WaitApplied(ctx context.Context, i uint64) error { return h.wait(ctx, i) }
func (h *hookedReplica) LeaseBarrier(ctx context.Context) error          { return h.lease(ctx) }
func (h *hookedReplica) Status() core.Status                             { return h.status() }
func (h *hookedReplica) Add(ctx context.Context, m core.Member) error    { return h.add(ctx, m) }
func (h *hookedReplica) Remove(ctx context.Context, id string) error     { return h.remove(ctx, id) }
func (h *hookedReplica) TransferLeadership(ctx context.Context, id string) error {
	return h.transfer(ctx, id)
}
func (h *hookedReplica) Snapshot(ctx context.Context) error           { return h.snapshot(ctx) }
func (h *hookedReplica) Err() error                                   { return h.cause() }
func (h *hookedReplica) Close() error                                 { return h.close() }
func (h *hookedReplica) Begin(command []byte, c core.Completion)      { h.begin(command, c) }
func (h *hookedReplica) Campaign(ctx context.Context) error           { return h.campaign(ctx) }
func (h *hookedReplica) Acquaintance(id string) (core.Identity, bool) { return h.acquaintance(id) }
func (h *hookedReplica) Probe(ctx context.Context, m core.Member) (core.Identity, error) {
	return h.probe(ctx, m)
}

// engineWith makes the broken entry of an engine with a defect in its replicas.
func engineWith(property, defect string, change func(*hookedReplica)) broken {
	return engineOf(property, defect, brokenEngine{replica: change})
}

// engineOn is one with a defect in what its replicas are started with.
func engineOn(property, defect string, change func(*core.ReplicaConfig)) broken {
	return engineOf(property, defect, brokenEngine{config: change})
}

func engineOf(property, defect string, e brokenEngine) broken {
	return broken{property, defect, func(t *testing.T, opts ...Option) {
		s := engineSubject()
		if e.Engine == nil {
			e.Engine = s.Engine
		}
		s.Engine = e
		TestEngine(t, s, opts...)
	}}
}

func brokenEngines() []broken {
	return slices.Concat(brokenProposals(), brokenLeaders(), brokenGroups(), brokenOffline(), brokenFailures())
}

// discarding is a completion of which nobody wants to know.
type discarding struct{}

func (discarding) Complete(core.Applied, error) {}

// telling changes how outcomes are told.
type telling struct {
	core.Completion
	tell func(to core.Completion, a core.Applied, err error)
}

func (c telling) Complete(a core.Applied, err error) { c.tell(c.Completion, a, err) }

func whenTelling(tell func(to core.Completion, a core.Applied, err error)) func(*hookedReplica) {
	return func(h *hookedReplica) {
		begin := h.begin
		h.begin = func(command []byte, c core.Completion) { begin(command, telling{c, tell}) }
	}
}

func brokenProposals() []broken {
	waiting := func(h *hookedReplica) { // the caller's bytes are the replica's
		begin := h.begin
		h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
			told := make(chan outcome, 1)
			begin(command, telling{discarding{}, func(_ core.Completion, a core.Applied, err error) { told <- outcome{1, a, err} }})
			select {
			case o := <-told:
				return o.Applied, o.err
			case <-ctx.Done():
				return core.Applied{}, fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, ctx.Err())
			}
		}
	}
	return []broken{
		engineWith("Propose", "tells-the-next-index", func(h *hookedReplica) {
			h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
				a, err := h.Replica.Propose(ctx, command)
				a.Index++
				return a, err
			}
		}),
		engineOf("ProposeCopies", "keeps-the-callers-bytes", brokenEngine{Engine: hashicorp.Engine{}, replica: waiting}),
		engineWith("OnFollower", "is-in-doubt-of-everything", func(h *hookedReplica) {
			h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
				a, err := h.Replica.Propose(ctx, command)
				if errors.Is(err, core.ErrNotLeader) {
					err = fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
				}
				return a, err
			}
		}),
		engineWith("WithoutQuorum", "errors-of-no-kind", func(h *hookedReplica) {
			h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
				a, err := h.Replica.Propose(ctx, command)
				if errors.Is(err, core.ErrOutcomeUnknown) {
					err = errors.New("failed")
				}
				return a, err
			}
		}),
		engineWith("CloseWithProposals", "forgets-who-waits", func(h *hookedReplica) {
			h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
				a, err := h.Replica.Propose(ctx, command)
				if errors.Is(err, core.ErrOutcomeUnknown) {
					<-ctx.Done()
				}
				return a, err
			}
		}),
		engineWith("LargeEntries", "cuts-at-1MiB", func(h *hookedReplica) {
			h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
				return h.Replica.Propose(ctx, command[:min(len(command), 1<<20)])
			}
		}),
		engineWith("Begin", "tells-twice", whenTelling(func(to core.Completion, a core.Applied, err error) {
			to.Complete(a, err)
			to.Complete(a, err)
		})),
		engineWith("BeginTellsOnce", "keeps-refusals-to-itself", whenTelling(func(to core.Completion, a core.Applied, err error) {
			if !errors.Is(err, core.ErrNotLeader) {
				to.Complete(a, err)
			}
		})),
	}
}

func brokenLeaders() []broken {
	believes := func(h *hookedReplica) func(context.Context) error {
		return func(context.Context) error {
			if h.Replica.Status().Role != core.Leader {
				return core.ErrNotLeader
			}
			return nil
		}
	}
	return []broken{
		engineWith("ReadBarrier", "writes-an-entry-for-each", func(h *hookedReplica) {
			h.barrier = func(ctx context.Context) error { _, err := h.Replica.Propose(ctx, nil); return err }
		}),
		engineWith("ReadIndex", "waits-for-nothing", func(h *hookedReplica) {
			h.wait = func(context.Context, uint64) error { return nil }
		}),
		engineWith("ReadsTogether", "one-that-leaves-takes-others-with-it", func(h *hookedReplica) {
			var left atomic.Bool
			h.index = func(ctx context.Context) (uint64, error) {
				index, err := h.Replica.ReadIndex(ctx)
				left.Store(err != nil)
				return index, err
			}
			h.barrier = func(ctx context.Context) error {
				if left.Swap(false) {
					return context.Canceled
				}
				return h.Replica.ReadBarrier(ctx)
			}
		}),
		engineOf("ReadAfterTransfer", "reads-before-it-has-applied", brokenEngine{
			config:  func(cfg *core.ReplicaConfig) { cfg.FSM = slow{cfg.FSM} },
			replica: func(h *hookedReplica) { h.barrier = believes(h) },
		}),
		engineWith("ReadAfterRestart", "reads-what-it-knows-to-be-committed", func(h *hookedReplica) {
			h.index = func(context.Context) (uint64, error) { return h.status().CommitIndex, nil }
		}),
		engineWith("DeposedLeader", "reads-whoever-leads", func(h *hookedReplica) {
			h.barrier = func(context.Context) error { return nil }
		}),
		engineWith("OldAnswers", "believes-that-it-leads", func(h *hookedReplica) { h.barrier = believes(h) }),
		engineWith("Lease", "a-lease-from-when-answers-arrive", func(h *hookedReplica) { h.lease = believes(h) }),
		engineWith("LeaseAfterRestart", "a-lease-for-good", func(h *hookedReplica) {
			h.lease = func(context.Context) error { return nil }
		}),
		engineWith("Election", "knows-no-address", func(h *hookedReplica) {
			h.status = func() core.Status { s := h.Replica.Status(); s.LeaderAddress = ""; return s }
		}),
		engineWith("Failover", "always-the-same-term", func(h *hookedReplica) {
			h.status = func() core.Status { s := h.Replica.Status(); s.Term = 1; return s }
		}),
		engineWith("Campaign", "never-stands", func(h *hookedReplica) {
			h.campaign = func(context.Context) error { return nil }
		}),
		engineWith("Transfer", "to-nobody", func(h *hookedReplica) {
			h.transfer = func(ctx context.Context, id string) error {
				if err := h.Replica.TransferLeadership(ctx, id); !errors.Is(err, core.ErrNotFound) {
					return err
				}
				return nil
			}
		}),
		engineWith("RandomFaults", "reads-at-once", func(h *hookedReplica) {
			h.barrier = func(context.Context) error { return nil }
		}),
	}
}

// slow is a state machine that takes its time.
type slow struct{ core.FSM }

func (s slow) Apply(index uint64, command []byte) any {
	time.Sleep(beat / 4)
	return s.FSM.Apply(index, command)
}

// forgetful restores nothing.
type forgetful struct{ core.FSM }

func (f forgetful) Restore(from io.Reader) error { _, err := io.Copy(io.Discard, from); return err }

// sameData has everybody come with the data that its id stands for.
func sameData(cfg *core.ReplicaConfig) {
	of := func(id string) string { return fmt.Sprintf("%016x", id) }
	cfg.Incarnation = of(cfg.ID)[:16]
	cfg.Bootstrap = slices.Clone(cfg.Bootstrap)
	for i := range cfg.Bootstrap {
		cfg.Bootstrap[i].Incarnation = of(cfg.Bootstrap[i].ID)[:16]
	}
}

func brokenGroups() []broken {
	return []broken{
		engineWith("Membership", "gives-everybody-a-vote", func(h *hookedReplica) {
			h.add = func(ctx context.Context, m core.Member) error { m.Voter = true; return h.Replica.Add(ctx, m) }
		}),
		engineWith("RemoveLeader", "stays", func(h *hookedReplica) {
			h.remove = func(ctx context.Context, id string) error {
				if id == h.cfg.ID {
					return nil
				}
				return h.Replica.Remove(ctx, id)
			}
		}),
		engineWith("Address", "knows-everybody-already", func(h *hookedReplica) {
			h.add = func(ctx context.Context, m core.Member) error {
				if _, is := h.Replica.Status().Member(m.ID); is {
					return nil
				}
				return h.Replica.Add(ctx, m)
			}
		}),
		engineWith("Replaced", "replaces-by-itself", func(h *hookedReplica) {
			h.add = func(ctx context.Context, m core.Member) error {
				err := h.Replica.Add(ctx, m)
				if errors.Is(err, core.ErrReplaced) {
					err = errors.Join(h.Replica.Remove(ctx, m.ID), h.Replica.Add(ctx, m))
				}
				return err
			}
		}),
		engineWith("Snapshot", "writes-none", func(h *hookedReplica) {
			h.snapshot = func(context.Context) error { return nil }
		}),
		engineOn("Install", "restores-nothing", func(cfg *core.ReplicaConfig) { cfg.FSM = forgetful{cfg.FSM} }),
		engineOn("InstallUnderLoad", "restores-nothing-under-load", func(cfg *core.ReplicaConfig) { cfg.FSM = forgetful{cfg.FSM} }),
		engineOn("WipedVoter", "knows-members-by-id", sameData),
		engineOn("TwoGroups", "knows-groups-by-ids", sameData),
		engineWith("Acquaintance", "believes-the-configuration", func(h *hookedReplica) {
			h.acquaintance = func(id string) (core.Identity, bool) {
				m, is := h.Replica.Status().Member(id)
				return core.Identity{ID: id, Incarnation: m.Incarnation}, is
			}
		}),
		engineWith("Probe", "asks-nobody", func(h *hookedReplica) {
			h.probe = func(_ context.Context, m core.Member) (core.Identity, error) {
				return core.Identity{ID: m.ID, Incarnation: m.Incarnation}, nil
			}
		}),
		engineOn("Moved", "looks-for-nobody", func(cfg *core.ReplicaConfig) { cfg.Locate = nil }),
	}
}

// stateless is a state of nothing.
type stateless struct{}

// WriteTo implements io.WriterTo.
func (stateless) WriteTo(w io.Writer) (int64, error) {
	s, err := newMachine("", newTruth()).Snapshot()
	if err != nil {
		return 0, err
	}
	return s.WriteTo(w)
}

func brokenOffline() []broken {
	return []broken{
		engineOf("Remains", "knows-the-first-members-only", brokenEngine{remains: func(r *core.Remains) { r.Members = r.Members[:1] }}),
		engineOf("Remains", "passes-over-an-entry", brokenEngine{remains: func(r *core.Remains) {
			all := r.Entries
			r.Entries = func(yield func(core.Remnant, error) bool) {
				for e, err := range all {
					if e.Index == r.LastIndex {
						e.Command = nil
					}
					if !yield(e, err) {
						return
					}
				}
			}
		}}),
		engineOf("DamagedRemains", "keeps-damage-to-itself", brokenEngine{remains: func(r *core.Remains) {
			all := r.Entries
			r.Entries = func(yield func(core.Remnant, error) bool) {
				for e, err := range all {
					if err != nil || !yield(e, nil) {
						return
					}
				}
			}
		}}),
		engineOf("Found", "begins-with-nothing", brokenEngine{found: func(found func(core.Founding) error, f core.Founding) error {
			f.State = stateless{}
			return found(f)
		}}),
		engineOf("Found", "counts-anew", brokenEngine{found: func(found func(core.Founding) error, f core.Founding) error {
			f.Index, f.Term = 1, 1
			return found(f)
		}}),
		engineOf("FoundRefuses", "takes-what-is-there", brokenEngine{found: func(found func(core.Founding) error, f core.Founding) error {
			_ = found(f)
			return nil
		}}),
		engineOf("FoundFails", "is-founded-in-any-case", brokenEngine{found: func(found func(core.Founding) error, f core.Founding) error {
			_ = found(f)
			return nil
		}}),
	}
}

// careless is a log store that ignores stable values that cannot be written.
type careless struct{ core.LogStore }

func (s careless) Set(key, value []byte) error {
	_ = s.LogStore.Set(key, value)
	return nil
}

func (s careless) SetUint64(key []byte, value uint64) error {
	_ = s.LogStore.SetUint64(key, value)
	return nil
}

// fanciful is a log store that makes up what it cannot read.
type fanciful struct{ core.LogStore }

func (s fanciful) GetLog(index uint64, out *raft.Log) error {
	if err := s.LogStore.GetLog(index, out); err != nil {
		*out = raft.Log{Index: index, Term: 2, Type: raft.LogCommand}
	}
	return nil
}

// eager is a log store that has entries when it is given them, and writes them later.
type eager struct {
	core.LogStore
	mu   *sync.Mutex
	has  map[uint64]raft.Log
	work chan []*raft.Log
}

func newEager(s core.LogStore) eager {
	e := eager{s, &sync.Mutex{}, map[uint64]raft.Log{}, make(chan []*raft.Log, 1000)}
	go func() {
		for entries := range e.work {
			_ = s.StoreLogs(entries)
		}
	}()
	return e
}

func (e eager) StoreLog(l *raft.Log) error { return e.StoreLogs([]*raft.Log{l}) }

func (e eager) StoreLogs(entries []*raft.Log) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range entries {
		e.has[l.Index] = *l
	}
	e.work <- slices.Clone(entries)
	return nil
}

func (e eager) GetLog(index uint64, out *raft.Log) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l, ok := e.has[index]; ok {
		*out = l
		return nil
	}
	return e.LogStore.GetLog(index, out)
}

// amnesiac is a log store that does not keep the term.
type amnesiac struct{ core.LogStore }

func (s amnesiac) SetUint64(key []byte, value uint64) error {
	if bytes.Equal(key, []byte("CurrentTerm")) {
		value = 1
	}
	return s.LogStore.SetUint64(key, value)
}

func brokenFailures() []broken {
	return []broken{
		engineWith("Close", "leaves-a-goroutine", func(h *hookedReplica) {
			h.close = func() error { go func() { select {} }(); return h.Replica.Close() }
		}),
		engineOn("Settings", "takes-what-it-can", func(cfg *core.ReplicaConfig) {
			cfg.Tuning = core.Tuning{HeartbeatTimeout: cfg.Tuning.HeartbeatTimeout}
		}),
		engineWith("WriteFails", "stops-without-a-cause", func(h *hookedReplica) { h.cause = func() error { return nil } }),
		engineOn("TermFails", "goes-on-without-its-term", func(cfg *core.ReplicaConfig) { cfg.Logs = careless{cfg.Logs} }),
		engineOf("StartFails", "errors-in-its-own-words", brokenEngine{failed: func(error) error { return errors.New("cannot start") }}),
		engineOn("ReadFails", "makes-entries-up", func(cfg *core.ReplicaConfig) { cfg.Logs = fanciful{cfg.Logs} }),
		engineOn("DamagedLog", "makes-entries-up-at-the-start", func(cfg *core.ReplicaConfig) { cfg.Logs = fanciful{cfg.Logs} }),
		engineOn("HangingLeader", "waits-for-its-disk", func(cfg *core.ReplicaConfig) { cfg.Tuning.StallTimeout = time.Minute }),
		engineWith("HangingFollower", "hides-a-stall", func(h *hookedReplica) {
			h.status = func() core.Status { s := h.Replica.Status(); s.Stalled = 0; return s }
		}),
		engineOn("ShortStall", "gives-way-at-once", func(cfg *core.ReplicaConfig) { cfg.Tuning.StallTimeout = beat / 4 }),
		engineOn("HangBeyondLimit", "waits-for-ever", func(cfg *core.ReplicaConfig) { cfg.Tuning.StallLimit = time.Hour }),
		engineWith("CloseWhileItHangs", "a-status-from-the-disk", func(h *hookedReplica) {
			h.status = func() core.Status {
				_ = h.cfg.Logs.Set([]byte("asked"), []byte("yes"))
				return h.Replica.Status()
			}
		}),
		engineOn("NotBeforeDisk", "does-not-wait-for-its-disk", func(cfg *core.ReplicaConfig) { cfg.Logs = newEager(cfg.Logs) }),
		engineOn("Trace", "traces-nothing", func(cfg *core.ReplicaConfig) { cfg.Trace = nil }),
		engineOn("LostLog", "begins-anew", func(cfg *core.ReplicaConfig) { cfg.Joined = false }),
		engineOn("Restart", "forgets-its-term", func(cfg *core.ReplicaConfig) { cfg.Logs = amnesiac{cfg.Logs} }),
		engineOn("PowerCut", "has-entries-before-its-disk", func(cfg *core.ReplicaConfig) { cfg.Logs = newEager(cfg.Logs) }),
		engineWith("PowerCut", "acknowledges-at-once", func(h *hookedReplica) {
			h.propose = func(ctx context.Context, command []byte) (core.Applied, error) {
				if !bytes.HasPrefix(command, []byte("w")) {
					return h.Replica.Propose(ctx, command)
				}
				time.Sleep(beat / 20)
				h.begin(slices.Clone(command), discarding{})
				return core.Applied{}, nil
			}
		}),
	}
}
