package respapi_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
	"github.com/themilchenko/raftlab/kv/respapi"
)

// fate is how every write ends.
type fate struct {
	leads  bool
	err    error    // nil: as it does
	code   api.Code // that Problem says; empty: the node's
	refuse int      // bytes that there is no room for; 0: none
}

// fated is a node and its replica by which writes have a fate.
type fated struct {
	respapi.Node
	fate atomic.Pointer[fate]
}

func (f *fated) Begin(_ []byte, c core.Completion) { c.Complete(core.Applied{}, f.fate.Load().err) }

func (f *fated) Leads() bool { return f.fate.Load().leads }

func (f *fated) Propose(ctx context.Context, command []byte) (uint64, kv.Result, error) {
	if err := f.fate.Load().err; err != nil {
		return 0, kv.Result{}, err
	}
	return f.Node.Propose(ctx, command)
}

func (f *fated) Problem(err error) (api.Code, string) {
	code, message := f.Node.Problem(err)
	return cmp.Or(f.fate.Load().code, code), message
}

func (f *fated) Hold(bytes int) error {
	if bytes == f.fate.Load().refuse {
		bytes = math.MaxInt32
	}
	return f.Node.Hold(bytes)
}

// startFated starts a node whose writes have a fate.
func startFated(t *testing.T) (*node, *fated) {
	f := &fated{}
	f.fate.Store(&fate{})
	n := start(t, 1, func(c *respapi.Config) {
		f.Node = c.Node
		c.Replica, c.Node = struct {
			core.Replica
			core.Proposer
		}{c.Replica, f}, f
	})[0]
	return n, f
}

// prefixOf is the first word of an answer that is an error.
func prefixOf(line string) string {
	prefix, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.TrimPrefix(prefix, "-")
}

// writes are all commands by which clients write.
var writes = map[string]string{
	"SET":      encode([]string{"SET", "k", "v"}),
	"SET NX":   encode([]string{"SET", "k", "v", "NX"}),
	"SET IFNE": encode([]string{"SET", "k", "v", "IFNE", "x"}),
	"SET GET":  encode([]string{"SET", "k", "v", "GET"}),
	"SETNX":    encode([]string{"SETNX", "k", "v"}),
	"MSET":     encode([]string{"MSET", "k", "v", "l", "w"}),
	"DEL":      encode([]string{"DEL", "k", "l"}),
	"INCR":     encode([]string{"INCR", "n"}),
	"APPEND":   encode([]string{"APPEND", "k", "v"}),
	"EXEC":     encode([]string{"MULTI"}) + encode([]string{"SET", "k", "v"}) + encode([]string{"EXEC"}),
}

// TestOutcomesOfAReplica: whatever ends a write, here or at the leader that it was forwarded
// to, what may have been written is UNKNOWN, and nothing else is.
func TestOutcomesOfAReplica(t *testing.T) {
	n, f := startFated(t)
	for name, x := range map[string]struct {
		err  error
		want string
	}{
		"unknown":                      {core.ErrOutcomeUnknown, "UNKNOWN"},
		"unknown, for it closed":       {fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, core.ErrClosed), "UNKNOWN"},
		"unknown, for it is late":      {fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, context.DeadlineExceeded), "UNKNOWN"},
		"unknown, by who stepped down": {fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, &core.NotLeaderError{}), "UNKNOWN"},
		"closed":                       {core.ErrClosed, "CLUSTERDOWN"},
		"another leads":                {&core.NotLeaderError{}, "NOTLEADER"},
		"another leads, in short":      {fmt.Errorf("propose: %w", core.ErrNotLeader), "NOTLEADER"},
		"of no kind, here":             {errors.New("disk on fire"), "UNKNOWN"},
		"late, here":                   {context.DeadlineExceeded, "UNKNOWN"},
		"late, not here":               {context.DeadlineExceeded, "TIMEOUT"}, // the node has seen to it
	} {
		for command, ask := range writes {
			for _, leads := range []bool{true, false} {
				began := slices.Contains([]string{"SET", "SET NX", "SETNX", "MSET", "DEL", "EXEC"}, command) && leads
				if strings.HasSuffix(name, ", here") && !began || strings.HasSuffix(name, ", not here") && began {
					continue
				}
				f.fate.Store(&fate{leads: leads, err: x.err})
				c := dial(t, n.address)
				if leads { // or the node would be asked again
					c.say(encode([]string{"RAFT.FORWARD", "no"}))
					c.want("+OK\r\n")
				}
				c.say(ask)
				answers := bufio.NewReader(c)
				line, err := answers.ReadString('\n')
				for ; err == nil && (line == "+OK\r\n" || line == "+QUEUED\r\n"); line, err = answers.ReadString('\n') {
				}
				if got := prefixOf(line); got != x.want || err != nil {
					t.Errorf("%s, %s, leader %t: %q, %v; want %s", name, command, leads, line, err, x.want)
				}
			}
		}
	}
}

// TestEveryCodeHasAFirstWord: only codes that leave the outcome open are UNKNOWN.
func TestEveryCodeHasAFirstWord(t *testing.T) {
	n, f := startFated(t)
	c := dial(t, n.address)
	answers := bufio.NewReader(c)
	for _, code := range append(api.Codes(), "of a later version") {
		f.fate.Store(&fate{err: errors.New("told by a test"), code: code})
		c.say(encode([]string{"SET", "k", "v"}))
		line, err := answers.ReadString('\n')
		if (prefixOf(line) == "UNKNOWN") == code.NotDone() || err != nil {
			t.Errorf("%s: %q, %v", code, line, err)
		}
	}
}

// TestWrittenButNotTold: a SET that was carried out and whose answer finds no room is not
// told as one that was not.
func TestWrittenButNotTold(t *testing.T) {
	n, f := startFated(t)
	old := strings.Repeat("o", 20<<10)
	c := dial(t, n.address)
	c.say(encode([]string{"SET", "k", old}))
	c.want("+OK\r\n")
	f.fate.Store(&fate{refuse: 2 * len(old)})
	c.say(encode([]string{"SET", "k", "new", "GET"}))
	if line, err := bufio.NewReader(c).ReadString('\n'); prefixOf(line) != "UNKNOWN" || err != nil {
		t.Errorf("%.100q, %v", line, err)
	}
	if value, _, _ := n.store.Get("k"); string(value) != "new" {
		t.Errorf("it holds %.20q", value)
	}
}

// witness keeps what clients were told of their writes: keys that nobody else writes, and
// counters.
type witness struct {
	mu       sync.Mutex
	told     map[string]int // by first word
	there    []string       // keys that have to be
	absent   []string       // keys that must not be
	counted  int64          // increments that have to be
	doubtful int64          // increments that may be
}

// hear takes in what was told of a write of some keys, or, without any, of an increment.
func (w *witness) hear(outcome string, keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[outcome]++
	switch {
	case outcome == "done" && keys == nil:
		w.counted++
	case outcome == "done":
		w.there = append(w.there, keys...)
	case outcome == "UNKNOWN" && keys == nil:
		w.doubtful++
	case outcome != "UNKNOWN":
		w.absent = append(w.absent, keys...)
	}
}

// write is one write of every kind, of keys of that name, pipelined.
func (w *witness) write(t *testing.T, c *peer, answers *bufio.Reader, name string) {
	type ask struct {
		words []string
		keys  []string
	}
	key := func(i int) string { return fmt.Sprintf("%s-%d", name, i) }
	asks := []ask{
		{[]string{"SET", key(0), "v"}, []string{key(0)}},
		{[]string{"SET", key(1), "v", "NX"}, []string{key(1)}},
		{[]string{"MSET", key(2), "v", key(3), "v"}, []string{key(2), key(3)}},
		{[]string{"SET", key(4), "v", "IFNE", "x"}, []string{key(4)}},
		{[]string{"MULTI"}, nil}, {[]string{"SET", key(5), "v"}, nil}, {[]string{"SET", key(6), "v"}, nil}, {[]string{"EXEC"}, []string{key(5), key(6)}},
		{[]string{"INCR", "counter"}, nil},
		{[]string{"APPEND", key(7), "v"}, []string{key(7)}},
		{[]string{"SETNX", key(8), "v"}, []string{key(8)}},
	}
	var all strings.Builder
	for _, a := range asks {
		all.WriteString(encode(a.words))
	}
	c.say(all.String())
	for _, a := range asks {
		line, err := answers.ReadString('\n')
		if err != nil {
			t.Errorf("%v: %v", a.words, err)
			return
		}
		if parts, ok := strings.CutPrefix(line, "*"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(parts))
			for range n {
				_, _ = answers.ReadString('\n')
			}
		}
		outcome := "done"
		if line[0] == '-' {
			outcome = prefixOf(line)
		}
		if a.keys != nil || a.words[0] == "INCR" {
			w.hear(outcome, a.keys...)
		}
	}
}

// TestOutcomesDuringElections: while the leadership goes round, and as a leader ends, what clients of all nodes and
// of both protocols are told to be done is, and what they are told not to be done never is.
func TestOutcomesDuringElections(t *testing.T) {
	nodes := start(t, 3, nil)
	w := &witness{told: map[string]int{}}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var clients sync.WaitGroup
	var resp, https []string
	for i, n := range nodes {
		resp, https = append(resp, n.address), append(https, n.http.Listener.Addr().String())
		for _, forward := range []string{"yes", "no"} {
			c := dial(t, n.address)
			answers := bufio.NewReader(c)
			clients.Go(func() {
				c.say(encode([]string{"RAFT.FORWARD", forward}))
				_, _ = answers.ReadString('\n')
				for round := 0; ctx.Err() == nil; round++ {
					w.write(t, c, answers, fmt.Sprintf("%s-%d-%d", forward, i, round))
				}
			})
		}
	}
	overRESP, err := client.NewRESP(resp, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer overRESP.Close()
	overHTTP, err := client.New(https[1:], client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer overHTTP.Close()
	for name, m := range map[string]client.Map{"resp": overRESP, "http": overHTTP} {
		for i := range 2 {
			clients.Go(func() {
				for round := 0; ctx.Err() == nil; round++ {
					key := fmt.Sprintf("%s-%d-%d", name, i, round)
					brief, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
					_, err := m.SetIfAbsent(brief, key, []byte("v"))
					cancel()
					outcome := "done"
					switch {
					case errors.Is(err, client.ErrOutcomeUnknown):
						outcome = "UNKNOWN"
					case errors.Is(err, client.ErrCondition):
						outcome = "condition"
					case err != nil:
						outcome = "NOTDONE"
					}
					w.hear(outcome, key)
				}
			})
		}
	}
	for range 12 {
		for handed := false; !handed; time.Sleep(5 * time.Millisecond) {
			for _, n := range nodes {
				if n.replica.Status().Role == core.Leader {
					handed = n.replica.TransferLeadership(t.Context(), "") == nil
				}
			}
		}
		time.Sleep(50 * time.Millisecond) // some writes under this one
	}
	var last *node // the leader ends with writes under way
	for _, n := range nodes {
		if n.replica.Status().Role == core.Leader {
			if err := n.replica.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			last = n
		}
	}
	eventually(t, "another node leads", func() bool {
		return slices.ContainsFunc(nodes, func(n *node) bool { return n.replica.Status().Role == core.Leader })
	})
	end()
	clients.Wait()
	w.judge(t, last)
}

// judge compares what was told with what a node holds in the end.
func (w *witness) judge(t *testing.T, n *node) {
	t.Logf("%v", w.told)
	for outcome := range w.told {
		if !slices.Contains([]string{"done", "NOTDONE", "UNKNOWN", "NOTLEADER", "CLUSTERDOWN", "TIMEOUT", "TRYAGAIN"}, outcome) {
			t.Errorf("somebody was told %s", outcome)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.api.Barrier(ctx, api.Linearizable); err != nil {
		t.Fatal(err)
	}
	for _, key := range w.there {
		if _, _, ok := n.store.Get(key); !ok {
			t.Errorf("%s was done, and is not there", key)
		}
	}
	for _, key := range w.absent {
		if _, _, ok := n.store.Get(key); ok {
			t.Errorf("%s was not done, and is there", key)
		}
	}
	value, _, _ := n.store.Get("counter")
	if count, err := strconv.ParseInt(string(value), 10, 64); err != nil || count < w.counted || count > w.counted+w.doubtful {
		t.Errorf("the counter is %s, %v; %d increments were done, and %d may be", value, err, w.counted, w.doubtful)
	}
}

// TestAddressOfTheLeader: a leader that serves the protocol elsewhere, since it was started
// again, is found there.
func TestAddressOfTheLeader(t *testing.T) {
	nodes := start(t, 3, nil)
	c := dial(t, nodes[1].address)
	c.say(encode([]string{"RAFT.FORWARD", "no"}))
	c.want("+OK\r\n")
	before := nodes[0]
	c.say(encode([]string{"SET", "k", "v"}))
	c.want("-NOTLEADER " + before.id + " " + before.address + "\r\n")
	again := serve(t, before.id, before.replica, before.store, nil)
	t.Cleanup(func() { again.close(t) }) // before those that share its replica
	before.answers.Store(again.api)
	eventually(t, "the new address is told", func() bool {
		_, at := nodes[1].api.Leader(t.Context())
		return at == again.address
	})
}
