// Package atomicfile replaces files so that a crash, of the process or of the machine,
// leaves the old content or the new, and never a part of it. It keeps no locks: of two
// writers at a time, one wins.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes the file at path hold data, or leaves it as it was. When it returns nil,
// data and name are on the disk. Everybody may read the file; its folder must exist.
func Write(path string, data []byte) error {
	return writeFlushed(path, readable, content(data))
}

// WriteFrom is [Write] of what write writes, which nobody but the owner may read, and which
// may be long: the file is [Paced]. An error of write is returned as it is, and the file is as
// it was.
func WriteFrom(path string, write func(io.Writer) error) error {
	return writeFlushed(path, private, func(to io.Writer) error {
		return write(Paced(to, to.(beside).flush))
	})
}

// pace is how many bytes are written between two flushes of what is paced.
const pace = 16 << 20

// Paced returns what writes to a file that grows long, and calls flush as it does: one flush of
// all of it, at the end, would keep whoever else flushes to the same disk waiting. What
// is written last is the caller's to flush.
func Paced(to io.Writer, flush func() error) io.Writer { return &paced{to: to, flush: flush} }

type paced struct {
	to        io.Writer
	flush     func() error
	unflushed int // bytes
}

// Write implements io.Writer.
func (p *paced) Write(data []byte) (int, error) {
	n, err := p.to.Write(data)
	if p.unflushed += n; err == nil && p.unflushed >= pace {
		p.unflushed, err = 0, p.flush()
	}
	return n, err
}

// Who may read a file.
const (
	readable fs.FileMode = 0o644
	private  fs.FileMode = 0o600
)

func writeFlushed(path string, mode fs.FileMode, write func(io.Writer) error) error {
	if err := replace(path, mode, write, (*os.File).Sync); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func content(data []byte) func(io.Writer) error {
	return func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	}
}

// WriteUnflushed is Write of what a crash of the machine makes void anyway, such as the
// id of a process: it does not wait for the disk.
func WriteUnflushed(path string, data []byte) error {
	return replace(path, readable, content(data), func(*os.File) error { return nil })
}

func replace(path string, mode fs.FileMode, write func(io.Writer) error, flush func(*os.File) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return of(path, err)
	}
	if err = write(beside{tmp, path}); err != nil {
		return errors.Join(err, of(path, tmp.Close()), os.Remove(tmp.Name()))
	}
	if err = errors.Join(of(path, tmp.Chmod(mode)), of(path, flush(tmp)), of(path, tmp.Close())); err == nil {
		err = of(path, os.Rename(tmp.Name(), path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// beside is the file that is written first; its errors are said of the one at path.
type beside struct {
	file *os.File
	path string
}

// Write implements io.Writer.
func (b beside) Write(data []byte) (int, error) {
	n, err := b.file.Write(data)
	return n, of(b.path, err)
}

func (b beside) flush() error { return of(b.path, b.file.Sync()) }

// of has an error of the operating system name the file at path, which its caller knows.
func of(path string, err error) error {
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return &fs.PathError{Op: "replace", Path: path, Err: e.Err}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
	}
	return err
}

// SyncDir makes the names in a folder durable. A file system that cannot flush a folder
// renames durably anyway or not at all: that is no error.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrInvalid) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
