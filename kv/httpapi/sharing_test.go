package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/client"
)

// TestFollowerReadsShareQuestions: reads that come to a follower while it asks the leader
// for a read index share the next question.
func TestFollowerReadsShareQuestions(t *testing.T) {
	const readers = 64
	g, directory := misled(t)
	leader, follower := g.nodes[0], g.nodes[1]
	g.must(leader, "PUT", "/key/k", "v")
	var questions atomic.Int32
	first, release := make(chan struct{}), make(chan struct{})
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: leader.address()})
	transport := &http.Transport{}
	to.Transport = transport
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if questions.Add(1) == 1 {
			close(first)
			<-release
		}
		to.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { between.Close(); transport.CloseIdleConnections() })
	at := strings.TrimPrefix(between.URL, "http://")
	directory.leader.Store(&at)
	var readersDone sync.WaitGroup
	read := func() {
		readersDone.Go(func() {
			if a := g.do(follower, "GET", "/key/k?timeout=30s", ""); a.StatusCode != 200 || a.body != `{"k":"v"}` {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		})
	}
	read()
	select {
	case <-first:
	case <-time.After(time.Minute):
		t.Fatal("the leader is not asked")
	}
	for range readers {
		read()
	}
	inFlight := func() bool {
		return strings.Contains(g.do(follower, "GET", "/metrics", "").body, "raftlab_http_requests_in_flight 66\n")
	}
	for end := time.Now().Add(time.Minute); !inFlight() && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	close(release)
	readersDone.Wait()
	// The first, that of the others, and one for who was counted but had not joined yet.
	if n := questions.Load(); n < 2 || n > 8 {
		t.Errorf("%d questions for %d reads", n, readers+1)
	}
}

// BenchmarkFollowerReads is linearizable reads of 64 clients on a follower, in one process.
func BenchmarkFollowerReads(b *testing.B) {
	g := start(b, 3, nil)
	g.must(g.nodes[0], "PUT", "/key/k", "v")
	c, err := client.New([]string{g.nodes[1].address()}, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	node := c.Nodes()[0]
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := node.Get(b.Context(), "k", client.Linearizable); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
