package etcd

import (
	"cmp"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
)

// Options are the knobs that only this engine has: [options.etcd] of an experiment,
// [engine-options] of a node. A zero field means the default.
type Options struct {
	AsyncStorageWrites bool   `key:"async_storage_writes" doc:"a leader appends proposals while its log store writes, instead of having those that come meanwhile share the next write"`
	LogCache           int    `key:"log_cache" min:"-1" unit:"entries" doc:"how many recent entries, of 16 MiB at most, are kept in memory in front of the log store; -1: none"`
	TrailingLogs       uint64 `key:"trailing_logs" unit:"entries" doc:"how many entries stay in the log behind a snapshot, for followers that lag a little"`
}

// DefaultOptions returns what holds where an option is zero.
func DefaultOptions() Options { return Options{LogCache: 4096, TrailingLogs: 10240} }

func (o Options) withDefaults() Options {
	d := DefaultOptions()
	o.LogCache, o.TrailingLogs = cmp.Or(o.LogCache, d.LogCache), cmp.Or(o.TrailingLogs, d.TrailingLogs)
	return o
}

// DefaultTuning returns what holds where nothing is tuned.
func DefaultTuning() core.Tuning {
	t := core.Tuning{
		HeartbeatTimeout:  time.Second,
		MaxAppendEntries:  1024,
		MaxInFlight:       64,
		Persistence:       core.Overlapped,
		SnapshotInterval:  2 * time.Minute,
		SnapshotThreshold: 8192,
	}
	t.StallTimeout, t.StallLimit, _ = failstop.Limits(core.Tuning{}, t.HeartbeatTimeout)
	return t
}

// Unused are the keys of core.Tuning that the library has nothing for: an election takes
// one to two heartbeat timeouts, in which a leader that hears from no quorum steps down;
// and followers are told of a new commit index at once.
func Unused() []string { return []string{"election_timeout", "leader_lease_timeout", "commit_timeout"} }

const (
	// ticksPerTimeout is how often in a heartbeat timeout the library's clock ticks. A leader
	// sends a heartbeat with each tick.
	ticksPerTimeout = 10
	// bytesPerEntry turns core.Tuning.MaxAppendEntries into the bytes that the library bounds a
	// message by: 1024 entries, 1 MiB.
	bytesPerEntry = 1 << 10
	minTick       = time.Millisecond
)

// settings are a tuning with what follows from it.
type settings struct {
	core.Tuning
	tick    time.Duration
	lease   time.Duration // from when a message was sent that a majority answered
	loyalty time.Duration // from when a follower has heard its leader
}

func settle(t core.Tuning) (settings, error) {
	s := settings{Tuning: t.Over(DefaultTuning())}
	var err error
	if s.StallTimeout, s.StallLimit, err = failstop.Limits(t, s.HeartbeatTimeout); err != nil {
		return s, err
	}
	s.tick = s.HeartbeatTimeout / ticksPerTimeout
	// A follower keeps to its leader for ticksPerTimeout ticks, of which the first may be over
	// at once and the second come early; clocks do not run alike.
	s.lease = s.HeartbeatTimeout * 7 / ticksPerTimeout
	s.loyalty = s.HeartbeatTimeout * 8 / ticksPerTimeout
	switch {
	case s.tick < minTick:
		return s, fmt.Errorf("%w: heartbeat_timeout = %s: the engine etcd needs at least %s", core.ErrInvalid, s.HeartbeatTimeout, ticksPerTimeout*minTick)
	case s.LeaderLeaseTimeout > s.HeartbeatTimeout:
		return s, fmt.Errorf("%w: leader_lease_timeout = %s is more than heartbeat_timeout = %s", core.ErrInvalid, s.LeaderLeaseTimeout, s.HeartbeatTimeout)
	case s.MaxAppendEntries < 1 || s.MaxInFlight < 1:
		return s, fmt.Errorf("%w: max_append_entries = %d, max_in_flight = %d: both need to be at least 1", core.ErrInvalid, s.MaxAppendEntries, s.MaxInFlight)
	case s.Persistence != core.Serial && s.Persistence != core.Overlapped:
		return s, fmt.Errorf("%w: persistence = %q: want %s or %s", core.ErrInvalid, s.Persistence, core.Serial, core.Overlapped)
	}
	return s, nil
}
