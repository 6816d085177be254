// Package flushes reads what libraftlab-flushes.so has counted: how often a program of
// whatever language has flushed files to its disk. It starts nothing and decides nothing.
//
// build.sh makes the library, preload/flushes.c is its source. A program that is started with
//
//	LD_PRELOAD=DIR/libraftlab-flushes.so RAFTLAB_FLUSHES=FILE
//
// counts into FILE, which is made if it is not there, and which [Read] can read at any time;
// without RAFTLAB_FLUSHES the library does nothing. Counts are added to those that FILE has,
// and children count into it too: it has the sum of all that were started with it, so take
// the difference of two readings, or a file for each start.
//
// A call counts once it has returned without an error, before its caller goes on. Calls on
// what is no regular file (folders, sockets, terminals) do not count, except that what a
// mapping maps is not looked at, and that sync and syncfs have no file.
//
// Seen are calls of libc's functions, also by way of its syscall function: C++, Rust's
// standard library, Java's FileChannel.force and RandomAccessFile come by there. Not seen are
// system calls that a program makes itself (Go always, the crate rustix by default,
// io_uring), files written with O_SYNC inside of libc (stdio) or by a descriptor that was
// open before the program began, programs linked statically, and those that clear their
// environment. What is not seen is missing: a program is never said to flush more often than
// it asked for.
package flushes

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// fileBytes is the size of a file of counters: uint64, little-endian, in the order of
// [Counts]; the rest is 0.
const fileBytes = 4096

// Counts says how often each kind of flush was done.
type Counts struct {
	Fsync         uint64 // also sync and syncfs
	Fdatasync     uint64
	Msync         uint64 // with MS_SYNC
	SyncFileRange uint64
	SyncWrites    uint64 // writes to files opened with O_SYNC or O_DSYNC, or with RWF_SYNC or RWF_DSYNC
	Failed        uint64 // calls of any of these kinds that returned an error
}

// Durable is the number of flushes after which what was written survives a loss of power.
// sync_file_range is none of them: it flushes neither the file's size nor the disk's cache
// (its manual page, "Warning").
func (c Counts) Durable() uint64 { return c.Fsync + c.Fdatasync + c.Msync + c.SyncWrites }

// Since returns what was counted after an earlier reading of the same file.
func (c Counts) Since(earlier Counts) Counts {
	return Counts{
		Fsync:         c.Fsync - earlier.Fsync,
		Fdatasync:     c.Fdatasync - earlier.Fdatasync,
		Msync:         c.Msync - earlier.Msync,
		SyncFileRange: c.SyncFileRange - earlier.SyncFileRange,
		SyncWrites:    c.SyncWrites - earlier.SyncWrites,
		Failed:        c.Failed - earlier.Failed,
	}
}

// Read reads what was counted into file so far. An error that is os.ErrNotExist says that no
// program has begun to count: the library was not loaded, or not found.
func Read(file string) (Counts, error) {
	f, err := os.Open(file)
	if err != nil {
		return Counts{}, fmt.Errorf("read counters of flushes: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	var page [fileBytes]byte
	if n, err := io.ReadFull(f, page[:]); err != nil {
		return Counts{}, fmt.Errorf("read counters of flushes: %s has %d bytes, not %d: it is no file of counters (%w)", file, n, fileBytes, err)
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(page[8*i:]) }
	return Counts{
		Fsync: at(0), Fdatasync: at(1), Msync: at(2), SyncFileRange: at(3), SyncWrites: at(4), Failed: at(5),
	}, nil
}
