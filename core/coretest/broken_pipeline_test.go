package coretest

import (
	"sync"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// piped replaces the pipelines of a transport.
type piped struct {
	core.Transport
	open func(tr core.Transport, target raft.ServerAddress) (raft.AppendPipeline, error)
}

func (p piped) AppendEntriesPipeline(_ raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return p.open(p.Transport, target)
}

// whenPiping wraps every pipeline.
func whenPiping(wrap func(raft.AppendPipeline) raft.AppendPipeline) func(core.Transport) core.Transport {
	return func(tr core.Transport) core.Transport {
		return piped{tr, func(tr core.Transport, target raft.ServerAddress) (raft.AppendPipeline, error) {
			p, err := tr.AppendEntriesPipeline("", target)
			if err != nil {
				return nil, err
			}
			return wrap(p), nil
		}}
	}
}

// relay hands the futures of a pipeline on as pass decides, until it is closed.
type relay struct {
	raft.AppendPipeline
	out   chan raft.AppendFuture
	done  chan struct{}
	ended chan struct{} // closed when nothing is sent to out any more
	once  *sync.Once
}

func relaying(pass func(f raft.AppendFuture, out chan<- raft.AppendFuture)) func(raft.AppendPipeline) raft.AppendPipeline {
	return func(p raft.AppendPipeline) raft.AppendPipeline {
		r := relay{p, make(chan raft.AppendFuture, 1000), make(chan struct{}), make(chan struct{}), new(sync.Once)}
		go func() {
			defer close(r.ended)
			for {
				select {
				case f := <-p.Consumer():
					pass(f, r.out)
				case <-r.done:
					return
				}
			}
		}()
		return r
	}
}

func (r relay) Consumer() <-chan raft.AppendFuture { return r.out }

func (r relay) Close() error {
	r.once.Do(func() { close(r.done) })
	return r.AppendPipeline.Close()
}

// closesConsumer closes the channel of futures, as the engine must never see.
type closesConsumer struct {
	relay
	closing *sync.Once
}

func (c closesConsumer) Close() error {
	err := c.relay.Close()
	<-c.ended
	c.closing.Do(func() { close(c.out) })
	return err
}

// swapping sends every two requests in the wrong order.
type swapping struct {
	raft.AppendPipeline
	held *raft.AppendEntriesRequest
	resp *raft.AppendEntriesResponse
}

func (s *swapping) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if s.held == nil {
		s.held, s.resp = req, resp
		return nil, nil
	}
	if _, err := s.AppendPipeline.AppendEntries(req, resp); err != nil {
		return nil, err
	}
	req, resp, s.held = s.held, s.resp, nil
	return s.AppendPipeline.AppendEntries(req, resp)
}

// neverEnds takes requests whatever has happened.
type neverEnds struct{ raft.AppendPipeline }

func (n neverEnds) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f, err := n.AppendPipeline.AppendEntries(req, resp)
	if err != nil {
		return nil, nil
	}
	return f, nil
}

// nobody is a pipeline to nowhere.
type nobody struct{ raft.AppendPipeline }

func (nobody) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	return nobodysFuture{}, nil
}
func (nobody) Close() error { return nil }

type nobodysFuture struct{ raft.AppendFuture }

func (nobodysFuture) Error() error { return nil }

func brokenPipelines() []broken {
	onlySuccess := relaying(func(f raft.AppendFuture, out chan<- raft.AppendFuture) {
		if f.Error() == nil {
			out <- f
		}
	})
	all := relaying(func(f raft.AppendFuture, out chan<- raft.AppendFuture) { out <- f })
	return []broken{
		transportWith("Pipeline", "swaps-requests", whenPiping(func(p raft.AppendPipeline) raft.AppendPipeline {
			return &swapping{AppendPipeline: p}
		})),
		transportWith("Pipeline", "swaps-futures", func(tr core.Transport) core.Transport {
			var first raft.AppendFuture
			return whenPiping(relaying(func(f raft.AppendFuture, out chan<- raft.AppendFuture) {
				if first == nil {
					first = f
					return
				}
				out <- f
				out <- first
				first = nil
			}))(tr)
		}),
		transportWith("PipelineHandlerError", "hides-refusals", whenPiping(onlySuccess)),
		transportWith("PipelinePeerCloses", "hides-failures", whenPiping(onlySuccess)),
		transportWith("PipelineClose", "closes-consumer", whenPiping(func(p raft.AppendPipeline) raft.AppendPipeline {
			return closesConsumer{all(p).(relay), new(sync.Once)}
		})),
		transportWith("PipelineOwnerCloses", "outlives-its-owner", whenPiping(func(p raft.AppendPipeline) raft.AppendPipeline {
			return neverEnds{p}
		})),
		transportWith("PipelineToNobody", "opens-to-nobody", func(tr core.Transport) core.Transport {
			return piped{tr, func(tr core.Transport, target raft.ServerAddress) (raft.AppendPipeline, error) {
				p, err := tr.AppendEntriesPipeline("", target)
				if err != nil {
					return nobody{}, nil
				}
				return p, nil
			}}
		}),
	}
}
