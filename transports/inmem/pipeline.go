package inmem

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

var (
	_ raft.AppendPipeline = (*pipeline)(nil)
	_ raft.AppendFuture   = (*future)(nil)
)

// pipeline sends AppendEntries requests to one peer without waiting for each
// answer. Senders take turns; one goroutine collects the answers in order.
type pipeline struct {
	from, to *transport
	timeout  time.Duration

	sending sync.Mutex
	sent    chan *future           // in the order sent, waiting to be collected
	ready   chan raft.AppendFuture // never closed: the engine would take nil for a future

	closing   sync.Once
	done      chan struct{} // closed by Close
	collected chan struct{} // closed when collect has returned
}

func startPipeline(from, to *transport, opts Options) *pipeline {
	p := &pipeline{
		from: from, to: to, timeout: opts.Timeout,
		// Besides what waits here, one request is with collect and one with the
		// sender that waits for a place.
		sent:      make(chan *future, opts.MaxInFlight-2),
		ready:     make(chan raft.AppendFuture, opts.MaxInFlight),
		done:      make(chan struct{}),
		collected: make(chan struct{}),
	}
	go p.collect()
	return p
}

// AppendEntries implements raft.AppendPipeline. It blocks while MaxInFlight
// requests are under way.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f := newFuture(req, resp)
	p.sending.Lock()
	defer p.sending.Unlock()
	select {
	case <-p.done:
		return nil, raft.ErrPipelineShutdown
	default:
	}
	if err := p.send(raft.RPC{Command: req, RespChan: f.answers}); err != nil {
		return nil, p.from.failure("append entries", p.to.address, err)
	}
	select {
	case p.sent <- f:
		return f, nil
	case <-p.done:
		return nil, raft.ErrPipelineShutdown
	}
}

func (p *pipeline) send(rpc raft.RPC) error {
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	return p.to.accept(rpc, timer.C, p.done)
}

// Consumer implements raft.AppendPipeline. The channel is never closed.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.ready }

// Close implements raft.AppendPipeline: requests that are under way fail, and no
// future is delivered to Consumer any more.
func (p *pipeline) Close() error {
	p.closing.Do(func() {
		close(p.done)
		<-p.collected
		p.sending.Lock() // after this, no sender can add to sent
		defer p.sending.Unlock()
		for {
			select {
			case f := <-p.sent:
				f.finish(raft.RPCResponse{Error: raft.ErrPipelineShutdown})
				continue
			default:
			}
			break
		}
		p.from.mu.Lock()
		defer p.from.mu.Unlock()
		delete(p.from.pipelines, p)
	})
	return nil
}

// collect waits for the answers one after the other.
func (p *pipeline) collect() {
	defer close(p.collected)
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	for {
		select {
		case f := <-p.sent:
			timer.Reset(p.timeout)
			f.finish(p.to.await(f.answers, timer.C, p.done, raft.ErrPipelineShutdown))
			select {
			case p.ready <- f:
			case <-p.done:
				return
			}
		case <-p.done:
			return
		}
	}
}

// future is one request of a pipeline.
type future struct {
	start   time.Time
	req     *raft.AppendEntriesRequest
	resp    *raft.AppendEntriesResponse
	answers chan raft.RPCResponse

	finished sync.WaitGroup
	err      error // set before finished
}

func newFuture(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) *future {
	f := &future{start: time.Now(), req: req, resp: resp, answers: make(chan raft.RPCResponse, 1)}
	f.finished.Add(1)
	return f
}

func (f *future) finish(answer raft.RPCResponse) {
	f.err = copyAnswer(f.resp, answer)
	f.finished.Done()
}

// Error implements raft.Future: it waits for the answer.
func (f *future) Error() error {
	f.finished.Wait()
	return f.err
}

// Start implements raft.AppendFuture.
func (f *future) Start() time.Time { return f.start }

// Request implements raft.AppendFuture.
func (f *future) Request() *raft.AppendEntriesRequest { return f.req }

// Response implements raft.AppendFuture.
func (f *future) Response() *raft.AppendEntriesResponse { return f.resp }
