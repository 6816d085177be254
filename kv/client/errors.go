package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/themilchenko/raftlab/core/errkind"
	"github.com/themilchenko/raftlab/kv/api"
)

// The error kinds that package core has too, with the same values.
var (
	// ErrOutcomeUnknown says that a write was sent but its fate was not learned: it
	// may have taken effect, or may yet, even after later writes.
	ErrOutcomeUnknown = errkind.ErrOutcomeUnknown
	// ErrNotFound says that there is no such key, or member.
	ErrNotFound = errkind.ErrNotFound
	// ErrInvalid says that the request is malformed or too large, or that an argument
	// of a call is out of range.
	ErrInvalid = errkind.ErrInvalid
	// ErrNotLeader says that nodes answered until the deadline, but none found a
	// leader.
	ErrNotLeader = errkind.ErrNotLeader
	// ErrClosed says that this Client was closed before the call, which was not sent.
	ErrClosed = errkind.ErrClosed
)

var (
	// ErrStopped says that the node that answered last is stopping, or that its store
	// has failed. Nothing was written.
	ErrStopped = errors.New("the node has stopped")

	// ErrNotReady says that the node that answered last could not do yet, or not do
	// any more, what was asked: it has not caught up, or has no room for the request.
	// Nothing was written.
	ErrNotReady = errors.New("the node is not ready")

	// ErrUnreachable says that no node answered before the deadline. Nothing was
	// written; the message has the last failure.
	ErrUnreachable = errors.New("no node answered")

	// ErrCondition says that a conditional write found its key otherwise than
	// asked, so that nothing changed. The error is a *[ConditionError].
	ErrCondition = errors.New("condition not met")
)

// ConditionError is [ErrCondition] with what the key was like instead.
type ConditionError struct {
	Key   string
	Index uint64 // log index of the key's last change; 0: there is no such key
}

// Error implements error.
func (e *ConditionError) Error() string {
	if e.Index == 0 {
		return fmt.Sprintf("%s: there is no key %.40q", ErrCondition, e.Key)
	}
	return fmt.Sprintf("%s: key %.40q was last changed at index %d", ErrCondition, e.Key, e.Index)
}

// Is reports that a ConditionError is an ErrCondition.
func (e *ConditionError) Is(target error) bool { return target == ErrCondition }

// Error is an answer other than success.
type Error struct {
	Endpoint string   // host:port that answered
	Node     string   // id of the node; empty: it was no kvnode
	Status   int      // of HTTP
	Code     api.Code // empty: the body was none of kvnode's errors
	Message  string
	Index    uint64 // of the key that the answer is about, where it says so
}

// Error implements error.
func (e *Error) Error() string {
	code := string(e.Code)
	if code == "" {
		code = "not an answer that a kvnode gives"
	}
	return fmt.Sprintf("%s answered %d %s (%s): %s", e.Endpoint, e.Status, http.StatusText(e.Status), code, e.Message)
}

// Is says which of the package's error kinds the answer is.
func (e *Error) Is(target error) bool {
	kind := kindOf(e.Code)
	return kind != nil && target == kind
}

// kindOf returns the error kind of a code, nil where it has none.
func kindOf(code api.Code) error {
	switch code {
	case api.CodeBadRequest, api.CodeTooLarge, api.CodeMethodNotAllowed, api.CodeForbidden:
		return ErrInvalid
	case api.CodeNotFound:
		return ErrNotFound
	case api.CodeConditionFailed:
		return ErrCondition
	case api.CodeNoLeader, api.CodeNotLeader:
		return ErrNotLeader
	case api.CodeStopped:
		return ErrStopped
	case api.CodeNotReady, api.CodeOverloaded:
		return ErrNotReady
	case api.CodeTimeout:
		return context.DeadlineExceeded
	case api.CodeOutcomeUnknown:
		return ErrOutcomeUnknown
	}
	return nil
}

// stranger reports whether the answer is another server's. That of a failing proxy says
// nothing of the server behind it.
func (e *Error) stranger() bool {
	return e.Node == "" && e.Code == "" && e.Status < http.StatusInternalServerError
}
