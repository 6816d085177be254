package calibrate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

const (
	commitLimit = 20 * time.Millisecond // of one kind of rounds
	wakeAfter   = 100 * time.Millisecond
)

// acknowledgement is an answer to a round's message.
type acknowledgement struct {
	round   uint64
	flushed time.Duration
	err     error
}

// group is one that does nothing but flush, send and answer.
type group struct {
	log     *preallocated // the leader's
	conns   []net.Conn    // to the others
	answers chan acknowledgement
	running sync.WaitGroup
}

func newGroup(ctx context.Context, logs []*preallocated) (g *group, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	g = &group{log: logs[0], answers: make(chan acknowledgement, len(logs))}
	for _, log := range logs[1:] {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
		if err != nil {
			g.close()
			return nil, err
		}
		g.conns = append(g.conns, conn)
		other, err := listener.Accept()
		if err != nil {
			g.close()
			return nil, err
		}
		g.running.Go(func() {
			defer other.Close()
			_ = follow(other, log) // the leader's end sees it closed
		})
		g.running.Go(func() { g.hear(conn) })
	}
	return g, nil
}

// close ends all of it, and hears what there still is to say.
func (g *group) close() {
	for _, c := range g.conns {
		c.Close()
	}
	go func() { g.running.Wait(); close(g.answers) }()
	for range g.answers {
	}
}

// commits measures rounds, for commitLimit and at least one.
func commits(ctx context.Context, logs []*preallocated, overlapped bool) (c record.Commits, err error) {
	g, err := newGroup(ctx, logs)
	if err != nil {
		return c, err
	}
	defer g.close()
	var own, others, messages []time.Duration
	for begin := time.Now(); ctx.Err() == nil && (len(own) == 0 || time.Since(begin) < commitLimit); {
		flush := g.flush()
		if !overlapped {
			<-flush.done
		}
		sent := time.Now()
		last, err := g.round(uint64(len(own)) + 1)
		came := time.Since(sent)
		<-flush.done
		if err := errors.Join(err, flush.err); err != nil {
			return c, err
		}
		own, others, messages = append(own, flush.took), append(others, last.flushed), append(messages, came-last.flushed)
	}
	c = record.Commits{Members: len(logs), Overlapped: overlapped}
	for of, samples := range map[*string][]time.Duration{&c.LeaderHist: own, &c.FollowerHist: others, &c.MessagesHist: messages} {
		if *of, err = histogram(samples); err != nil {
			return c, err
		}
	}
	return c, ctx.Err()
}

// flushing is a flush of the leader's, under way until done is closed.
type flushing struct {
	done chan struct{}
	took time.Duration
	err  error
}

func (g *group) flush() *flushing {
	f := &flushing{done: make(chan struct{})}
	g.running.Go(func() {
		begin := time.Now()
		f.err = g.log.append()
		f.took = time.Since(begin)
		close(f.done)
	})
	return f
}

// round sends to all others, and returns the answer with which there is a majority.
func (g *group) round(number uint64) (acknowledgement, error) {
	message := make([]byte, smallMessage)
	binary.LittleEndian.PutUint64(message, number)
	for _, c := range g.conns {
		if _, err := c.Write(message); err != nil {
			return acknowledgement{}, err
		}
	}
	for missing := (len(g.conns) + 1) / 2; ; {
		a := <-g.answers
		if a.err != nil {
			return a, a.err
		}
		if a.round == number {
			missing--
		}
		if missing == 0 {
			return a, nil
		}
	}
}

// follow flushes for each message and answers it with how long that took.
func follow(conn net.Conn, log *preallocated) error {
	message := make([]byte, smallMessage)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			return err
		}
		begin := time.Now()
		if err := log.append(); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(message[8:], uint64(time.Since(begin)))
		if _, err := conn.Write(message); err != nil {
			return err
		}
	}
}

// hear takes the answers of one, until its connection is closed.
func (g *group) hear(conn net.Conn) {
	message := make([]byte, smallMessage)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			g.answers <- acknowledgement{err: err}
			return
		}
		g.answers <- acknowledgement{round: binary.LittleEndian.Uint64(message), flushed: time.Duration(binary.LittleEndian.Uint64(message[8:]))}
	}
}

// WakeAfterFlush measures what [Wake] does of a goroutine that has slept for as long as a
// flush takes, for 100 ms or one flush.
func WakeAfterFlush(ctx context.Context, dir string) (result record.Quantiles, err error) {
	logs, remove, err := logsIn(dir, entryBytes, 1)
	if err != nil {
		return result, fmt.Errorf("calibrate waking: %w", err)
	}
	calls, woken := make(chan time.Time), make(chan time.Duration)
	var other sync.WaitGroup
	other.Go(func() {
		for at := range calls {
			woken <- time.Since(at)
		}
	})
	var samples []time.Duration
	for begin := time.Now(); ctx.Err() == nil && err == nil && (len(samples) == 0 || time.Since(begin) < wakeAfter); {
		if err = logs[0].append(); err == nil {
			calls <- time.Now()
			samples = append(samples, <-woken)
		}
	}
	close(calls)
	other.Wait()
	if err := errors.Join(err, ctx.Err(), remove()); err != nil {
		return result, fmt.Errorf("calibrate waking: %w", err)
	}
	return quantiles(samples), nil
}
