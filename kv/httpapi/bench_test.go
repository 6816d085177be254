package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/client"
)

// BenchmarkHTTP measures a write and a read of 256 bytes through the client and over HTTP,
// on a group of three in memory.
func BenchmarkHTTP(b *testing.B) {
	g := start(b, 3, nil)
	c, err := client.New([]string{g.nodes[0].address()}, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	value := make([]byte, 256)
	if _, err := c.Set(b.Context(), "key:000000000001", value); err != nil {
		b.Fatal(err)
	}
	for _, x := range []struct {
		name string
		do   func() error
	}{
		{"set", func() error { _, err := c.Set(b.Context(), "key:000000000001", value); return err }},
		{"get", func() error { _, err := c.Get(b.Context(), "key:000000000001", client.Linearizable); return err }},
	} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("op=%s/callers=%d", x.name, callers), func(b *testing.B) {
				left := atomic.Int64{}
				left.Store(int64(b.N))
				b.ReportAllocs()
				b.ResetTimer()
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for left.Add(-1) >= 0 {
							if err := x.do(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// BenchmarkBackup takes backups of 64 MiB from the leader beside the writes of eight
// clients, on a group of three in memory. stall-ms is the longest time in which none of
// them was acknowledged, with backups and over a time without.
func BenchmarkBackup(b *testing.B) {
	g := start(b, 3, nil)
	c, err := client.New([]string{g.nodes[0].address()}, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	const size = 64 << 10
	for i := range (64 << 20) / size {
		if _, err := c.Set(b.Context(), fmt.Sprintf("key:%012d", i), make([]byte, size)); err != nil {
			b.Fatal(err)
		}
	}
	backup := func() error {
		stream, err := c.Node(g.nodes[0].address()).Backup(b.Context(), client.Linearizable)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, stream)
		b.SetBytes(n)
		return errors.Join(err, stream.Close())
	}
	for name, do := range map[string]func() error{
		"with":    backup,
		"without": func() error { time.Sleep(time.Second); return nil },
	} {
		b.Run("backups="+name, func(b *testing.B) {
			ended := writing(b, c)
			for b.Loop() {
				if err := do(); err != nil {
					b.Error(err)
				}
			}
			b.ReportMetric(float64(ended())/1e6, "stall-ms")
		})
	}
}

// writing writes until the returned function is called, which tells the longest time
// without an acknowledgement.
func writing(b *testing.B, c *client.Client) (ended func() time.Duration) {
	var stop atomic.Bool
	var mu sync.Mutex
	var all sync.WaitGroup
	last, longest := time.Now(), time.Duration(0)
	for i := range 8 {
		all.Go(func() {
			for !stop.Load() {
				if _, err := c.Set(b.Context(), fmt.Sprintf("beside:%d", i), make([]byte, 256)); err != nil {
					b.Error(err)
				}
				mu.Lock()
				now := time.Now()
				last, longest = now, max(longest, now.Sub(last))
				mu.Unlock()
			}
		})
	}
	return func() time.Duration {
		stop.Store(true)
		all.Wait()
		return longest
	}
}
