package respapi_test

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/themilchenko/raftlab/kv/client"
)

// BenchmarkSet measures a write of 256 bytes, from the socket to its answer, on a group of
// three in memory: over connections with one write each, over one connection with many,
// and through the client.
func BenchmarkSet(b *testing.B) {
	nodes := start(b, 3, nil)
	value := string(make([]byte, 256))
	set := encode([]string{"SET", "key:000000000001", value})
	for _, conns := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("connections=%d", conns), func(b *testing.B) {
			peers := make([]*peer, conns)
			for i := range peers {
				peers[i] = dial(b, nodes[0].address)
			}
			left := atomic.Int64{}
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for _, p := range peers {
				all.Go(func() {
					answer := make([]byte, 5)
					for left.Add(-1) >= 0 {
						if _, err := io.WriteString(p, set); err != nil {
							b.Error(err)
							return
						}
						if _, err := io.ReadFull(p, answer); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
	b.Run("pipelined", func(b *testing.B) {
		p := dial(b, nodes[0].address)
		b.ReportAllocs()
		b.ResetTimer()
		go func() {
			for range b.N {
				if _, err := io.WriteString(p, set); err != nil {
					return
				}
			}
		}()
		if _, err := io.CopyN(io.Discard, p, int64(5*b.N)); err != nil {
			b.Fatal(err)
		}
	})
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("client/callers=%d", callers), func(b *testing.B) {
			c, err := client.NewRESP([]string{nodes[0].address}, client.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			left := atomic.Int64{}
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := c.Set(b.Context(), "key:000000000001", []byte(value)); err != nil {
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
