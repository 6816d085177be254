package checked

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/hashicorp/raft"
)

// A seal is a CRC-32C, big endian, and a mark that tells a sealed value from one
// that was written without: eight bytes at the end.
const (
	mark     = "rlC1"
	sealSize = crc32.Size + len(mark)
)

func appendSeal(to []byte, sum uint32) []byte {
	return append(binary.BigEndian.AppendUint32(to, sum), mark...)
}

// cutSeal returns what is before the seal, and its checksum; ok is false where
// there is none.
func cutSeal(b []byte) (body []byte, sum uint32, ok bool) {
	end := len(b) - sealSize
	if end < 0 || string(b[len(b)-len(mark):]) != mark {
		return b, 0, false
	}
	return b[:end:end], binary.BigEndian.Uint32(b[end:]), true
}

// entrySum is the checksum of an entry whose extensions are ext.
func entrySum(e *raft.Log, ext []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var head [45]byte
	b := binary.BigEndian.AppendUint64(head[:0], e.Index)
	b = binary.BigEndian.AppendUint64(b, e.Term)
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(e.AppendedAt.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.AppendedAt.Nanosecond()))
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Data)))
	sum := crc32.Update(0, table, b)
	sum = crc32.Update(sum, table, e.Data)
	return crc32.Update(sum, table, ext)
}

// valueSum is the checksum of a stable value: a value that has come under another
// key is damage too.
func valueSum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	sum = crc32.Update(sum, table, key)
	return crc32.Update(sum, table, value)
}

// since is what the store says of itself: from which index on every entry is
// sealed, and which stable values are.
type since struct {
	index uint64
	keys  []string
}

func (s since) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.index)
	for _, k := range s.keys {
		b = binary.AppendUvarint(b, uint64(len(k)))
		b = append(b, k...)
	}
	return b
}

func decodeSince(b []byte) (s since, ok bool) {
	if len(b) < 8 {
		return s, false
	}
	s.index, b = binary.BigEndian.Uint64(b), b[8:]
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > math.MaxInt32 || uint64(len(b)-n) < size {
			return s, false
		}
		s.keys, b = append(s.keys, string(b[n:n+int(size)])), b[n+int(size):]
	}
	return s, true
}
