package respapi

import (
	"context"
	"math"
	"strconv"
	"sync"

	"github.com/themilchenko/raftlab/kv"
)

// counters are the keys that are being incremented. What comes while an increment of the
// key is under way waits, and then all of it is one log entry: a counter that everybody
// increments changes once in the time of a write, by as much as there is. That each entry is
// conditional on the key's last change makes every increment count once, as it does alone.
type counters struct {
	mu      sync.Mutex
	waiting map[string][]increment // by key; an entry: somebody sees to it
}

// increment is one that a client waits for.
type increment struct {
	w   *write
	by  int64
	sum int64
	err error
}

// incr is INCR, DECR, INCRBY and DECRBY. Those of one key can be under way on a connection
// at the same time: they are carried out in their order.
func incr(sign int64) func(*conn, *command, [][]byte) {
	return func(c *conn, k *command, args [][]byte) {
		by, err := amount(sign, args)
		if err == nil {
			err = c.refuse()
		}
		if err != nil {
			c.fail(k, err)
			return
		}
		if c.counting != string(args[1]) {
			c.drain()
			c.counting = string(args[1])
		}
		if w := (&write{c: c, reply: reply{command: k, shape: asSum}, begun: c.s.now()}); c.enqueue(w) {
			c.s.count(c.counting, increment{w: w, by: by})
		}
	}
}

// amount is by how much the command changes the number.
func amount(sign int64, args [][]byte) (int64, error) {
	if err := checkKeys(args[1:2], 1); err != nil {
		return 0, err
	}
	if len(args) == 2 {
		return sign, nil
	}
	by, err := integer(args[2])
	if err == nil && sign < 0 && by == math.MinInt64 {
		err = refuse("ERR decrement would overflow")
	}
	return sign * by, err
}

var errNotInteger = refuse("ERR value is not an integer or out of range")

// integer reads a number as Redis does: in its shortest form.
func integer(value []byte) (int64, error) {
	n, err := strconv.ParseInt(text(value), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text(value) {
		return 0, errNotInteger
	}
	return n, nil
}

// count has an increment made, after those of the key that came before it. It is called by
// the goroutine of a connection, which the server waits for.
func (s *Server) count(key string, i increment) {
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting, counting := c.waiting[key]
	c.waiting[key] = append(waiting, i)
	if !counting {
		s.serving.Go(func() { s.countAll(key) })
	}
}

// countAll makes the increments of a key until there are no more.
func (s *Server) countAll(key string) {
	for {
		s.counters.mu.Lock()
		batch := s.counters.waiting[key]
		if len(batch) == 0 {
			delete(s.counters.waiting, key)
			s.counters.mu.Unlock()
			return
		}
		s.counters.waiting[key] = nil
		s.counters.mu.Unlock()
		err := s.countTogether(key, batch)
		for _, i := range batch {
			if err != nil {
				i.err = err
			}
			i.w.complete(kv.Result{}, i.sum, i.err)
		}
	}
}

// countTogether makes increments by one log entry. An error is that of all.
func (s *Server) countTogether(key string, batch []increment) error {
	ctx, cancel := context.WithDeadline(s.ctx, s.started.Add(batch[0].w.begun+s.cfg.Timeout))
	defer cancel()
	_, _, _, err := s.update(ctx, key, func(old []byte, present bool) (value []byte, write bool, err error) {
		n := int64(0)
		if present {
			if n, err = integer(old); err != nil {
				return nil, false, err
			}
		}
		for at := range batch {
			i := &batch[at]
			if i.err = nil; i.by > 0 && n > math.MaxInt64-i.by || i.by < 0 && n < math.MinInt64-i.by {
				i.err = refuse("ERR increment or decrement would overflow")
				continue
			}
			n += i.by
			i.sum, write = n, true
		}
		return strconv.AppendInt(nil, n, 10), write, nil
	})
	return err
}
