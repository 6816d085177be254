package respapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// Limits of one command.
const (
	maxArguments    = 2*kv.MaxBatchOps + 1
	maxInlineBytes  = 64 << 10
	maxCommandBytes = api.MaxBatchBytes + 256<<10 // with keys and what frames them
	maxHeaderBytes  = 32                          // of a line with a length

	// smallBuffer is what a connection reads into, and writes from, without asking.
	smallBuffer = 16 << 10
	// smallArguments is how many arguments a command may have without asking, and
	// argumentBytes what each takes beside its bytes.
	smallArguments = 256
	argumentBytes  = 40
)

// errProtocol is the kind of what is no command. Nothing can be read after it: where the
// next command begins is not known.
//
//lint:ignore ST1005 clients are told this text, as Redis words it
var errProtocol = errors.New("Protocol error")

// errTooLarge is the kind of a command beyond the limits.
var errTooLarge = errors.New("too large")

// span is an argument: from and to of the bytes since the beginning of its command.
type span struct{ from, to int }

// reader takes commands from a stream. A command that has not come as a whole is gone on
// with where it ended: each byte is looked at once.
type reader struct {
	from io.Reader
	hold func(bytes int) error // asked before more is kept than is small, and told (negative) when it is given up
	held int                   // so many bytes

	buf   []byte
	start int // of the present command
	next  int // to parse
	end   int // of what has come

	left  int // arguments to come; -1: the command has not begun
	spans []span
	args  [][]byte // reused
}

func newReader(from io.Reader, hold func(bytes int) error) *reader {
	return &reader{from: from, hold: hold, buf: make([]byte, smallBuffer), left: -1}
}

// buffered reports whether part of a command has come.
func (r *reader) buffered() bool { return r.end > r.start }

// command returns the next command if it has come as a whole, and otherwise nil. Its
// arguments are valid until fill.
func (r *reader) command() ([][]byte, error) {
	for {
		if r.left < 0 {
			r.start, r.spans = r.next, r.spans[:0]
			if r.next == r.end {
				return nil, nil
			}
			if r.buf[r.next] != '*' {
				args, whole, err := r.inline()
				if len(args) > 0 || !whole || err != nil {
					return args, err
				}
				continue // an empty line
			}
			n, ok, err := r.length('*', maxArguments)
			if !ok || err != nil {
				return nil, err
			}
			if n <= 0 {
				continue
			}
			r.left = n
		}
		for r.left > 0 {
			ok, err := r.argument()
			if !ok || err != nil {
				return nil, err
			}
			r.left--
		}
		r.left = -1
		r.args = r.args[:0]
		for _, s := range r.spans {
			r.args = append(r.args, r.buf[r.start+s.from:r.start+s.to:r.start+s.to])
		}
		return r.args, nil
	}
}

// argument takes one in, if it has come.
func (r *reader) argument() (bool, error) {
	before := r.next
	n, ok, err := r.length('$', api.MaxValueBytes)
	if !ok || err != nil {
		return false, err
	}
	switch {
	case n < 0:
		return false, fmt.Errorf("%w: invalid bulk length", errProtocol)
	case r.next-r.start+n > maxCommandBytes:
		return false, fmt.Errorf("%w: a command may have %d bytes", errTooLarge, maxCommandBytes)
	case r.end-r.next < n+2:
		r.next = before
		return false, nil
	case r.buf[r.next+n] != '\r' || r.buf[r.next+n+1] != '\n':
		return false, fmt.Errorf("%w: an argument of %d bytes does not end after them", errProtocol, n)
	}
	if err := r.countArgument(); err != nil {
		return false, err
	}
	r.spans = append(r.spans, span{r.next - r.start, r.next - r.start + n})
	r.next += n + 2
	return true, nil
}

// countArgument makes room for one more, which can take more than its bytes.
func (r *reader) countArgument() error {
	if len(r.spans) < max(cap(r.spans), smallArguments) {
		return nil
	}
	have := cap(r.spans)
	if err := r.take(have * argumentBytes); err != nil {
		return err
	}
	r.spans = append(make([]span, 0, 2*have), r.spans...)
	return nil
}

func (r *reader) take(bytes int) error {
	err := r.hold(bytes)
	if err == nil {
		r.held += bytes
	}
	return err
}

// shrink gives up what a large command has taken.
func (r *reader) shrink() {
	if r.held == 0 {
		return
	}
	_ = r.take(-r.held)
	r.buf, r.spans, r.args = make([]byte, smallBuffer), nil, nil
}

// length takes in a line of a sign and a number.
func (r *reader) length(sign byte, limit int) (n int, ok bool, err error) {
	line := r.buf[r.next:r.end]
	if len(line) == 0 {
		return 0, false, nil
	}
	if line[0] != sign {
		return 0, false, fmt.Errorf("%w: expected '%c', got %q", errProtocol, sign, line[0])
	}
	end := bytes.IndexByte(line[:min(len(line), maxHeaderBytes)], '\n')
	switch {
	case end < 0 && len(line) >= maxHeaderBytes, end == 0, end > 0 && line[end-1] != '\r':
		return 0, false, fmt.Errorf("%w: a length does not end", errProtocol)
	case end < 0:
		return 0, false, nil
	}
	if n, ok = number(line[1 : end-1]); !ok {
		return 0, false, fmt.Errorf("%w: invalid length %q", errProtocol, line[1:end-1])
	}
	if n > limit {
		return 0, false, fmt.Errorf("%w: a length of %d, and at most %d are allowed", errTooLarge, n, limit)
	}
	r.next += end + 1
	return n, true, nil
}

// number reads a length; the lengths of most are short.
func number(text []byte) (int, bool) {
	if len(text) == 0 || len(text) > 9 {
		n, err := strconv.Atoi(string(text))
		return n, err == nil
	}
	n := 0
	for i, c := range text {
		if c < '0' || c > '9' {
			if i == 0 && c == '-' {
				n, err := strconv.Atoi(string(text))
				return n, err == nil
			}
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// inline takes in a line of words, as one types it by hand.
func (r *reader) inline() (args [][]byte, whole bool, err error) {
	line := r.buf[r.next:r.end]
	end := bytes.IndexByte(line, '\n')
	if end > maxInlineBytes || end < 0 && len(line) > maxInlineBytes {
		return nil, false, fmt.Errorf("%w: too big inline request", errProtocol)
	}
	if end < 0 {
		return nil, false, nil
	}
	r.next += end + 1
	args = bytes.Fields(line[:end])
	return args, true, nil
}

// fill waits for more bytes.
func (r *reader) fill() error {
	switch unread := r.end - r.start; {
	case unread == 0:
		r.shrink()
		r.next, r.start, r.end = r.next-r.start, 0, 0
	case r.end == len(r.buf) && unread > len(r.buf)/2:
		size := min(2*len(r.buf), maxCommandBytes+smallBuffer)
		if size <= unread {
			return fmt.Errorf("%w: a command may have %d bytes", errTooLarge, maxCommandBytes)
		}
		if err := r.take(size - len(r.buf)); err != nil {
			return err
		}
		grown := make([]byte, size)
		copy(grown, r.buf[r.start:r.end])
		r.buf = grown
		r.next, r.start, r.end = r.next-r.start, 0, unread
	case r.end == len(r.buf):
		copy(r.buf, r.buf[r.start:r.end])
		r.next, r.start, r.end = r.next-r.start, 0, unread
	}
	n, err := r.from.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}
