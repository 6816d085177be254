package storedir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
)

// Of the files of hashicorp's stores on a B+tree, raft-boltdb and raft-mdb: one tree holds
// the entries by their index and one the stable values. They would make anew what has
// another name.
const (
	LogsTree, StableTree = "logs", "conf"
	LogsKeyBytes         = 8
)

// CheckFile opens the file at path and has check look at it. One that is missing or
// empty is a new one, and whole.
func CheckFile(path string, check func(f *os.File, size uint64) error) error {
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
	return check(f, uint64(info.Size()))
}

// Pages are the pages of a B+tree file. The first two describe the file; each other is
// in one tree, or free.
type Pages struct {
	file      *os.File
	pageBytes uint64
	used      []bool
}

// NewPages returns those of a file of count pages.
func NewPages(f *os.File, pageBytes, count uint64) *Pages {
	return &Pages{file: f, pageBytes: pageBytes, used: make([]bool, count)}
}

// Read fills b with the beginning of a page, in which its number comes first.
func (p *Pages) Read(number uint64, b []byte) error {
	if number >= uint64(len(p.used)) {
		return Damaged("page %d is not in the file", number)
	}
	if err := ReadAt(p.file, b, number*p.pageBytes); err != nil {
		return err
	}
	if binary.NativeEndian.Uint64(b) != number {
		return Damaged("page %d says that it is another", number)
	}
	return nil
}

// Take notes that pages are used; no page is used twice.
func (p *Pages) Take(first, count uint64) error {
	last := uint64(len(p.used)) - 1
	if first < 2 || first > last || count < 1 || count-1 > last-first {
		return Damaged("page %d is not in the file", first)
	}
	for i := first; i < first+count; i++ {
		if p.used[i] {
			return Damaged("page %d is used twice", i)
		}
		p.used[i] = true
	}
	return nil
}

// TakeList takes pages that are free: their numbers, of eight bytes each.
func (p *Pages) TakeList(count uint64, numbers []byte) error {
	if uint64(len(numbers))/8 < count {
		return Damaged("a list of free pages is too short")
	}
	for i := range count {
		if err := p.Take(binary.NativeEndian.Uint64(numbers[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}

// Complete finds a page that nobody has taken: what leads to it is spoilt.
func (p *Pages) Complete() error {
	for i := 2; i < len(p.used); i++ {
		if !p.used[i] {
			return Damaged("page %d is neither used nor free", i)
		}
	}
	return nil
}

// Node is a record of a leaf, or leads to a page below.
type Node struct {
	Key   []byte
	Child uint64 // of a branch
	Flags uint32 // of a leaf
	Value []byte
}

// Tree is how a tree is read.
type Tree struct {
	KeyBytes    int                   // of each key; 0: any number
	NoFirstKey  bool                  // the first node of a branch needs no key
	LeastNodes  int                   // of a branch
	Compare     func(a, b []byte) int // nil: bytes.Compare
	Page        func(number uint64, depth int) (leaf bool, nodes []Node, err error)
	CheckRecord func(Node) error
}

// Check reads the page and all below it, down to depth levels. Its keys are in order, at
// least low and below high; nil means no bound.
func (t *Tree) Check(number uint64, depth int, low, high []byte) error {
	leaf, nodes, err := t.Page(number, depth)
	if err != nil {
		return err
	}
	if err := t.checkKeys(number, leaf, nodes, low, high); err != nil {
		return err
	}
	if !leaf && len(nodes) < t.LeastNodes {
		return Damaged("page %d has no children", number)
	}
	for i, n := range nodes {
		if leaf {
			if err := t.CheckRecord(n); err != nil {
				return err
			}
			continue
		}
		if i > 0 || !t.NoFirstKey {
			low = n.Key
		}
		end := high
		if i+1 < len(nodes) {
			end = nodes[i+1].Key
		}
		if err := t.Check(n.Child, depth-1, low, end); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) checkKeys(number uint64, leaf bool, nodes []Node, low, high []byte) error {
	compare := t.Compare
	if compare == nil {
		compare = bytes.Compare
	}
	var before []byte
	for i, n := range nodes {
		if i == 0 && !leaf && t.NoFirstKey {
			continue
		}
		if low != nil && compare(n.Key, low) < 0 || high != nil && compare(n.Key, high) >= 0 || before != nil && compare(before, n.Key) >= 0 {
			return Damaged("page %d has keys out of order", number)
		}
		if t.KeyBytes > 0 && len(n.Key) != t.KeyBytes {
			return Damaged("page %d has a key of %d bytes", number, len(n.Key))
		}
		before = n.Key
	}
	return nil
}
