package calibrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

const (
	loopbackRounds = 2000
	loopbackWarmup = 100 // rounds before the first that counts
	loopbackLimit  = time.Second
	messageBytes   = 64
)

// Loopback measures the round trip of 64 B over one TCP connection on the
// loopback interface, between two goroutines of this process, without Nagle's
// delay: 2000 times, or as often as one second allows. It is the floor under
// every message between members on one machine. A cancelled ctx ends it at
// once.
func Loopback(ctx context.Context) (result record.Quantiles, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("calibrate loopback: %w", errors.Join(ctx.Err(), err))
		}
	}()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return record.Quantiles{}, err
	}
	echoed := make(chan error, 1)
	go func() { echoed <- echo(listener) }()

	samples, err := roundTrips(ctx, listener.Addr().String())
	// The connection is closed by now; closing the listener ends an echo that
	// never saw one.
	listener.Close()
	if echoErr := <-echoed; err == nil {
		err = echoErr
	}
	if err != nil {
		return record.Quantiles{}, err
	}
	return quantiles(samples), nil
}

// echo answers the first connection until its peer closes it.
func echo(listener net.Listener) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := noDelay(conn); err != nil {
		return err
	}
	message := make([]byte, messageBytes)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := conn.Write(message); err != nil {
			return err
		}
	}
}

func roundTrips(ctx context.Context, address string) ([]time.Duration, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := noDelay(conn); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	message := make([]byte, messageBytes)
	samples := make([]time.Duration, 0, loopbackRounds)
	begin := time.Now()
	for round := range loopbackWarmup + loopbackRounds {
		start := time.Now()
		if len(samples) > 0 && start.Sub(begin) > loopbackLimit {
			break
		}
		if _, err := conn.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, message); err != nil {
			return nil, err
		}
		if round >= loopbackWarmup {
			samples = append(samples, time.Since(start))
		}
	}
	return samples, ctx.Err()
}

func noDelay(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("%T is no TCP connection", conn)
	}
	return tcp.SetNoDelay(true)
}
