package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// maxCommand bounds a command of an entry: a batch may be of large values.
const maxCommand = 128 << 20

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{core.ErrDamaged}, args...)...)
}

// damagedIf makes of what the map's own reader finds damaged a core.ErrDamaged.
func damagedIf(err error) error {
	if errors.Is(err, kv.ErrSnapshot) && !errors.Is(err, core.ErrDamaged) {
		return fmt.Errorf("%w: %w", core.ErrDamaged, err)
	}
	return err
}

// reader takes a backup apart without trusting any length in it. After an error all it
// returns is zero.
type reader struct {
	from *bufio.Reader
	sum  hash.Hash // of what was taken
	n    int64
	err  error
}

func newReader(from io.Reader) *reader {
	return &reader{from: bufio.NewReaderSize(from, maxHeader+1), sum: sha256.New()}
}

// failed keeps the first error; an end where there is to be more is damage.
func (r *reader) failed(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = damaged("cut off after %d bytes", r.n)
	}
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) took(b []byte) {
	r.sum.Write(b)
	r.n += int64(len(b))
}

// take reads n bytes, and makes room for them as they come.
func (r *reader) take(n int) []byte {
	b := make([]byte, 0, min(n, maxBlock))
	for len(b) < n && r.err == nil {
		part := make([]byte, min(n-len(b), maxBlock))
		got, err := io.ReadFull(r.from, part)
		r.took(part[:got])
		if err != nil {
			r.failed(err)
			return make([]byte, min(n, sha256.Size))
		}
		b = append(b, part...)
	}
	if r.err != nil {
		return make([]byte, min(n, sha256.Size))
	}
	return b
}

func (r *reader) number() uint64 {
	if r.err != nil {
		return 0
	}
	b, err := r.from.Peek(binary.MaxVarintLen64)
	n, length := binary.Uvarint(b)
	switch {
	case length > 0:
		r.took(b[:length])
		_, _ = r.from.Discard(length) // which is buffered
		return n
	case length == 0 && err != nil:
		r.failed(err)
	default:
		r.failed(damaged("a number of more than 64 bits after %d bytes", r.n))
	}
	return 0
}

// more says whether anything follows.
func (r *reader) more() bool {
	_, err := r.from.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed(err)
	}
	return err == nil && r.err == nil
}

func (r *reader) atEnd() error {
	if r.more() {
		return damaged("more follows after its end")
	}
	return r.err
}

// line reads up to the end of a line, which it leaves out.
func (r *reader) line() []byte {
	b, err := r.from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = damaged("its header is longer than %d bytes", maxHeader)
	}
	if err != nil {
		r.failed(err)
		return nil
	}
	r.took(b)
	return bytes.Clone(b[:len(b)-1])
}

// header reads what comes before the map.
func (r *reader) header() (s Summary, err error) {
	begins, err := r.from.Peek(len(magic))
	if err != nil && !errors.Is(err, io.EOF) {
		return s, err
	}
	if string(begins) != magic {
		if len(begins) > 0 && strings.HasPrefix(magic, string(begins)) {
			return s, damaged("cut off after %d bytes", len(begins))
		}
		return s, foreign(begins)
	}
	number := strings.TrimPrefix(string(r.line()), magic)
	if r.err != nil {
		return s, r.err
	}
	switch v, err := strconv.ParseUint(number, 10, 32); {
	case err != nil:
		return s, damaged("its version is %.20q", number)
	case v > version:
		return s, refused(fmt.Sprintf("the backup has version %d, and this program reads %d: use a newer one", v, version))
	case number != strconv.Itoa(version):
		return s, damaged("its version is %.20q", number)
	}
	line := r.line()
	if r.err != nil {
		return s, r.err
	}
	if err := json.Unmarshal(line, &s.Header); err != nil {
		return s, damaged("its header: %v", err)
	}
	return s, nil
}

// blockReader reads the bytes of blocks, up to the empty one.
type blockReader struct {
	*reader
	left  int
	ended bool
}

// Read implements io.Reader.
func (b *blockReader) Read(to []byte) (int, error) {
	if b.left == 0 && !b.ended {
		length := b.number()
		if length > maxBlock {
			b.failed(damaged("a block of %d bytes after %d bytes: at most %d are allowed", length, b.n, maxBlock))
		}
		b.left, b.ended = int(length), length == 0
	}
	switch {
	case b.err != nil:
		return 0, b.err
	case b.ended:
		return 0, io.EOF
	}
	n, err := b.from.Read(to[:min(len(to), b.left)])
	b.took(to[:n])
	b.left -= n
	if err != nil {
		b.failed(err)
		return n, b.err
	}
	return n, nil
}
