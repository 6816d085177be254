package kvnode

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// logFile is a log that stays small: once the next lines would make it larger than
// maxBytes, it becomes FILE.1, what was FILE.1 becomes FILE.2, and so on; keep of them
// stay. Only the goroutine of a logQueue uses it. It is never closed: it ends with the
// process.
//
// Where standard output and error are the same file, they go along, so that a panic is
// found at the end of the log, whichever file that is by then.
type logFile struct {
	path     string
	maxBytes int64
	keep     int
	shared   []*os.File
	file     *os.File
}

// openLogFile opens a log to append to. outputs are those of the process.
func openLogFile(path string, maxBytes int64, keep int, outputs ...io.Writer) (*logFile, error) {
	l := &logFile{path: path, maxBytes: maxBytes, keep: keep}
	file, info, err := l.open()
	if err != nil {
		return nil, err
	}
	l.file = file
	for _, o := range outputs {
		f, ok := o.(*os.File)
		if !ok {
			continue
		}
		if its, err := f.Stat(); err == nil && os.SameFile(its, info) {
			l.shared = append(l.shared, f)
		}
	}
	return l, nil
}

func (l *logFile) open() (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Write implements io.Writer for whole lines. What cannot be rotated takes no more: a log
// must not fill the disk.
func (l *logFile) Write(lines []byte) (int, error) {
	info, err := l.file.Stat()
	if err != nil {
		return 0, err
	}
	if size := info.Size(); size > 0 && size+int64(len(lines)) > l.maxBytes {
		if err := l.rotate(info); err != nil {
			return 0, err
		}
	}
	return l.file.Write(lines)
}

// rotate moves the file away, unless somebody else has done that, and opens the next one.
func (l *logFile) rotate(mine fs.FileInfo) error {
	if now, err := os.Stat(l.path); err == nil && os.SameFile(now, mine) {
		if err := l.shift(); err != nil {
			return fmt.Errorf("rotate the log: %w", err)
		}
	}
	return l.reopen()
}

// shift makes room at the path.
func (l *logFile) shift() error {
	for n := max(l.keep, 1); ; n++ { // one that keeps fewer than before removes more
		err := os.Remove(l.rotated(n))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
	}
	if l.keep == 0 {
		return os.Remove(l.path)
	}
	for n := l.keep - 1; n > 0; n-- {
		if err := os.Rename(l.rotated(n), l.rotated(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(l.path, l.rotated(1))
}

func (l *logFile) rotated(n int) string { return fmt.Sprintf("%s.%d", l.path, n) }

// reopen goes on with the file that is at the path now, a new one where there is none.
func (l *logFile) reopen() error {
	next, _, err := l.open()
	if err != nil {
		return err
	}
	for _, f := range l.shared {
		if err := duplicate(next, f); err != nil {
			return errors.Join(fmt.Errorf("have standard output and error go to %s: %w", l.path, err), next.Close())
		}
	}
	old := l.file
	l.file = next
	return old.Close()
}
