package kvnode

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/core"
)

// Where kvnode differs from the engine's defaults. A short tail keeps the log
// small and lets a member that comes late begin with a snapshot.
const (
	defaultSnapshotThreshold = 8192
	defaultTrailingLogs      = 1024
)

// raftKeys are the keys of [raft] and --raft-option.
func raftKeys() []string {
	return []string{"heartbeat_timeout", "election_timeout", "leader_lease_timeout", "commit_timeout",
		"max_append_entries", "max_in_flight", "batch_apply", "log_cache", "disable_pre_vote",
		"snapshot_interval", "snapshot_threshold", "trailing_logs", "stall_timeout", "stall_limit"}
}

// tuning reads the settings of Raft. 0 means the default.
func tuning(o core.Options) (core.Tuning, error) {
	r := o.Read("raft")
	var errs []error
	count := func(key string, least int) int {
		n := r.Int(key, 0)
		if n < least {
			errs = append(errs, fmt.Errorf("%w: raft.%s = %d: want %d or more", core.ErrInvalid, key, n, least))
		}
		return n
	}
	t := core.Tuning{
		HeartbeatTimeout:   r.Duration("heartbeat_timeout", 0),
		ElectionTimeout:    r.Duration("election_timeout", 0),
		LeaderLeaseTimeout: r.Duration("leader_lease_timeout", 0),
		CommitTimeout:      r.Duration("commit_timeout", 0),
		MaxAppendEntries:   count("max_append_entries", 0),
		MaxInFlight:        count("max_in_flight", 0),
		BatchApply:         r.Bool("batch_apply", false),
		LogCache:           count("log_cache", -1),
		DisablePreVote:     r.Bool("disable_pre_vote", false),
		SnapshotInterval:   r.Duration("snapshot_interval", 0),
		SnapshotThreshold:  uint64(cmp.Or(count("snapshot_threshold", 0), defaultSnapshotThreshold)),
		TrailingLogs:       uint64(cmp.Or(count("trailing_logs", 0), defaultTrailingLogs)),
		StallTimeout:       r.Duration("stall_timeout", 0),
		StallLimit:         r.Duration("stall_limit", 0),
	}
	return t, errors.Join(append(errs, r.Err())...)
}
