package hashicorp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Name is the engine's name in the catalogue.
const Name = "hashicorp"

const library = "github.com/hashicorp/raft"

const (
	// DefaultLogCache is how many recent entries are kept in memory where
	// core.Tuning.LogCache is 0: what Consul uses.
	DefaultLogCache = 512

	snapshotsKept = 2
)

var _ core.Engine = Engine{}

// Engine makes replicas on hashicorp/raft. The zero value is ready.
type Engine struct{}

// Describe implements core.Engine.
func (Engine) Describe() core.EngineInfo {
	return core.EngineInfo{Name: Name, Library: library, Version: core.ModuleVersion(library)}
}

// Start implements core.Engine.
func (Engine) Start(cfg core.ReplicaConfig) (core.Replica, error) {
	muted := new(atomic.Bool)
	logger := newLogger(cfg.Logger, muted)
	conf, err := raftConfig(cfg, logger)
	if err != nil {
		return nil, err
	}
	snapshots, err := openSnapshots(cfg.SnapshotDir, logger)
	if err != nil {
		return nil, err
	}
	r := &replica{
		id:        cfg.ID,
		address:   cfg.Link.Address(),
		logger:    logger,
		muted:     muted,
		proposals: proposals{waiting: map[*byte]chan core.Applied{}},
		rounds:    newRounds(),
		detours:   newDetours(cfg.Link.Address(), cfg.Locate),
		deposed:   newEvent(),
		watching:  make(chan struct{}),
		quit:      make(chan struct{}),
		unwatch:   make(chan struct{}),
		idle:      make(chan struct{}, 1),
		lease:     conf.LeaderLeaseTimeout,
		grace:     2 * conf.LeaderLeaseTimeout,
		done:      make(chan struct{}),
	}
	r.logs = &guard{LogStore: cfg.Logs, onFailure: r.storeFailed, watch: newWatch(stallLimits(cfg.Tuning, conf.HeartbeatTimeout))}
	if err := bootstrap(conf, r.logs, snapshots, cfg); err != nil {
		return nil, err
	}
	r.transport = transport(cfg, conf, logger)
	if err := r.start(conf, newMachine(cfg.FSM, r), snapshots, cfg.Tuning.LogCache); err != nil {
		return nil, errors.Join(fmt.Errorf("start replica %s: %w", cfg.ID, err), r.transport.Close())
	}
	return r, nil
}

func (r *replica) start(conf *raft.Config, fsm raft.FSM, snapshots raft.SnapshotStore, cache int) error {
	var logs raft.LogStore = r.logs
	if cache == 0 {
		cache = DefaultLogCache
	}
	if cache > 0 {
		c, err := raft.NewLogCache(cache, r.logs)
		if err != nil {
			return err
		}
		logs = boundedCache{c, r.logs}
	}
	notify := make(chan bool, 1)
	conf.NotifyCh = notify
	if err := r.newRaft(conf, fsm, logs, snapshots); err != nil {
		return err
	}
	go func() {
		defer close(r.watching)
		r.watchLeadership(notify, r.quit)
	}()
	if err := r.logs.begin(); err != nil {
		err = errors.Join(err, r.raft.Shutdown().Error())
		close(r.quit)
		<-r.watching
		return err
	}
	r.watchdog.Go(func() { r.logs.watch.run(r.unwatch, r.deposed.happened, r.stallGivenUp) })
	return nil
}

// newRaft starts the library. It panics where it cannot read its log, before it has
// started any goroutine; that is an error here.
func (r *replica) newRaft(conf *raft.Config, fsm raft.FSM, logs raft.LogStore, snapshots raft.SnapshotStore) (err error) {
	defer func() {
		p := recover()
		failure := r.logs.failed()
		switch {
		case p == nil && err == nil: // what failed meanwhile, begin tells
		case failure != nil: // the library turns the store's error into text
			err = failure
		case p == raft.ErrLogNotFound:
			err = fmt.Errorf("log entry %d is missing: the log store is %w", r.logs.missed.Load(), core.ErrDamaged)
		case p != nil:
			panic(p)
		}
	}()
	transport := mutedTransport{guardedTransport{r.transport, r.rounds, r.detours}, r.logs.watch}
	r.raft, err = raft.NewRaft(conf, fsm, logs, r.logs, snapshots, transport)
	return err
}

func transport(cfg core.ReplicaConfig, conf *raft.Config, logger hclog.Logger) core.Transport {
	if cfg.Link.Transport != nil {
		return cfg.Link.Transport
	}
	return Frame(cfg.Link.Wire, FrameOptions{MaxInFlight: cfg.Tuning.MaxInFlight, Logger: logger})
}

func openSnapshots(dir string, logger hclog.Logger) (raft.SnapshotStore, error) {
	if dir == "" {
		return raft.NewInmemSnapshotStore(), nil
	}
	s, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger)
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	return s, nil
}

// bootstrap writes the first configuration into an empty log.
func bootstrap(conf *raft.Config, logs *guard, snapshots raft.SnapshotStore, cfg core.ReplicaConfig) error {
	if len(cfg.Bootstrap) == 0 {
		return nil
	}
	has, err := raft.HasExistingState(logs, logs, snapshots)
	if err != nil && logs.failed() != nil {
		err = logs.failed() // the library turns the store's error into text
	}
	if err != nil {
		return fmt.Errorf("look for existing state of %s: %w", cfg.ID, err)
	}
	if has {
		return nil
	}
	var first raft.Configuration
	for _, m := range cfg.Bootstrap {
		suffrage := raft.Nonvoter
		if m.Voter {
			suffrage = raft.Voter
		}
		first.Servers = append(first.Servers, raft.Server{
			ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address), Suffrage: suffrage,
		})
	}
	err = raft.BootstrapCluster(conf, logs, logs, snapshots, noTransport{}, first)
	if failure := logs.failed(); failure != nil {
		err = failure // the library turns the store's error into text
	}
	if err != nil {
		return fmt.Errorf("bootstrap %s: %w", cfg.ID, err)
	}
	return nil
}

// noTransport stands in where the library asks for a transport that it only
// uses for configurations of protocol versions before 2.
type noTransport struct{ raft.Transport }

// raftConfig lays the tuning over the library's defaults.
func raftConfig(cfg core.ReplicaConfig, logger hclog.Logger) (*raft.Config, error) {
	t := cfg.Tuning
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(cfg.ID)
	conf.Logger = logger
	conf.NoLegacyTelemetry = true
	setDuration(&conf.HeartbeatTimeout, t.HeartbeatTimeout)
	// A heartbeat timeout on its own pulls along what the library ties to it.
	conf.ElectionTimeout = conf.HeartbeatTimeout
	conf.LeaderLeaseTimeout = min(conf.LeaderLeaseTimeout, conf.HeartbeatTimeout)
	setDuration(&conf.ElectionTimeout, t.ElectionTimeout)
	setDuration(&conf.LeaderLeaseTimeout, t.LeaderLeaseTimeout)
	setDuration(&conf.CommitTimeout, t.CommitTimeout)
	setDuration(&conf.SnapshotInterval, t.SnapshotInterval)
	if t.MaxAppendEntries > 0 {
		conf.MaxAppendEntries = t.MaxAppendEntries
	}
	if t.SnapshotThreshold > 0 {
		conf.SnapshotThreshold = t.SnapshotThreshold
	}
	if t.TrailingLogs > 0 {
		conf.TrailingLogs = t.TrailingLogs
	}
	conf.BatchApplyCh = t.BatchApply
	conf.PreVoteDisabled = t.DisablePreVote
	if err := raft.ValidateConfig(conf); err != nil {
		return nil, fmt.Errorf("%w: raft settings of %s: %w", core.ErrInvalid, cfg.ID, err)
	}
	if timeout, limit := stallLimits(t, conf.HeartbeatTimeout); limit < timeout {
		return nil, fmt.Errorf("%w: raft settings of %s: stall_limit = %s is less than stall_timeout = %s: raise the one or lower the other",
			core.ErrInvalid, cfg.ID, limit, timeout)
	}
	return conf, nil
}

func setDuration(field *time.Duration, value time.Duration) {
	if value > 0 {
		*field = value
	}
}
