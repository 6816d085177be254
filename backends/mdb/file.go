//go:build cgo

package mdb

import (
	"cmp"
	"encoding/binary"
	"errors"
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
// is not found by it.
func checkFile(path string) error {
	return storedir.CheckFile(path, func(f *os.File, size uint64) error {
		m, err := readMetas(f, size)
		if err != nil {
			return err
		}
		c := &checker{storedir.NewPages(f, m.pageBytes, m.lastPage+1), f, m.pageBytes}
		if err := c.tree(m.main, 0, c.subtree); err != nil {
			return err
		}
		return c.tree(m.free, 0, c.freed)
	})
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
func readMetas(f *os.File, size uint64) (meta, error) {
	first, err := readMeta(f, size, 0, 0)
	if err != nil {
		return meta{}, err
	}
	second, err := readMeta(f, size, 1, first.pageBytes)
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

func readMeta(f *os.File, size, number, pageBytes uint64) (meta, error) {
	page := make([]byte, headerSize+metaSize)
	if err := storedir.ReadAt(f, page, number*pageBytes); err != nil {
		return meta{}, err
	}
	order := binary.NativeEndian
	b := page[headerSize:]
	if order.Uint64(page) != number || order.Uint16(page[10:]) != pageMeta || order.Uint32(b) != lmdbMagic || order.Uint32(b[4:]) != lmdbVersion {
		return meta{}, storedir.Damaged("page %d is not a meta page of LMDB", number)
	}
	trees := b[24:]
	m := meta{
		pageBytes: uint64(order.Uint32(trees)), free: readRecord(trees), main: readRecord(trees[treeSize:]),
		lastPage: order.Uint64(b[24+2*treeSize:]), transaction: order.Uint64(b[32+2*treeSize:]),
	}
	switch {
	case m.pageBytes < 512 || m.pageBytes > 65536 || m.pageBytes&(m.pageBytes-1) != 0:
		return meta{}, storedir.Damaged("meta page %d says that pages have %d bytes", number, m.pageBytes)
	case m.free.flags != treeOfNumbers || m.main.flags != 0:
		return meta{}, storedir.Damaged("meta page %d has unknown flags", number)
	case m.lastPage < 1 || m.lastPage > (2*size+slackBytes)/m.pageBytes:
		return meta{}, storedir.Damaged("it has %d bytes, and meta page %d says that its last page is %d", size, number, m.lastPage)
	}
	return m, nil
}

// checker reads the pages of a file.
type checker struct {
	*storedir.Pages
	file      *os.File
	pageBytes uint64
}

// tree walks one tree and compares it with what is noted of it. check is called with every
// record; large values are left out unless it is the tree of free pages.
func (c *checker) tree(noted record, keyBytes int, check func(storedir.Node) error) error {
	if noted.root == noPage {
		if noted.depth != 0 || noted.nodes != 0 {
			return storedir.Damaged("a tree without a root has records")
		}
		return nil
	}
	if noted.depth < 1 || noted.depth > maxDepth {
		return storedir.Damaged("a tree has %d levels", noted.depth)
	}
	numbers := noted.flags&treeOfNumbers != 0
	seen := record{flags: noted.flags, depth: noted.depth, root: noted.root}
	t := &storedir.Tree{KeyBytes: keyBytes, NoFirstKey: true, LeastNodes: 2}
	if numbers {
		t.Compare = compareNumbers
	}
	t.Page = func(number uint64, depth int) (bool, []storedir.Node, error) { return c.page(number, depth, &seen) }
	t.CheckRecord = func(n storedir.Node) (err error) {
		if len(n.Key) < 1 || len(n.Key) > maxKeySize {
			return storedir.Damaged("a key has %d bytes", len(n.Key))
		}
		if n.Flags&nodeBig != 0 {
			if n, err = c.big(n, numbers, &seen); err != nil {
				return err
			}
		}
		return check(n)
	}
	if err := t.Check(noted.root, int(noted.depth), nil, nil); err != nil {
		return err
	}
	if seen != noted {
		return storedir.Damaged("a tree has other numbers of pages and records than are noted")
	}
	return nil
}

// subtree checks a record of the main tree.
func (c *checker) subtree(n storedir.Node) error {
	keyBytes := 0
	switch name := string(n.Key); {
	case n.Flags != nodeTree || len(n.Value) != treeSize || name != storedir.LogsTree && name != storedir.StableTree:
		return storedir.Damaged("it has a tree %q, which raft-mdb does not make", name)
	case name == storedir.LogsTree:
		keyBytes = storedir.LogsKeyBytes
	}
	r := readRecord(n.Value)
	if r.flags != 0 {
		return storedir.Damaged("a tree has unknown flags")
	}
	return c.tree(r, keyBytes, func(n storedir.Node) error {
		if n.Flags != 0 {
			return storedir.Damaged("a record has unknown flags")
		}
		return nil
	})
}

// freed checks a list of free pages.
func (c *checker) freed(n storedir.Node) error {
	if n.Flags != 0 || len(n.Value) < 8 {
		return storedir.Damaged("a list of free pages is too short")
	}
	return c.TakeList(binary.NativeEndian.Uint64(n.Value), n.Value[8:])
}

// page reads a page of a tree, of which leaves have depth 1.
func (c *checker) page(number uint64, depth int, seen *record) (leaf bool, nodes []storedir.Node, err error) {
	b := make([]byte, c.pageBytes)
	if err := errors.Join(c.Take(number, 1), c.Read(number, b)); err != nil {
		return false, nil, err
	}
	order := binary.NativeEndian
	flags, lower, upper := order.Uint16(b[10:]), uint64(order.Uint16(b[12:])), uint64(order.Uint16(b[14:]))
	leaf = depth == 1
	if leaf && flags != pageLeaf || !leaf && flags != pageBranch {
		return false, nil, storedir.Damaged("page %d is of another kind", number)
	}
	if lower < headerSize || lower%2 != 0 || lower > upper || upper > c.pageBytes {
		return false, nil, storedir.Damaged("page %d has impossible bounds", number)
	}
	nodes = make([]storedir.Node, (lower-headerSize)/2)
	for i := range nodes {
		at := uint64(order.Uint16(b[headerSize+2*i:]))
		if at < upper || at+nodeSize > c.pageBytes || !readNode(&nodes[i], b[at:], leaf) {
			return false, nil, storedir.Damaged("record %d of page %d is not in the page", i, number)
		}
	}
	if leaf {
		seen.leaves++
		seen.nodes += uint64(len(nodes))
	} else {
		seen.branches++
	}
	return leaf, nodes, nil
}

// readNode takes a node from the rest of a page and says whether it is all there. Of a
// large value it keeps the size and the number of the page where it is.
func readNode(n *storedir.Node, b []byte, leaf bool) bool {
	order := binary.NativeEndian
	size := uint64(order.Uint32(b)) // two halves, laid out as one number of the machine's
	n.Flags = uint32(order.Uint16(b[4:]))
	keyEnd := nodeSize + uint64(order.Uint16(b[6:]))
	end := keyEnd
	switch {
	case !leaf:
		n.Child = size | uint64(n.Flags)<<32
	case n.Flags&nodeBig != 0:
		n.Child = size
		end += 8
	default:
		end += size
	}
	if uint64(len(b)) < end {
		return false
	}
	n.Key, n.Value = b[nodeSize:keyEnd], b[keyEnd:end]
	return true
}

// big checks a large value, which has pages of its own, and reads it where that is asked.
func (c *checker) big(n storedir.Node, read bool, seen *record) (storedir.Node, error) {
	number, size := binary.NativeEndian.Uint64(n.Value), n.Child
	n.Value, n.Flags = nil, n.Flags&^nodeBig
	var head [headerSize]byte
	if err := c.Read(number, head[:]); err != nil {
		return n, err
	}
	pages := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint16(head[10:]) != pageOverflow || pages*c.pageBytes < headerSize+size {
		return n, storedir.Damaged("page %d does not begin a large record", number)
	}
	if err := c.Take(number, pages); err != nil {
		return n, err
	}
	seen.overflow += pages
	end := number*c.pageBytes + headerSize + size
	if !read {
		return n, storedir.ReadAt(c.file, make([]byte, 1), end-1) // it is in the file
	}
	n.Value = make([]byte, size)
	return n, storedir.ReadAt(c.file, n.Value, end-size)
}

func compareNumbers(a, b []byte) int {
	if len(a) != 8 || len(b) != 8 {
		return cmp.Compare(len(a), len(b))
	}
	return cmp.Compare(binary.NativeEndian.Uint64(a), binary.NativeEndian.Uint64(b))
}
