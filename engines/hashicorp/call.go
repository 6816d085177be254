package hashicorp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core/handshake"
)

const (
	answerBuffer   = 4 << 10 // bytes read at once of answers
	maxAnswerBytes = 1 << 20
	// snapshotStep is how much of a snapshot has the timeout of a call.
	snapshotStep = raft.DefaultTimeoutScale
)

// peer is whom a connection was made to. Where nobody is introduced, id is empty.
type peer struct {
	id raft.ServerID
	at raft.ServerAddress
}

// dialled is a connection to a peer. One call at a time, or one pipeline, has it.
type dialled struct {
	net.Conn
	to     peer
	pooled bool // it has been idle, and so may be dead without anybody having noticed
	in     *source
	out    drain
}

// AppendEntries implements raft.Transport.
func (f *framed) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return f.call(id, target, appendEntries, req, resp)
}

// RequestVote implements raft.Transport.
func (f *framed) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return f.call(id, target, requestVote, req, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (f *framed) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return f.call(id, target, requestPreVote, req, resp)
}

// TimeoutNow implements raft.Transport.
func (f *framed) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return f.call(id, target, timeoutNow, req, resp)
}

// call sends one request and waits for its answer.
func (f *framed) call(id raft.ServerID, target raft.ServerAddress, kind byte, req, resp any) error {
	c, err := f.connection(id, target)
	if err != nil {
		return err
	}
	err = c.SetDeadline(time.Now().Add(f.opts.Timeout))
	if err == nil {
		err = c.send(kind, req)
	}
	var refusal error
	if err == nil {
		refusal, err = c.receive(resp)
	}
	f.release(c, err)
	return cmp.Or(err, refusal)
}

// InstallSnapshot implements raft.Transport. Each step of a snapshot has the timeout
// of a call, and what becomes of it, that of all steps.
func (f *framed) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	c, err := f.connection(id, target)
	if err != nil {
		return err
	}
	defer f.discard(c)
	step := func(n int64) error { return c.SetDeadline(time.Now().Add(time.Duration(n) * f.opts.Timeout)) }
	if err := step(1); err != nil {
		return err
	}
	if err := c.send(installSnapshot, req); err != nil {
		return err
	}
	piece := make([]byte, snapshotStep)
	for {
		n, err := io.ReadFull(data, piece)
		if n > 0 {
			if err := step(1); err != nil {
				return err
			}
			if _, err := c.Write(piece[:n]); err != nil {
				return fmt.Errorf("hashicorp: send a snapshot to %s: %w", target, err)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("hashicorp: read the snapshot for %s: %w", target, err)
		}
	}
	if err := step(max(1, req.Size/snapshotStep)); err != nil {
		return err
	}
	refusal, err := c.receive(resp)
	return cmp.Or(err, refusal)
}

// connection returns one that is idle, or a new one.
func (f *framed) connection(id raft.ServerID, target raft.ServerAddress) (*dialled, error) {
	to := peer{at: target}
	if f.opts.self != nil {
		to.id = id
	}
	f.mu.Lock()
	if pool := f.idle[to]; len(pool) > 0 {
		c := pool[len(pool)-1]
		f.idle[to] = pool[:len(pool)-1]
		f.mu.Unlock()
		c.pooled = true
		return c, nil
	}
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, closedError("dial", target)
	}
	return f.dial(to)
}

func (f *framed) dial(to peer) (*dialled, error) {
	deadline := time.Now().Add(f.opts.Timeout)
	conn, err := f.wire.Dial(to.at, f.opts.Timeout)
	if err != nil {
		return nil, err
	}
	c := &dialled{Conn: conn, to: to, in: newSource(conn, answerBuffer, 0), out: drain{conn: conn}}
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.dialled[c] = struct{}{}
	}
	f.mu.Unlock()
	if closed {
		return nil, errors.Join(closedError("dial", to.at), conn.Close())
	}
	self := f.opts.self
	if self == nil {
		return c, nil
	}
	who, err := handshake.Dial(conn, deadline, self.Identity(), identityOf(to.id))
	if err != nil {
		f.discard(c)
		return nil, fmt.Errorf("hashicorp: %s: %w", to.at, err)
	}
	self.Meets(who)
	return c, nil
}

// release has a connection wait for its next use. After an error it is closed, and if
// it had waited before, those that wait beside it too: they are as old.
func (f *framed) release(c *dialled, err error) {
	f.mu.Lock()
	if pool := f.idle[c.to]; err == nil && c.in.r == c.in.w && len(pool) < f.opts.MaxPool && !f.closed {
		f.idle[c.to] = append(pool, c)
		f.mu.Unlock()
		return
	}
	var old []*dialled
	if err != nil && c.pooled {
		old = f.idle[c.to]
		delete(f.idle, c.to)
	}
	f.mu.Unlock()
	for _, c := range append(old, c) {
		f.discard(c)
	}
}

func (f *framed) discard(c *dialled) {
	f.mu.Lock()
	delete(f.dialled, c)
	f.mu.Unlock()
	c.Close()
}

// send writes a request.
func (c *dialled) send(kind byte, req any) error {
	c.out.buf = append(c.out.buf, kind)
	c.out.message(req)
	if err := c.out.flush(); err != nil {
		return fmt.Errorf("hashicorp: send to %s: %w", c.to.at, err)
	}
	return nil
}

// receive reads an answer. refusal is what the peer has to say against the request;
// without either, resp is the answer.
func (c *dialled) receive(resp any) (refusal, err error) {
	c.in.begin(maxAnswerBytes)
	text := c.in.text()
	if r, ok := resp.(*raft.AppendEntriesResponse); ok {
		var answer raft.AppendEntriesResponse
		c.in.appendEntriesAnswer(&answer)
		if c.in.err == nil && text == "" {
			*r = answer
		}
	} else {
		c.in.rare(resp)
	}
	if c.in.err != nil {
		return nil, fmt.Errorf("hashicorp: answer of %s: %w", c.to.at, c.in.err)
	}
	c.in.end()
	if text != "" {
		refusal = errors.New(text)
	}
	return refusal, nil
}

// AppendEntriesPipeline implements raft.Transport.
func (f *framed) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if f.opts.MaxInFlight < 2 {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	c, err := f.connection(id, target)
	if err != nil {
		return nil, err
	}
	// One request waits to be sent or has been, and one is with the reader.
	between := f.opts.MaxInFlight - 2
	p := &pipeline{
		owner: f, conn: c, closed: make(chan struct{}),
		sent: make(chan *future, between), answered: make(chan raft.AppendFuture, maxHeld),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, closedError("open a pipeline", target) // Close has the connection
	}
	f.pipelines[p] = struct{}{}
	p.reading.Go(p.read)
	return p, nil
}

// pipeline is a connection on which requests are sent before the ones before are
// answered. Who sends one more than allowed waits, after it is sent, until the first
// is answered: so the library chooses the entries of the next request as
// late as can be.
type pipeline struct {
	owner    *framed
	conn     *dialled
	sent     chan *future
	answered chan raft.AppendFuture
	reading  sync.WaitGroup

	sending sync.Mutex // one request at a time
	ending  sync.Once
	closed  chan struct{}
}

// future is a request that is under way.
type future struct {
	begun time.Time
	req   *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse
	done  chan struct{}
	err   error // once done is closed
}

// Start implements raft.AppendFuture.
func (f *future) Start() time.Time { return f.begun }

// Request implements raft.AppendFuture.
func (f *future) Request() *raft.AppendEntriesRequest { return f.req }

// Response implements raft.AppendFuture.
func (f *future) Response() *raft.AppendEntriesResponse { return f.resp }

// Error implements raft.Future.
func (f *future) Error() error {
	<-f.done
	return f.err
}

func (f *future) resolve(err error) {
	f.err = err
	close(f.done)
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.sending.Lock()
	defer p.sending.Unlock()
	f := &future{begun: time.Now(), req: req, resp: resp, done: make(chan struct{})}
	if err := p.conn.SetWriteDeadline(f.begun.Add(p.owner.opts.Timeout)); err != nil {
		return nil, fmt.Errorf("hashicorp: send to %s: %w", p.conn.to.at, err)
	}
	if err := p.conn.send(appendEntries, req); err != nil {
		return nil, err
	}
	select {
	case p.sent <- f:
		return f, nil
	case <-p.closed:
		return nil, raft.ErrPipelineShutdown
	}
}

// read takes the answers. After one that does not come, the others do not either.
func (p *pipeline) read() {
	for {
		select {
		case f := <-p.sent:
			select {
			case p.answered <- p.receive(f):
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// receive takes one.
func (p *pipeline) receive(f *future) raft.AppendFuture {
	err := p.conn.SetReadDeadline(time.Now().Add(p.owner.opts.Timeout))
	var refusal error
	if err == nil {
		refusal, err = p.conn.receive(f.resp)
	}
	if err != nil {
		p.conn.Close() // so that who sends learns of it
	}
	f.resolve(cmp.Or(err, refusal))
	if p.owner.opts.hear == nil {
		return f
	}
	return p.owner.opts.hear(p.conn.to.id, f, p.closed)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answered }

// Close implements raft.AppendPipeline. All requests under way have failed when it returns.
func (p *pipeline) Close() error {
	p.owner.mu.Lock()
	delete(p.owner.pipelines, p)
	p.owner.mu.Unlock()
	p.end()
	return nil
}

func (p *pipeline) end() {
	p.ending.Do(func() {
		close(p.closed)
		p.owner.discard(p.conn)
		p.reading.Wait()
		p.sending.Lock() // nobody hands a request to the reader any more
		defer p.sending.Unlock()
		for {
			select {
			case f := <-p.sent:
				f.resolve(raft.ErrPipelineShutdown)
			default:
				return
			}
		}
	})
}
