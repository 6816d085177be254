//go:build cgo

package mdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"

	"github.com/themilchenko/raftlab/backends/storedir"
)

// Of LMDB's format (version 1, 64 bits, the order of the machine's bytes): pages with
// a header of 16 bytes; the first two describe the file and transactions write them in
// turn. Below them hang trees: that of free pages, and the main one, whose records are
// the trees that raft-mdb makes.
const (
	lmdbMagic   = 0xBEEFC0DE
	lmdbVersion = 1

	headerSize = 16
	nodeSize   = 8
	treeSize   = 48 // the record of a tree
	metaSize   = 24 + 2*treeSize + 16
	maxKeySize = 511
	noPage     = ^uint64(0) // the root of an empty tree
	maxDepth   = 32         // LMDB's CURSOR_STACK

	// raft-mdb's trees: entries by their index, and stable values. It would make anew
	// what has another name.
	logsTree, stableTree = "logs", "conf"
	logsKeySize          = 8

	// slackBytes bounds how much shorter than noted a file may be: pages at the end
	// that were freed as soon as they were taken are never written.
	slackBytes = 64 << 20

	pageBranch, pageLeaf, pageOverflow, pageMeta = 1, 2, 4, 8 // flags of a page
	nodeBig, nodeTree                            = 1, 2       // flags of a node
	treeOfNumbers                                = 8          // flag of a tree: keys are numbers
)

// checkFile looks whether the file at path is whole: its meta pages, and every page
// and record that its trees lead to, which is read once. LMDB believes what it finds in
// its map, in C: a page behind the end of the file, or a length that is not one, ends
// the process there. It does not look into values, and what is spoilt after it
// is not found by it. A file that is missing or empty is a new one.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() == 0 {
		return err
	}
	m, err := readMetas(f)
	if err != nil {
		return err
	}
	c := &checker{file: f, pageBytes: m.pageBytes, used: make([]bool, m.lastPage+1)}
	if err := c.tree(m.main, c.subtree); err != nil {
		return err
	}
	return c.tree(m.free, c.freed)
}

// record is what is said of a tree.
type record struct {
	flags, depth                      uint16
	branches, leaves, overflow, nodes uint64
	root                              uint64
}

func readRecord(b []byte) record {
	order := binary.NativeEndian
	return record{
		flags: order.Uint16(b[4:]), depth: order.Uint16(b[6:]),
		branches: order.Uint64(b[8:]), leaves: order.Uint64(b[16:]), overflow: order.Uint64(b[24:]),
		nodes: order.Uint64(b[32:]), root: order.Uint64(b[40:]),
	}
}

// meta is what a meta page says of the file.
type meta struct {
	pageBytes             uint64
	lastPage, transaction uint64
	free, main            record
}

// readMetas returns the newer of the two. They belong to two transactions in a row,
// each to its own page; LMDB would go by an older one where the newer is spoilt, and
// forget the last write, which may have been acknowledged.
func readMetas(f *os.File) (meta, error) {
	first, err := readMeta(f, 0, 0)
	if err != nil {
		return meta{}, err
	}
	second, err := readMeta(f, 1, first.pageBytes)
	if err != nil {
		return meta{}, err
	}
	a, b := first.transaction, second.transaction
	if fresh := a == 0 && b == 0; first.pageBytes != second.pageBytes || !fresh && (a%2 != 0 || b%2 != 1 || max(a, b)-min(a, b) != 1) {
		return meta{}, storedir.Damaged("its two meta pages do not go together")
	}
	if b > a {
		return second, nil
	}
	return first, nil
}

func readMeta(f *os.File, number, pageBytes uint64) (meta, error) {
	page := make([]byte, headerSize+metaSize)
	if err := storedir.ReadAt(f, page, number*pageBytes); err != nil {
		return meta{}, err
	}
	order := binary.NativeEndian
	b := page[headerSize:]
	if order.Uint64(page) != number || order.Uint16(page[10:]) != pageMeta || order.Uint32(b) != lmdbMagic || order.Uint32(b[4:]) != lmdbVersion {
		return meta{}, storedir.Damaged("page %d is no meta page of LMDB", number)
	}
	trees := b[24:]
	m := meta{
		pageBytes: uint64(order.Uint32(trees)), free: readRecord(trees), main: readRecord(trees[treeSize:]),
		lastPage: order.Uint64(b[24+2*treeSize:]), transaction: order.Uint64(b[32+2*treeSize:]),
	}
	info, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	switch {
	case m.pageBytes < 512 || m.pageBytes > 65536 || m.pageBytes&(m.pageBytes-1) != 0:
		return meta{}, storedir.Damaged("meta page %d says that pages have %d bytes", number, m.pageBytes)
	case m.free.flags != treeOfNumbers || m.main.flags != 0:
		return meta{}, storedir.Damaged("meta page %d has unknown flags", number)
	case m.lastPage < 1 || m.lastPage > (2*uint64(info.Size())+slackBytes)/m.pageBytes:
		return meta{}, storedir.Damaged("it has %d bytes, and meta page %d says that its last page is %d", info.Size(), number, m.lastPage)
	}
	return m, nil
}

// checker walks the trees of a file.
type checker struct {
	file      *os.File
	pageBytes uint64
	used      []bool // by page: in a tree, or free
}

// visitor looks at a record.
type visitor func(key []byte, flags uint16, data []byte) error

// tree walks one tree. each is called with every record; large data are left out unless it is the tree of free pages.
func (c *checker) tree(r record, each visitor) error {
	if r.root == noPage {
		if r.depth != 0 || r.nodes != 0 {
			return storedir.Damaged("a tree without a root has records")
		}
		return nil
	}
	if r.depth < 1 || r.depth > maxDepth {
		return storedir.Damaged("a tree has %d levels", r.depth)
	}
	w := &walk{checker: c, compare: bytes.Compare, each: each}
	if r.flags&treeOfNumbers != 0 {
		w.compare, w.readBig = compareNumbers, true
	}
	if err := w.page(r.root, int(r.depth), nil, nil); err != nil {
		return err
	}
	w.seen.flags, w.seen.depth, w.seen.root = r.flags, r.depth, r.root
	if w.seen != r {
		return storedir.Damaged("a tree has other numbers of pages and records than are noted")
	}
	return nil
}

// subtree checks a record of the main tree.
func (c *checker) subtree(name []byte, flags uint16, data []byte) error {
	if logs := string(name) == logsTree; !logs && string(name) != stableTree || flags != nodeTree || len(data) != treeSize {
		return storedir.Damaged("it has a tree %q, which is none of raft-mdb's", name)
	}
	r := readRecord(data)
	if r.flags != 0 {
		return storedir.Damaged("a tree has unknown flags")
	}
	return c.tree(r, func(key []byte, flags uint16, _ []byte) error {
		if flags != 0 || string(name) == logsTree && len(key) != logsKeySize {
			return storedir.Damaged("a record has unknown flags, or a key of %d bytes", len(key))
		}
		return nil
	})
}

// freed checks a list of free pages.
func (c *checker) freed(_ []byte, flags uint16, data []byte) error {
	order := binary.NativeEndian
	if flags != 0 || len(data) < 8 || uint64(len(data))/8-1 < order.Uint64(data) {
		return storedir.Damaged("a list of free pages is too short")
	}
	for i := range order.Uint64(data) {
		if err := c.take(order.Uint64(data[8*(i+1):]), 1); err != nil {
			return err
		}
	}
	return nil
}

// take notes that pages are used; no page is used twice.
func (c *checker) take(first, count uint64) error {
	last := uint64(len(c.used)) - 1
	if first < 2 || first > last || count < 1 || count-1 > last-first {
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

// header reads the beginning of a page into b and checks whose it is.
func (c *checker) header(number uint64, b []byte) (flags uint16, err error) {
	if number > uint64(len(c.used)) {
		return 0, storedir.Damaged("page %d is none of the file", number)
	}
	if err := storedir.ReadAt(c.file, b, number*c.pageBytes); err != nil {
		return 0, err
	}
	if binary.NativeEndian.Uint64(b) != number {
		return 0, storedir.Damaged("page %d says that it is another", number)
	}
	return binary.NativeEndian.Uint16(b[10:]), nil
}

// walk is the walk through one tree.
type walk struct {
	*checker
	compare func(a, b []byte) int
	each    visitor
	readBig bool
	seen    record
}

// page checks the page and all below it. Its keys are at least low and below high;
// nil is no bound.
func (w *walk) page(number uint64, depth int, low, high []byte) error {
	if err := w.take(number, 1); err != nil {
		return err
	}
	b := make([]byte, w.pageBytes)
	flags, err := w.header(number, b)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	lower, upper := uint64(order.Uint16(b[12:])), uint64(order.Uint16(b[14:]))
	leaf := depth == 1
	if leaf && flags != pageLeaf || !leaf && flags != pageBranch {
		return storedir.Damaged("page %d is of another kind", number)
	}
	if lower < headerSize || lower%2 != 0 || lower > upper || upper > w.pageBytes {
		return storedir.Damaged("page %d has impossible bounds", number)
	}
	nodes := make([]node, (lower-headerSize)/2)
	for i := range nodes {
		at := uint64(order.Uint16(b[headerSize+2*i:]))
		if at < upper || at+nodeSize > w.pageBytes || !nodes[i].read(b[at:], leaf) {
			return storedir.Damaged("record %d of page %d is not in the page", i, number)
		}
		if i == 0 && !leaf {
			continue // the key of the first is not used
		}
		if key := nodes[i].key; low != nil && w.compare(key, low) < 0 || high != nil && w.compare(key, high) >= 0 ||
			i > 0 && (i > 1 || leaf) && w.compare(nodes[i-1].key, key) >= 0 {
			return storedir.Damaged("page %d has keys out of order", number)
		}
	}
	if leaf {
		return w.records(nodes)
	}
	return w.children(number, nodes, depth, low, high)
}

func (w *walk) children(number uint64, nodes []node, depth int, low, high []byte) error {
	w.seen.branches++
	if len(nodes) < 2 {
		return storedir.Damaged("page %d has no children", number)
	}
	for i, n := range nodes {
		if i > 0 {
			low = n.key
		}
		end := high
		if i+1 < len(nodes) {
			end = nodes[i+1].key
		}
		if err := w.page(n.child, depth-1, low, end); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) records(nodes []node) error {
	w.seen.leaves++
	w.seen.nodes += uint64(len(nodes))
	for _, n := range nodes {
		if len(n.key) < 1 || len(n.key) > maxKeySize {
			return storedir.Damaged("a key has %d bytes", len(n.key))
		}
		data := n.data
		if n.flags&nodeBig != 0 {
			var err error
			if data, err = w.big(binary.NativeEndian.Uint64(n.data), n.dataSize); err != nil {
				return err
			}
		}
		if err := w.each(n.key, n.flags&^nodeBig, data); err != nil {
			return err
		}
	}
	return nil
}

// big returns data that has pages of its own.
func (w *walk) big(number, size uint64) ([]byte, error) {
	var head [headerSize]byte
	flags, err := w.header(number, head[:])
	if err != nil {
		return nil, err
	}
	pages := uint64(binary.NativeEndian.Uint32(head[12:]))
	if flags != pageOverflow || pages*w.pageBytes < headerSize+size {
		return nil, storedir.Damaged("page %d does not begin a large record", number)
	}
	if err := w.take(number, pages); err != nil {
		return nil, err
	}
	w.seen.overflow += pages
	end := number*w.pageBytes + headerSize + size
	if !w.readBig {
		return nil, storedir.ReadAt(w.file, make([]byte, 1), end-1) // it is in the file
	}
	data := make([]byte, size)
	return data, storedir.ReadAt(w.file, data, end-size)
}

// node is a record of a leaf, or points to a page from a branch.
type node struct {
	flags    uint16
	child    uint64 // of a branch
	key      []byte
	data     []byte // of a leaf; with nodeBig the number of the page where it is
	dataSize uint64
}

// read takes a node from the rest of a page and says whether it is all there.
func (n *node) read(b []byte, leaf bool) bool {
	order := binary.NativeEndian
	size := uint64(order.Uint32(b)) // two halves, laid out as one number of the machine's
	n.flags = order.Uint16(b[4:])
	keySize := int(order.Uint16(b[6:]))
	b = b[nodeSize:]
	if len(b) < keySize {
		return false
	}
	n.key = b[:keySize]
	if !leaf {
		n.child = size | uint64(n.flags)<<32
		return true
	}
	n.dataSize = size
	inPage := size
	if n.flags&nodeBig != 0 {
		inPage = 8
	}
	if uint64(len(b)-keySize) < inPage {
		return false
	}
	n.data = b[keySize : uint64(keySize)+inPage]
	return true
}

func compareNumbers(a, b []byte) int {
	if len(a) != 8 || len(b) != 8 {
		return cmp.Compare(len(a), len(b))
	}
	return cmp.Compare(binary.NativeEndian.Uint64(a), binary.NativeEndian.Uint64(b))
}
