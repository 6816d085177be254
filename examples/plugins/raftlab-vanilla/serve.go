package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/tidwall/redcon"

	"github.com/themilchenko/raftlab/kv"
)

// The levels of reads.
const (
	linearizable = "linearizable"
	stale        = "stale"
)

const (
	deadline = 5 * time.Second // of a write or a read
	underWay = 4096            // writes of a connection
	maxBytes = 16 << 20        // of the keys and values of one write

	lineBytes = 64 << 10
)

// server answers clients. Each connection has a goroutine that reads and proposes, and one
// that answers.
type server struct {
	*member
	listener net.Listener
	running  sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil: closed
}

func newServer(m *member, listener net.Listener) *server {
	s := &server{member: m, listener: listener, open: map[net.Conn]bool{}}
	s.running.Go(s.accept)
	return s
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		if s.open == nil {
			conn.Close()
		} else {
			s.open[conn] = true
			s.running.Go(func() { s.serve(conn) })
		}
		s.mu.Unlock()
	}
}

// close reads no more commands, answers those that have come, and waits for that.
func (s *server) close() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.open {
		_ = conn.SetReadDeadline(time.Now())
		_ = conn.SetWriteDeadline(time.Now().Add(deadline + time.Second))
	}
	s.open = nil
	s.mu.Unlock()
	s.running.Wait()
}

// conn is a connection of a client. What is answered passes queue, in order.
type conn struct {
	*server
	level    string
	queue    chan func() []byte
	unserved sync.WaitGroup // of what is in queue
	closing  bool
}

func (s *server) serve(client net.Conn) {
	c := &conn{server: s, level: linearizable, queue: make(chan func() []byte, underWay)}
	answered := make(chan struct{})
	go func() { defer close(answered); c.answer(client) }()
	from := bufio.NewReaderSize(client, lineBytes)
	for !c.closing {
		words, err := readCommand(from)
		if err != nil {
			if errors.As(err, new(refused)) {
				c.say(refusal(err))
			}
			break
		}
		if len(words) > 0 {
			c.do(strings.ToUpper(string(words[0])), words[1:])
		}
	}
	close(c.queue)
	<-answered
	s.mu.Lock()
	delete(s.open, client)
	s.mu.Unlock()
	client.Close()
}

// readCommand reads an array of bulk strings, or a line of words. The reader of redcon would
// wait for as much as a client announces.
func readCommand(from *bufio.Reader) (words [][]byte, err error) {
	line, err := from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, refused("ERR Protocol error: too big inline request")
	}
	if err != nil {
		return nil, err
	}
	if line[0] != '*' {
		return bytes.Fields(bytes.Clone(line)), nil
	}
	n, err := length('*', line, 2*kv.MaxBatchOps+1)
	room := maxBytes + kv.MaxKeyBytes + lineBytes
	for i := 0; i < n && err == nil; i++ {
		size := 0
		if line, err = from.ReadSlice('\n'); err != nil {
			break
		}
		if size, err = length('$', line, maxBytes); err != nil {
			break
		}
		if room -= size; room < 0 {
			return nil, refused("TOOLARGE a command of so many bytes")
		}
		word := make([]byte, max(size, 0)+2)
		if _, err = io.ReadFull(from, word); err == nil && (size < 0 || string(word[size:]) != "\r\n") {
			err = refused("ERR Protocol error: an argument does not end where it should")
		}
		words = append(words, word[:max(size, 0)])
	}
	return words, err
}

// length reads a line of a sign and a number.
func length(sign byte, line []byte, most int) (int, error) {
	if line[0] != sign {
		return 0, refused(fmt.Sprintf("ERR Protocol error: expected '%c', got '%c'", sign, line[0]))
	}
	n, err := strconv.Atoi(strings.TrimSuffix(string(line[1:len(line)-1]), "\r"))
	if err != nil {
		return 0, refused("ERR Protocol error: invalid length")
	}
	if n > most {
		return 0, refused(fmt.Sprintf("TOOLARGE a length of %d, and at most %d are allowed", n, most))
	}
	return n, nil
}

// answer sends the answers, each once it is known.
func (c *conn) answer(client net.Conn) {
	w := redcon.NewWriter(client)
	for next := range c.queue {
		w.WriteRaw(next())
		if len(c.queue) == 0 || len(w.Buffer()) > 64<<10 {
			if w.Flush() != nil {
				client.Close() // which ends the reader; go on, so that it does not wait
			}
			w.SetBuffer(nil)
		}
		c.unserved.Done()
	}
}

func (c *conn) say(answer []byte) { c.later(func() []byte { return answer }) }

func (c *conn) later(answer func() []byte) {
	c.unserved.Add(1)
	c.queue <- answer
}

// do carries out a command. Writes are proposed and waited for later; anything else waits
// until all before it is answered.
func (c *conn) do(name string, args [][]byte) {
	if encoded, shape, err := write(name, args); err != nil {
		c.say(refusal(err))
	} else if encoded != nil {
		c.propose(encoded, shape)
	} else {
		c.unserved.Wait()
		answer, known := c.read(name, args)
		if !known {
			answer, known = c.control(name, args)
		}
		if !known {
			answer = redcon.AppendError(nil, fmt.Sprintf("ERR %.40q: there is no such command here, or not with these arguments", name))
		}
		c.say(answer)
	}
}

// propose has a command replicated. The library appends what it is given in order.
func (c *conn) propose(command []byte, shape func(kv.Result) []byte) {
	by := time.Now().Add(deadline)
	future := c.raft.Apply(command, deadline)
	known := make(chan error, 1)
	go func() { known <- future.Error() }()
	c.later(func() []byte {
		err := await(known, by)
		if err != nil {
			return c.failure(err, true)
		}
		result := future.Response().(kv.Result)
		if result.Err != nil && !errors.Is(result.Err, kv.ErrCondition) {
			return refusal(result.Err)
		}
		return shape(result)
	})
}

var errLate = errors.New("not done in time")

func await(known <-chan error, by time.Time) error {
	late := time.NewTimer(time.Until(by))
	defer late.Stop()
	select {
	case err := <-known:
		return err
	case <-late.C:
		return errLate
	}
}

// barrier returns nil once all that was acknowledged before is applied here. It takes a log
// entry: the library's VerifyLeader counts answers that were sent before it was asked.
func (c *conn) barrier() error {
	if c.level == stale {
		return nil
	}
	by := time.Now().Add(deadline)
	future := c.raft.Barrier(deadline)
	known := make(chan error, 1)
	go func() { known <- future.Error() }()
	return await(known, by)
}

// failure tells what became of a write or a read. What is left of the library's errors may
// come after an entry was appended.
func (c *conn) failure(err error, wrote bool) []byte {
	text := ""
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost) && !wrote:
		text = c.notLeader()
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		text = "TRYAGAIN " + err.Error()
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, errLate) && !wrote:
		text = "TIMEOUT " + err.Error()
	case errors.Is(err, raft.ErrRaftShutdown) && !wrote:
		text = "CLUSTERDOWN this member stops"
	case wrote:
		text = "UNKNOWN outcome: " + err.Error()
	default:
		text = "TIMEOUT " + err.Error()
	}
	return redcon.AppendError(nil, text)
}

func (c *conn) notLeader() string {
	id, at := "-", "-"
	if _, leader := c.raft.LeaderWithID(); leader != "" && string(leader) != c.id {
		id = string(leader)
		if known := c.clients[id]; known != "" {
			at = known
		}
	}
	return "NOTLEADER " + id + " " + at
}

// refused is what is wrong with a command, as the client is told.
type refused string

// Error implements error.
func (r refused) Error() string { return string(r) }

func refusal(err error) []byte {
	var r refused
	if !errors.As(err, &r) {
		r = refused("ERR " + err.Error())
	}
	return redcon.AppendError(nil, string(r))
}

// write encodes a command that writes, and says how its result is answered. Nil: it does
// not write, or has another number of arguments.
func write(name string, args [][]byte) (command []byte, shape func(kv.Result) []byte, err error) {
	n := len(args)
	switch {
	case name == "SET" && n >= 2, name == "SETNX" && n == 2:
		return set(name, args)
	case name == "MSET" && n >= 2 && n%2 == 0:
		var ops []kv.Op
		for i := 0; i < n; i += 2 {
			ops = append(ops, kv.Op{Kind: kv.OpSet, Key: string(args[i]), Value: args[i+1]})
		}
		return encode(kv.Condition{}, ops, ok)
	case name == "DEL" && n >= 1:
		var ops []kv.Op
		for _, key := range args {
			ops = append(ops, kv.Op{Kind: kv.OpDelete, Key: string(key)})
		}
		return encode(kv.Condition{}, ops, func(r kv.Result) []byte { return redcon.AppendInt(nil, int64(r.Changed)) })
	}
	return nil, nil, nil
}

// set is SET key value [NX | XX], and SETNX.
func set(name string, args [][]byte) ([]byte, func(kv.Result) []byte, error) {
	cond, shape := kv.Condition{}, ok
	switch option := strings.ToUpper(string(args[len(args)-1])); {
	case name == "SETNX":
		cond.Kind = kv.IfAbsent
		shape = func(r kv.Result) []byte { return redcon.AppendInt(nil, int64(r.Changed)) }
	case len(args) == 2:
	case len(args) == 3 && option == "NX":
		cond.Kind, shape = kv.IfAbsent, okOrNull
	case len(args) == 3 && option == "XX":
		cond.Kind, shape = kv.IfPresent, okOrNull
	default:
		return nil, nil, refused("ERR syntax error: SET key value [NX | XX]")
	}
	return encode(cond, []kv.Op{{Kind: kv.OpSet, Key: string(args[0]), Value: args[1]}}, shape)
}

func ok(kv.Result) []byte { return redcon.AppendOK(nil) }

func okOrNull(r kv.Result) []byte {
	if r.Err != nil {
		return redcon.AppendNull(nil)
	}
	return redcon.AppendOK(nil)
}

// encode returns the command of package kv, one log entry, unless it is beyond a limit.
func encode(cond kv.Condition, ops []kv.Op, shape func(kv.Result) []byte) (command []byte, _ func(kv.Result) []byte, err error) {
	bytes := 0
	for _, op := range ops {
		bytes += len(op.Key) + len(op.Value)
		if len(op.Key) > kv.MaxKeyBytes {
			return nil, nil, refused(fmt.Sprintf("TOOLARGE a key of %d bytes", len(op.Key)))
		}
	}
	if bytes > maxBytes+len(ops[0].Key) || len(ops) > kv.MaxBatchOps {
		return nil, nil, refused(fmt.Sprintf("TOOLARGE %d keys and %d bytes at once", len(ops), bytes))
	}
	if len(ops) == 1 {
		command, err = kv.EncodeIf(cond, ops[0])
	} else {
		command, err = kv.EncodeBatch(ops)
	}
	return command, shape, err
}

// read answers a command that reads.
func (c *conn) read(name string, args [][]byte) (answer []byte, known bool) {
	n := len(args)
	switch {
	case name == "GET" && n == 1, name == "STRLEN" && n == 1, name == "MGET" && n >= 1, name == "EXISTS" && n >= 1, name == "DBSIZE" && n == 0:
	default:
		return nil, false
	}
	if err := c.barrier(); err != nil {
		return c.failure(err, false), true
	}
	c.state.View(func(v kv.View) {
		switch name {
		case "GET":
			answer = appendValue(nil, v, args[0])
		case "STRLEN":
			value, _, _ := v.Get(string(args[0]))
			answer = redcon.AppendInt(nil, int64(len(value)))
		case "MGET":
			answer = redcon.AppendArray(nil, n)
			for _, key := range args {
				answer = appendValue(answer, v, key)
			}
		case "EXISTS":
			there := int64(0)
			for _, key := range args {
				if _, _, ok := v.Get(string(key)); ok {
					there++
				}
			}
			answer = redcon.AppendInt(nil, there)
		}
	})
	if name == "DBSIZE" {
		answer = redcon.AppendInt(nil, int64(c.state.Len()))
	}
	return answer, true
}

func appendValue(b []byte, v kv.View, key []byte) []byte {
	if value, _, ok := v.Get(string(key)); ok {
		return redcon.AppendBulk(b, value)
	}
	return redcon.AppendNull(b)
}

// control answers what is neither read nor written.
func (c *conn) control(name string, args [][]byte) (answer []byte, known bool) {
	arg, n := "", len(args)
	if n > 0 {
		arg = string(args[0])
	}
	switch {
	case name == "PING" && n == 0:
		return redcon.AppendString(nil, "PONG"), true
	case name == "PING" && n == 1, name == "ECHO" && n == 1:
		return redcon.AppendBulk(nil, args[0]), true
	case name == "SELECT" && arg == "0":
		return redcon.AppendOK(nil), true
	case name == "RESET" && n == 0:
		c.level = linearizable
		return redcon.AppendString(nil, "RESET"), true
	case name == "QUIT":
		c.closing = true
		return redcon.AppendOK(nil), true
	case name == "HELLO" && (n == 0 || arg == "2"):
		return c.hello(), true
	case name == "HELLO":
		return redcon.AppendError(nil, "NOPROTO only version 2"), true
	case name == "CLIENT" && (n == 2 && strings.EqualFold(arg, "SETNAME") || n == 3 && strings.EqualFold(arg, "SETINFO")):
		return redcon.AppendOK(nil), true
	case name == "COMMAND":
		return redcon.AppendArray(nil, 0), true
	case name == "RAFT.STATUS" && n == 0:
		return c.status(), true
	case name == "RAFT.MEMBERS" && n == 0:
		return c.membership(), true
	case name == "RAFT.DIGEST" && n == 0:
		return c.digest(), true
	case name == "RAFT.READLEVEL" && n == 0:
		return redcon.AppendBulkString(nil, c.level), true
	case name == "RAFT.READLEVEL" && (strings.EqualFold(arg, linearizable) || strings.EqualFold(arg, stale)):
		c.level = strings.ToLower(arg)
		return redcon.AppendOK(nil), true
	case name == "RAFT.FORWARD" && n == 0:
		return redcon.AppendBulkString(nil, "no"), true
	case name == "RAFT.FORWARD" && strings.EqualFold(arg, "no"):
		return redcon.AppendOK(nil), true
	case name == "RAFT.TRANSFER" && n <= 1:
		return c.done(c.handOver(arg)), true
	case name == "RAFT.SNAPSHOT" && n == 0:
		err := c.raft.Snapshot().Error()
		if errors.Is(err, raft.ErrNothingNewToSnapshot) {
			err = nil
		}
		return c.done(err), true
	}
	return nil, false
}

func (c *conn) done(err error) []byte {
	if err != nil {
		var r refused
		if errors.As(err, &r) {
			return refusal(err)
		}
		return c.failure(err, false)
	}
	return redcon.AppendOK(nil)
}

func (c *conn) handOver(id string) error {
	leads := c.raft.State() == raft.Leader
	switch {
	case id != "" && c.address(id) == "":
		return refused("ERR no member " + id)
	case !leads:
		return raft.ErrNotLeader
	case id == c.id:
		return nil
	}
	return c.transfer(id, time.Now().Add(deadline))
}

func (c *conn) hello() []byte {
	role := "replica"
	if c.raft.State() == raft.Leader {
		role = "master"
	}
	b := texts(redcon.AppendArray(nil, 14), "server", "raftlab-vanilla", "version", "1")
	b = redcon.AppendInt(redcon.AppendBulkString(b, "proto"), 2)
	b = redcon.AppendInt(redcon.AppendBulkString(b, "id"), 0)
	b = texts(b, "mode", "standalone", "role", role)
	return redcon.AppendArray(redcon.AppendBulkString(b, "modules"), 0)
}

func (c *conn) status() []byte {
	_, leader := c.raft.LeaderWithID()
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return texts(redcon.AppendArray(nil, 22), "id", c.id, "group", c.group, "role", strings.ToLower(c.raft.State().String()),
		"leader", string(leader), "leader_resp", c.clients[string(leader)], "term", number(c.raft.CurrentTerm()),
		"last_index", number(c.raft.LastIndex()), "commit_index", number(c.raft.CommitIndex()), "applied_index", number(c.raft.AppliedIndex()),
		"keys", strconv.Itoa(c.state.Len()), "commands", number(c.state.Applied()))
}

func (c *conn) membership() []byte {
	future := c.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return c.failure(err, false)
	}
	_, leader := c.raft.LeaderWithID()
	yes := map[bool]string{true: "yes", false: "no"}
	list := future.Configuration().Servers
	b := redcon.AppendArray(nil, len(list))
	for _, s := range list {
		id := string(s.ID)
		b = texts(redcon.AppendArray(b, 12), "id", id, "address", string(s.Address), "http", "", "resp", c.clients[id],
			"voter", yes[s.Suffrage == raft.Voter], "leader", yes[s.ID == leader])
	}
	return b
}

func (c *conn) digest() []byte {
	_, sum := c.state.Digest()
	return texts(redcon.AppendArray(nil, 8), "id", c.id, "keys", strconv.Itoa(c.state.Len()),
		"commands", strconv.FormatUint(c.state.Applied(), 10), "sha256", hex.EncodeToString(sum[:]))
}

func texts(b []byte, all ...string) []byte {
	for _, text := range all {
		b = redcon.AppendBulkString(b, text)
	}
	return b
}
