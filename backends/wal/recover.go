package wal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/themilchenko/raftlab/backends/storedir"
)

// A segment, as the library writes it (segment/format.go there), in little endian: a
// header, and frames of eight bytes and a payload padded to eight. A commit frame ends
// each append, with a CRC-32C of all since the one before, in the first also of the
// header. The last append of a full segment has an index frame: where each entry begins.
const (
	headerBytes = 32
	frameBytes  = 8

	frameEntry, frameIndex, frameCommit = 1, 2, 3
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// contents is what a segment holds up to the end of the last append that is whole.
type contents struct {
	end     int64
	last    int64    // where that append begins
	entries []uint32 // where each begins
	index   int64    // where the payload of the index begins; 0: the segment is not full
}

// scan reads a segment from the byte at on, where an append begins, to the first byte that
// is none of a whole append. lost says that a whole one follows: one is only begun once
// the ones before are on the disk, so what is between them is damage and no torn write.
func scan(f io.ReaderAt, at, size int64) (c contents, lost bool, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, at, size-at), 1<<18)
	sum := crc32.New(castagnoli())
	c.end, c.last = at, at
	now, torn, begun := contents{end: at}, false, false // begun: there are frames behind the last commit
	var b [headerBytes]byte
	if at == 0 {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return c, false, unlessEnd(err)
		}
		sum.Write(b[:])
		now.end = headerBytes
	}
	for {
		frame := b[:frameBytes]
		if _, err := io.ReadFull(r, frame); err != nil {
			return c, false, unlessEnd(err)
		}
		value := binary.LittleEndian.Uint32(frame[4:])
		begin := now.end
		now.end += frameBytes
		switch kind := binary.LittleEndian.Uint32(frame); {
		case kind == frameCommit && !begun: // it commits nothing: an index of 3 in an entry, say
			return c, false, nil
		case kind == frameCommit && value == sum.Sum32():
			if torn {
				return c, true, nil
			}
			now.last = c.end
			c, begun = now, false
			sum.Reset()
		case kind == frameCommit:
			torn, begun = true, false
			sum.Reset()
		case kind == frameEntry, kind == frameIndex:
			begun = true
			payload := (int64(value) + frameBytes - 1) &^ (frameBytes - 1)
			if payload > size-now.end {
				return c, false, nil
			}
			if kind == frameEntry {
				now.entries = append(now.entries, uint32(begin))
			} else {
				now.index = now.end
			}
			sum.Write(frame)
			if _, err := io.CopyN(sum, r, payload); err != nil {
				return c, false, unlessEnd(err)
			}
			now.end += payload
		default:
			return c, false, nil
		}
	}
}

func unlessEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// inspect scans a segment and looks at what is behind: up to where any of it is not zero
// (torn; c.end: nowhere), and whether a whole append is among it, which is damage.
func inspect(f file, info types.SegmentInfo) (c contents, torn int64, err error) {
	size, err := f.Size()
	if err != nil {
		return c, 0, err
	}
	if size < int64(info.SizeLimit) {
		return c, 0, storedir.Damaged("it ends at byte %d, and was made with %d", size, info.SizeLimit)
	}
	c, lost, err := scan(f, 0, size)
	if err != nil {
		return c, 0, err
	}
	torn = c.end
	block := make([]byte, 1<<18)
	for at := c.end; at < size && !lost; {
		b := block[:min(int64(len(block)), size-at)]
		if err := readFull(f, b, at); err != nil {
			return c, 0, err
		}
		for i := 0; !allZero(b[i:]) && i+frameBytes <= len(b) && !lost; i += frameBytes {
			if next := at + int64(i) + frameBytes; binary.LittleEndian.Uint32(b[i:]) == frameCommit {
				var after contents
				if after, lost, err = scan(f, next, size); err != nil {
					return c, 0, err
				}
				lost = lost || after.end > next
			}
		}
		if !allZero(b) {
			torn = at + int64(len(b))
		}
		at += int64(len(b))
	}
	if lost {
		return c, 0, storedir.Damaged("what is at byte %d is not what was written there, and more was written behind it", c.end)
	}
	return c, torn, nil
}

// rewrite writes the last whole append of a segment once more, and zeros over what is torn
// behind it. After a flush that has failed the system may show an append that is not on
// the disk, and would flush it no more: only what is written is flushed. Every append
// before it has been flushed, or the last one would not have been begun.
func rewrite(f file, c contents, torn int64) error {
	block := make([]byte, 1<<18)
	for at := c.last; at < torn; {
		b := block[:min(int64(len(block)), torn-at)]
		clear(b)
		if kept := c.end - at; kept > 0 {
			if err := readFull(f, b[:min(kept, int64(len(b)))], at); err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// recoverTail makes the last segment, at i of the log, what was whole of it, and flushes
// that. m.mu is held.
func (m *meta) recoverTail(i int) (err error) {
	info := m.note.Log.Segments[i]
	f, err := m.openSegment(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, torn, err := inspect(f, info)
	if err != nil {
		return err
	}
	if m.note.TailID == info.ID && c.end < m.note.TailEnd {
		return storedir.Damaged("it was whole up to byte %d, and now is up to %d", m.note.TailEnd, c.end)
	}
	if err := rewrite(f, c, torn); err != nil {
		return m.folder.fail(err)
	}
	if err := m.folder.sync(f); err != nil {
		return err
	}
	m.note.TailID, m.note.TailEnd = info.ID, c.end
	if c.index == 0 {
		return nil
	}
	m.seal(i, info.BaseIndex+uint64(len(c.entries))-1, c.index)
	next := m.note.Log.Segments[len(m.note.Log.Segments)-1]
	return m.folder.prepare(next)
}

// recoverSealed gives a segment that was cut by DeleteRange, at i of the log, the index
// that it lacks, so that it can be read.
func (m *meta) recoverSealed(i int) (err error) {
	info := &m.note.Log.Segments[i]
	f, err := m.openSegment(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info.IndexStart != 0 {
		return nil
	}
	c, _, err := inspect(f, *info)
	if err != nil {
		return err
	}
	if have := info.BaseIndex + uint64(len(c.entries)); have <= info.MaxIndex {
		return storedir.Damaged("it has entries up to %d of %d", have-1, info.MaxIndex)
	}
	index := c.index
	if index == 0 {
		index = c.end + frameBytes
		b := binary.LittleEndian.AppendUint32([]byte{frameIndex, 0, 0, 0}, uint32(4*len(c.entries)))
		for _, at := range c.entries {
			b = binary.LittleEndian.AppendUint32(b, at)
		}
		if _, err := f.WriteAt(b, c.end); err != nil {
			return m.folder.fail(err)
		}
		if err := m.folder.sync(f); err != nil {
			return err
		}
	}
	info.IndexStart = uint64(index)
	return nil
}

// openSegment opens the file of the segment at i of the log. All that are noted have one.
func (m *meta) openSegment(i int) (file, error) {
	f, err := m.folder.disk.Open(m.folder.path(segment.FileName(m.note.Log.Segments[i])), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, storedir.Damaged("it is gone")
	}
	return f, err
}

func readFull(f io.ReaderAt, b []byte, at int64) error {
	if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
		return err
	} else if err == io.EOF {
		if n, _ := f.ReadAt(b, at); n < len(b) {
			return storedir.Damaged("it ends before byte %d", at+int64(len(b)))
		}
	}
	return nil
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
