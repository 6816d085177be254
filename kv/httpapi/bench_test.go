package httpapi_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

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
