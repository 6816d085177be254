package bolt

import (
	"encoding/binary"
	"hash/fnv"
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
// may have been acknowledged. Here both are damage. Values are not looked into.
func checkFile(path string) error {
	return storedir.CheckFile(path, func(f *os.File, size uint64) error {
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
		if want := m.pages * m.pageBytes; size < want {
			return storedir.Damaged("it has %d bytes of %d", size, want)
		}
		c := &checker{storedir.NewPages(f, m.pageBytes, m.pages), m.pageBytes}
		if err := c.tree(0, c.subtree).Check(m.root, maxDepth, nil, nil); err != nil {
			return err
		}
		return c.freed(m.free)
	})
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
		return meta{}, storedir.Damaged("the meta page at byte %d is not BoltDB's, or its checksum does not match", at)
	}
	return meta{
		pageBytes: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), free: order.Uint64(b[32:]),
		pages: order.Uint64(b[40:]), transaction: order.Uint64(b[48:]),
	}, nil
}

// checker reads the pages of a file.
type checker struct {
	*storedir.Pages
	pageBytes uint64
}

func (c *checker) tree(keyBytes int, check func(storedir.Node) error) *storedir.Tree {
	return &storedir.Tree{KeyBytes: keyBytes, LeastNodes: 1, CheckRecord: check, Page: c.page}
}

// page reads a page of a tree.
func (c *checker) page(number uint64, depth int) (leaf bool, nodes []storedir.Node, err error) {
	b, flags, err := c.read(number)
	if err == nil && (flags != pageLeaf && flags != pageBranch || depth == 0) {
		err = storedir.Damaged("page %d is of another kind", number)
	}
	if err != nil {
		return false, nil, err
	}
	leaf = flags == pageLeaf
	nodes, err = nodesOf(b, leaf)
	return leaf, nodes, err
}

// subtree checks a tree by its record, which holds all of one that is small.
func (c *checker) subtree(n storedir.Node) error {
	t := c.tree(0, plain)
	switch name := string(n.Key); {
	case n.Flags != recordTree || len(n.Value) < treeSize || name != storedir.LogsTree && name != storedir.StableTree:
		return storedir.Damaged("it has a tree %q, which raft-boltdb does not make", name)
	case name == storedir.LogsTree:
		t.KeyBytes = storedir.LogsKeyBytes
	}
	root := binary.NativeEndian.Uint64(n.Value)
	if root == 0 {
		t.Page = func(uint64, int) (bool, []storedir.Node, error) {
			b := n.Value[treeSize:]
			if len(b) < headerSize || binary.NativeEndian.Uint16(b[8:]) != pageLeaf {
				return false, nil, storedir.Damaged("a tree has no page")
			}
			nodes, err := nodesOf(b, true)
			return true, nodes, err
		}
	}
	return t.Check(root, maxDepth, nil, nil)
}

// plain checks a record that is not a tree.
func plain(n storedir.Node) error {
	if n.Flags != 0 {
		return storedir.Damaged("a record has unknown flags")
	}
	return nil
}

// freed checks the list of free pages, where one is kept. Every page that no tree leads to
// is in it.
func (c *checker) freed(number uint64) error {
	if number == noPage {
		return nil
	}
	b, flags, err := c.read(number)
	if err != nil {
		return err
	}
	if flags != pageFree {
		return storedir.Damaged("page %d is not a list of free pages", number)
	}
	order := binary.NativeEndian
	count, b := uint64(order.Uint16(b[10:])), b[headerSize:]
	if count == 0xFFFF { // too many for the header
		count, b = order.Uint64(b), b[8:]
	}
	if err := c.TakeList(count, b); err != nil {
		return err
	}
	return c.Complete() // or a tree's root could be another page of that tree, and hide the rest of it
}

// read returns a page with those that continue it.
func (c *checker) read(number uint64) (b []byte, flags uint16, err error) {
	var head [headerSize]byte
	if err := c.Read(number, head[:]); err != nil {
		return nil, 0, err
	}
	pages := 1 + uint64(binary.NativeEndian.Uint32(head[12:]))
	if err := c.Take(number, pages); err != nil {
		return nil, 0, err
	}
	b = make([]byte, pages*c.pageBytes)
	return b, binary.NativeEndian.Uint16(head[8:]), c.Read(number, b)
}

// nodesOf returns those of a page. Their keys and values are one after the other behind
// them, so a wrong number of nodes shows.
func nodesOf(page []byte, leaf bool) ([]storedir.Node, error) {
	order := binary.NativeEndian
	nodes := make([]storedir.Node, order.Uint16(page[10:]))
	if headerSize+elementSize*len(nodes) > len(page) {
		return nil, storedir.Damaged("a page has more records than fit into it")
	}
	next := uint64(elementSize * len(nodes)) // from the node on
	for i := range nodes {
		b := page[headerSize+elementSize*i:]
		n := &nodes[i]
		at, keySize, valueSize := uint64(order.Uint32(b)), uint64(order.Uint32(b[4:])), uint64(0)
		if leaf {
			n.Flags = order.Uint32(b)
			at, keySize, valueSize = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
		} else {
			n.Child = order.Uint64(b[8:])
		}
		if at != next || at+keySize+valueSize > uint64(len(b)) {
			return nil, storedir.Damaged("a page has a record that is not in its place")
		}
		next += keySize + valueSize - elementSize
		n.Key, n.Value = b[at:at+keySize], b[at+keySize:at+keySize+valueSize]
	}
	return nodes, nil
}
