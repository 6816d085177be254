package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// switchable is a directory whose entry of the leader can be exchanged.
type switchable struct {
	leader atomic.Pointer[string] // nil: unknown
}

// HTTPAddress implements httpapi.Directory.
func (s *switchable) HTTPAddress(id string) (string, bool) {
	if address := s.leader.Load(); id == "node1" && address != nil {
		return *address, true
	}
	return "", false
}

// misled starts a group whose followers are told wrong addresses of the leader.
func misled(t *testing.T) (*group, *switchable) {
	d := &switchable{}
	return start(t, 3, func(string) httpapi.Directory { return d }), d
}

// TestOutcomeUnknown breaks the connection to the leader after the request was
// sent: the write may have been taken, so it must not be sent again.
func TestOutcomeUnknown(t *testing.T) {
	g, directory := misled(t)
	var requests atomic.Int32
	var proof string
	// The first request on a connection is answered: the next one goes out on a
	// connection that the transport holds for good.
	broken := listen(t, func(c net.Conn) {
		defer c.Close()
		for r := bufio.NewReader(c); ; {
			if _, err := http.ReadRequest(r); err != nil || requests.Add(1)%2 == 0 {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+proof+"Content-Length: 0\r\n\r\n")
		}
	})
	directory.leader.Store(&broken)
	proof = proofOf(g.nodes[0])
	for i, c := range []struct{ method, target, body string }{
		{"PUT", "/key/k", ""},
		{"POST", "/key", `{"k":"v"}`},
		{"DELETE", "/key/k", ""},
		{"POST", "/transfer", ""},
		{"DELETE", "/members/node3", ""},
	} {
		g.must(g.nodes[1], "PUT", "/key/k", "")
		g.do(g.nodes[1], c.method, c.target, c.body, "Idempotency-Key", "x").refused(t, 504, api.CodeOutcomeUnknown, "node1 at "+broken)
		if n := requests.Load(); int(n) != 2*(i+1) {
			t.Fatalf("%s %s was sent %d times", c.method, c.target, int(n)-2*i-1)
		}
	}
	// A leader that hangs: the deadline ends it, and the fate is as open.
	hanging := hangs(t)
	directory.leader.Store(&hanging)
	g.do(g.nodes[1], "PUT", "/key/k?timeout=100ms", "v").refused(t, 504, api.CodeOutcomeUnknown, "node1 at "+hanging)
	// A stranger at that address says nothing about the write.
	stranger := listen(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		_ = c.Close()
	})
	directory.leader.Store(&stranger)
	g.do(g.nodes[1], "PUT", "/key/k", "v").refused(t, 504, api.CodeOutcomeUnknown, "is not node node1")
	if _, _, ok := g.nodes[0].store.Get("k"); ok {
		t.Error("somebody wrote")
	}
}

// TestOutcomesOfTheLeader: whatever the leader answers to a write that was forwarded, the
// client learns of it, over both protocols, whether the write may have been carried out.
func TestOutcomesOfTheLeader(t *testing.T) {
	g, directory := misled(t)
	proof := proofOf(g.nodes[0])
	command := kv.EncodeSet("k", []byte("v"))
	for _, code := range append(api.Codes(), "of a later version") {
		body := fmt.Sprintf(`{"error":"told by a test","code":%q}`, code)
		leader := listen(t, func(c net.Conn) {
			defer c.Close()
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = fmt.Fprintf(c, "HTTP/1.1 %d Told\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", code.Status(), proof, len(body), body)
			}
		})
		directory.leader.Store(&leader)
		var told api.Error
		r := g.do(g.nodes[1], "PUT", "/key/k?timeout=200ms", "v")
		if err := json.Unmarshal([]byte(r.body), &told); err != nil || told.Code.NotDone() != code.NotDone() {
			t.Errorf("%s, over HTTP: %d %s", code, r.StatusCode, r.body)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, _, err := g.nodes[1].server.Propose(ctx, command)
		cancel()
		if got, message := g.nodes[1].server.Problem(err); err == nil || got.NotDone() != code.NotDone() {
			t.Errorf("%s, over the Redis protocol: %s: %s", code, got, message)
		}
	}
}

// proofOf returns the headers by which n is known.
func proofOf(n *node) string {
	status := n.replica.Status()
	return fmt.Sprintf("%s: %s\r\n%s: %s\r\n%s: %s\r\n",
		api.HeaderNode, n.id, api.HeaderIncarnation, status.Incarnation, api.HeaderGroup, status.Group)
}

// hangs returns the address of a listener that takes connections and says nothing.
func hangs(t *testing.T) (address string) {
	t.Helper()
	return listen(t, func(net.Conn) {})
}

// TestClientGone sees that a request ends when its client has left.
func TestClientGone(t *testing.T) {
	g, directory := misled(t)
	hanging := hangs(t)
	directory.leader.Store(&hanging)
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "PUT", "http://"+g.nodes[1].address()+"/key/k?timeout=5m", strings.NewReader("v"))
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error)
	go func() {
		resp, err := g.client.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		left <- err
	}()
	inFlight := func(want float64) {
		t.Helper()
		eventually(t, func() error {
			text := g.must(g.nodes[1], "GET", "/metrics", "").body
			if got := metric(t, text, "raftlab_http_requests_in_flight"); got != want { // the scrape is one
				return fmt.Errorf("%v requests in flight, want %v", got, want)
			}
			return nil
		})
	}
	inFlight(2)
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	inFlight(1)
}

// failing is a replica whose calls end as a test wants.
type failing struct {
	core.Replica
	applied core.Applied
	err     error
}

// Propose implements core.Replica.
func (f *failing) Propose(context.Context, []byte) (core.Applied, error) { return f.applied, f.err }

// TransferLeadership implements core.Replica.
func (f *failing) TransferLeadership(context.Context, string) error { return f.err }

// TestErrorsOfTheReplica holds what each error of a proposal is told as: only
// those that are certain to have left nothing behind may be anything but unknown.
func TestErrorsOfTheReplica(t *testing.T) {
	g := start(t, 3, nil)
	replica := &failing{Replica: g.nodes[0].replica}
	n := g.serve("node1", replica, g.nodes[0].store, nil)
	closed := fmt.Errorf("propose: %w", core.ErrClosed)
	for name, c := range map[string]struct {
		applied core.Applied
		err     error
		status  int
		code    api.Code
	}{
		"unknown":                      {core.Applied{}, core.ErrOutcomeUnknown, 504, api.CodeOutcomeUnknown},
		"unknown, for it closed":       {core.Applied{}, fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, closed), 504, api.CodeOutcomeUnknown},
		"unknown, for it is late":      {core.Applied{}, fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, context.DeadlineExceeded), 504, api.CodeOutcomeUnknown},
		"of no kind":                   {core.Applied{}, errors.New("disk on fire"), 504, api.CodeOutcomeUnknown},
		"late":                         {core.Applied{}, context.DeadlineExceeded, 504, api.CodeOutcomeUnknown},
		"unknown, by who stepped down": {core.Applied{}, fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, core.ErrNotLeader), 504, api.CodeOutcomeUnknown},
		"closed":                       {core.Applied{}, closed, 503, api.CodeStopped},
		"not the leader":               {core.Applied{}, &core.NotLeaderError{}, 503, api.CodeNoLeader},
		"refused by the map":           {core.Applied{Index: 7, Result: kv.Result{Err: &kv.RefusedError{Index: 7, Reason: "?"}}}, nil, 500, api.CodeInternal},
		"of another machine":           {core.Applied{Index: 7, Result: "?"}, nil, 504, api.CodeOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			replica.applied, replica.err = c.applied, c.err
			g.do(n, "PUT", "/key/k?timeout=60ms", "v").refused(t, c.status, c.code, "")
		})
	}
	replica.err = errors.New("leadership transfer timeout")
	g.do(n, "POST", "/transfer", "").refused(t, 504, api.CodeTimeout, "was not handed over")
	g.do(n, "DELETE", "/members/node1", "").refused(t, 504, api.CodeTimeout, "was not handed over")
}

// TestSafeRetries lets the address of the leader be wrong in ways that leave no
// doubt that nothing was taken, and then be mended while the request waits.
func TestSafeRetries(t *testing.T) {
	g, directory := misled(t)
	leader, follower := g.nodes[0], g.nodes[1]
	closed := freeAddress(t)
	other := g.nodes[2].address()
	for name, wrong := range map[string]struct {
		address *string
		want    string
	}{
		"unknown":      {nil, "has announced no HTTP address"},
		"closed":       {&closed, "cannot be reached"},
		"another node": {&other, "is not node node1"},
	} {
		t.Run(name, func(t *testing.T) {
			directory.leader.Store(wrong.address)
			for _, c := range []struct{ method, target, body string }{
				{"PUT", "/key/k?timeout=200ms", "v"},
				{"GET", "/key/k?timeout=200ms", ""},
				{"GET", "/key/k?timeout=200ms&consistency=leader", ""},
			} {
				eventually(t, func() error { // a node too slow to refuse within the time leaves it open
					_, err := g.do(follower, c.method, c.target, c.body).isRefused(503, api.CodeNoLeader, wrong.want)
					return err
				})
			}
			before := leader.store.Applied()
			answered := make(chan response)
			go func() { answered <- g.do(follower, "PUT", "/key/"+name[:1], "v") }()
			select {
			case r := <-answered:
				t.Errorf("answered too early: %d %s", r.StatusCode, r.body)
			case <-time.After(3 * 20 * time.Millisecond):
			}
			right := leader.address()
			directory.leader.Store(&right)
			if r := <-answered; r.StatusCode != 200 {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
			if n := leader.store.Applied() - before; n != 1 {
				t.Errorf("%d commands instead of 1", n)
			}
		})
	}
}

// TestTellsTheReason sees that a request that runs into its deadline tells what
// was wrong before, not that the last try had no time.
func TestTellsTheReason(t *testing.T) {
	g, directory := misled(t)
	closed, hanging := freeAddress(t), hangs(t)
	directory.leader.Store(&closed)
	answered := make(chan response)
	go func() { answered <- g.do(g.nodes[1], "GET", "/key/k?timeout=3s", "") }()
	eventually(t, func() error {
		text := g.must(g.nodes[1], "GET", "/metrics", "").body
		if metric(t, text, `raftlab_http_forwarded_requests_total{outcome="unreachable"}`) == 0 {
			return errors.New("nobody tried to reach the leader")
		}
		return nil
	})
	directory.leader.Store(&hanging)
	r := <-answered
	r.refused(t, 503, api.CodeNoLeader, "node1 at "+closed+" cannot be reached")
}

// TestReadsTryAgain has a read find a broken leader first.
func TestReadsTryAgain(t *testing.T) {
	g, directory := misled(t)
	g.must(g.nodes[0], "PUT", "/key/k", "v")
	right := g.nodes[0].address()
	for _, level := range []string{api.Linearizable, api.Leader} {
		broken := listen(t, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				directory.leader.Store(&right)
			}
			_ = c.Close()
		})
		directory.leader.Store(&broken)
		if r := g.must(g.nodes[1], "GET", "/key/k?consistency="+level, ""); r.body != `{"k":"v"}` {
			t.Errorf("%s: %s", level, r.body)
		}
		if address := directory.leader.Load(); address != &right {
			t.Errorf("%s: nobody asked the broken leader", level)
		}
	}
	hanging := hangs(t)
	directory.leader.Store(&hanging)
	g.do(g.nodes[1], "GET", "/key/k?timeout=200ms", "").refused(t, 504, api.CodeTimeout, "node1 at "+hanging)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
