package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"

	"github.com/themilchenko/raftlab/core"
)

// Of BoltDB's format: two meta pages begin the file, and transactions write them in
// turn. Each has a header of 16 bytes, and then what meta says, in the order of the
// machine's bytes.
const (
	metaMagic      = 0xED0CDAED
	pageHeaderSize = 16
	metaSize       = 64 // the checksum included
)

// meta is what a meta page says of the file.
type meta struct {
	pageBytes uint32
	pages     uint64 // in use; the file may be longer
}

// checkFile looks whether the file at path is whole, before BoltDB maps it: a page
// behind the end of a mapped file is a fault that the process dies of. BoltDB goes by
// the older meta page where the newer one is spoilt, and so forgets the last write,
// which may have been acknowledged; here that is damage. A file that is missing or
// empty is a new one.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	first, err := readMeta(f, 0)
	if err != nil {
		return err
	}
	second, err := readMeta(f, int64(first.pageBytes))
	if err != nil {
		return err
	}
	if want := max(first.pages, second.pages) * uint64(first.pageBytes); uint64(info.Size()) < want {
		return fmt.Errorf("%w: it has %d bytes of %d", core.ErrDamaged, info.Size(), want)
	}
	return nil
}

func readMeta(f *os.File, at int64) (meta, error) {
	page := make([]byte, pageHeaderSize+metaSize)
	if _, err := f.ReadAt(page, at); err == io.EOF {
		return meta{}, fmt.Errorf("%w: it ends in its meta pages", core.ErrDamaged)
	} else if err != nil {
		return meta{}, err
	}
	b, order := page[pageHeaderSize:], binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if order.Uint32(b) != metaMagic || order.Uint64(b[metaSize-8:]) != sum.Sum64() {
		return meta{}, fmt.Errorf("%w: the meta page at byte %d is no page of BoltDB, or its checksum does not match", core.ErrDamaged, at)
	}
	m := meta{pageBytes: order.Uint32(b[8:]), pages: order.Uint64(b[40:])}
	return m, nil
}
