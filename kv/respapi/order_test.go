package respapi_test

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/respapi"
)

// TestFollowerSeesItsWrites: on a node that forwards writes, reads of the same piece see
// them, whichever command they are.
func TestFollowerSeesItsWrites(t *testing.T) {
	nodes := start(t, 3, nil)
	c := dial(t, nodes[1].address)
	length := 0
	for i := range 100 {
		c.say(encode([]string{"GET", "none"}) + encode([]string{"APPEND", "a", "x"}) + encode([]string{"STRLEN", "a"}) +
			encode([]string{"INCR", "n"}) + encode([]string{"GET", "n"}))
		length++
		n := strconv.Itoa(i + 1)
		c.want(fmt.Sprintf("$-1\r\n:%d\r\n:%d\r\n:%s\r\n$%d\r\n%s\r\n", length, length, n, len(n), n))
	}
}

// TestHotCounter: increments of one key that wait together are one log entry, and each
// counts once, in the order of its connection.
func TestHotCounter(t *testing.T) {
	const conns, each = 8, 500
	n := start(t, 1, nil)[0]
	before := n.store.Applied()
	var mu sync.Mutex
	told := map[int64]bool{}
	var clients sync.WaitGroup
	for range conns {
		c := dial(t, n.address)
		clients.Go(func() {
			go func() { _, _ = c.Write([]byte(strings.Repeat(encode([]string{"INCRBY", "n", "1"}), each))) }()
			answers, last := bufio.NewReader(c), int64(0)
			for range each {
				line, err := answers.ReadString('\n')
				if err != nil {
					t.Error(err)
					return
				}
				sum, err := strconv.ParseInt(strings.Trim(line, ":\r\n"), 10, 64)
				mu.Lock()
				if err != nil || sum <= last || told[sum] {
					t.Errorf("%q after %d, told before: %v", line, last, told[sum])
				}
				told[sum], last = true, sum
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	c := dial(t, n.address)
	c.say(encode([]string{"GET", "n"}))
	c.want("$4\r\n4000\r\n")
	if entries := n.store.Applied() - before; entries > conns*each/2 {
		t.Errorf("%d increments were %d log entries", conns*each, entries)
	}
}

// TestCounterErrors: an increment that cannot be made is refused by itself, and what stands
// around it on the connection is carried out in order.
func TestCounterErrors(t *testing.T) {
	n := start(t, 1, nil)[0]
	c := dial(t, n.address)
	var ask strings.Builder
	for _, words := range [][]string{
		{"SET", "n", "9223372036854775806"}, {"INCR", "n"}, {"INCR", "n"}, {"DECR", "n"}, {"INCRBY", "n", "x"}, {"DECRBY", "n", "-9223372036854775808"},
		{"INCR", "m"}, {"SET", "m", "01"}, {"INCR", "m"}, {"SET", "m", "7"}, {"DECRBY", "m", "9"},
	} {
		ask.WriteString(encode(words))
	}
	c.say(ask.String())
	c.want("+OK\r\n:9223372036854775807\r\n-ERR increment or decrement would overflow\r\n:9223372036854775806\r\n" +
		"-ERR value is not an integer or out of range\r\n-ERR decrement would overflow\r\n" +
		":1\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n:-2\r\n")
}

// deposed takes the first write for one that another node leads.
type deposed struct {
	core.Replica
	begun sync.Once
	next  chan struct{}
}

// Begin implements core.Proposer.
func (d *deposed) Begin(command []byte, c core.Completion) {
	first := false
	d.begun.Do(func() { first = true })
	if first {
		c.Complete(core.Applied{}, &core.NotLeaderError{})
		return
	}
	d.Replica.(core.Proposer).Begin(command, c)
	close(d.next)
}

// impatient has a write tried again only once the next is begun, or has not been for a while.
type impatient struct {
	respapi.Node
	next  chan struct{}
	tried *atomic.Bool
}

// Propose implements respapi.Node.
func (i impatient) Propose(ctx context.Context, command []byte) (uint64, kv.Result, error) {
	i.tried.Store(true)
	select {
	case <-i.next:
	case <-time.After(500 * time.Millisecond):
	}
	return i.Node.Propose(ctx, command)
}

// TestNoOvertaking: a write that is tried again stays before those that came after it.
func TestNoOvertaking(t *testing.T) {
	var tried atomic.Bool
	n := start(t, 1, func(c *respapi.Config) {
		d := &deposed{Replica: c.Replica, next: make(chan struct{})}
		c.Replica, c.Node = d, impatient{c.Node, d.next, &tried}
	})[0]
	c := dial(t, n.address)
	c.say(encode([]string{"SET", "k", "first"}))
	eventually(t, "it is being tried again", func() bool { return tried.Load() })
	c.say(encode([]string{"SET", "k", "second"}) + encode([]string{"GET", "k"}))
	c.want("+OK\r\n+OK\r\n$6\r\nsecond\r\n")
}
