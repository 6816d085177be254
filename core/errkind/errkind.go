// Package errkind holds the error kinds of raftlab without anything of Raft, for
// programs that talk to a group and are no part of it. Package core, which says what
// each means there, and package kv/client have the same values under their own names.
package errkind

import "errors"

// The kinds; compare with [errors.Is].
var (
	ErrNotLeader      = errors.New("not the leader")
	ErrOutcomeUnknown = errors.New("outcome unknown")
	ErrNotFound       = errors.New("not found")
	ErrClosed         = errors.New("closed")
	ErrInvalid        = errors.New("invalid")
)
