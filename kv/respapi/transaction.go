package respapi

import (
	"github.com/tidwall/redcon"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// transaction is what a client has queued since MULTI: writes, which become one log entry,
// or reads, which are answered from one moment of the map. It cannot hold both: a log entry
// of kvnode carries no reads.
type transaction struct {
	ops    []kv.Op
	parts  []part
	reads  []queuedRead
	bytes  int
	keys   int
	held   int  // of the node's memory
	failed bool // a command was refused, so EXEC will be
}

type queuedRead struct {
	command *command
	args    [][]byte
}

var errMixed = refuse("ERR a transaction holds either writes or reads: the reads of one that writes could not be answered")

// queue adds a command to the transaction.
func (c *conn) queue(k *command, args [][]byte) {
	tx := c.tx
	err := error(refuse("ERR '%s' cannot be in a transaction", k.name))
	if k.queue != nil {
		err = k.queue(tx, args)
	}
	if err == nil && k.write == nil {
		tx.reads, tx.keys = append(tx.reads, queuedRead{k, clone(args)}), tx.keys+len(args)-1
	}
	if err == nil {
		err = c.weigh(args)
	}
	if err != nil {
		c.endTransaction()
		c.tx = &transaction{failed: true}
		c.fail(k, err)
		return
	}
	c.drain()
	c.answer(func(b []byte) []byte { return append(b, "+QUEUED\r\n"...) })
}

// weigh refuses a transaction that is too much, and holds memory for it. A large one has to
// come at the pace of a single command, so that nobody keeps that memory by leaving one open.
func (c *conn) weigh(args [][]byte) error {
	tx := c.tx
	for _, arg := range args {
		tx.bytes += len(arg)
	}
	switch {
	case len(tx.ops) > 0 && len(tx.reads) > 0:
		return errMixed
	case tx.bytes > api.MaxBatchBytes, len(tx.ops)+tx.keys > kv.MaxBatchOps:
		return refuse("TOOLARGE a transaction may have %d bytes and %d keys", api.MaxBatchBytes, kv.MaxBatchOps)
	}
	more := tx.bytes + queuedBytes*(len(tx.ops)+len(tx.parts)+tx.keys+len(tx.reads)) - tx.held
	if tx.held == 0 && more <= smallBuffer {
		return nil
	}
	if err := c.s.cfg.Node.Hold(more); err != nil {
		return err
	}
	tx.held += more
	c.partial.CompareAndSwap(0, int64(c.s.now()))
	return nil
}

// queuedBytes is what a queued command, and each of its keys, takes beside its bytes.
const queuedBytes = 64

// endTransaction forgets what was queued.
func (c *conn) endTransaction() {
	if c.tx != nil && c.tx.held > 0 {
		c.s.cfg.Node.Release(c.tx.held)
		c.partial.Store(0)
	}
	c.tx = nil
}

func clone(args [][]byte) [][]byte {
	out := make([][]byte, len(args))
	for i, arg := range args {
		out[i] = append([]byte{}, arg...)
	}
	return out
}

func (tx *transaction) add(s shape, ops []kv.Op, err error) error {
	if err != nil {
		return err
	}
	tx.ops, tx.parts = append(tx.ops, ops...), append(tx.parts, part{s, len(ops)})
	return nil
}

func owned(b []byte) string { return string(b) }

func queueSet(tx *transaction, args [][]byte) error {
	if len(args) != 3 {
		return refuse("ERR in a transaction SET takes no options")
	}
	ops, err := msetOps(clone(args), owned)
	return tx.add(asOK, ops, err)
}

func queueMSet(tx *transaction, args [][]byte) error {
	ops, err := msetOps(clone(args), owned)
	return tx.add(asOK, ops, err)
}

func queueDel(tx *transaction, args [][]byte) error {
	ops, err := delOps(args, owned)
	return tx.add(asCount, ops, err)
}

func queueRead(_ *transaction, args [][]byte) error { return checkKeys(args[1:], 1) }

// multi is MULTI.
func multi(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	if c.tx != nil {
		return b, refuse("ERR MULTI calls can not be nested")
	}
	c.tx = &transaction{}
	return append(b, "+OK\r\n"...), nil
}

// exec is EXEC.
func exec(c *conn, k *command, _ [][]byte) {
	tx := c.tx
	c.partial.Store(0)
	defer c.endTransaction()
	switch {
	case tx == nil:
		c.fail(k, refuse("ERR EXEC without MULTI"))
	case tx.failed:
		c.fail(k, refuse("EXECABORT Transaction discarded because of previous errors."))
	case len(tx.ops) > 0:
		c.submitOps(k, tx.ops, nil, reply{command: k, shape: asExec, parts: tx.parts})
	default:
		c.drain()
		c.answer(func(b []byte) []byte {
			answer, err := c.execReads(b, tx.reads)
			if err != nil {
				return c.s.appendFailure(b, err)
			}
			return answer
		})
	}
}

// execReads answers all reads from one moment of the map.
func (c *conn) execReads(b []byte, reads []queuedRead) ([]byte, error) {
	if err := c.look(); err != nil {
		return b, err
	}
	b = redcon.AppendArray(b, len(reads))
	var err error
	c.s.cfg.Map.View(func(v kv.View) {
		for _, r := range reads {
			if err == nil {
				b, err = readOf(r.command.name)(c, v, b, r.args[1:])
			}
		}
	})
	return b, err
}

// discard is DISCARD.
func discard(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	if c.tx == nil {
		return b, refuse("ERR DISCARD without MULTI")
	}
	c.endTransaction()
	return append(b, "+OK\r\n"...), nil
}

// watch is WATCH, which there is not.
func watch(_ *conn, b []byte, _ [][]byte) ([]byte, error) {
	return b, refuse("ERR WATCH is not offered: SET key value IFEQ old compares and sets, INCR and APPEND change what is there")
}
