// Package etcd makes a core.Replica of etcd/raft (go.etcd.io/raft/v3), which is a state
// machine without storage, network or clock: those are here. It never patches the library
// and never measures anything.
//
// What is the library's: elections, replication, commitment, changes of the configuration,
// read indexes. What is ours:
//
//   - the goroutine that drives it (driver.go), so that its panics become the replica's error;
//   - the log on a core.LogStore (log.go) and the configuration (membership.go);
//   - the framing on a core.Wire and connections (wire.go, peers.go, snapshot.go);
//   - proposals with their outcomes (propose.go), reads (read.go), the state machine and
//     snapshots (apply.go).
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	hraft "github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/links"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// Name is the engine's name in the catalogue.
const Name = "etcd"

const library = "go.etcd.io/raft/v3"

var _ core.Engine = Engine{}

// Engine makes replicas on etcd/raft. The zero value is ready. It needs a network with a wire.
type Engine struct {
	Options Options
}

// Describe implements core.Engine.
func (Engine) Describe() core.EngineInfo {
	return core.EngineInfo{Name: Name, Library: library, Version: core.ModuleVersion(library), Ours: "driver, log, framing, snapshots, identity"}
}

// HasState implements core.Engine. Nothing has happened in a log without a term: a founding
// ends with it, and nothing else begins before it. What another engine has written is state,
// which Start refuses.
func (Engine) HasState(logs core.LogStore, _ string) (bool, error) {
	marked, err := identity.Engine(logs)
	if err != nil {
		return false, err
	}
	if marked != Name {
		last, err := logs.LastIndex()
		return marked != "" || last > 0, err
	}
	term, _, err := readVote(logs)
	return term > 0, err
}

// Start implements core.Engine.
func (e Engine) Start(cfg core.ReplicaConfig) (core.Replica, error) {
	if cfg.Link.Wire == nil {
		return nil, fmt.Errorf("%w: the engine %s frames its own messages and needs a network with a wire, such as tcp; this one hands over those of hashicorp/raft", core.ErrInvalid, Name)
	}
	set, err := settle(cfg.Tuning)
	if err != nil {
		return nil, fmt.Errorf("raft settings of %s: %w", cfg.ID, err)
	}
	r := &replica{
		Ending:  failstop.NewEnding(),
		address: cfg.Link.Address(), options: e.Options.withDefaults(), set: set, fsm: cfg.FSM, logger: cfg.Logger, trace: newTracer(cfg.Trace),
		proposals: newProposals(), contacts: contacts{of: map[uint64]contact{}},
		started: make(chan struct{}), aborted: make(chan struct{}),
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	r.store = failstop.Wrap(cfg.Logs, failstop.NewWatch(set.StallTimeout, set.StallLimit), r.storeFailed)
	if err := r.prepare(cfg); err != nil {
		close(r.aborted)
		if cause := r.store.Failed(); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("start replica %s: %w", cfg.ID, err)
	}
	r.start()
	return r, nil
}

// prepare reads what is there, and makes the parts of the replica.
func (r *replica) prepare(cfg core.ReplicaConfig) error {
	var err error
	if r.snapshots, err = snapshots.Open(cfg.SnapshotDir, hclog.NewNullLogger()); err != nil {
		return err
	}
	newest, err := newestSnapshot(r.snapshots)
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	held, err := r.identify(cfg, newest)
	if err != nil {
		return err
	}
	if r.log, err = openLog(r.store, newest, r.options.LogCache); err != nil {
		return err
	}
	if !held && len(cfg.Bootstrap) > 0 {
		if err := r.found(cfg.Bootstrap); err != nil {
			return fmt.Errorf("found the group: %w", err)
		}
	}
	if held {
		r.votesFrom = time.Now().Add(r.set.loyalty) // a promise of before may still hold
	}
	r.connect(cfg)
	return r.drive(newest)
}

// identify finds out who the replica is, and says whether there are data to go on with.
func (r *replica) identify(cfg core.ReplicaConfig, newest *hraft.SnapshotMeta) (held bool, err error) {
	found := identity.State{Snapshots: newest != nil}
	var void bool
	if found.Term, void, err = began(r.store); err != nil {
		return false, err
	}
	if !void {
		if found.Last, err = r.store.LastIndex(); err != nil {
			return false, err
		}
	}
	if r.self, err = identity.Settle(cfg, r.store, Name, found); err != nil {
		return false, err
	}
	r.number = numberOf(r.self.Name)
	return found.HoldsData(), nil
}

// found founds the group that begins with the members first.
func (r *replica) found(first []core.Member) error {
	if err := r.self.Enter(core.GroupID(first), ""); err != nil {
		return err
	}
	c := &configuration{}
	for _, m := range first {
		if err := c.distinct(m, number); err != nil {
			return err
		}
		c.members = append(c.members, m)
	}
	c.index = 1
	return r.log.found(c.sorted())
}

// connect makes the way to the others. Nothing is sent or taken yet.
func (r *replica) connect(cfg core.ReplicaConfig) {
	p := &peers{
		wire: cfg.Link.Wire, self: r.self, own: r.address, logger: r.logger, epoch: time.Now(), quit: r.Begun(),
		pause: r.set.HeartbeatTimeout / 2, silence: max(2*r.set.HeartbeatTimeout, time.Second),
		senders: map[lane]*sender{}, heard: map[uint64]place{}, voices: map[uint64]*voice{}, conns: map[net.Conn]struct{}{},
		members: r.log.members,
	}
	p.lost = func(n uint64) { r.driver.post(func(d *driver) { d.node.ReportUnreachable(n) }) }
	p.routes = links.NewRoutes(cfg.Locate, p.locate)
	r.peers = p
}

// drive restores the state machine and makes the library's node.
func (r *replica) drive(newest *hraft.SnapshotMeta) error {
	var applied, term, saved uint64
	members := &configuration{}
	if newest != nil {
		if err := restore(r.fsm, r.snapshots, newest); err != nil {
			return err
		}
		applied, term, saved, members = newest.Index, newest.Term, newest.Index, configurationOf(newest)
	} else if r.log.first == 1 && r.log.members.index > 0 {
		// The state machine does not see the founding, and the configuration is known: a replica
		// that has entries of this kind to apply would not stand for election.
		applied, term = 1, 1
		var err error
		if members, err = r.log.founding(); err != nil {
			return err
		}
	}
	r.applied.Advance(applied)
	r.appliedTerm.Store(term)
	r.committed.Store(r.log.commit)
	r.lastIndex.Store(r.log.last)
	r.driver = newDriver(r, r.log)
	r.applier = newApplier(r, applied, term, saved, members)
	r.driver.applier = r.applier
	r.log.outdated = r.driver.outdated
	if err := r.driver.start(applied); err != nil {
		return err
	}
	r.driver.publish()
	return nil
}

// libraryLogger takes the library's log lines. What it has for information is for who debugs
// it: it comes with every other write.
type libraryLogger struct{ to *slog.Logger }

func (l libraryLogger) log(level slog.Level, text func() string) {
	if l.to.Enabled(context.Background(), level) {
		l.to.Log(context.Background(), level, text(), "component", "raft")
	}
}

func (l libraryLogger) print(level slog.Level, v []any) {
	l.log(level, func() string { return fmt.Sprint(v...) })
}

func (l libraryLogger) printf(level slog.Level, format string, v []any) {
	l.log(level, func() string { return fmt.Sprintf(format, v...) })
}

// The methods of raft.Logger. What is fatal is a panic, which the driver makes an error of.
func (l libraryLogger) Debug(v ...any)                   { l.print(slog.LevelDebug, v) }
func (l libraryLogger) Debugf(format string, v ...any)   { l.printf(slog.LevelDebug, format, v) }
func (l libraryLogger) Info(v ...any)                    { l.print(slog.LevelDebug, v) }
func (l libraryLogger) Infof(format string, v ...any)    { l.printf(slog.LevelDebug, format, v) }
func (l libraryLogger) Warning(v ...any)                 { l.print(slog.LevelWarn, v) }
func (l libraryLogger) Warningf(format string, v ...any) { l.printf(slog.LevelWarn, format, v) }
func (l libraryLogger) Error(v ...any)                   { l.print(slog.LevelError, v) }
func (l libraryLogger) Errorf(format string, v ...any)   { l.printf(slog.LevelError, format, v) }
func (l libraryLogger) Fatal(v ...any)                   { panic(errors.New(fmt.Sprint(v...))) }
func (l libraryLogger) Fatalf(format string, v ...any)   { panic(fmt.Errorf(format, v...)) }
func (l libraryLogger) Panic(v ...any)                   { panic(errors.New(fmt.Sprint(v...))) }
func (l libraryLogger) Panicf(format string, v ...any)   { panic(fmt.Errorf(format, v...)) }
