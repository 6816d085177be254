package respapi

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// command is one that clients may give.
type command struct {
	name  string
	arity int    // with the name; negative: at least so many
	keys  [3]int // first, last and step of the keys among the arguments; first 0: none
	flags string // as COMMAND tells them
	// write begins a write, or answers by itself. Nil: run carries the command out.
	write func(c *conn, k *command, args [][]byte)
	// run appends the answer, or returns why there is none. All before is answered.
	run func(c *conn, b []byte, args [][]byte) ([]byte, error)
	// queue adds the command to a transaction. Nil: it cannot be in one.
	queue func(tx *transaction, args [][]byte) error
	// at is the command's place among the counters.
	at int
}

// table is the whole interface, by name in lower case.
func table() map[string]*command {
	one, all, pairs := [3]int{1, 1, 1}, [3]int{1, -1, 1}, [3]int{1, -1, 2}
	list := []*command{
		{name: "set", arity: -3, keys: one, flags: "write", write: set, queue: queueSet},
		{name: "setnx", arity: 3, keys: one, flags: "write fast", write: setNX},
		{name: "mset", arity: -3, keys: pairs, flags: "write", write: mset, queue: queueMSet},
		{name: "del", arity: -2, keys: all, flags: "write", write: del, queue: queueDel},
		{name: "unlink", arity: -2, keys: all, flags: "write", write: del, queue: queueDel},
		{name: "incr", arity: 2, keys: one, flags: "write fast", write: incr(1)},
		{name: "decr", arity: 2, keys: one, flags: "write fast", write: incr(-1)},
		{name: "incrby", arity: 3, keys: one, flags: "write fast", write: incr(1)},
		{name: "decrby", arity: 3, keys: one, flags: "write fast", write: incr(-1)},
		{name: "append", arity: 3, keys: one, flags: "write fast", run: appendTo},

		{name: "get", arity: 2, keys: one, flags: "readonly fast", run: get, queue: queueRead},
		{name: "mget", arity: -2, keys: all, flags: "readonly fast", run: mget, queue: queueRead},
		{name: "exists", arity: -2, keys: all, flags: "readonly fast", run: exists, queue: queueRead},
		{name: "strlen", arity: 2, keys: one, flags: "readonly fast", run: strlen, queue: queueRead},
		{name: "type", arity: 2, keys: one, flags: "readonly fast", run: typeOf, queue: queueRead},
		{name: "scan", arity: -2, flags: "readonly", run: scan},
		{name: "keys", arity: 2, flags: "readonly", run: keys},
		{name: "dbsize", arity: 1, flags: "readonly fast", run: dbsize},

		{name: "multi", arity: 1, flags: "noscript fast", run: multi},
		{name: "exec", arity: 1, flags: "noscript", write: exec},
		{name: "discard", arity: 1, flags: "noscript fast", run: discard},
		{name: "watch", arity: -2, flags: "noscript fast", run: watch},
		{name: "unwatch", arity: 1, flags: "noscript fast", run: ok},

		{name: "ping", arity: -1, flags: "fast", run: ping},
		{name: "echo", arity: 2, flags: "fast", run: echo},
		{name: "auth", arity: -2, flags: "noscript fast", run: auth},
		{name: "hello", arity: -1, flags: "noscript fast", run: hello},
		{name: "select", arity: 2, flags: "fast", run: selectDB},
		{name: "quit", arity: -1, flags: "fast", run: quit},
		{name: "reset", arity: 1, flags: "fast", run: reset},
		{name: "info", arity: -1, flags: "admin", run: info},
		{name: "client", arity: -2, flags: "admin", run: client},
		{name: "command", arity: -1, flags: "fast", run: commands},
		{name: "config", arity: -2, flags: "admin", run: config},

		{name: "raft.status", arity: 1, flags: "admin", run: raftStatus},
		{name: "raft.members", arity: 1, flags: "admin", run: raftMembers},
		{name: "raft.readlevel", arity: -1, flags: "fast", run: raftReadLevel},
		{name: "raft.forward", arity: -1, flags: "fast", run: raftForward},
		{name: "raft.transfer", arity: -1, flags: "admin", run: raftTransfer},
		{name: "raft.snapshot", arity: 1, flags: "admin", run: raftSnapshot},
		{name: "raft.digest", arity: 1, flags: "admin", run: raftDigest},
	}
	table := make(map[string]*command, len(list))
	for i, k := range list {
		k.at = i
		table[k.name] = k
	}
	return table
}

// longestName is that of any command.
const longestName = 32

// do carries out one command.
func (c *conn) do(args [][]byte) {
	k, err := c.s.find(args)
	switch {
	case err == nil && c.tx != nil && !slices.Contains([]string{"exec", "discard", "multi", "reset", "quit", "watch", "auth"}, k.name):
		c.queue(k, args)
		return
	case err == nil && k.write != nil:
		c.fresh = false
		k.write(c, k, args)
		return
	}
	if err != nil && c.tx != nil {
		c.tx.failed = true
	}
	if k == nil && (is(args[0], "POST") || is(args[0], "HOST:")) { // a web page's request, by a browser
		c.quitting = true
		return
	}
	c.drain()
	begun := c.s.now()
	c.answer(func(b []byte) []byte {
		if err == nil {
			var answer []byte
			if answer, err = k.run(c, b, args); err == nil {
				return answer
			}
		}
		return c.s.appendFailure(b, err)
	})
	if k != nil {
		c.s.stats.observe(k, c.s.now()-begun, err != nil)
	}
}

// find returns the command that the arguments begin with.
func (s *Server) find(args [][]byte) (*command, error) {
	var lower [longestName]byte
	name := args[0]
	n := copy(lower[:], name)
	for i, c := range lower[:n] {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	k := s.table[string(lower[:n])]
	if k == nil || len(name) > n {
		return nil, refuse("ERR unknown command %.40q: this is a raftlab kvnode, which has %s", name, s.names)
	}
	if k.arity >= 0 && len(args) != k.arity || len(args) < -k.arity {
		return k, refuse("ERR wrong number of arguments for '%s' command", k.name)
	}
	return k, nil
}

// text is the bytes as a string that is valid as long as they are.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// is reports whether the argument is that word, in any case.
func is(arg []byte, word string) bool { return strings.EqualFold(text(arg), word) }

// checkKeys refuses keys that the map does not take.
func checkKeys(args [][]byte, step int) error {
	for i := 0; i < len(args); i += step {
		switch {
		case len(args[i]) == 0:
			return refuse("ERR the key is empty: keys have at least one byte")
		case len(args[i]) > kv.MaxKeyBytes:
			return refuse("TOOLARGE a key of %d bytes: at most %d are allowed", len(args[i]), kv.MaxKeyBytes)
		}
	}
	return nil
}

// checkOps refuses what is too much for one log entry.
func checkOps(ops []kv.Op) error {
	bytes := 0
	for _, op := range ops {
		bytes += len(op.Key) + len(op.Value)
	}
	switch {
	case len(ops) > kv.MaxBatchOps:
		return refuse("TOOLARGE %d keys at once: at most %d are allowed", len(ops), kv.MaxBatchOps)
	case bytes > api.MaxBatchBytes:
		return refuse("TOOLARGE %d bytes at once: at most %d are allowed", bytes, api.MaxBatchBytes)
	}
	return nil
}
