package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func newLogs(m *manager) *cobra.Command {
	var last int
	var follow bool
	c := &cobra.Command{
		Use:   "logs NODE",
		Short: "Show the log of a node",
		Long: `Show the end of a node's log: what its processes wrote to standard output and error.
With --follow, go on until Ctrl-C as the node writes, also across its restarts.`,
		Args:              wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	c.Flags().IntVarP(&last, "lines", "n", 50, "how many lines of the end")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the node writes, until Ctrl-C")
	c.RunE = func(c *cobra.Command, args []string) error {
		if last < 0 {
			return usage(fmt.Errorf("--lines %d: must not be negative", last))
		}
		s, err := m.open(c)
		if err != nil {
			return err
		}
		n, err := s.node(c.Context(), args[0])
		if err != nil {
			return err
		}
		err = showLog(c.Context(), s.stdout, s.cluster.LogPath(n.Alias), last, follow)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s has never run: it has no log yet", n.Alias)
		}
		return err
	}
	return c
}

// showLog copies the last lines of a file to w, and, if asked to, what is added
// until the context ends.
func showLog(ctx context.Context, w io.Writer, path string, last int, follow bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	t := &tail{path: path, file: f}
	defer func() { _ = t.file.Close() }()
	if err := seekLast(f, last); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := io.Copy(w, f); err != nil || !follow {
		return err
	}
	return t.follow(ctx, w)
}

// seekLast moves to where the last lines of f begin.
func seekLast(f *os.File, lines int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	const block = 64 << 10
	buf := make([]byte, block)
	for at := end; at > 0; {
		size := min(at, block)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		part := buf[:size]
		if at+size == end && bytes.HasSuffix(part, []byte("\n")) && lines > 0 {
			part = part[:size-1] // it ends the last line
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			if lines--; lines <= 0 {
				_, err := f.Seek(at+int64(i)+1, io.SeekStart)
				return err
			}
		}
	}
	if lines > 0 {
		_, err = f.Seek(0, io.SeekStart)
	}
	return err
}

// tail reads a file that grows, and finds it again when it was cut or replaced.
type tail struct {
	path string
	file *os.File
}

const pollEvery = 200 * time.Millisecond

func (t *tail) follow(ctx context.Context, w io.Writer) error {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		if err := t.rewind(); err != nil {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		if _, err := io.Copy(w, t.file); err != nil {
			return err
		}
		if err := t.reopen(w); err != nil {
			return err
		}
	}
}

// rewind goes back to the beginning if the file has become shorter.
func (t *tail) rewind() error {
	at, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	info, err := t.file.Stat()
	if err == nil && info.Size() < at {
		_, err = t.file.Seek(0, io.SeekStart)
	}
	return err
}

// reopen goes on with another file if one has taken the place of this one. There
// may be none for a while.
func (t *tail) reopen(w io.Writer) error {
	now, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before, err := t.file.Stat(); err != nil || os.SameFile(before, now) {
		return err
	}
	next, err := os.Open(t.path)
	if err != nil {
		return err
	}
	_ = t.file.Close()
	t.file = next
	_, err = io.Copy(w, next)
	return err
}
