package hashicorp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// The first bytes of MessagePack's values (the MessagePack specification, "Formats").
// The fixed forms hold a length, or a number, in their low bits.
const (
	fixMap, fixArray, fixString          = 0x80, 0x90, 0xa0
	nilValue, falseValue, trueValue      = 0xc0, 0xc2, 0xc3
	bin8, bin16, bin32                   = 0xc4, 0xc5, 0xc6
	ext8, ext16, ext32                   = 0xc7, 0xc8, 0xc9
	float32Value, float64Value           = 0xca, 0xcb
	uint8Value, uint64Value              = 0xcc, 0xcf
	int8Value, int64Value                = 0xd0, 0xd3
	fixExt1, fixExt4, fixExt8            = 0xd4, 0xd6, 0xd7
	fixExt16                             = 0xd8
	string8, string16, string32          = 0xd9, 0xda, 0xdb
	array16, array32, map16, map32       = 0xdc, 0xdd, 0xde, 0xdf
	negativeFixed                        = 0xe0
	timeExtension                   byte = 0xff // -1
	maxName                              = 4096 // bytes of a field's name, and of what is kept from message to message
)

// source reads messages from a connection. They have no length in front, so it never
// takes more than the message has, and makes room only for what has come in. After the
// first error all that it returns is zero, and err is set.
//
// What it returns belongs to the caller, unless it says otherwise. It is not safe for
// concurrent use.
type source struct {
	conn    net.Conn
	timeout time.Duration // for a message to go on once it has begun; 0: as the caller has set

	buf   []byte
	r, w  int       // buf[r:w] has come and is not taken
	limit int       // how much the message may have
	left  int       // of that; 0 after an error
	timed bool      // the connection has a deadline from here
	slab  []byte    // where the message's next pieces go
	kept  [3][]byte // see again
	err   error
}

func newSource(conn net.Conn, size int, timeout time.Duration) *source {
	return &source{conn: conn, buf: make([]byte, size), timeout: timeout}
}

// begin begins a message of at most limit bytes. What is made of it counts too, where
// it is more than that.
func (s *source) begin(limit int) { s.limit, s.left, s.slab = limit, limit, nil }

// end says that the message is taken.
func (s *source) end() {
	s.slab = nil
	if s.timed {
		s.timed = false
		s.fail(s.conn.SetReadDeadline(time.Time{}))
	}
}

func (s *source) fail(err error) {
	if s.err == nil && err != nil {
		s.err = err
		s.left = 0
	}
}

func (s *source) failf(format string, args ...any) {
	s.fail(fmt.Errorf("%w: "+format, append([]any{core.ErrInvalid}, args...)...))
}

// charge counts n bytes of the message.
func (s *source) charge(n int) bool {
	if n > s.left {
		s.failf("a message of more than %d bytes", s.limit)
		return false
	}
	s.left -= n
	return true
}

// receive reads once.
func (s *source) receive(into []byte) int {
	begun := s.left != s.limit
	if begun && s.timeout > 0 {
		s.timed = true
		s.fail(s.conn.SetReadDeadline(time.Now().Add(s.timeout)))
	}
	n, err := s.conn.Read(into)
	if n > 0 {
		return n // with an error, the next call has it again
	}
	if err == io.EOF && begun {
		err = io.ErrUnexpectedEOF
	}
	s.fail(err)
	return 0
}

// await has n bytes in buf, which is at least as long.
func (s *source) await(n int) bool {
	for s.w-s.r < n && s.err == nil {
		if s.r+n > len(s.buf) || s.r == s.w {
			s.w = copy(s.buf, s.buf[s.r:s.w])
			s.r = 0
		}
		s.w += s.receive(s.buf[s.w:])
	}
	return s.err == nil
}

// take returns the next n bytes, at most len(buf) of them, until the next call; nil
// after an error.
func (s *source) take(n int) []byte {
	if n > s.left || n > s.w-s.r && !s.await(n) {
		s.charge(n)
		return nil
	}
	s.left -= n
	s.r += n
	return s.buf[s.r-n : s.r]
}

func (s *source) byte() byte {
	if b := s.take(1); len(b) > 0 {
		return b[0]
	}
	return 0
}

// number reads a big-endian number of so many bytes.
func (s *source) number(bytes int) (n uint64) {
	for _, b := range s.take(bytes) {
		n = n<<8 | uint64(b)
	}
	return n
}

// uint64 reads a number that is not negative, in whatever width.
func (s *source) uint64() uint64 {
	switch b := s.byte(); {
	case b < fixMap:
		return uint64(b)
	case b == nilValue:
		return 0
	case b >= uint8Value && b <= uint64Value:
		return s.number(1 << (b - uint8Value))
	case b >= int8Value && b <= int64Value:
		if n := s.signed(1 << (b - int8Value)); n >= 0 {
			return uint64(n)
		}
		fallthrough
	default:
		s.failf("%#x where a number from 0 begins", b)
		return 0
	}
}

// int64 reads a number, in whatever width.
func (s *source) int64() int64 {
	switch b := s.byte(); {
	case b < fixMap || b >= negativeFixed:
		return int64(int8(b))
	case b == nilValue:
		return 0
	case b >= uint8Value && b <= uint64Value:
		return int64(s.number(1 << (b - uint8Value)))
	case b >= int8Value && b <= int64Value:
		return s.signed(1 << (b - int8Value))
	default:
		s.failf("%#x where a number begins", b)
		return 0
	}
}

func (s *source) signed(bytes int) int64 {
	unused := 64 - 8*bytes
	return int64(s.number(bytes)<<unused) >> unused
}

func (s *source) bool() bool {
	switch b := s.byte(); b {
	case nilValue, falseValue, 0:
		return false
	case trueValue, 1:
		return true
	default:
		s.failf("%#x where true or false is", b)
		return false
	}
}

// mapLen reads the head of a map; -1: it is nil.
func (s *source) mapLen() int {
	switch b := s.byte(); {
	case b >= fixMap && b < fixArray:
		return int(b - fixMap)
	case b == map16 || b == map32:
		return int(s.number(2 << (b - map16)))
	case b == nilValue:
		return -1
	default:
		s.failf("%#x where a map begins", b)
		return 0
	}
}

// arrayLen reads the head of a list; -1: it is nil.
func (s *source) arrayLen() int {
	switch b := s.byte(); {
	case b >= fixArray && b < fixString:
		return int(b - fixArray)
	case b == array16 || b == array32:
		return int(s.number(2 << (b - array16)))
	case b == nilValue:
		return -1
	default:
		s.failf("%#x where a list begins", b)
		return 0
	}
}

// bytesLen reads the head of bytes or text; -1: it is nil.
func (s *source) bytesLen() int {
	switch b := s.byte(); {
	case b >= fixString && b < nilValue:
		return int(b - fixString)
	case b >= string8 && b <= string32:
		return int(s.number(1 << (b - string8)))
	case b >= bin8 && b <= bin32:
		return int(s.number(1 << (b - bin8)))
	case b == nilValue:
		return -1
	default:
		s.failf("%#x where bytes begin", b)
		return 0
	}
}

// name reads a field's name, which is valid until the next call.
func (s *source) name() []byte {
	n := s.bytesLen()
	if n > maxName {
		s.failf("a field's name of %d bytes", n)
		return nil
	}
	return s.take(max(n, 0))
}

// bytes reads bytes or text. alike is how many more of that length are to be expected:
// they share an allocation.
func (s *source) bytes(alike int) []byte {
	n := s.bytesLen()
	switch {
	case n < 0:
		return nil
	case n == 0:
		return []byte{}
	case n > len(s.buf):
		return s.large(n)
	case n > s.left || !s.await(n):
		s.charge(n)
		return nil
	}
	if n > len(s.slab) {
		s.slab = make([]byte, max(n, min(n*(alike+1), s.w-s.r)))
	}
	out := s.slab[:n:n]
	s.slab = s.slab[copy(out, s.take(n)):]
	return out
}

// large reads n bytes, most of them to where they stay. There is never room for more
// than twice what has come, and a buffer.
func (s *source) large(n int) []byte {
	if !s.charge(n) {
		return nil
	}
	out := make([]byte, 0, min(n, s.w-s.r+len(s.buf)))
	out = append(out, s.buf[s.r:s.w]...)
	s.r = s.w
	for len(out) < n && s.err == nil {
		if len(out) == cap(out) {
			out = slices.Grow(out, min(n-len(out), len(out)))
		}
		free := out[len(out):min(cap(out), n)]
		out = out[:len(out)+s.receive(free)]
	}
	if s.err != nil {
		return nil
	}
	return out
}

// again reads bytes that are mostly those of the message before, and then returns the
// same, which nobody may change. place says which they are.
func (s *source) again(place int) []byte {
	n := s.bytesLen()
	if n < 0 || s.err != nil {
		return nil
	}
	if n > maxName {
		s.failf("%d bytes in a message's header", n)
		return nil
	}
	if b := s.take(n); s.err == nil && (s.kept[place] == nil || !bytes.Equal(s.kept[place], b)) {
		s.kept[place] = append([]byte{}, b...)
	}
	return s.kept[place]
}

// text reads text.
func (s *source) text() string { return string(s.bytes(0)) }

// time reads a time in any of the forms in which the library has ever written one: the
// bytes of time.Time.MarshalBinary, or MessagePack's seconds and nanoseconds, as an
// extension or bare.
func (s *source) time() (t time.Time) {
	b := s.byte()
	n := int(b & 31)
	switch {
	case b == nilValue:
		return t
	case b >= fixString && b < fixString+32:
		value := s.take(n)
		if err := t.UnmarshalBinary(value); err == nil || s.err != nil {
			return t
		}
		return s.stamp(value)
	case b == fixExt4 || b == fixExt8:
		n = 4 << (b - fixExt4)
	case b == ext8, b == string8, b == bin8:
		n = int(s.number(1))
	default:
		s.failf("%#x where a time begins", b)
		return t
	}
	if extension := b == ext8 || b == fixExt4 || b == fixExt8; extension && s.byte() != timeExtension {
		s.failf("an extension where a time is")
		return t
	}
	return s.stamp(s.take(n))
}

// stamp is a timestamp of MessagePack ("Timestamp extension type").
func (s *source) stamp(value []byte) time.Time {
	switch len(value) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(value)), 0).UTC()
	case 8:
		n := binary.BigEndian.Uint64(value)
		return time.Unix(int64(n&(1<<34-1)), int64(n>>34)).UTC()
	case 12:
		return time.Unix(int64(binary.BigEndian.Uint64(value[4:])), int64(binary.BigEndian.Uint32(value))).UTC()
	}
	s.failf("a time of %d bytes", len(value))
	return time.Time{}
}

// skip passes over one value, whatever it is, in constant space.
func (s *source) skip() {
	for values := 1; values > 0 && s.err == nil; values-- {
		switch b := s.byte(); {
		case b < fixMap || b >= negativeFixed: // a small number
		case b < fixArray:
			values += 2 * int(b&15)
		case b < fixString:
			values += int(b & 15)
		case b < nilValue:
			s.pass(int(b & 31))
		case b == nilValue, b == falseValue, b == trueValue:
		case b >= bin8 && b <= bin32:
			s.pass(int(s.number(1 << (b - bin8))))
		case b >= ext8 && b <= ext32:
			s.pass(int(s.number(1<<(b-ext8))) + 1)
		case b == float32Value, b == float64Value:
			s.pass(4 << (b - float32Value))
		case b >= uint8Value && b <= uint64Value:
			s.pass(1 << (b - uint8Value))
		case b >= int8Value && b <= int64Value:
			s.pass(1 << (b - int8Value))
		case b >= fixExt1 && b <= fixExt16:
			s.pass(1 + 1<<(b-fixExt1))
		case b >= string8 && b <= string32:
			s.pass(int(s.number(1 << (b - string8))))
		case b == array16, b == array32:
			values += int(s.number(2 << (b - array16)))
		case b == map16, b == map32:
			values += 2 * int(s.number(2<<(b-map16)))
		default:
			s.failf("%#x begins no value", b)
		}
	}
}

// pass takes n bytes that nobody wants.
func (s *source) pass(n int) {
	for n > 0 && s.err == nil {
		n -= len(s.take(min(n, len(s.buf))))
	}
}

// Read implements io.Reader. With the two below, the library's decoder reads no byte
// that is not the message's.
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.left == 0 || !s.await(1) {
		s.charge(1)
		return 0, s.err
	}
	n := copy(p, s.take(min(len(p), s.w-s.r, s.left)))
	return n, s.err
}

// ReadByte implements io.ByteScanner.
func (s *source) ReadByte() (byte, error) {
	b := s.byte()
	return b, s.err
}

// UnreadByte implements io.ByteScanner.
func (s *source) UnreadByte() error {
	if s.r == 0 {
		return errors.New("no byte was read")
	}
	s.r--
	s.left++
	return nil
}

// body is what follows a message and is no MessagePack: the next n bytes.
func (s *source) body(n int64) *io.LimitedReader {
	s.limit, s.left = 0, math.MaxInt
	return &io.LimitedReader{R: s, N: n}
}

// What follows writes values as the library does: in their shortest form, of those that
// MessagePack had before it told text from bytes.

func appendLength(b []byte, n int, fixed, most, b16, b32 byte) []byte {
	switch {
	case n <= int(most):
		return append(b, fixed|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, b16), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, b32), uint32(n))
	}
}

func appendBytesHead(b, value []byte) []byte {
	if value == nil {
		return append(b, nilValue)
	}
	return appendLength(b, len(value), fixString, 31, string16, string32)
}

func appendBytes(b, value []byte) []byte { return append(appendBytesHead(b, value), value...) }

func appendText(b []byte, text string) []byte {
	return append(appendLength(b, len(text), fixString, 31, string16, string32), text...)
}

func appendUint(b []byte, n uint64) []byte {
	switch {
	case n <= math.MaxInt8:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, uint8Value, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, uint8Value+1), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, uint8Value+2), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, uint64Value), n)
	}
}

func appendInt(b []byte, n int64) []byte {
	switch {
	case n >= -32 && n <= math.MaxInt8:
		return append(b, byte(n))
	case n == int64(int8(n)):
		return append(b, int8Value, byte(n))
	case n == int64(int16(n)):
		return binary.BigEndian.AppendUint16(append(b, int8Value+1), uint16(n))
	case n == int64(int32(n)):
		return binary.BigEndian.AppendUint32(append(b, int8Value+2), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, int64Value), uint64(n))
	}
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, trueValue)
	}
	return append(b, falseValue)
}

// appendTime writes what time.Time.MarshalBinary makes of a time.
func appendTime(b []byte, t time.Time) []byte {
	at := len(b)
	full, err := t.AppendBinary(append(b, 0))
	if err != nil { // an offset from UTC that it has no place for
		full, _ = t.UTC().AppendBinary(append(b[:at], 0))
	}
	full[at] = fixString | byte(len(full)-at-1)
	return full
}
