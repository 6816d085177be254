package respapi

import (
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/tidwall/redcon"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// look makes the map as fresh as the connection asks for. What has come in one piece shares
// that: all of it began before.
func (c *conn) look() error {
	if c.fresh {
		return nil
	}
	if c.level != api.Stale {
		if err := c.refuse(); err != nil {
			return err
		}
	}
	ctx, cancel := c.context()
	defer cancel()
	if err := c.s.cfg.Node.Barrier(ctx, c.level); err != nil {
		return err
	}
	c.fresh = true
	return nil
}

// reading answers a read of some keys from one moment of the map.
type reading func(c *conn, v kv.View, b []byte, keys [][]byte) ([]byte, error)

// run makes it a command of its own.
func (r reading) run(c *conn, b []byte, args [][]byte) (answer []byte, err error) {
	if err := checkKeys(args[1:], 1); err != nil {
		return b, err
	}
	if err := c.look(); err != nil {
		return b, err
	}
	c.s.cfg.Map.View(func(v kv.View) { answer, err = r(c, v, b, args[1:]) })
	return answer, err
}

func readOf(name string) reading {
	switch name {
	case "mget":
		return readMany
	case "exists":
		return countKeys
	case "strlen":
		return valueLength
	case "type":
		return keyType
	}
	return readOne
}

func get(c *conn, b []byte, args [][]byte) ([]byte, error) {
	if err := checkKeys(args[1:], 1); err != nil {
		return b, err
	}
	if err := c.look(); err != nil {
		return b, err
	}
	value, _, ok := c.s.cfg.Map.Get(text(args[1]))
	return c.appendFound(b, value, ok)
}

func (c *conn) appendFound(b, value []byte, ok bool) ([]byte, error) {
	if !ok {
		return c.appendNull(b), nil
	}
	if err := c.reserve(len(value)); err != nil {
		return b, err
	}
	return appendValue(b, value), nil
}

func mget(c *conn, b []byte, args [][]byte) ([]byte, error) { return reading(readMany).run(c, b, args) }

func exists(c *conn, b []byte, args [][]byte) ([]byte, error) {
	return reading(countKeys).run(c, b, args)
}

func strlen(c *conn, b []byte, args [][]byte) ([]byte, error) {
	return reading(valueLength).run(c, b, args)
}

func typeOf(c *conn, b []byte, args [][]byte) ([]byte, error) {
	return reading(keyType).run(c, b, args)
}

func readOne(c *conn, v kv.View, b []byte, keys [][]byte) ([]byte, error) {
	value, _, ok := v.Get(text(keys[0]))
	return c.appendFound(b, value, ok)
}

func readMany(c *conn, v kv.View, b []byte, keys [][]byte) ([]byte, error) {
	answer := redcon.AppendArray(b, len(keys))
	for _, key := range keys {
		value, _, ok := v.Get(text(key))
		var err error
		if answer, err = c.appendFound(answer, value, ok); err != nil {
			return b, err
		}
		if len(answer) > maxAnswerBytes {
			return b, refuse("TOOLARGE an answer of more than %d bytes: ask for fewer keys at once", maxAnswerBytes)
		}
	}
	return answer, nil
}

// maxAnswerBytes bounds one answer, beside the node's memory for all.
const maxAnswerBytes = 4 * api.MaxValueBytes

func countKeys(_ *conn, v kv.View, b []byte, keys [][]byte) ([]byte, error) {
	n := 0
	for _, key := range keys {
		if _, _, ok := v.Get(text(key)); ok {
			n++
		}
	}
	return redcon.AppendInt(b, int64(n)), nil
}

func valueLength(_ *conn, v kv.View, b []byte, keys [][]byte) ([]byte, error) {
	value, _, _ := v.Get(text(keys[0]))
	return redcon.AppendInt(b, int64(len(value))), nil
}

func keyType(_ *conn, v kv.View, b []byte, keys [][]byte) ([]byte, error) {
	if _, _, ok := v.Get(text(keys[0])); ok {
		return append(b, "+string\r\n"...), nil
	}
	return append(b, "+none\r\n"...), nil
}

// dbsize is DBSIZE.
func dbsize(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	if err := c.look(); err != nil {
		return b, err
	}
	return redcon.AppendInt(b, int64(c.s.cfg.Map.Len())), nil
}

// Limits of SCAN and KEYS.
const (
	defaultCount = 10
	maxCount     = 10000
	maxScanBytes = 1 << 20 // of the keys of one answer to SCAN
	maxKeysBytes = 32 << 20
)

// scan is SCAN cursor [MATCH pattern] [COUNT n]: the keys in order. What is there for the
// whole of an iteration is told exactly once.
func scan(c *conn, b []byte, args [][]byte) ([]byte, error) {
	cursor, err := strconv.ParseUint(text(args[1]), 10, 64)
	if err != nil {
		return b, refuse("ERR invalid cursor")
	}
	match, count := newPattern([]byte("*")), defaultCount
	for i := 2; i < len(args); i += 2 {
		switch {
		case i+1 == len(args):
			return b, refuse("ERR syntax error: SCAN cursor [MATCH pattern] [COUNT n]")
		case is(args[i], "MATCH"):
			match = newPattern(args[i+1])
		case is(args[i], "COUNT"):
			if count, err = strconv.Atoi(text(args[i+1])); err != nil || count < 1 {
				return b, refuse("ERR COUNT: want a whole number from 1 to %d", maxCount)
			}
			count = min(count, maxCount)
		default:
			return b, refuse("ERR syntax error: SCAN cursor [MATCH pattern] [COUNT n], not %.40q", args[i])
		}
	}
	after, known := c.s.cursors.find(cursor)
	if !known {
		return b, refuse("ERR invalid cursor: it is none of this node's, or too old: begin again with 0")
	}
	if err := c.look(); err != nil {
		return b, err
	}
	found, last := c.page(match, after, count)
	next := uint64(0)
	if last != "" {
		next = c.s.cursors.add(last)
	}
	b = appendText(redcon.AppendArray(b, 2), strconv.FormatUint(next, 10))
	return c.appendKeys(b, found)
}

// page looks at so many keys after that one, and returns those that match. If there may be
// more, last is the last it has looked at.
func (c *conn) page(match pattern, after string, count int) (found []string, last string) {
	if match.exact() {
		if _, _, ok := c.s.cfg.Map.Get(match.prefix); ok && after < match.prefix {
			found = []string{match.prefix}
		}
		return found, ""
	}
	bytes := 0
	for i, p := range c.s.cfg.Map.Scan(match.prefix, after, count+1) {
		if i == count || bytes > maxScanBytes {
			return found, last
		}
		if match.matches(p.Key) {
			found = append(found, p.Key)
			bytes += len(p.Key)
		}
		last = p.Key
	}
	return found, ""
}

func (c *conn) appendKeys(b []byte, found []string) ([]byte, error) {
	bytes := 0
	for _, key := range found {
		bytes += len(key)
	}
	if err := c.reserve(bytes); err != nil {
		return b, err
	}
	b = redcon.AppendArray(b, len(found))
	for _, key := range found {
		b = appendText(b, key)
	}
	return b, nil
}

// keys is KEYS pattern.
func keys(c *conn, b []byte, args [][]byte) ([]byte, error) {
	match := newPattern(args[1])
	if err := c.look(); err != nil {
		return b, err
	}
	var found []string
	bytes := 0
	for after, more := "", true; more; {
		var page []string
		page, after = c.page(match, after, maxCount)
		more = after != ""
		found = append(found, page...)
		for _, key := range page {
			bytes += len(key)
		}
		if bytes > maxKeysBytes {
			return b, refuse("TOOLARGE more than %d bytes of keys: use SCAN", maxKeysBytes)
		}
	}
	return c.appendKeys(b, found)
}

// cursors are where iterations of SCAN have come to: clients take numbers only. The oldest
// are forgotten. Safe for concurrent use.
type cursors struct {
	mu    sync.Mutex
	after map[uint64]string
	order []uint64
	bytes int
	last  uint64 // begins anywhere, so that another node's cursors are not taken for this one's
}

const (
	maxCursors     = 4096
	maxCursorBytes = 4 << 20
)

func (s *cursors) add(after string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after == nil {
		s.after, s.last = map[uint64]string{}, rand.Uint64()>>1
	}
	s.last++
	s.after[s.last], s.order = after, append(s.order, s.last)
	s.bytes += len(after)
	for len(s.order) > 1 && (len(s.order) > maxCursors || s.bytes > maxCursorBytes) {
		s.bytes -= len(s.after[s.order[0]])
		delete(s.after, s.order[0])
		s.order = s.order[1:]
	}
	return s.last
}

// find returns the key after which an iteration goes on.
func (s *cursors) find(cursor uint64) (after string, known bool) {
	if cursor == 0 {
		return "", true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	after, known = s.after[cursor]
	return after, known
}
