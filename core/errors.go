package core

import (
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/core/errkind"
)

// Error kinds. Compare with [errors.Is]; every error that raftlab returns wraps
// one of these with the operation and, where there is one, the path or address.
//
// One error is outside this list on purpose: a missing log entry is
// raft.ErrLogNotFound itself, unwrapped, because hashicorp/raft compares it
// with ==.
var (
	// ErrNotLeader says that the replica is not the leader, so the proposal was
	// never appended. The error is a *[NotLeaderError], which names the leader.
	ErrNotLeader = errkind.ErrNotLeader

	// ErrOutcomeUnknown says that a proposal was handed to the group but its
	// fate was not learned: it may be committed already, later or never.
	ErrOutcomeUnknown = errkind.ErrOutcomeUnknown

	// ErrNotFound says that the thing asked for does not exist.
	ErrNotFound = errkind.ErrNotFound

	// ErrClosed says that the store, link or replica was closed before the call.
	ErrClosed = errkind.ErrClosed

	// ErrLogLost says that a node has been a member of a group and its log does not
	// know of it: what it has acknowledged and for whom it has voted are gone, so it
	// must not go on under its old vote.
	ErrLogLost = errors.New("log lost")
	// ErrReplaced says that a member comes with other data than those that the group
	// has given the vote to. It has to be removed before it is added again.
	ErrReplaced = errors.New("the member has other data than it was added with")
	// ErrFull says that a store has reached a limit of its own (a map size, a
	// quota), not that the disk is full: that one wraps syscall.ENOSPC.
	ErrFull = errors.New("store is full")

	// ErrDamaged says that stored bytes are not those that were written, or that
	// some of them are gone. The message names the file and, where it is known, the
	// index of the log entry. Nothing that such a store holds is to be trusted.
	ErrDamaged = errors.New("damaged")
	// ErrStalled says that a log store has not finished a write for longer than
	// Tuning allows. Of a refused call: it was not tried.
	ErrStalled = errors.New("the log store has stalled")
	// ErrUnavailable says that something is known to raftlab but cannot work in
	// this build or on this machine; the message says why and what to do.
	ErrUnavailable = errors.New("unavailable")

	// ErrUnknownName says that a name is in no catalogue; the message lists
	// those that are.
	ErrUnknownName = errors.New("unknown name")

	// ErrInvalid says that an option or argument is out of range; the message
	// names it and what is allowed.
	ErrInvalid = errkind.ErrInvalid

	// ErrUnsupported says that an engine or store does not offer an operation.
	ErrUnsupported = errors.New("unsupported")
)

// OfProposal gives the error of a proposal its kind: one that does not rule out that the
// command was appended is an ErrOutcomeUnknown, whatever else it says.
func OfProposal(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrOutcomeUnknown), errors.Is(err, ErrNotLeader), errors.Is(err, ErrClosed):
		return err
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// NotLeaderError is ErrNotLeader with what is known of the leader. Both fields
// are empty while the group has none.
type NotLeaderError struct {
	LeaderID      string
	LeaderAddress string
}

// Error implements error.
func (e *NotLeaderError) Error() string {
	if e.LeaderID == "" {
		return ErrNotLeader.Error() + ", no leader known"
	}
	return fmt.Sprintf("%s, the leader is %s at %s", ErrNotLeader, e.LeaderID, e.LeaderAddress)
}

// Is reports that a NotLeaderError is an ErrNotLeader.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }
