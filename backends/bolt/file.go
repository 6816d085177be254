package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"os"

	"github.com/themilchenko/raftlab/backends/storedir"
)

// Of BoltDB's format (version 2, the order of the machine's bytes): pages with a
// header of 16 bytes, of which further ones may continue it. The first two describe
// the file and transactions write them in turn. Below hangs a tree, the records of
// which are the trees that raft-boltdb makes.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	headerSize  = 16
	elementSize = 16
	metaSize    = 64 // the checksum at its end included
	treeSize    = 16 // the record of a tree: its root and a counter

	pageBranch, pageLeaf, pageFree = 1, 2, 16   // flags of a page
	recordTree                     = 1          // flag of a record
	noPage                         = ^uint64(0) // the list of free pages, where none is kept
	maxDepth                       = 64         // that a tree is never near to

	// raft-boltdb's trees: entries by their index, and stable values. It would make
	// anew what has another name.
	logsTree, stableTree = "logs", "conf"
	logsKeySize          = 8
)

// meta is what a meta page says of the file.
type meta struct {
	pageBytes                      uint64
	root, free, pages, transaction uint64
}

// checkFile looks whether the file at path is whole: its meta pages, and every page
// and record that its trees lead to, which is read once. BoltDB maps the file and
// believes what it finds: keys that are out of order hide others, and where the newer
// meta page is spoilt it goes by the older one and so forgets the last write, which
// may have been acknowledged. Here both are damage. Values are not looked into. A file that is missing or empty is a new one.
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
	m, err := readMeta(f, 0)
	if err != nil {
		return err
	}
	second, err := readMeta(f, m.pageBytes)
	if err != nil {
		return err
	}
	if second.transaction > m.transaction {
		m = second
	}
	if want := m.pages * m.pageBytes; uint64(info.Size()) < want {
		return storedir.Damaged("it has %d bytes of %d", info.Size(), want)
	}
	c := &checker{file: f, pageBytes: m.pageBytes, used: make([]bool, m.pages)}
	if err := c.tree(m.root, 0); err != nil {
		return err
	}
	return c.freed(m.free)
}

func readMeta(f *os.File, at uint64) (meta, error) {
	page := make([]byte, headerSize+metaSize)
	if err := storedir.ReadAt(f, page, at); err != nil {
		return meta{}, err
	}
	b, order := page[headerSize:], binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[metaSize-8:]) != sum.Sum64() {
		return meta{}, storedir.Damaged("the meta page at byte %d is none of BoltDB, or its checksum does not match", at)
	}
	return meta{
		pageBytes: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), free: order.Uint64(b[32:]),
		pages: order.Uint64(b[40:]), transaction: order.Uint64(b[48:]),
	}, nil
}

// checker walks the trees of a file.
type checker struct {
	file      *os.File
	pageBytes uint64
	used      []bool // by page: in a tree, or free
}

// tree walks a tree, and those that are records of it. Its keys have keySize bytes;
// 0: any number.
func (c *checker) tree(root uint64, keySize int) error {
	return c.page(root, maxDepth, keySize, nil, nil)
}

// page checks a page and all below it. Its keys are at least low and below high; nil
// is no bound.
func (c *checker) page(number uint64, depth, keySize int, low, high []byte) error {
	b, err := c.read(number)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	flags := order.Uint16(b[8:])
	if flags != pageLeaf && flags != pageBranch || depth == 0 {
		return storedir.Damaged("page %d is of another kind", number)
	}
	elements, ok := elementsOf(b, flags == pageLeaf)
	if !ok {
		return storedir.Damaged("page %d has a record that is not in it", number)
	}
	for i, e := range elements {
		if low != nil && bytes.Compare(e.key, low) < 0 || high != nil && bytes.Compare(e.key, high) >= 0 ||
			i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0 {
			return storedir.Damaged("page %d has keys out of order", number)
		}
		if keySize > 0 && len(e.key) != keySize {
			return storedir.Damaged("page %d has a key of %d bytes", number, len(e.key))
		}
	}
	if flags == pageLeaf {
		return c.records(elements)
	}
	if len(elements) == 0 {
		return storedir.Damaged("page %d has no children", number)
	}
	for i, e := range elements {
		end := high
		if i+1 < len(elements) {
			end = elements[i+1].key
		}
		if err := c.page(e.child, depth-1, keySize, e.key, end); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) records(elements []element) error {
	for _, e := range elements {
		switch {
		case e.flags == 0:
		case e.flags != recordTree || len(e.value) < treeSize:
			return storedir.Damaged("a record has unknown flags")
		default:
			if err := c.subtree(e.key, e.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// subtree checks a tree by its record, which holds all of one that is small.
func (c *checker) subtree(name, record []byte) error {
	keySize := 0
	switch string(name) {
	case logsTree:
		keySize = logsKeySize
	case stableTree:
	default:
		return storedir.Damaged("it has a tree %q, which is none of raft-boltdb's", name)
	}
	if root := binary.NativeEndian.Uint64(record); root != 0 {
		return c.tree(root, keySize)
	}
	b := record[treeSize:]
	if len(b) < headerSize || binary.NativeEndian.Uint16(b[8:]) != pageLeaf {
		return storedir.Damaged("a tree has no page")
	}
	elements, ok := elementsOf(b, true)
	for i, e := range elements {
		ok = ok && e.flags == 0 && (keySize == 0 || len(e.key) == keySize) && (i == 0 || bytes.Compare(elements[i-1].key, e.key) < 0)
	}
	if !ok {
		return storedir.Damaged("a small tree is not whole")
	}
	return nil
}

// freed checks the list of free pages.
func (c *checker) freed(number uint64) error {
	if number == noPage {
		return nil
	}
	b, err := c.read(number)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	if order.Uint16(b[8:]) != pageFree {
		return storedir.Damaged("page %d is no list of free pages", number)
	}
	count, b := uint64(order.Uint16(b[10:])), b[headerSize:]
	if count == 0xFFFF { // too many for the header
		count, b = order.Uint64(b), b[8:]
	}
	if uint64(len(b))/8 < count {
		return storedir.Damaged("the list of free pages is too short")
	}
	for i := range count {
		if err := c.take(order.Uint64(b[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}

// read returns a page with those that continue it.
func (c *checker) read(number uint64) ([]byte, error) {
	if number >= uint64(len(c.used)) {
		return nil, storedir.Damaged("page %d is none of the file", number)
	}
	var head [headerSize]byte
	if err := storedir.ReadAt(c.file, head[:], number*c.pageBytes); err != nil {
		return nil, err
	}
	if binary.NativeEndian.Uint64(head[:]) != number {
		return nil, storedir.Damaged("page %d says that it is another", number)
	}
	pages := 1 + uint64(binary.NativeEndian.Uint32(head[12:]))
	if err := c.take(number, pages); err != nil {
		return nil, err
	}
	b := make([]byte, pages*c.pageBytes)
	return b, storedir.ReadAt(c.file, b, number*c.pageBytes)
}

// take notes that pages are used; no page is used twice.
func (c *checker) take(first, count uint64) error {
	last := uint64(len(c.used)) - 1
	if first < 2 || first > last || count-1 > last-first {
		return storedir.Damaged("page %d is none of the file", first)
	}
	for i := first; i < first+count; i++ {
		if c.used[i] {
			return storedir.Damaged("page %d is used twice", i)
		}
		c.used[i] = true
	}
	return nil
}

// element is a record of a leaf, or points to a page from a branch.
type element struct {
	key, value []byte
	flags      uint32 // of a leaf
	child      uint64 // of a branch
}

// elementsOf returns those of a page; ok says whether they are all in it.
func elementsOf(page []byte, leaf bool) (all []element, ok bool) {
	order := binary.NativeEndian
	all = make([]element, order.Uint16(page[10:]))
	if headerSize+elementSize*len(all) > len(page) {
		return nil, false
	}
	for i := range all {
		b := page[headerSize+elementSize*i:]
		e := &all[i]
		at, keySize, valueSize := uint64(order.Uint32(b)), uint64(order.Uint32(b[4:])), uint64(0)
		if leaf {
			e.flags = order.Uint32(b)
			at, keySize, valueSize = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
		} else {
			e.child = order.Uint64(b[8:])
		}
		if at+keySize+valueSize > uint64(len(b)) {
			return nil, false
		}
		e.key, e.value = b[at:at+keySize], b[at+keySize:at+keySize+valueSize]
	}
	return all, true
}
