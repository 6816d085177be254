package respapi

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tidwall/redcon"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// Answers beyond those of redcon: null, map and set differ between versions 2 and 3 of the
// protocol.

func (c *conn) appendNull(b []byte) []byte {
	if c.resp3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
}

// appendNoArray appends null where an array could stand.
func (c *conn) appendNoArray(b []byte) []byte {
	if c.resp3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "*-1\r\n"...)
}

// appendMap begins a map of n pairs.
func (c *conn) appendMap(b []byte, n int) []byte {
	if !c.resp3 {
		return redcon.AppendArray(b, 2*n)
	}
	return append(strconv.AppendInt(append(b, '%'), int64(n), 10), '\r', '\n')
}

func appendValue(b, value []byte) []byte { return redcon.AppendBulk(b, value) }

func appendText(b []byte, text string) []byte { return redcon.AppendBulkString(b, text) }

// prefixes are the first words of errors, by which programs know them. All other codes are
// UNKNOWN.
var prefixes = map[api.Code]string{
	api.CodeBadRequest:       "ERR",
	api.CodeNotFound:         "ERR",
	api.CodeForbidden:        "ERR",
	api.CodeMethodNotAllowed: "ERR",
	api.CodeConditionFailed:  "ERR",
	api.CodeInternal:         "ERR",
	api.CodeTooLarge:         "TOOLARGE",
	api.CodeNotLeader:        "NOTLEADER",
	api.CodeNoLeader:         "CLUSTERDOWN",
	api.CodeOtherGroup:       "CLUSTERDOWN",
	api.CodeStopped:          "CLUSTERDOWN",
	api.CodeNotReady:         "TRYAGAIN",
	api.CodeOverloaded:       "TRYAGAIN",
	api.CodeTimeout:          "TIMEOUT",
}

// appendFailure appends an error. With any prefix but UNKNOWN, nothing was written.
func (s *Server) appendFailure(b []byte, err error) []byte {
	var told *refusal
	var other *core.NotLeaderError
	switch {
	case errors.Is(err, core.ErrOutcomeUnknown): // whatever else it is
	case errors.As(err, &told):
		return appendError(b, told.text)
	case errors.Is(err, errTooLarge):
		return appendError(b, "TOOLARGE "+err.Error())
	case errors.Is(err, errProtocol):
		return appendError(b, "ERR "+err.Error())
	case errors.As(err, &other):
		return appendError(b, s.notLeader(other.LeaderID))
	case errors.Is(err, core.ErrNotLeader):
		return appendError(b, s.notLeader(""))
	}
	code, message := s.cfg.Node.Problem(err)
	prefix, notDone := prefixes[code]
	switch {
	case !notDone:
		prefix, message = "UNKNOWN", "outcome: the write may have taken effect, or may yet: "+message
	case code == api.CodeNotLeader:
		return appendError(b, s.notLeader(""))
	}
	return appendError(b, prefix+" "+message)
}

func (s *Server) codeOf(err error) api.Code {
	code, _ := s.cfg.Node.Problem(err)
	return code
}

// notLeader names the leader: its id and where it serves this protocol, "-" where that is
// not known.
func (s *Server) notLeader(id string) string {
	known, at := s.cfg.Node.Leader(s.ctx)
	if id == "" {
		id = known
	} else if known != id {
		at = s.cfg.Node.RESPAddress(s.ctx, id)
	}
	return fmt.Sprintf("NOTLEADER %s %s", orDash(id), orDash(at))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendError appends an error of one line.
func appendError(b []byte, text string) []byte {
	b = append(b, '-')
	for i := range min(len(text), 1024) {
		if c := text[i]; c < ' ' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return append(b, '\r', '\n')
}

// refusal is an error of which the text is all that there is to say.
type refusal struct{ text string }

// Error implements error.
func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// shape is what a write is answered.
type shape byte

const (
	asOK       shape = iota // +OK
	asOKOrNull              // null if the condition did not hold
	asCount                 // how many keys it has changed
	asOne                   // 1, or 0 if the condition did not hold
	asSum                   // the number after
	asExec                  // one answer for each command of the transaction
)

// reply is how a write is answered.
type reply struct {
	command *command
	shape   shape
	parts   []part // of asExec
	sum     int64  // of asSum, once it is known
}

// part is a command of a transaction, with how many operations of the entry it has.
type part struct {
	shape shape
	ops   int
}

// append appends the answer to a write with that outcome.
func (r reply) append(b []byte, c *conn, result kv.Result, err error) []byte {
	failed := errors.Is(result.Err, kv.ErrCondition)
	if err == nil && !failed {
		err = result.Err
	}
	if err != nil {
		return c.s.appendFailure(b, err)
	}
	switch r.shape {
	case asOKOrNull:
		if failed {
			return c.appendNull(b)
		}
	case asCount:
		return redcon.AppendInt(b, int64(result.Changed))
	case asSum:
		return redcon.AppendInt(b, r.sum)
	case asOne:
		if failed {
			return redcon.AppendInt(b, 0)
		}
		return redcon.AppendInt(b, 1)
	case asExec:
		return r.appendParts(b, result)
	}
	return append(b, "+OK\r\n"...)
}

func (r reply) appendParts(b []byte, result kv.Result) []byte {
	b = redcon.AppendArray(b, len(r.parts))
	place, missing := 0, result.Missing
	for _, p := range r.parts {
		place += p.ops
		if p.shape != asCount {
			b = append(b, "+OK\r\n"...)
			continue
		}
		n := p.ops
		for len(missing) > 0 && missing[0] < place {
			missing = missing[1:]
			n--
		}
		b = redcon.AppendInt(b, int64(n))
	}
	return b
}
