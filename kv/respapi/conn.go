package respapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

var errTooManyFiles error = syscall.EMFILE

// conn is one connection. One goroutine reads commands, begins writes and carries out all
// else; another sends the answers of writes that were under way. Answers go out in the
// order of the commands: what is not begun waits until no write is under way.
type conn struct {
	s   *Server
	net net.Conn
	id  int64
	in  *reader

	// Of the reading goroutine.
	level    string // of reads
	refuses  bool   // what another node leads is refused, not forwarded
	resp3    bool
	name     string
	fresh    bool // no bytes have come since the last barrier at level
	tx       *transaction
	counting string // the key of the increments that are under way; empty: none
	quitting bool
	scratch  []byte // the answer that is being made
	held     int    // of the node's memory, by that
	small    int    // bytes of that which are not in held yet

	active  atomic.Int64 // when it last had something to do
	partial atomic.Int64 // when a command, or a large transaction, began that has not come as a whole; 0: none
	got     atomic.Int64 // bytes of that
	waiting atomic.Bool  // for a command

	mu       sync.Mutex
	changed  *sync.Cond // less is under way or unsent, or broken
	underWay []*write   // in the order of their commands
	head     int        // of underWay
	retrying bool       // the one at the head is tried again
	out      []byte     // answers to send
	spare    []byte     // the buffer that is not out
	sending  bool
	sentAt   time.Duration // when sending began
	bytes    int           // that are being sent
	broken   bool          // the client takes no more answers
	wake     chan struct{} // tells the sending goroutine
}

func newConn(s *Server, raw net.Conn, id int64) *conn {
	c := &conn{s: s, net: raw, id: id, level: api.Linearizable, wake: make(chan struct{}, 1)}
	c.changed = sync.NewCond(&c.mu)
	c.in = newReader(raw, func(bytes int) error {
		if bytes < 0 {
			s.cfg.Node.Release(-bytes)
			return nil
		}
		return s.cfg.Node.Hold(bytes)
	})
	c.active.Store(int64(s.now()))
	return c
}

// write is one that is under way.
type write struct {
	c       *conn
	command []byte
	reply   reply
	begun   time.Duration

	// Under c.mu.
	done   bool
	over   bool // for the replica or for the connection
	result kv.Result
	err    error
}

// Complete implements core.Completion.
func (w *write) Complete(applied core.Applied, err error) {
	result, _ := applied.Result.(kv.Result)
	w.complete(result, 0, core.OfProposal(err))
}

// complete takes the outcome, also of what is no proposal by itself.
func (w *write) complete(result kv.Result, sum int64, err error) {
	c := w.c
	c.mu.Lock()
	w.settle(result, err)
	w.reply.sum = sum
	w.let()
	first := c.head < len(c.underWay) && c.underWay[c.head] == w
	c.mu.Unlock()
	if first {
		c.wakeUp()
	}
}

func (w *write) settle(result kv.Result, err error) {
	if !w.done {
		w.done, w.result, w.err = true, result, err
	}
}

// let gives the memory of the command back when it is called for the second time: by the
// replica, and by whoever has made the answer, which a client may be slow to take. Under
// c.mu.
func (w *write) let() {
	if w.over {
		w.c.s.cfg.Node.Release(len(w.command))
	}
	w.over = true
}

func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) lastActive() time.Duration { return time.Duration(c.active.Load()) }

func (c *conn) isIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting.Load() && c.partial.Load() == 0 && c.head == len(c.underWay) && !c.sending
}

// finish has the connection end once what has come is answered.
func (c *conn) finish() {
	_ = c.net.SetReadDeadline(time.Now())
}

// expire ends what has come to its deadline.
func (c *conn) expire(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.underWay[c.head:] {
		if now-w.begun < c.s.cfg.Timeout {
			break
		}
		w.settle(kv.Result{}, errNoOutcome)
		c.wakeUp()
	}
	slow := c.sending && now-c.sentAt > c.s.pace(c.bytes)
	if at := time.Duration(c.partial.Load()); at != 0 && now-at > c.s.pace(int(c.got.Load())) {
		slow = true
	}
	if slow && !c.broken {
		c.broken = true
		c.s.stats.slow.Add(1)
		_ = c.net.Close()
		c.changed.Broadcast()
	}
}

// pace is how long so many bytes may take.
func (s *Server) pace(bytes int) time.Duration {
	return s.cfg.Patience + time.Duration(float64(bytes)/float64(s.cfg.BytesPerS)*float64(time.Second))
}

var errNoOutcome = fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, context.DeadlineExceeded)

// serve answers until the client leaves or the server ends.
func (c *conn) serve() {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.send()
	}()
	c.read()
	c.drain()
	c.flush()
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
	c.wakeUp()
	<-sent
	_ = c.net.Close()
	c.endTransaction()
	c.s.cfg.Node.Release(c.in.held)
	c.s.leave(c)
}

// read takes in commands until there are no more.
func (c *conn) read() {
	for !c.quitting {
		args, err := c.in.command()
		if err == nil && args == nil {
			err = c.more()
			if err == nil {
				continue
			}
			if !errors.Is(err, errTooLarge) && !errors.Is(err, errProtocol) && c.s.codeOf(err) != api.CodeOverloaded {
				return // the client has left, or the server ends
			}
		}
		if err != nil {
			c.drain()
			c.answer(func(b []byte) []byte { return c.s.appendFailure(b, err) })
			return
		}
		if c.partial.Load() != 0 && (c.tx == nil || c.tx.held == 0) {
			c.partial.Store(0)
		}
		c.do(args)
	}
}

// more sends what can be sent and waits for bytes.
func (c *conn) more() error {
	c.mu.Lock()
	idle := c.head == len(c.underWay) && !c.sending
	unsent := len(c.out) > 0
	c.mu.Unlock()
	switch {
	case unsent && idle:
		c.flush()
	case unsent:
		c.wakeUp()
	}
	now := int64(c.s.now())
	c.active.Store(now)
	if c.in.buffered() {
		c.partial.CompareAndSwap(0, now)
	}
	c.got.Store(int64(c.in.end - c.in.start))
	if c.tx != nil {
		c.got.Add(int64(c.tx.bytes))
	}
	c.waiting.Store(true)
	err := c.in.fill()
	c.waiting.Store(false)
	c.fresh = false
	return err
}

// flush sends all answers from the reading goroutine, while no write is under way.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transmit()
}

// transmit sends what is to be sent; under c.mu, which it gives up meanwhile.
func (c *conn) transmit() {
	for c.sending && !c.broken {
		c.changed.Wait()
	}
	if len(c.out) == 0 || c.broken {
		return
	}
	out := c.out
	c.out, c.spare = c.spare[:0], nil
	c.sending, c.sentAt, c.bytes = true, c.s.now(), len(out)
	c.mu.Unlock()
	_, err := c.net.Write(out)
	c.mu.Lock()
	c.sending = false
	if cap(out) <= 2*maxUnsent {
		c.spare = out[:0]
	}
	if err != nil {
		c.broken = true
		_ = c.net.Close() // the reading goroutine need not wait
	}
	c.changed.Broadcast()
}

// send is the sending goroutine.
func (c *conn) send() {
	for range c.wake {
		c.mu.Lock()
		c.collect()
		if c.head < len(c.underWay) && len(c.out) > 0 {
			// The state machine is handing over more of the same batch, maybe: what comes
			// in one moment goes out in one piece.
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
			c.collect()
		}
		c.transmit()
		again := c.head < len(c.underWay) && c.underWay[c.head].done
		ended := c.broken
		if ended {
			for _, w := range c.underWay[c.head:] {
				w.let()
			}
			c.underWay, c.head = nil, 0
			c.changed.Broadcast()
		}
		c.mu.Unlock()
		if ended {
			return
		}
		if again {
			c.wakeUp()
		}
	}
}

// collect makes answers of the writes at the head that are done.
func (c *conn) collect() {
	for c.head < len(c.underWay) && c.underWay[c.head].done {
		w := c.underWay[c.head]
		if c.retries(w) {
			c.retrying = true // what is begun meanwhile, if this node leads again, could overtake it
			c.mu.Unlock()
			result, err := c.s.proposeAnyhow(w.command, w.begun)
			c.mu.Lock()
			w.result, w.err, c.retrying = result, err, false
		}
		c.out = w.reply.append(c.out, c, w.result, w.err)
		c.s.stats.observe(w.reply.command, c.s.now()-w.begun, w.err != nil)
		w.let()
		c.underWay[c.head] = nil
		c.head++
	}
	if c.head == len(c.underWay) {
		c.underWay, c.head = c.underWay[:0], 0
	} else if c.head > maxUnderWay {
		n := copy(c.underWay, c.underWay[c.head:])
		clear(c.underWay[n:])
		c.underWay, c.head = c.underWay[:n], 0
	}
	c.changed.Broadcast()
}

// retries reports whether a write that was not taken is tried again: not if it would then
// come after what came later on its connection.
func (c *conn) retries(w *write) bool {
	return w.err != nil && w.command != nil && !c.refuses && c.head == len(c.underWay)-1 &&
		errors.Is(w.err, core.ErrNotLeader) && !errors.Is(w.err, core.ErrOutcomeUnknown)
}

// drain waits until no write is under way and nothing is being sent.
func (c *conn) drain() {
	c.counting = ""
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.head < len(c.underWay) || c.sending) && !c.broken {
		c.changed.Wait()
	}
}

// answer adds an answer, once no write is under way. A client that takes none is waited for.
func (c *conn) answer(add func([]byte) []byte) {
	c.scratch = add(c.scratch[:0])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken { // what else has come is for nobody
		c.quitting, c.out = true, nil
	} else {
		c.out = append(c.out, c.scratch...)
	}
	if len(c.out) > maxUnsent || c.held > 0 {
		c.transmit()
	}
	if c.held > 0 {
		c.s.cfg.Node.Release(c.held)
		c.held = 0
	}
	c.small = 0
	if cap(c.scratch) > 4*smallBuffer {
		c.scratch = nil
	}
}

// reserve makes room for a large answer, in which the bytes stand twice until it is sent.
func (c *conn) reserve(bytes int) error {
	if c.small += bytes; c.small <= smallBuffer {
		return nil
	}
	if err := c.s.cfg.Node.Hold(2 * c.small); err != nil {
		return err
	}
	c.held, c.small = c.held+2*c.small, 0
	return nil
}

// begin has a write proposed. Its answer follows those before it.
func (c *conn) begin(command []byte, r reply) {
	if c.counting != "" { // increments are not proposed in the order in which they came
		c.drain()
	}
	if err := c.s.cfg.Node.Hold(len(command)); err != nil {
		c.drain()
		c.answer(func(b []byte) []byte { return c.s.appendFailure(b, err) })
		return
	}
	if w := (&write{c: c, command: command, reply: r, begun: c.s.now()}); c.enqueue(w) {
		c.s.proposer.Begin(command, w)
	} else {
		c.s.cfg.Node.Release(len(command))
	}
}

// enqueue has the write's answer follow those before it. False: there is nobody to answer.
func (c *conn) enqueue(w *write) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (len(c.underWay)-c.head >= maxUnderWay || len(c.out) > maxUnsent || c.retrying) && !c.broken {
		c.wakeUp()
		c.changed.Wait()
	}
	if c.broken {
		c.quitting = true
		return false
	}
	c.underWay = append(c.underWay, w)
	return true
}

// context returns one with the deadline of a command.
func (c *conn) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.s.ctx, c.s.cfg.Timeout)
}

// proposeAnyhow proposes, wherever the leader is, until the deadline of what began then.
func (s *Server) proposeAnyhow(command []byte, begun time.Duration) (kv.Result, error) {
	ctx, cancel := context.WithDeadline(s.ctx, s.started.Add(begun+s.cfg.Timeout))
	defer cancel()
	_, result, err := s.cfg.Node.Propose(ctx, command)
	return result, err
}
