// Package backup is the file that clusterctl backup writes and clusterctl restore reads:
// the map of a group at one entry of its log, with checksums over all of it. docs/backup.md
// defines it. It is streamed both ways; what is held in memory does not grow with the file.
//
// It opens no file and asks no node.
package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/ctxio"
	"github.com/themilchenko/raftlab/kv"
)

// A backup is, in this order:
//
//	"raftlab-backup " version "\n"
//	Header as JSON, one line
//	blocks: the map, as kv.Image writes it
//	blocks: { index term command }, the entries never known to be committed
//	content: 32 bytes, kv.Image.Content
//	SHA-256 of all of the above: 32 bytes
//
// where index and term are uvarints, command is a uvarint length and so many bytes, and
// blocks is { length bytes } 0, with a length of 1 to maxBlock.
const (
	magic     = "raftlab-backup "
	version   = 1
	maxHeader = 64 << 10
	maxBlock  = 256 << 10
)

// Header says what a backup is of.
type Header struct {
	Group string `json:"group,omitempty"` // empty: not known
	Index uint64 `json:"index"`           // of the last entry that the map has applied
	// Term is at least that of the entry Index; 0: not known.
	Term    uint64    `json:"term,omitempty"`
	Node    string    `json:"node"` // that it was taken from
	Engine  string    `json:"engine,omitempty"`
	Version string    `json:"version"` // of the program that wrote it
	Time    time.Time `json:"time"`
	Keys    uint64    `json:"keys"`
}

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// String returns it in hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Summary is what a whole backup has turned out to be.
type Summary struct {
	Header
	Content Digest // equal for equal keys and values, see [kv.Image.Content]
	Bytes   int64  // of the file
	// Doubtful counts the entries after Index that were never known to be committed;
	// only a dump has some. First and Last are their indexes.
	Doubtful    int
	First, Last uint64
}

// Apart says what a restore leaves out; empty: nothing.
func (s Summary) Apart() string {
	switch s.Doubtful {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("1 entry, %d, never known to be committed", s.First)
	}
	return fmt.Sprintf("%d entries, %d to %d, never known to be committed", s.Doubtful, s.First, s.Last)
}

// Write writes a backup of the map. Index, Keys and Time of the header follow from the map
// and the clock; doubtful are entries after it that were never known to be committed, nil
// where there are none.
func Write(to io.Writer, h Header, of *kv.Image, doubtful iter.Seq2[core.Remnant, error]) (Summary, error) {
	h.Index, h.Keys, h.Time = of.Index(), uint64(of.Keys()), time.Now().UTC()
	s := Summary{Header: h}
	w := &writer{to: to, sum: sha256.New()}
	head, err := json.Marshal(h)
	if err != nil {
		return s, fmt.Errorf("write backup: %w", err)
	}
	fmt.Fprintf(w, "%s%d\n%s\n", magic, version, head)
	if w.err == nil {
		_, w.err = of.WriteTo(blocks{w})
	}
	w.number(0)
	if w.err == nil && doubtful != nil {
		w.err = s.writeDoubtful(blocks{w}, doubtful)
	}
	w.number(0)
	s.Content = of.Content()
	_, _ = w.Write(s.Content[:])
	_, _ = w.Write(w.sum.Sum(nil)) // the sum that is written is taken before
	if s.Bytes = w.n; w.err != nil {
		return s, fmt.Errorf("write backup: %w", w.err)
	}
	return s, nil
}

// writeDoubtful writes what of the entries is for the map.
func (s *Summary) writeDoubtful(to io.Writer, entries iter.Seq2[core.Remnant, error]) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		if e.Command == nil {
			continue
		}
		s.count(e)
		b := binary.AppendUvarint(nil, e.Index)
		b = binary.AppendUvarint(b, e.Term)
		b = binary.AppendUvarint(b, uint64(len(e.Command)))
		if _, err := to.Write(append(b, e.Command...)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Summary) count(e core.Remnant) {
	if s.Doubtful++; s.Doubtful == 1 {
		s.First = e.Index
	}
	s.Last = e.Index
}

// writer counts and sums. After an error it does nothing more.
type writer struct {
	to  io.Writer
	sum hash.Hash
	n   int64
	err error
}

// Write implements io.Writer.
func (w *writer) Write(b []byte) (n int, err error) {
	if w.err == nil {
		n, w.err = w.to.Write(b)
		w.sum.Write(b[:n])
		w.n += int64(n)
	}
	return n, w.err
}

func (w *writer) number(n uint64) { _, _ = w.Write(binary.AppendUvarint(nil, n)) }

// blocks writes what it is given with lengths before it.
type blocks struct{ *writer }

// Write implements io.Writer.
func (b blocks) Write(data []byte) (int, error) {
	written := 0
	for part := data; len(part) > 0 && b.err == nil; part = data[written:] {
		part = part[:min(len(part), maxBlock)]
		b.number(uint64(len(part)))
		n, _ := b.writer.Write(part)
		written += n
	}
	return written, b.err
}

// Read reads a backup to its end and gives each its pairs, in order of the keys, and
// doubtful the entries that were never known to be committed; either may be nil. They come
// as they are read: that they are whole and undamaged is known only once Read has returned
// nil. What is damaged is a core.ErrDamaged, and what is something else, or of a newer
// version, a core.ErrInvalid. An error of each is returned as it is.
func Read(from io.Reader, each func(kv.Pair) error, doubtful func(core.Remnant) error) (Summary, error) {
	var stopped error
	s, err := read(from, doubtful, func(body io.Reader) (kv.ImageInfo, error) {
		return kv.ScanImage(body, func(p kv.Pair) error {
			if each != nil {
				stopped = each(p)
			}
			return stopped
		})
	})
	if stopped != nil {
		return s, stopped
	}
	return s, err
}

// Checked is a backup that was read to its end and found whole.
type Checked struct {
	Summary
	from io.ReadSeeker
}

// Check reads a backup to its end. Its errors are those of [Read], and the cause of ctx.
func Check(ctx context.Context, from io.ReadSeeker) (*Checked, error) {
	s, err := Read(ctxio.Reader(ctx, from), nil, nil)
	return &Checked{s, from}, err
}

// WriteTo implements io.WriterTo: it writes the map as kv.Image does, reading the backup
// once more, from its beginning. One that has changed meanwhile is a core.ErrDamaged.
func (c *Checked) WriteTo(to io.Writer) (n int64, err error) {
	if _, err := c.from.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read backup once more: %w", err)
	}
	again, err := read(c.from, nil, func(body io.Reader) (kv.ImageInfo, error) {
		return kv.ScanImage(io.TeeReader(body, &counted{to, &n}), func(kv.Pair) error { return nil })
	})
	if err == nil && again != c.Summary {
		err = damaged("it was another one a moment ago")
	}
	return n, err
}

// counted counts what it writes.
type counted struct {
	to io.Writer
	n  *int64
}

// Write implements io.Writer.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	*c.n += int64(n)
	return n, err
}

// read reads a backup, whose map scan reads.
func read(from io.Reader, doubtful func(core.Remnant) error, scan func(io.Reader) (kv.ImageInfo, error)) (Summary, error) {
	r := newReader(from)
	s, err := r.header()
	if err != nil {
		return s, fmt.Errorf("read backup: %w", err)
	}
	info, err := scan(&blockReader{reader: r})
	if err == nil {
		err = r.check(&s, info, doubtful)
	}
	if r.err != nil { // the reason for what scan says
		err = r.err
	}
	if err != nil {
		return s, fmt.Errorf("read backup: %w", damagedIf(err))
	}
	return s, nil
}

// check reads what follows the map, and compares.
func (r *reader) check(s *Summary, info kv.ImageInfo, doubtful func(core.Remnant) error) error {
	if info.Index != s.Index || info.Keys != s.Keys {
		return damaged("the header says %d keys at index %d, and there are %d at index %d", s.Keys, s.Index, info.Keys, info.Index)
	}
	if err := r.doubtful(s, doubtful); err != nil {
		return err
	}
	s.Content = Digest(r.take(sha256.Size))
	want := Digest(r.sum.Sum(nil))
	got := Digest(r.take(sha256.Size))
	switch {
	case r.err != nil:
		return r.err
	case s.Content != info.Content:
		return damaged("the digest of its keys and values is %s, and it says %s", Digest(info.Content), s.Content)
	case got != want:
		return damaged("its SHA-256 is %s, and it says %s", want, got)
	}
	s.Bytes = r.n
	return r.atEnd()
}

// doubtful reads the entries that were never known to be committed.
func (r *reader) doubtful(s *Summary, each func(core.Remnant) error) error {
	b := newReader(&blockReader{reader: r})
	for last := s.Index; b.more(); {
		e := core.Remnant{Index: b.number(), Term: b.number()}
		length := b.number()
		if length > maxCommand {
			return damaged("a command of %d bytes: at most %d are allowed", length, maxCommand)
		}
		e.Command = b.take(int(length))
		switch {
		case b.err != nil:
			return b.err
		case e.Index <= last:
			return damaged("entry %d after entry %d", e.Index, last)
		}
		last = e.Index
		s.count(e)
		if each == nil {
			continue
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return b.err
}

// foreign says what a file is that is no backup, by its first bytes.
func foreign(begins []byte) error {
	what := fmt.Sprintf("it begins with %.20q", begins)
	if len(begins) == 0 {
		what = "it is empty"
	}
	for _, known := range []struct{ begins, what string }{
		{"raftlab-kv", "it is a snapshot as engines keep them: give the node's folder to 'kvnode dump'"},
		{"{", "it is JSON"},
		{"\x1f\x8b", "it is compressed with gzip: unpack it first"},
		{"(\xb5/\xfd", "it is compressed with zstd: unpack it first"},
		{"PK", "it is a zip file: unpack it first"},
	} {
		if bytes.HasPrefix(begins, []byte(known.begins)) {
			what = known.what
		}
	}
	return refused("this is no backup of raftlab: " + what)
}

// refused is a core.ErrInvalid, in whose text that is not said once more.
type refused string

// Error implements error.
func (r refused) Error() string { return string(r) }

// Is implements what errors.Is looks for.
func (r refused) Is(target error) bool { return target == core.ErrInvalid }
