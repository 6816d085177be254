package respapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/client"
	"github.com/themilchenko/raftlab/kv/respapi"
)

// TestNotLeader: who asks for it is told who leads, and nothing is forwarded.
func TestNotLeader(t *testing.T) {
	nodes := start(t, 3, nil)
	c := dial(t, nodes[1].address)
	c.say(encode([]string{"RAFT.FORWARD", "no"}))
	c.want("+OK\r\n")
	for _, words := range [][]string{{"SET", "k", "v"}, {"GET", "k"}, {"INCR", "k"}} {
		c.say(encode(words))
		c.want(fmt.Sprintf("-NOTLEADER %s %s\r\n", nodes[0].id, nodes[0].address))
	}
	c.say(encode([]string{"RAFT.READLEVEL", "stale"}) + encode([]string{"GET", "k"}))
	c.want("+OK\r\n$-1\r\n")
}

// TestOrder: answers come in the order of the commands, also of such that are not begun at
// once, and each sees what came before it.
func TestOrder(t *testing.T) {
	n := start(t, 1, nil)[0]
	c := dial(t, n.address)
	var ask, want strings.Builder
	for i := range 2000 {
		value := fmt.Sprintf("%04d", i)
		ask.WriteString(encode([]string{"SET", "k", value}))
		want.WriteString("+OK\r\n")
		if i%7 == 0 {
			ask.WriteString(encode([]string{"GET", "k"}) + encode([]string{"PING"}))
			fmt.Fprintf(&want, "$4\r\n%s\r\n+PONG\r\n", value)
		}
	}
	go func() { _, _ = io.WriteString(c, ask.String()) }() // the answers are read meanwhile
	c.want(want.String())
}

// TestConnections: beyond the limit, the connection that is idle gives way, and one that
// is not does not.
func TestConnections(t *testing.T) {
	n := start(t, 1, func(c *respapi.Config) { c.Connections = 2 })[0]
	first, second := dial(t, n.address), dial(t, n.address)
	for _, c := range []*peer{first, second} {
		c.say("PING\r\n")
		c.want("+PONG\r\n")
	}
	third := dial(t, n.address) // the others were active a moment ago
	third.want("-ERR max number of clients reached\r\n")
	eventually(t, "an idle connection gives way", func() bool {
		c := dial(t, n.address)
		if _, err := io.WriteString(c, "PING\r\n"); err != nil {
			return false
		}
		answer := make([]byte, 7)
		_, err := io.ReadFull(c, answer)
		return err == nil && string(answer) == "+PONG\r\n"
	})
}

// TestSlowPeers: who takes no answers, and who does not end a command, is cut off.
func TestSlowPeers(t *testing.T) {
	n := start(t, 1, func(c *respapi.Config) { c.Patience, c.BytesPerS = time.Second, 1<<30 })[0]
	half := dial(t, n.address)
	half.say("*2\r\n$3\r\nGET\r\n")
	if rest, err := io.ReadAll(half); err != nil && !strings.Contains(err.Error(), "reset") || len(rest) > 0 {
		t.Errorf("half a command: %q, %v", rest, err)
	}
	deaf := dial(t, n.address)
	deaf.say(encode([]string{"SET", "k", strings.Repeat("v", 256<<10)}))
	deaf.want("+OK\r\n")
	get := encode([]string{"GET", "k"})
	for err := error(nil); err == nil; { // until the server closes
		_, err = io.WriteString(deaf, strings.Repeat(get, 1000))
	}
	other := dial(t, n.address)
	other.say("PING\r\n")
	other.want("+PONG\r\n")
}

// TestShutdown: what has come is answered, and then the connections end.
func TestShutdown(t *testing.T) {
	slow := &slowly{}
	n := start(t, 1, func(c *respapi.Config) {
		slow.Replica = c.Replica
		c.Replica = slow
	})[0]
	c := dial(t, n.address)
	c.say(encode([]string{"SET", "k", "v"}))
	eventually(t, "the write is under way", slow.holds)
	down := make(chan error, 1)
	go func() { down <- n.resp.Shutdown(t.Context()) }()
	eventually(t, "no connection is let in", func() bool {
		other, err := dialRaw(t, n.address)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	slow.release()
	c.want("+OK\r\n")
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("after the answer: %q, %v", rest, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// slowly holds what is begun until it is released.
type slowly struct {
	core.Replica
	mu   sync.Mutex
	held []func()
	open bool
}

// Begin implements core.Proposer.
func (s *slowly) Begin(command []byte, c core.Completion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begin := func() { s.Replica.(core.Proposer).Begin(command, c) }
	if s.open {
		begin()
		return
	}
	s.held = append(s.held, begin)
}

func (s *slowly) holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) > 0
}

func (s *slowly) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = true
	for _, begin := range s.held {
		begin()
	}
}

// TestDeadline: a write that is not decided in time is of unknown outcome, and what comes
// later on the connection is answered in its turn.
func TestDeadline(t *testing.T) {
	slow := &slowly{}
	n := start(t, 1, func(c *respapi.Config) {
		slow.Replica = c.Replica
		c.Replica, c.Timeout = slow, 200*time.Millisecond
	})[0]
	c := dial(t, n.address)
	c.say(encode([]string{"SET", "k", "v"}) + "PING\r\n")
	c.want("-UNKNOWN outcome: ")
	answers := bufio.NewReader(c)
	rest, err := answers.ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", rest, err)
	}
	if next, err := answers.ReadString('\n'); err != nil || next != "+PONG\r\n" {
		t.Errorf("after %q: %q, %v", rest, next, err)
	}
	slow.release() // it is told to nobody any more
}

// TestClient: callers that share connections get their own answers, and the client finds
// the leader from any node.
func TestClient(t *testing.T) {
	nodes := start(t, 3, nil)
	c, err := client.NewRESP([]string{nodes[1].address, nodes[2].address}, client.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var callers sync.WaitGroup
	for w := range 40 {
		callers.Go(func() {
			for i := range 25 {
				key := fmt.Sprintf("%d:%d", w, i)
				if _, err := c.Set(t.Context(), key, []byte(key)); err != nil {
					t.Error(err)
					return
				}
				v, err := c.Get(t.Context(), key, client.Linearizable)
				if err != nil || string(v.Data) != key {
					t.Errorf("get %s: %q, %v", key, v.Data, err)
					return
				}
			}
		})
	}
	callers.Wait()
	if c.Leader() != nodes[0].address {
		t.Errorf("the leader is at %s, and the client says %s", nodes[0].address, c.Leader())
	}
	if _, err := c.Get(t.Context(), "none", client.Linearizable); !errors.Is(err, client.ErrNotFound) {
		t.Error(err)
	}
	if _, err := c.SetIfAbsent(t.Context(), "1:1", nil); !errors.Is(err, client.ErrCondition) {
		t.Error(err)
	}
	if _, err := c.Set(t.Context(), "", nil); !errors.Is(err, client.ErrInvalid) {
		t.Error(err)
	}
}

// TestClientGivesUp: a caller whose time is up leaves, with the fate of its write open,
// and those who share its connection go on.
func TestClientGivesUp(t *testing.T) {
	slow := &slowly{}
	n := start(t, 1, func(c *respapi.Config) {
		slow.Replica = c.Replica
		c.Replica = slow
	})[0]
	c, err := client.NewRESP([]string{n.address}, client.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ends, cancel := context.WithCancel(t.Context())
	left, stays := make(chan error, 2), make(chan error, 2)
	for range 2 { // one for each connection
		go func() { _, err := c.Set(ends, "k", nil); left <- err }()
	}
	eventually(t, "both are under way", func() bool { slow.mu.Lock(); defer slow.mu.Unlock(); return len(slow.held) == 2 })
	for range 2 {
		go func() { _, err := c.Set(t.Context(), "k", nil); stays <- err }()
	}
	eventually(t, "all are under way", func() bool { slow.mu.Lock(); defer slow.mu.Unlock(); return len(slow.held) == 4 })
	cancel()
	for range 2 {
		if err := <-left; !errors.Is(err, client.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	}
	slow.release()
	for range 2 {
		if err := <-stays; err != nil {
			t.Error(err)
		}
	}
}

// TestCounting: increments of many clients, on leader and follower, are lost to nobody.
func TestCounting(t *testing.T) {
	nodes := start(t, 3, nil)
	var clients sync.WaitGroup
	for w := range 6 {
		c := dial(t, nodes[w%2].address)
		clients.Go(func() {
			for range 20 {
				if _, err := io.WriteString(c, encode([]string{"INCR", "n"})); err != nil {
					t.Error(err)
					return
				}
				var b [1]byte
				answer := ""
				for !strings.HasSuffix(answer, "\n") {
					if _, err := c.Read(b[:]); err != nil {
						t.Error(err)
						return
					}
					answer += string(b[0])
				}
				if answer[0] != ':' {
					t.Errorf("incr: %q", answer)
				}
			}
		})
	}
	clients.Wait()
	c := dial(t, nodes[2].address)
	c.say(encode([]string{"GET", "n"}))
	c.want("$3\r\n120\r\n")
}
