package hashicorp

import (
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
)

// Options are the knobs that only this library has: [options.hashicorp] of an
// experiment, [engine-options] of a node. A zero field means the default.
type Options struct {
	BatchApply bool `key:"batch_apply" doc:"the leader gathers up to max_append_entries waiting proposals into one log write, instead of the one to which they happened to queue"`
	// LogCache saves reading entries back from the log store for replication.
	LogCache       int    `key:"log_cache" min:"-1" unit:"entries" doc:"how many recent entries are kept in memory in front of the log store; -1: none"`
	DisablePreVote bool   `key:"disable_pre_vote" doc:"no pre-vote round (Raft dissertation, §9.6)"`
	TrailingLogs   uint64 `key:"trailing_logs" unit:"entries" doc:"how many entries stay in the log behind a snapshot, for followers that lag a little"`
}

// DefaultOptions returns what holds where an option is zero.
func DefaultOptions() Options {
	return Options{LogCache: DefaultLogCache, TrailingLogs: raft.DefaultConfig().TrailingLogs}
}

// DefaultTuning returns what holds where nothing is tuned. Some defaults follow others:
// see [core.Tuning].
func DefaultTuning() core.Tuning {
	conf := raft.DefaultConfig()
	apply(conf, core.Tuning{})
	timeout, limit, _ := failstop.Limits(core.Tuning{}, conf.HeartbeatTimeout)
	return core.Tuning{
		HeartbeatTimeout:   conf.HeartbeatTimeout,
		ElectionTimeout:    conf.ElectionTimeout,
		LeaderLeaseTimeout: conf.LeaderLeaseTimeout,
		CommitTimeout:      conf.CommitTimeout,
		MaxAppendEntries:   conf.MaxAppendEntries,
		MaxInFlight:        raft.DefaultMaxRPCsInFlight,
		Persistence:        DefaultPersistence,
		SnapshotInterval:   conf.SnapshotInterval,
		SnapshotThreshold:  conf.SnapshotThreshold,
		StallTimeout:       timeout,
		StallLimit:         limit,
	}
}

// apply lays a tuning over the library's defaults.
func apply(conf *raft.Config, t core.Tuning) {
	override(&conf.HeartbeatTimeout, t.HeartbeatTimeout)
	// A heartbeat timeout on its own pulls along what the library ties to it.
	conf.ElectionTimeout = conf.HeartbeatTimeout
	conf.LeaderLeaseTimeout = min(conf.LeaderLeaseTimeout, conf.HeartbeatTimeout)
	override(&conf.ElectionTimeout, t.ElectionTimeout)
	override(&conf.LeaderLeaseTimeout, t.LeaderLeaseTimeout)
	override(&conf.CommitTimeout, t.CommitTimeout)
	override(&conf.SnapshotInterval, t.SnapshotInterval)
	override(&conf.MaxAppendEntries, t.MaxAppendEntries)
	override(&conf.SnapshotThreshold, t.SnapshotThreshold)
}
