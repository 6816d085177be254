package respapi

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/tidwall/redcon"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// submit has a command of package kv carried out: here, at once, if this node leads, and
// else by the leader, once all before is answered.
func (c *conn) submit(command []byte, r reply) {
	if c.s.proposer != nil && c.s.cfg.Node.Leads() {
		c.begin(command, r)
		return
	}
	c.drain()
	begun := c.s.now()
	var err error
	c.answer(func(b []byte) []byte {
		if err = c.refuse(); err != nil {
			return c.s.appendFailure(b, err)
		}
		var result kv.Result
		result, err = c.s.proposeAnyhow(command, begun)
		return r.append(b, c, result, err)
	})
	c.s.stats.observe(r.command, c.s.now()-begun, err != nil)
}

// refuse is an error if another node leads and the client wants to know.
func (c *conn) refuse() error {
	if c.refuses && !c.s.cfg.Node.Leads() {
		return &core.NotLeaderError{}
	}
	return nil
}

// fail answers with an error.
func (c *conn) fail(k *command, err error) {
	c.drain()
	c.answer(func(b []byte) []byte { return c.s.appendFailure(b, err) })
	c.s.stats.observe(k, 0, true)
}

// set is SET key value [NX | XX | IFEQ value | IFNE value] [GET].
func set(c *conn, k *command, args [][]byte) {
	err := checkKeys(args[1:2], 1)
	if err == nil && len(args) == 3 {
		c.submit(kv.EncodeSet(text(args[1]), args[2]), reply{command: k, shape: asOK})
		return
	}
	var o setOptions
	if err == nil {
		o, err = parseSet(args[3:])
	}
	if err == nil && !o.get && o.compare == nil {
		var encoded []byte
		encoded, err = kv.EncodeIf(o.condition, kv.Op{Kind: kv.OpSet, Key: text(args[1]), Value: args[2]})
		if err == nil {
			c.submit(encoded, reply{command: k, shape: asOKOrNull})
			return
		}
	}
	if err != nil {
		c.fail(k, err)
		return
	}
	c.drain()
	begun := c.s.now()
	c.answer(func(b []byte) []byte {
		var answer []byte
		if answer, err = c.setAndTell(b, args, o); err != nil {
			return c.s.appendFailure(b, err)
		}
		return answer
	})
	c.s.stats.observe(k, c.s.now()-begun, err != nil)
}

// setOptions are those of SET.
type setOptions struct {
	condition kv.Condition
	compare   []byte // IFEQ or IFNE: the value to compare with; nil: neither
	unequal   bool   // IFNE
	get       bool
}

func parseSet(args [][]byte) (o setOptions, err error) {
	given := 0
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case is(arg, "NX"):
			o.condition.Kind = kv.IfAbsent
			given++
		case is(arg, "XX"):
			o.condition.Kind = kv.IfPresent
			given++
		case is(arg, "GET"):
			o.get = true
		case is(arg, "IFEQ") || is(arg, "IFNE"):
			if i++; i == len(args) {
				return o, refuse("ERR syntax error: %s takes a value", arg)
			}
			o.compare, o.unequal = args[i], is(arg, "IFNE")
			given++
		case is(arg, "EX"), is(arg, "PX"), is(arg, "EXAT"), is(arg, "PXAT"), is(arg, "KEEPTTL"):
			return o, refuse("ERR %s: keys do not expire here", arg)
		default:
			return o, refuse("ERR syntax error: SET key value [NX | XX | IFEQ value | IFNE value] [GET], not %.40q", arg)
		}
	}
	if given > 1 {
		return o, refuse("ERR syntax error: NX, XX, IFEQ and IFNE exclude each other")
	}
	return o, nil
}

// setAndTell is a SET that has to know the value before.
func (c *conn) setAndTell(b []byte, args [][]byte, o setOptions) ([]byte, error) {
	old, present, wrote, err := c.update(string(args[1]), func(old []byte, present bool) ([]byte, bool, error) {
		switch {
		case o.compare != nil && o.unequal:
			return args[2], !present || !slices.Equal(old, o.compare), nil
		case o.compare != nil:
			return args[2], present && slices.Equal(old, o.compare), nil
		case o.condition.Kind == kv.IfAbsent:
			return args[2], !present, nil
		case o.condition.Kind == kv.IfPresent:
			return args[2], present, nil
		}
		return args[2], true, nil
	})
	switch {
	case err != nil:
		return b, err
	case o.get && present:
		if err := c.reserve(len(old)); err != nil { // it is written, and the value cannot be told
			return b, errors.Join(core.ErrOutcomeUnknown, err)
		}
		return appendValue(b, old), nil
	case !o.get && wrote:
		return append(b, "+OK\r\n"...), nil
	}
	return c.appendNull(b), nil
}

// decision is what becomes of a key, by what it holds. It may be asked several times.
type decision func(old []byte, present bool) (value []byte, write bool, err error)

// update changes a key, at the command of a client.
func (c *conn) update(key string, decide decision) (old []byte, present, wrote bool, err error) {
	c.fresh = false
	if err := c.refuse(); err != nil {
		return nil, false, false, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return c.s.update(ctx, key, decide)
}

// update changes a key by what it holds: decide is asked until nothing has come between.
// It uses only commands that every version of kvnode applies alike.
func (s *Server) update(ctx context.Context, key string, decide decision) (old []byte, present, wrote bool, err error) {
	// Those of one key take turns: otherwise all but one would come in vain.
	turn := s.stripes[maphash.String(s.seed, key)%incrStripes]
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return nil, false, false, ctx.Err()
	}
	for upToDate := false; ; {
		old, index, present := s.cfg.Map.Get(key)
		value, write, err := decide(old, present)
		if write && err == nil {
			failed, err := s.replace(ctx, key, value, index, present)
			if err != nil || !failed {
				return old, present, true, err
			}
			upToDate = false
		} else if upToDate {
			return old, present, false, err
		}
		if err := s.cfg.Node.Barrier(ctx, api.Linearizable); err != nil {
			return nil, false, false, err
		}
		upToDate = true
	}
}

// replace sets the key if its last change was at index, or if it is still not there.
func (s *Server) replace(ctx context.Context, key string, value []byte, index uint64, present bool) (failed bool, err error) {
	cond := kv.Condition{Kind: kv.IfAbsent}
	if present {
		cond = kv.Condition{Kind: kv.IfIndex, Index: index}
	}
	if err := s.cfg.Node.Hold(2 * len(value)); err != nil {
		return false, err
	}
	defer s.cfg.Node.Release(2 * len(value))
	encoded, err := kv.EncodeIf(cond, kv.Op{Kind: kv.OpSet, Key: key, Value: value})
	if err != nil {
		return false, err
	}
	_, result, err := s.cfg.Node.Propose(ctx, encoded)
	if err != nil {
		return false, err
	}
	if errors.Is(result.Err, kv.ErrCondition) {
		return true, nil
	}
	return false, result.Err
}

// setNX is SETNX key value.
func setNX(c *conn, k *command, args [][]byte) {
	err := checkKeys(args[1:2], 1)
	if err == nil {
		var encoded []byte
		encoded, err = kv.EncodeIf(kv.Condition{Kind: kv.IfAbsent}, kv.Op{Kind: kv.OpSet, Key: text(args[1]), Value: args[2]})
		if err == nil {
			c.submit(encoded, reply{command: k, shape: asOne})
			return
		}
	}
	c.fail(k, err)
}

// mset is MSET key value [key value …]: one entry, all or none.
func mset(c *conn, k *command, args [][]byte) {
	ops, err := msetOps(args, text)
	c.submitOps(k, ops, err, reply{command: k, shape: asOK})
}

func msetOps(args [][]byte, key func([]byte) string) ([]kv.Op, error) {
	if len(args)%2 == 0 {
		return nil, refuse("ERR wrong number of arguments for 'mset' command")
	}
	if err := checkKeys(args[1:], 2); err != nil {
		return nil, err
	}
	ops := make([]kv.Op, 0, len(args)/2)
	for i := 1; i < len(args); i += 2 {
		ops = append(ops, kv.Op{Kind: kv.OpSet, Key: key(args[i]), Value: args[i+1]})
	}
	return ops, nil
}

// del is DEL key [key …]: one entry.
func del(c *conn, k *command, args [][]byte) {
	if len(args) == 2 {
		if err := checkKeys(args[1:], 1); err != nil {
			c.fail(k, err)
			return
		}
		c.submit(kv.EncodeDelete(text(args[1])), reply{command: k, shape: asCount})
		return
	}
	ops, err := delOps(args, text)
	c.submitOps(k, ops, err, reply{command: k, shape: asCount})
}

func delOps(args [][]byte, key func([]byte) string) ([]kv.Op, error) {
	if err := checkKeys(args[1:], 1); err != nil {
		return nil, err
	}
	ops := make([]kv.Op, 0, len(args)-1)
	for _, arg := range args[1:] {
		ops = append(ops, kv.Op{Kind: kv.OpDelete, Key: key(arg)})
	}
	return ops, nil
}

func (c *conn) submitOps(k *command, ops []kv.Op, err error, r reply) {
	var encoded []byte
	if err == nil {
		err = checkOps(ops)
	}
	if err == nil {
		encoded, err = kv.EncodeBatch(ops)
	}
	if err != nil {
		c.fail(k, err)
		return
	}
	c.submit(encoded, r)
}

// appendTo is APPEND key value.
func appendTo(c *conn, b []byte, args [][]byte) ([]byte, error) {
	if err := checkKeys(args[1:2], 1); err != nil {
		return b, err
	}
	length := 0
	_, _, _, err := c.update(string(args[1]), func(old []byte, _ bool) ([]byte, bool, error) {
		if length = len(old) + len(args[2]); length > api.MaxValueBytes {
			return nil, false, refuse("TOOLARGE a value of %d bytes: at most %d are allowed", length, api.MaxValueBytes)
		}
		return slices.Concat(old, args[2]), true, nil
	})
	if err != nil {
		return b, err
	}
	return redcon.AppendInt(b, int64(length)), nil
}
