package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// problem is an answer that is an error.
type problem struct {
	status  int
	code    api.Code
	message string
	leader  string      // id, with CodeNotLeader
	header  http.Header // may be nil
}

// Error implements error.
func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.status, p.code, p.message) }

func (p *problem) answer() answer {
	a := jsonAnswer(p.status, api.Error{Error: p.message, Code: p.code, Leader: p.leader})
	for name, values := range p.header {
		a.header[name] = values
	}
	return a
}

func badRequest(format string, args ...any) error {
	return &problem{status: http.StatusBadRequest, code: api.CodeBadRequest, message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &problem{status: http.StatusNotFound, code: api.CodeNotFound, message: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) error {
	return &problem{status: http.StatusRequestEntityTooLarge, code: api.CodeTooLarge, message: fmt.Sprintf(format, args...)}
}

func timedOut(format string, args ...any) error {
	return &problem{status: http.StatusGatewayTimeout, code: api.CodeTimeout, message: fmt.Sprintf(format, args...)}
}

// unavailable is a 503: nothing was written, and soon it may be different.
func unavailable(code api.Code, format string, args ...any) error {
	return &problem{
		status:  http.StatusServiceUnavailable,
		code:    code,
		message: fmt.Sprintf(format, args...),
		header:  http.Header{"Retry-After": {"1"}},
	}
}

// problemOf gives the error of a handler its status and code.
func (s *Server) problemOf(err error) *problem {
	status, code := http.StatusInternalServerError, api.CodeInternal
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, core.ErrOutcomeUnknown): // before the others: they may be its cause
		status, code = http.StatusGatewayTimeout, api.CodeOutcomeUnknown
	case errors.Is(err, core.ErrClosed):
		errors.As(s.stoppedProblem(), &p)
		return p
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		status, code = http.StatusGatewayTimeout, api.CodeTimeout
	}
	return &problem{status: status, code: code, message: err.Error()}
}
