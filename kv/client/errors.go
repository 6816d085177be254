package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

var (
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
	switch e.Code {
	case api.CodeBadRequest, api.CodeTooLarge, api.CodeMethodNotAllowed:
		return target == core.ErrInvalid
	case api.CodeNotFound:
		return target == core.ErrNotFound
	case api.CodeConditionFailed:
		return target == ErrCondition
	case api.CodeNoLeader, api.CodeNotLeader:
		return target == core.ErrNotLeader
	case api.CodeStopped:
		return target == core.ErrClosed
	case api.CodeTimeout:
		return target == context.DeadlineExceeded
	case api.CodeOutcomeUnknown:
		return target == core.ErrOutcomeUnknown
	}
	return false
}

// notTaken reports whether the answer rules out that a write took effect. A code
// that this client does not know rules out nothing.
func (e *Error) notTaken() bool {
	switch e.Code {
	case api.CodeBadRequest, api.CodeNotFound, api.CodeMethodNotAllowed, api.CodeConditionFailed,
		api.CodeTooLarge, api.CodeNoLeader, api.CodeNotLeader, api.CodeStopped, api.CodeNotReady,
		api.CodeOtherGroup, api.CodeTimeout, api.CodeInternal:
		return true
	}
	return false
}

// transportError is a try that got no answer.
type transportError struct {
	endpoint string
	sent     bool // whether the node may have seen the request
	cause    error
}

func (e *transportError) Error() string { return fmt.Sprintf("%s: %v", e.endpoint, e.cause) }
func (e *transportError) Unwrap() error { return e.cause }
