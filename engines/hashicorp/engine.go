// Package hashicorp makes a core.Replica of hashicorp/raft, unmodified, through
// its plug-in points: log store, state machine, transport, logger. It never
// patches the library and never measures anything.
//
// What it adds to the library:
//
//   - Contexts: a caller that gives up gets core.ErrOutcomeUnknown at once.
//   - Linearizable reads by ReadIndex (see read.go): the library's own
//     Barrier writes a log entry per read.
//   - Fail-stop (see store.go): a log store that cannot write stops the replica,
//     where the library would panic or go on.
//   - A framing (see wire.go) of the library's messages, as its own NetworkTransport
//     writes them, without reflection and with an orderly end.
//   - One sink for all log lines, quiet by default.
package hashicorp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// Name is the engine's name in the catalogue.
const Name = "hashicorp"

const library = "github.com/hashicorp/raft"

const (
	// DefaultLogCache is how many recent entries are kept in memory where
	// Options.LogCache is 0: what Consul uses.
	DefaultLogCache = 512

	// DefaultPersistence holds where core.Tuning.Persistence is empty.
	DefaultPersistence = core.Serial
)

var _ core.Engine = Engine{}

// Engine makes replicas on hashicorp/raft. The zero value is ready.
type Engine struct {
	Options Options

	// For tests.
	votesAtOnce   bool           // a restarted replica votes before its leader's lease is over
	overlapBroken func(*overlap) // breaks a rule, to show what it is for
}

// Describe implements core.Engine.
func (Engine) Describe() core.EngineInfo {
	return core.EngineInfo{Name: Name, Library: library, Version: core.ModuleVersion(library), Ours: "framing, results, reads, overlapped writes, snapshots, identity"}
}

// HasState implements core.Engine. All that counts is in logs: a snapshot without a log
// is what is left of a member that has lost its vote. What another engine has written is
// state, which Start refuses.
func (Engine) HasState(logs core.LogStore, _ string) (bool, error) {
	if other, err := identity.Engine(logs); err != nil || other != "" {
		return true, err
	}
	term, last, err := logState(logs)
	return term > 0 || last > 0, err
}

// Start implements core.Engine.
func (e Engine) Start(cfg core.ReplicaConfig) (core.Replica, error) {
	muted := new(atomic.Bool)
	logger := newLogger(cfg.Logger, muted)
	conf, err := e.raftConfig(cfg, logger)
	if err != nil {
		return nil, err
	}
	timeout, limit, err := failstop.Limits(cfg.Tuning, conf.HeartbeatTimeout)
	if err != nil {
		return nil, fmt.Errorf("raft settings of %s: %w", cfg.ID, err)
	}
	kept, err := snapshots.Open(cfg.SnapshotDir, logger)
	if err != nil {
		return nil, err
	}
	r := &replica{
		Ending:    failstop.NewEnding(),
		self:      &persona{},
		trace:     newTracer(cfg.Trace),
		address:   cfg.Link.Address(),
		logger:    logger,
		muted:     muted,
		proposals: proposals{waiting: map[*byte]proposal{}},
		rounds:    newRounds(),
		quit:      make(chan struct{}),
		idle:      make(chan struct{}, 1),
		missed:    &missed{heartbeat: conf.HeartbeatTimeout, election: conf.ElectionTimeout},
		lease:     min(conf.LeaderLeaseTimeout, conf.HeartbeatTimeout*4/5), // clocks do not run alike
		grace:     2 * conf.LeaderLeaseTimeout,
	}
	r.logs = newGuard(cfg.Logs, failstop.NewWatch(timeout, limit), r.storeFailed)
	r.log = r.persistence(cmp.Or(cfg.Tuning.Persistence, DefaultPersistence), e.overlapBroken)
	holdsData, err := r.self.settle(cfg, r.logs, kept)
	if err != nil {
		err = cmp.Or(r.logs.Failed(), err) // the library turns the store's error into text
		return nil, err
	}
	conf.LocalID = r.self.server
	var noVotesBefore time.Time
	if holdsData && !e.votesAtOnce {
		noVotesBefore = time.Now().Add(conf.HeartbeatTimeout)
	}
	if !holdsData {
		if err := r.found(conf, kept, cfg.Bootstrap); err != nil {
			return nil, err
		}
	}
	r.routes = newRoutes(r.address, r.self, cfg.Locate)
	r.outages = newOutages(r.sendsTo, r.quit)
	r.gate = newGate(r, logger, noVotesBefore)
	r.transport = r.connect(cfg)
	if err := r.start(conf, newMachine(tracedFSM(cfg.FSM, r.trace), r), kept, e.Options.LogCache); err != nil {
		return nil, errors.Join(fmt.Errorf("start replica %s: %w", cfg.ID, err), r.transport.Close())
	}
	return traceReplica(r), nil
}

func (r *replica) start(conf *raft.Config, fsm raft.FSM, snapshots raft.SnapshotStore, cache int) error {
	notify := make(chan bool, 1)
	conf.NotifyCh = notify
	err := r.newRaft(conf, fsm, snapshots, cache)
	if err == nil {
		r.overlap.begin(r.leadsOthers)
	}
	r.gate.open(err == nil)
	if err != nil {
		return err
	}
	r.working.Go(func() { r.watchLeadership(notify, r.quit) })
	if r.gate.requests != nil {
		r.working.Go(func() { r.gate.pump(r.transport.Consumer(), r.quit) })
	}
	r.Guard(r.logs.Store, r.deposed.Happened)
	if err := r.logs.begin(); err != nil {
		err = errors.Join(err, r.raft.Shutdown().Error())
		close(r.quit)
		r.working.Wait()
		r.Unguard()
		return err
	}
	return nil
}

// newRaft makes the library's replica. The library panics where it cannot read its log,
// before it has started any goroutine; that is an error here.
func (r *replica) newRaft(conf *raft.Config, fsm raft.FSM, snapshots raft.SnapshotStore, cache int) (err error) {
	defer func() {
		p := recover()
		failure := r.logs.Failed()
		switch {
		case p == nil && err == nil: // what failed meanwhile, begin tells
		case failure != nil: // the library turns the store's error into text
			err = failure
		case p == raft.ErrLogNotFound, err == raft.ErrLogNotFound:
			err = fmt.Errorf("the log store is %w: log entry %d is missing", core.ErrDamaged, r.logs.missed.Load())
		case p != nil:
			panic(p)
		}
	}()
	var logs raft.LogStore = r.log
	if cache == 0 {
		cache = DefaultLogCache
	}
	if cache > 0 {
		c, err := raft.NewLogCache(cache, r.log)
		if err != nil {
			return err
		}
		logs = boundedCache{c, r.log}
	}
	if r.tail, err = newTail(logs); err != nil {
		return err
	}
	guarded := guardedTransport{r.transport, r}
	if r.trace != nil {
		r.raft, err = raft.NewRaft(conf, fsm, tracedLog{r.tail, r}, r.log, snapshots, guarded)
		return err
	}
	r.raft, err = raft.NewRaft(conf, fsm, r.tail, r.log, snapshots, guarded)
	return err
}

// connect returns the transport, whose requests pass the gate, and of whose pipelines the
// replica hears the answers.
func (r *replica) connect(cfg core.ReplicaConfig) core.Transport {
	t := cfg.Link.Transport
	if t == nil {
		return Frame(cfg.Link.Wire, FrameOptions{MaxInFlight: cfg.Tuning.MaxInFlight, Logger: r.logger, self: r.self, intercept: r.gate.handle, hear: r.hear})
	}
	r.gate.attach(t)
	if r.overlap == nil && r.trace == nil {
		return t
	}
	return relaying{t, r.hear}
}

// found writes the first configuration into an empty log.
func (r *replica) found(conf *raft.Config, snapshots raft.SnapshotStore, members []core.Member) error {
	if len(members) == 0 {
		return nil
	}
	err := r.self.Enter(core.GroupID(members), "")
	if err == nil {
		err = raft.BootstrapCluster(conf, r.logs, r.logs, snapshots, noTransport{}, identity.Servers(members))
	}
	if failure := r.logs.Failed(); failure != nil {
		err = failure // the library turns the store's error into text
	}
	if err != nil {
		return fmt.Errorf("bootstrap %s: %w", r.self.ID, err)
	}
	return nil
}

// noTransport stands in where the library asks for a transport that it only
// uses for configurations of protocol versions before 2.
type noTransport struct{ raft.Transport }

// raftConfig lays the tuning and the options over the library's defaults.
func (e Engine) raftConfig(cfg core.ReplicaConfig, logger hclog.Logger) (*raft.Config, error) {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(cfg.ID)
	conf.Logger = logger
	conf.NoLegacyTelemetry = true
	apply(conf, cfg.Tuning)
	override(&conf.TrailingLogs, e.Options.TrailingLogs)
	conf.BatchApplyCh = e.Options.BatchApply
	conf.PreVoteDisabled = e.Options.DisablePreVote
	if err := cmp.Or(checkPersistence(cfg.Tuning.Persistence), raft.ValidateConfig(conf)); err != nil {
		return nil, fmt.Errorf("%w: raft settings of %s: %w", core.ErrInvalid, cfg.ID, err)
	}
	return conf, nil
}

// override sets a field where there is a value for it.
func override[T int | uint64 | time.Duration](field *T, value T) {
	if value > 0 {
		*field = value
	}
}

// newLogger routes all that the library logs into one sink: logger. Nil is
// quiet, and so is everything once muted says so.
func newLogger(logger *slog.Logger, muted *atomic.Bool) hclog.Logger {
	if logger == nil {
		return hclog.NewNullLogger()
	}
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(&sink{logger, muted})
	return l
}

type sink struct {
	logger *slog.Logger
	muted  *atomic.Bool
}

// Accept implements hclog.SinkAdapter.
func (s *sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	ctx := context.Background()
	l := slogLevel(level)
	if s.muted.Load() || !s.logger.Enabled(ctx, l) {
		return
	}
	attrs := make([]any, 0, len(args)+2)
	attrs = append(attrs, "component", name)
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		attrs = append(attrs, a)
	}
	s.logger.Log(ctx, l, msg, attrs...)
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Trace, hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
