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

// afterLimit is how long each of what AfterFlush measures takes.
const afterLimit = 100 * time.Millisecond

// AfterFlush measures what it costs that those who wait have slept, in a group of so many.
// The round trip is that of a commit by the shortest program: one flushes, as
// [Flushes], sends a small message to all others, each of which flushes and answers, and
// goes on once it is one of a majority; the flush of the answer that made it so is
// taken off. The wake is that of a goroutine that has waited on a channel for a flush, as
// [Wake]. It takes 200 ms, or a few flushes where one takes longer.
func AfterFlush(ctx context.Context, dir string, members int) (roundTrip, wake record.Quantiles, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("calibrate after a flush: %w", errors.Join(ctx.Err(), err))
		}
	}()
	logs, remove, err := logsIn(dir, entryBytes, max(2, members))
	if err != nil {
		return roundTrip, wake, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	trips, err := commits(ctx, logs[0], logs[1:])
	if err != nil {
		return roundTrip, wake, err
	}
	wakes, err := wakesAfter(ctx, logs[0])
	return quantiles(trips), quantiles(wakes), err
}

// acknowledgement is an answer to a round's message.
type acknowledgement struct {
	round   uint64
	flushed time.Duration
	err     error
}

// commits measures the messages of rounds.
func commits(ctx context.Context, own *preallocated, others []*preallocated) (samples []time.Duration, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	answers := make(chan acknowledgement, len(others))
	var conns []net.Conn
	var running sync.WaitGroup
	defer func() { // closing ends all; what they still have to say is heard
		for _, c := range conns {
			c.Close()
		}
		go func() { running.Wait(); close(answers) }()
		for range answers {
		}
	}()
	for _, log := range others {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
		other, err := listener.Accept()
		if err != nil {
			return nil, err
		}
		running.Go(func() {
			defer other.Close()
			_ = follow(other, log) // the leader's end sees it closed
		})
		running.Go(func() { hear(conn, answers) })
	}
	message := make([]byte, smallMessage)
	for begin := time.Now(); ctx.Err() == nil && (len(samples) == 0 || time.Since(begin) < afterLimit); {
		round := uint64(len(samples)) + 1
		if err := own.append(); err != nil {
			return nil, err
		}
		binary.LittleEndian.PutUint64(message, round)
		sent := time.Now()
		for _, c := range conns {
			if _, err := c.Write(message); err != nil {
				return nil, err
			}
		}
		for missing := (len(others) + 1) / 2; missing > 0; {
			a := <-answers
			if a.err != nil {
				return nil, a.err
			}
			if a.round == round {
				missing--
			}
			if missing == 0 {
				samples = append(samples, time.Since(sent)-a.flushed)
			}
		}
	}
	return samples, ctx.Err()
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

// hear hands on the answers of one, until its connection is closed.
func hear(conn net.Conn, to chan<- acknowledgement) {
	message := make([]byte, smallMessage)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			to <- acknowledgement{err: err}
			return
		}
		to <- acknowledgement{round: binary.LittleEndian.Uint64(message), flushed: time.Duration(binary.LittleEndian.Uint64(message[8:]))}
	}
}

func wakesAfter(ctx context.Context, log *preallocated) (samples []time.Duration, err error) {
	calls, woken := make(chan time.Time), make(chan time.Duration)
	var other sync.WaitGroup
	other.Go(func() {
		for at := range calls {
			woken <- time.Since(at)
		}
	})
	for begin := time.Now(); ctx.Err() == nil && err == nil && (len(samples) == 0 || time.Since(begin) < afterLimit); {
		if err = log.append(); err == nil {
			calls <- time.Now()
			samples = append(samples, <-woken)
		}
	}
	close(calls)
	other.Wait()
	return samples, errors.Join(err, ctx.Err())
}
