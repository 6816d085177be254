package kvnode

import (
	"errors"
	"fmt"
	"slices"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/internal/conf"
)

// Where kvnode differs from the engine's defaults. A short tail keeps the log
// small and lets a member that comes late begin with a snapshot.
const (
	defaultSnapshotThreshold = 8192
	trailingLogs             = "trailing_logs"
	defaultTrailingLogs      = 1024
)

// tune reads the settings of Raft: those that every engine has, and the options of
// this one. 0 means the default.
func tune(e engines.Entry, o core.Options) (core.Tuning, core.Engine, error) {
	t := core.Tuning{SnapshotThreshold: defaultSnapshotThreshold}
	shared, own := map[string]any{}, core.Options{}
	keys := e.Schema().Keys()
	if slices.Contains(keys, trailingLogs) {
		own[trailingLogs] = defaultTrailingLogs
	}
	for key, value := range o {
		if slices.Contains(keys, key) {
			own[key] = value
		} else {
			shared[key] = value
		}
	}
	err := conf.FromMap(&t, shared, "raft")
	if err != nil {
		err = fmt.Errorf("%w: %w", core.ErrInvalid, err)
	}
	engine, ownErr := e.New(own)
	return t, engine, errors.Join(err, ownErr)
}
