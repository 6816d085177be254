// Package storedir makes the folder of a log store, and makes it last: a file that
// was flushed is still gone after a power loss if the folder that names it was not. It
// also helps to read a file that may be damaged, and knows how the stores that choose so
// themselves write an entry; it never changes a store's data.
package storedir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/themilchenko/raftlab/core"
)

// Make makes dir where it is missing.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the store's folder: %w", err)
	}
	return nil
}

// Flush makes dir, its name in its parent and the names of all files in it durable.
// Call it once the store has made its files, and before anything is said to be stored.
func Flush(dir string) error {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := flush(d); err != nil {
			return fmt.Errorf("flush the folder %s: %w", d, err)
		}
	}
	return nil
}

func flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// ReadAt fills b with what the file holds at an offset in bytes. A file that ends before
// is core.ErrDamaged.
func ReadAt(f *os.File, b []byte, at uint64) error {
	if _, err := f.ReadAt(b, int64(at)); err == io.EOF {
		return Damaged("it ends before byte %d", at+uint64(len(b)))
	} else if err != nil {
		return err
	}
	return nil
}

// Damaged is a core.ErrDamaged that says what is wrong with a store's file.
func Damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", core.ErrDamaged, fmt.Sprintf(format, args...))
}

// Safely runs a call that reads mapped memory or decodes what may be damaged: a panic, and
// a fault, which the runtime makes a panic of here, is a core.ErrDamaged, and panicked is
// true. What faults in C ends the process.
func Safely(call func() error) (err error, panicked bool) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			err, panicked = Damaged("%v", p), true
		}
	}()
	return call(), false
}
