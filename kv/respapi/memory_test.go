package respapi_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/respapi"
)

// meter tells how much the connections hold of the node's memory.
type meter struct {
	respapi.Node
	held atomic.Int64
}

// Hold implements respapi.Node.
func (m *meter) Hold(bytes int) error {
	err := m.Node.Hold(bytes)
	if err == nil {
		m.held.Add(int64(bytes))
	}
	return err
}

// Release implements respapi.Node.
func (m *meter) Release(bytes int) {
	m.Node.Release(bytes)
	m.held.Add(-int64(bytes))
}

// TestMemory: what a client can have a node keep is counted, and given back once it has
// its answers, or leaves.
func TestMemory(t *testing.T) {
	m := &meter{}
	n := start(t, 1, func(c *respapi.Config) {
		m.Node = c.Node
		c.Node = m
	})[0]
	free := func() bool { return m.held.Load() == 0 }
	value := strings.Repeat("v", 16<<10)
	c := dial(t, n.address)
	c.say(encode([]string{"SET", "k", value}))
	c.want("+OK\r\n")
	eventually(t, "a write gives back what it took", free)
	for name, x := range map[string]struct {
		ask  string
		more int64 // that it makes the node keep
	}{
		"arguments of no bytes":  {"*60000\r\n" + strings.Repeat("$0\r\n\r\n", 50000), 50000 * 40},
		"queued writes":          {"MULTI\r\n" + strings.Repeat(encode([]string{"SET", "k", value}), 100), 100 * 16 << 10},
		"queued keys":            {"MULTI\r\n" + encode(append([]string{"MGET"}, strings.Split(strings.Repeat("k ", 5000)+"k", " ")...)), 5000 * 24},
		"an answer of many":      {encode(append([]string{"MGET"}, strings.Split(strings.Repeat("k ", 2000)+"k", " ")...)), 2000 * 16 << 10},
		"a transaction of reads": {"MULTI\r\n" + strings.Repeat(encode([]string{"GET", "k"}), 2000) + "EXEC\r\n", 2000 * 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, n.address)
			go func() { _, _ = io.WriteString(c, x.ask) }() // takes no answers
			eventually(t, "it is counted", func() bool { return m.held.Load() >= x.more })
			_ = c.Close()
			eventually(t, "it is given back", free)
		})
	}
}

// TestOpenTransaction: a large transaction has to come at the pace of a command; a small one
// may wait for its user.
func TestOpenTransaction(t *testing.T) {
	n := start(t, 1, func(c *respapi.Config) { c.Patience, c.BytesPerS = 500*time.Millisecond, 1<<30 })[0]
	small, large := dial(t, n.address), dial(t, n.address)
	small.say("MULTI\r\nSET k v\r\n")
	large.say("MULTI\r\n" + encode([]string{"SET", "k", strings.Repeat("v", 64<<10)}))
	large.want("+OK\r\n+QUEUED\r\n")
	if rest, err := io.ReadAll(large); err != nil && !strings.Contains(err.Error(), "reset") || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	small.say("EXEC\r\n")
	small.want("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
}
