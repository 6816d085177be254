package storedir

import (
	"encoding/binary"
	"time"

	"github.com/hashicorp/raft"
)

// An entry is stored as term, type, time (seconds and nanoseconds), the length of the
// extensions, the extensions, the data; big endian. Its index is kept apart.
const fixedBytes = 8 + 1 + 8 + 4 + 4

// EntryBytes is how long an entry is as AppendEntry writes it.
func EntryBytes(e *raft.Log) int { return fixedBytes + len(e.Extensions) + len(e.Data) }

// AppendEntry writes an entry, but for its index, behind b.
func AppendEntry(b []byte, e *raft.Log) []byte {
	b = binary.BigEndian.AppendUint64(b, e.Term)
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(e.AppendedAt.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.AppendedAt.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Extensions)))
	b = append(b, e.Extensions...)
	return append(b, e.Data...)
}

// DecodeEntry fills out, but for its index, from what AppendEntry has written. It keeps b.
// The error is a core.ErrDamaged.
func DecodeEntry(b []byte, out *raft.Log) error {
	if len(b) < fixedBytes || uint64(binary.BigEndian.Uint32(b[fixedBytes-4:])) > uint64(len(b)-fixedBytes) {
		return Damaged("an entry of %d bytes is none", len(b))
	}
	out.Term, out.Type = binary.BigEndian.Uint64(b), raft.LogType(b[8])
	out.AppendedAt = time.Unix(int64(binary.BigEndian.Uint64(b[9:])), int64(binary.BigEndian.Uint32(b[17:]))).UTC()
	out.Extensions, out.Data = nil, nil
	end := fixedBytes + int(binary.BigEndian.Uint32(b[fixedBytes-4:]))
	if end > fixedBytes {
		out.Extensions = b[fixedBytes:end:end]
	}
	if end < len(b) {
		out.Data = b[end:]
	}
	return nil
}
