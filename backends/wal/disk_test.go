package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// errDead is what every call returns once the machine has crashed.
var errDead = errors.New("the machine has crashed")

// testDisk is a disk in memory that can crash, fail and be full. Of a crash survives what
// was flushed, and by chance any part of what was not, by sectors.
type testDisk struct {
	mu           sync.Mutex
	now, durable map[string]*inode // names
	random       *rand.Rand
	calls        int // that change something
	crashAt      int // the call that the machine crashes in; 0: none
	dead         bool
	refuse       func(op, name string) error // nil: nothing is refused
	syncs        int
	noZeros      bool
	zeroed       int64 // bytes
	lives        int   // how often it has crashed
}

// inode is a file. The system takes sectors that a flush has failed to write for written:
// no later flush writes them, unless they are written to again.
type inode struct {
	now, durable []byte
	stale        map[int]bool
}

const sector = 512

// flush writes what is not stale to the disk, all of it or, of a flush that fails, a part.
func (f *inode) flush(writes func() bool) {
	left := make([]byte, len(f.now))
	copy(left, f.durable)
	for at := 0; at < len(f.now); at += sector {
		end := min(at+sector, len(f.now))
		if f.stale[at/sector] || bytes.Equal(left[at:end], f.now[at:end]) {
			continue
		}
		if writes() {
			copy(left[at:end], f.now[at:end])
			continue
		}
		if f.stale == nil {
			f.stale = map[int]bool{}
		}
		f.stale[at/sector] = true
	}
	f.durable = left
}

func newTestDisk(random *rand.Rand) *testDisk {
	return &testDisk{now: map[string]*inode{}, durable: map[string]*inode{}, random: random}
}

// change is what every changing call begins with: it may be the one that the machine
// crashes in, which then has its effect by chance.
func (d *testDisk) change(op, name string, effect func()) error {
	return d.attempt(op, name, effect, func() {})
}

// attempt is change with what the call does where it fails.
func (d *testDisk) attempt(op, name string, effect, failure func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errDead
	}
	if d.refuse != nil {
		if err := d.refuse(op, name); err != nil {
			failure()
			return err
		}
	}
	d.calls++
	if d.calls == d.crashAt {
		d.dead = true
		if d.random.IntN(2) == 0 {
			effect()
		} else {
			failure()
		}
		return errDead
	}
	effect()
	return nil
}

// lose is the power loss: with all, everything that was not flushed is gone; otherwise
// any part of it.
func (d *testDisk) lose(all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, name := range slices.Sorted(maps.Keys(union(d.now, d.durable))) {
		if !all && d.random.IntN(2) == 0 {
			if f, ok := d.now[name]; ok {
				names[name] = f
			} else {
				delete(names, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		names[name].lose(all, d.random)
	}
	d.now, d.durable, d.dead, d.crashAt = names, maps.Clone(names), false, 0
	d.lives++
}

func union(a, b map[string]*inode) map[string]*inode {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

func (f *inode) lose(all bool, random *rand.Rand) {
	left := bytes.Clone(f.durable)
	if !all {
		if random.IntN(2) == 0 && len(f.now) > len(left) {
			left = append(left, make([]byte, len(f.now)-len(left))...)
		}
		for at := 0; at < min(len(left), len(f.now)); at += sector {
			if end := min(at+sector, len(left), len(f.now)); random.IntN(2) == 0 {
				copy(left[at:end], f.now[at:end])
			}
		}
	}
	f.now, f.durable, f.stale = left, bytes.Clone(left), nil
}

// killed is the end of the process only.
func (d *testDisk) killed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.crashAt = false, 0
	d.lives++
}

func (d *testDisk) List(string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.now)), nil
}

func (d *testDisk) Open(path string, create bool) (file, error) {
	name := filepath.Base(path)
	if create {
		err := d.change("create", name, func() {
			if f, ok := d.now[name]; ok {
				f.now = nil
			} else {
				d.now[name] = &inode{}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.now[name]
	if !ok {
		return nil, &os.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return &testFile{disk: d, inode: f, name: name}, nil
}

func (d *testDisk) Rename(from, to string) error {
	from, to = filepath.Base(from), filepath.Base(to)
	return d.change("rename", to, func() { d.now[to] = d.now[from]; delete(d.now, from) })
}

func (d *testDisk) Remove(path string) error {
	return d.change("remove", filepath.Base(path), func() { delete(d.now, filepath.Base(path)) })
}

func (d *testDisk) SyncDir(string) error {
	return d.change("sync folder", "", func() { d.syncs++; d.durable = maps.Clone(d.now) })
}

type testFile struct {
	disk *testDisk
	*inode
	name   string
	closed bool
}

func (f *testFile) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	if at >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(b, f.now[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *testFile) WriteAt(b []byte, at int64) (int, error) {
	err := f.disk.change("write", f.name, func() {
		if end := at + int64(len(b)); end > int64(len(f.now)) {
			f.now = append(f.now, make([]byte, end-int64(len(f.now)))...)
		}
		copy(f.now[at:], b)
		for i := int(at) / sector; i*sector < int(at)+len(b); i++ {
			delete(f.stale, i)
		}
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *testFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.now)), nil
}

func (f *testFile) Resize(size int64) error {
	return f.disk.change("resize", f.name, func() {
		if size < int64(len(f.now)) {
			f.now = f.now[:size:size]
		} else {
			f.now = append(f.now, make([]byte, size-int64(len(f.now)))...)
		}
	})
}

func (f *testFile) Sync() error {
	all := func() { f.disk.syncs++; f.flush(func() bool { return true }) }
	return f.disk.attempt("sync", f.name, all, func() { f.flush(func() bool { return f.disk.random.IntN(2) == 0 }) })
}

func (f *testFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.closed = true
	return nil
}

func (f *testFile) SyncData() error {
	f.disk.mu.Lock()
	longer := len(f.now) > len(f.durable)
	f.disk.mu.Unlock()
	if longer {
		return errors.New("data is flushed of a file that has become longer")
	}
	return f.Sync()
}

// OpenZeroer implements files. Zeros change nothing that a crash or a reader could see.
func (d *testDisk) OpenZeroer(path string) (zeroer, error) {
	f, err := d.Open(path, false)
	if err != nil {
		return nil, err
	}
	return testZeroer{f.(*testFile), d.lives}, nil
}

type testZeroer struct {
	*testFile
	life int
}

// Zero implements zeroer. Where something else is, it damages it as a disk would.
func (z testZeroer) Zero(at, bytes int64) error {
	z.disk.mu.Lock()
	defer z.disk.mu.Unlock()
	if z.disk.noZeros {
		return syscall.ENOSPC
	}
	if z.disk.dead || z.life != z.disk.lives {
		return errDead
	}
	if end := at + bytes; end > int64(len(z.now)) {
		return fmt.Errorf("zeros up to byte %d of %d", end, len(z.now))
	}
	clear(z.now[at : at+bytes])
	z.disk.zeroed += bytes
	return nil
}

// WriteOut implements zeroer.
func (z testZeroer) WriteOut(at, bytes int64) error { return nil }
