package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// pipe is one connection of the Redis protocol that many callers share. It has no
// goroutines of its own: a caller writes what it and others have queued by one write, and
// one of those that wait for answers reads for all. So a caller that is alone is woken
// once, by its answer. Safe for concurrent use.
type pipe struct {
	net net.Conn

	mu      sync.Mutex
	out     []byte // queued, not yet taken by a writer
	spare   []byte
	writing bool
	waiting []*exchange // in the order of their answers
	head    int         // of waiting
	sent    uint64      // the last exchange that a writer has taken
	last    uint64      // the last that was queued
	reader  *exchange   // whose caller reads; nil: nobody does
	hurried bool        // the read deadline has been set to end its reading
	until   time.Time   // a write to the connection ends by then, done or not
	err     error       // the pipe is of no use any more

	in       []byte // of the reader
	from, to int    // what of it is to be parsed
}

// exchange is a request and its answer.
type exchange struct {
	seq   uint64
	reply Reply
	err   error
	sent  bool // with err: something of it may have left this process
	done  bool
	left  bool          // the caller has gone
	wake  chan struct{} // done, or the caller is to read
}

var (
	errPipeClosed = errors.New("the connection was closed")
	errFull       = errors.New("the node takes no more requests")
)

const (
	// writePatience is how long a caller writes to a node that takes nothing, at most twice
	// that: then the rest is written for it, and it waits as its context allows.
	writePatience = 250 * time.Millisecond
	// maxQueuedBytes is how much waits behind what a node does not take.
	maxQueuedBytes = 64 << 20
)

func newPipe(c net.Conn) *pipe { return &pipe{net: c, in: make([]byte, 16<<10)} }

// do sends one command and returns the answer. With an error, sent tells whether
// something of it may have left this process, or may yet.
func (p *pipe) do(ctx context.Context, args ...[]byte) (r Reply, sent bool, err error) {
	x := exchanges.Get().(*exchange)
	p.mu.Lock()
	if p.err != nil {
		defer p.mu.Unlock()
		return Reply{}, false, p.err
	}
	if len(p.out) > maxQueuedBytes {
		defer p.mu.Unlock()
		return Reply{}, false, errFull
	}
	p.out = appendCommand(p.out, args)
	p.last++
	*x = exchange{seq: p.last, wake: x.wake}
	p.waiting = append(p.waiting, x)
	if p.writing { // who writes takes it along
		p.mu.Unlock()
	} else {
		p.write(x)
	}
	r, sent, err = p.await(ctx, x)
	return r, sent, err
}

// exchanges are reused, with their channels.
var exchanges = sync.Pool{New: func() any { return &exchange{wake: make(chan struct{}, 1)} }}

// write writes what is queued, until there is no more, or x is answered and another
// goroutine can go on. It is called under p.mu, and gives it up.
func (p *pipe) write(x *exchange) {
	p.writing = true
	if p.head < len(p.waiting)-1 { // others may be about to queue theirs, woken by one read
		p.mu.Unlock()
		runtime.Gosched()
		p.mu.Lock()
	}
	for len(p.out) > 0 && p.err == nil {
		if x != nil && x.done {
			go p.writeRest(nil, 0)
			p.mu.Unlock()
			return
		}
		out := p.out
		p.out, p.spare, p.sent = p.spare[:0], nil, p.last
		if now := time.Now(); x != nil && p.until.Sub(now) < writePatience { // not for each write: it costs
			p.until = now.Add(2 * writePatience)
			_ = p.net.SetWriteDeadline(p.until)
		}
		p.mu.Unlock()
		n, err := p.net.Write(out)
		p.mu.Lock()
		if x != nil && errors.Is(err, os.ErrDeadlineExceeded) && p.err == nil {
			go p.writeRest(out, n)
			p.mu.Unlock()
			return
		}
		p.wrote(out, err)
	}
	p.writing = false
	p.mu.Unlock()
}

// wrote takes back a buffer; under p.mu.
func (p *pipe) wrote(out []byte, err error) {
	if cap(out) <= 1<<20 {
		p.spare = out[:0]
	}
	if err != nil {
		p.fail(fmt.Errorf("write: %w", err))
	}
}

// writeRest goes on for a caller that writes no more. It ends with the connection, at the
// latest when the node has not taken what it is sent for as long as any request may take.
func (p *pipe) writeRest(out []byte, written int) {
	_ = p.net.SetWriteDeadline(time.Now().Add(api.MaxTimeout))
	var err error
	if written < len(out) {
		_, err = p.net.Write(out[written:])
	}
	p.mu.Lock()
	p.until = time.Time{}
	if out != nil {
		p.wrote(out, err)
	}
	p.write(nil)
}

// await waits for the answer, and meanwhile reads for all if nobody does.
func (p *pipe) await(ctx context.Context, x *exchange) (Reply, bool, error) {
	for {
		p.mu.Lock()
		switch {
		case x.done:
			r, sent, err := x.reply, x.sent, x.err
			if p.reader == x {
				p.handOver()
			}
			p.mu.Unlock()
			select { // told twice, maybe
			case <-x.wake:
			default:
			}
			x.reply = Reply{}
			exchanges.Put(x)
			return r, sent, err
		case ctx.Err() != nil:
			x.left = true
			if p.reader == x {
				p.handOver()
			}
			p.mu.Unlock()
			return Reply{}, true, ctx.Err() // also what is queued will be sent
		case p.reader == nil || p.reader == x:
			p.reader = x
			p.mu.Unlock()
			p.read(ctx, x)
			continue
		}
		p.mu.Unlock()
		select {
		case <-x.wake:
		case <-ctx.Done():
		}
	}
}

// handOver has another caller read, if one waits; under p.mu.
func (p *pipe) handOver() {
	p.reader = nil
	if p.hurried {
		p.hurried = false
		_ = p.net.SetReadDeadline(time.Time{})
	}
	for _, x := range p.waiting[p.head:] {
		if !x.left && !x.done {
			p.reader = x
			x.tell()
			return
		}
	}
}

func (x *exchange) tell() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// read reads once, and hands out the answers that have come.
func (p *pipe) read(ctx context.Context, x *exchange) {
	seq := x.seq // which another request has, if it is reused
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.reader == x && x.seq == seq {
			p.hurried = true
			_ = p.net.SetReadDeadline(time.Unix(1, 0))
		}
	})
	if p.to == len(p.in) {
		if p.from > 0 {
			p.to = copy(p.in, p.in[p.from:p.to])
			p.from = 0
		} else {
			p.in = append(p.in, make([]byte, len(p.in))...)
		}
	}
	n, err := p.net.Read(p.in[p.to:])
	stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to += n
	for p.from < p.to {
		r, size, parseErr := parseReply(p.in[p.from:p.to], 0)
		if parseErr != nil {
			p.fail(parseErr)
			return
		}
		if size == 0 {
			break
		}
		p.from += size
		p.answered(r)
	}
	if p.from == p.to {
		if p.from, p.to = 0, 0; len(p.in) > 1<<20 { // of one large value
			p.in = make([]byte, 16<<10)
		}
	}
	if err != nil && !(p.hurried && errors.Is(err, os.ErrDeadlineExceeded)) {
		p.fail(fmt.Errorf("read: %w", err))
	}
}

// answered gives an answer to the exchange whose turn it is; under p.mu.
func (p *pipe) answered(r Reply) {
	if p.head == len(p.waiting) {
		p.fail(errors.New("an answer to nothing that was asked"))
		return
	}
	x := p.waiting[p.head]
	p.waiting[p.head] = nil
	if p.head++; p.head == len(p.waiting) {
		p.waiting, p.head = p.waiting[:0], 0
	} else if p.head >= 1024 {
		n := copy(p.waiting, p.waiting[p.head:])
		clear(p.waiting[n:])
		p.waiting, p.head = p.waiting[:n], 0
	}
	if x.left {
		return
	}
	x.reply, x.done = r.own(), true
	if x != p.reader {
		x.tell()
	}
}

// fail ends the pipe; under p.mu.
func (p *pipe) fail(err error) {
	if p.err != nil {
		return
	}
	p.err = err
	_ = p.net.Close()
	for _, x := range p.waiting[p.head:] {
		x.done, x.err, x.sent = true, err, x.seq <= p.sent
		x.tell()
	}
	p.waiting, p.head, p.out = nil, 0, nil
}

func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(errPipeClosed)
}

func (p *pipe) broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// appendCommand appends a command as an array of bulk strings.
func appendCommand(b []byte, args [][]byte) []byte {
	b = appendLine(b, '*', len(args))
	for _, arg := range args {
		b = append(append(appendLine(b, '$', len(arg)), arg...), '\r', '\n')
	}
	return b
}

func appendLine(b []byte, sign byte, n int) []byte {
	return append(strconv.AppendInt(append(b, sign), int64(n), 10), '\r', '\n')
}

// Reply is an answer of the protocol's version 2.
type Reply struct {
	Kind  byte   // + - : $ *
	Text  []byte // of + - $
	N     int64  // of :
	Null  bool   // of $ and *
	Items []Reply
}

// own returns the reply with bytes of its own.
func (r Reply) own() Reply {
	switch {
	case r.Kind == '+' && string(r.Text) == "OK":
		r.Text = okText
	case r.Text != nil:
		r.Text = bytes.Clone(r.Text)
	}
	for i := range r.Items {
		r.Items[i] = r.Items[i].own()
	}
	return r
}

var okText = []byte("OK")

const (
	maxReplyBytes = 8 * api.MaxValueBytes
	maxReplyItems = 1 << 20
	maxReplyDepth = 8
	maxLineBytes  = 64 << 10
)

var errReply = errors.New("not an answer of the Redis protocol: look whether a kvnode serves it there")

// parseReply takes one reply from the beginning of b; size 0: it has not come as a whole.
func parseReply(b []byte, depth int) (r Reply, size int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxLineBytes)], '\n')
	switch {
	case len(b) > 0 && !slices.Contains([]byte("+-:$*"), b[0]), end < 0 && len(b) >= maxLineBytes, end >= 0 && (end < 2 || b[end-1] != '\r'), depth > maxReplyDepth:
		return r, 0, errReply
	case end < 0:
		return r, 0, nil
	}
	r.Kind, r.Text, size = b[0], b[1:end-1], end+1
	if r.Kind == '+' || r.Kind == '-' {
		return r, size, nil
	}
	r.N, err = strconv.ParseInt(string(r.Text), 10, 64)
	if err != nil {
		return r, 0, errReply
	}
	r.Text = nil
	switch {
	case r.Kind == ':':
	case r.N == -1:
		r.Null = true
	case r.N < 0, r.Kind == '$' && r.N > maxReplyBytes, r.Kind == '*' && r.N > maxReplyItems:
		return r, 0, errReply
	case r.Kind == '$':
		n := int(r.N)
		if len(b) < size+n+2 {
			return r, 0, nil
		}
		if b[size+n] != '\r' || b[size+n+1] != '\n' {
			return r, 0, errReply
		}
		r.Text = b[size : size+n : size+n]
		size += n + 2
	default:
		for range r.N {
			item, n, err := parseReply(b[size:], depth+1)
			if n == 0 || err != nil {
				return r, 0, err
			}
			r.Items = append(r.Items, item)
			size += n
		}
	}
	return r, size, nil
}
