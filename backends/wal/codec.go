package wal

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"

	"github.com/themilchenko/raftlab/backends/storedir"
)

// codecID names the codec in segments. A change of what it writes is a new one.
const codecID = raftwal.FirstExternalCodecID + 0x726c_0001

// codec encodes an entry as its index, big endian, and what storedir.AppendEntry makes of
// the rest. The library's own makes five allocations more of each entry.
type codec struct {
	buffer []byte // of Encode, which the library calls with its lock of writes held
}

var _ raftwal.Codec = (*codec)(nil)

const (
	indexBytes     = 8
	maxBufferBytes = 1 << 20 // that is kept
)

// ID implements raftwal.Codec.
func (*codec) ID() uint64 { return codecID }

// Encode implements raftwal.Codec.
func (c *codec) Encode(e *raft.Log, w io.Writer) error {
	b := storedir.AppendEntry(binary.BigEndian.AppendUint64(c.buffer[:0], e.Index), e)
	if c.buffer = b; cap(b) > maxBufferBytes {
		c.buffer = nil
	}
	_, err := w.Write(b)
	return err
}

// Decode implements raftwal.Codec. It copies what it keeps of b.
func (*codec) Decode(b []byte, out *raft.Log) error {
	if len(b) < indexBytes {
		return storedir.Damaged("an entry of %d bytes is none", len(b))
	}
	out.Index = binary.BigEndian.Uint64(b)
	return storedir.DecodeEntry(bytes.Clone(b[indexBytes:]), out)
}

// coded is info with the codec's ID: the library gives new segments that of its own, and
// would refuse them when they are opened again.
func coded(info types.SegmentInfo) types.SegmentInfo {
	info.Codec = codecID
	return info
}
