package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Limits of a command. They bound what one entry of the log can hold and what a
// decoder allocates.
const (
	MaxKeyBytes   = 64 << 10
	MaxValueBytes = 64 << 20
	MaxBatchOps   = 1 << 16
	MaxNodeBytes  = 1 << 10 // a member's id, and its address
)

// commandVersion is the first byte of every command.
//
//	command = version op
//	op      = 1 key value | 2 key | 3 count { op 1 or 2 } | 4 condition op 1 or 2 | 5 id address
//	        | 7 restore part { key value } | 8 restore keys content | 9 restore
//	condition = 1 index | 2 | 3
//	key, value, id, address, restore = uvarint length, bytes
//	part, keys = uvarint
//	content = 32 bytes
//
// Only kvnodes know 7, 8 and 9, by which restore.go replaces the map. 6 is nothing: it
// stands for what nobody knows in testdata/vectors.json.
const commandVersion = 1

// OpKind is what an operation does.
type OpKind byte

// The operations. A batch holds several of the others and is applied as one.
const (
	OpSet    OpKind = 1
	OpDelete OpKind = 2
	opBatch  OpKind = 3
	opIf     OpKind = 4
	opNode   OpKind = 5
	opStage  OpKind = 7
	opCommit OpKind = 8
	opForget OpKind = 9
)

// Op is one change of the map.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte // of OpSet
}

// Condition is what must hold of an operation's key for the operation to be
// carried out. The zero value always holds.
type Condition struct {
	Kind  ConditionKind
	Index uint64 // of IfIndex
}

// ConditionKind is what a condition asks.
type ConditionKind byte

// The conditions.
const (
	Always    ConditionKind = 0
	IfIndex   ConditionKind = 1 // the key's last change is at Condition.Index
	IfPresent ConditionKind = 2
	IfAbsent  ConditionKind = 3
)

func (c Condition) holds(index uint64, present bool) bool {
	switch c.Kind {
	case IfIndex:
		return present && index == c.Index
	case IfPresent:
		return present
	case IfAbsent:
		return !present
	default:
		return true
	}
}

// errCommand is the kind of all errors of decoding.
var errCommand = errors.New("malformed command")

// EncodeSet returns the command that sets key to value.
func EncodeSet(key string, value []byte) []byte {
	dst := make([]byte, 0, 2+2*binary.MaxVarintLen32+len(key)+len(value))
	return appendOp(append(dst, commandVersion), Op{Kind: OpSet, Key: key, Value: value})
}

// EncodeDelete returns the command that deletes key.
func EncodeDelete(key string) []byte {
	dst := make([]byte, 0, 2+binary.MaxVarintLen32+len(key))
	return appendOp(append(dst, commandVersion), Op{Kind: OpDelete, Key: key})
}

// EncodeBatch returns the command that applies ops in order as one: all or
// none. It refuses what a decoder would.
func EncodeBatch(ops []Op) ([]byte, error) {
	if len(ops) > MaxBatchOps {
		return nil, fmt.Errorf("batch of %d operations: at most %d fit in one command", len(ops), MaxBatchOps)
	}
	dst := binary.AppendUvarint([]byte{commandVersion, byte(opBatch)}, uint64(len(ops)))
	for _, op := range ops {
		if err := op.validate(); err != nil {
			return nil, err
		}
		dst = appendOp(dst, op)
	}
	return dst, nil
}

// EncodeIf returns the command that carries op out if cond holds when it is
// applied. It refuses what a decoder would.
func EncodeIf(cond Condition, op Op) ([]byte, error) {
	if err := op.validate(); err != nil {
		return nil, err
	}
	if cond.Kind > IfAbsent {
		return nil, fmt.Errorf("there is no condition %d", cond.Kind)
	}
	dst := []byte{commandVersion}
	if cond.Kind != Always {
		dst = append(dst, byte(opIf), byte(cond.Kind))
	}
	if cond.Kind == IfIndex {
		dst = binary.AppendUvarint(dst, cond.Index)
	}
	return appendOp(dst, op), nil
}

// EncodeAnnounce returns the command that enters the member's HTTP address into
// the directory of members, see [Store.HTTPAddress]. An empty address takes the
// member out.
func EncodeAnnounce(id, httpAddress string) ([]byte, error) {
	switch {
	case id == "":
		return nil, errors.New("announce: a member without an id")
	case len(id) > MaxNodeBytes, len(httpAddress) > MaxNodeBytes:
		return nil, fmt.Errorf("announce %.40s…: id and address may have %d bytes each", id, MaxNodeBytes)
	}
	dst := binary.AppendUvarint([]byte{commandVersion, byte(opNode)}, uint64(len(id)))
	dst = append(dst, id...)
	dst = binary.AppendUvarint(dst, uint64(len(httpAddress)))
	return append(dst, httpAddress...), nil
}

func (op Op) validate() error {
	switch {
	case op.Kind != OpSet && op.Kind != OpDelete:
		return fmt.Errorf("operation %d cannot stand in a batch", op.Kind)
	case len(op.Key) == 0:
		return errors.New("an empty key: keys have at least one byte")
	case len(op.Key) > MaxKeyBytes:
		return fmt.Errorf("key of %d bytes: at most %d are allowed", len(op.Key), MaxKeyBytes)
	case len(op.Value) > MaxValueBytes:
		return fmt.Errorf("value of %d bytes: at most %d are allowed", len(op.Value), MaxValueBytes)
	}
	return nil
}

func appendOp(dst []byte, op Op) []byte {
	dst = append(dst, byte(op.Kind))
	dst = binary.AppendUvarint(dst, uint64(len(op.Key)))
	dst = append(dst, op.Key...)
	if op.Kind == OpSet {
		dst = binary.AppendUvarint(dst, uint64(len(op.Value)))
		dst = append(dst, op.Value...)
	}
	return dst
}

// change is one operation of a decoded command. Key and value are the command's own
// bytes: id and address for opNode; of a restore, its id, and the pairs of a part or the
// digest of the whole.
type change struct {
	cond       Condition
	kind       OpKind
	key, value []byte
	number     uint64 // of a part, or of all keys
}

// decode calls each with every operation of the command, in order. A command that
// is malformed anywhere is refused before each is called for the first time.
func decode(command []byte, each func(change)) error {
	if err := walk(command, nil); err != nil {
		return err
	}
	return walk(command, each)
}

// CheckChange returns nil if the command is one that sets and deletes keys, as nodes of
// this version apply it.
func CheckChange(command []byte) error {
	var err error
	if e := decode(command, func(c change) {
		if c.kind != OpSet && c.kind != OpDelete {
			err = fmt.Errorf("%w: it is none that clients give", errCommand)
		}
	}); e != nil {
		return e
	}
	return err
}

// walk is one pass over a command; a nil each only checks.
func walk(command []byte, each func(change)) error {
	d := decoder{rest: command}
	if v := d.byte(); d.err == nil && v != commandVersion {
		return fmt.Errorf("%w: version %d, this program knows %d", errCommand, v, commandVersion)
	}
	switch kind := OpKind(d.byte()); kind {
	case opBatch:
		count := d.uvarint(MaxBatchOps, "operations")
		for i := uint64(0); i < count && d.err == nil; i++ {
			d.op(change{kind: OpKind(d.byte())}, each)
		}
	case opIf:
		cond := d.condition()
		d.op(change{cond: cond, kind: OpKind(d.byte())}, each)
	case opNode:
		d.node(each)
	case opStage, opCommit, opForget:
		d.restore(kind, each)
	default:
		d.op(change{kind: kind}, each)
	}
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes after its end", len(d.rest))
	}
	return d.err
}

// decoder takes a command apart. After an error all it returns is zero.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errCommand}, args...)...)
	}
	d.rest = nil
}

func (d *decoder) op(c change, each func(change)) {
	switch c.kind {
	case OpSet:
		c.key = d.bytes(MaxKeyBytes, "key bytes")
		c.value = d.bytes(MaxValueBytes, "value bytes")
	case OpDelete:
		c.key = d.bytes(MaxKeyBytes, "key bytes")
	default:
		d.fail("operation %d", c.kind)
	}
	d.give(c, each)
}

func (d *decoder) node(each func(change)) {
	id := d.bytes(MaxNodeBytes, "id bytes")
	address := d.bytes(MaxNodeBytes, "address bytes")
	d.give(change{kind: opNode, key: id, value: address}, each)
}

func (d *decoder) give(c change, each func(change)) {
	if d.err == nil && len(c.key) == 0 {
		d.fail("an empty key")
	}
	if d.err == nil && each != nil {
		each(c)
	}
}

func (d *decoder) condition() Condition {
	c := Condition{Kind: ConditionKind(d.byte())}
	switch c.Kind {
	case IfIndex:
		c.Index = d.uvarint(math.MaxUint64, "index")
	case IfPresent, IfAbsent:
	default:
		d.fail("condition %d", c.Kind)
	}
	return c
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("cut off")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) bytes(limit uint64, what string) []byte {
	n := d.uvarint(limit, what)
	if n > uint64(len(d.rest)) {
		d.fail("%s cut off", what)
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// uvarint takes a length in its shortest form: one command, one encoding.
func (d *decoder) uvarint(limit uint64, what string) uint64 {
	n, size := binary.Uvarint(d.rest)
	switch {
	case size <= 0:
		d.fail("%s: bad length", what)
		return 0
	case n > limit:
		d.fail("%d %s: at most %d are allowed", n, what, limit)
		return 0
	case size > 1 && d.rest[size-1] == 0:
		d.fail("%s: length is not in its shortest form", what)
		return 0
	}
	d.rest = d.rest[size:]
	return n
}
