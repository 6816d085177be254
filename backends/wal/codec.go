package wal

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"

	"github.com/themilchenko/raftlab/backends/storedir"
)

// codecID names the codec in segments. A change of what it writes is a new one.
const codecID = raftwal.FirstExternalCodecID + 0x726c_0001

// codec encodes an entry as index, term, type, time (seconds and nanoseconds), the length
// of the extensions, the extensions, the data; big endian. The library's own makes five
// allocations more of each entry.
type codec struct {
	buffer []byte // of Encode, which the library calls with its lock of writes held
}

var _ raftwal.Codec = (*codec)(nil)

const (
	fixedBytes     = 8 + 8 + 1 + 8 + 4 + 4
	maxBufferBytes = 1 << 20 // that is kept
)

// ID implements raftwal.Codec.
func (*codec) ID() uint64 { return codecID }

// Encode implements raftwal.Codec.
func (c *codec) Encode(e *raft.Log, w io.Writer) error {
	b := binary.BigEndian.AppendUint64(c.buffer[:0], e.Index)
	b = binary.BigEndian.AppendUint64(b, e.Term)
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(e.AppendedAt.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.AppendedAt.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Extensions)))
	b = append(b, e.Extensions...)
	b = append(b, e.Data...)
	if c.buffer = b; cap(b) > maxBufferBytes {
		c.buffer = nil
	}
	_, err := w.Write(b)
	return err
}

// Decode implements raftwal.Codec. It copies what it keeps of b.
func (*codec) Decode(b []byte, out *raft.Log) error {
	if len(b) < fixedBytes || uint64(binary.BigEndian.Uint32(b[fixedBytes-4:])) > uint64(len(b)-fixedBytes) {
		return storedir.Damaged("an entry of %d bytes is none", len(b))
	}
	out.Index, out.Term, out.Type = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), raft.LogType(b[16])
	out.AppendedAt = time.Unix(int64(binary.BigEndian.Uint64(b[17:])), int64(binary.BigEndian.Uint32(b[25:]))).UTC()
	out.Extensions, out.Data = nil, nil
	extensions := binary.BigEndian.Uint32(b[fixedBytes-4:])
	body := append([]byte(nil), b[fixedBytes:]...)
	if extensions > 0 {
		out.Extensions = body[:extensions:extensions]
	}
	if int(extensions) < len(body) {
		out.Data = body[extensions:]
	}
	return nil
}

// coded is info with the codec's ID: the library gives new segments that of its own, and
// would refuse them when they are opened again.
func coded(info types.SegmentInfo) types.SegmentInfo {
	info.Codec = codecID
	return info
}
