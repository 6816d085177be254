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

	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/poll"
)

func newLogs(m *manager) *cobra.Command {
	var last int
	var follow bool
	c := &cobra.Command{
		Use:   "logs NODE",
		Short: "Show the log of a node",
		Long: `Show the end of a node's log: what its processes wrote to standard output and error.
With --follow, go on until Ctrl-C as the node writes, also across its restarts.`,
		Args:              cli.Wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	c.Flags().IntVarP(&last, "lines", "n", 50, "how many lines of the end")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the node writes, until Ctrl-C")
	c.RunE = m.on(func(ctx context.Context, s *session, args []string) error {
		if last < 0 {
			return cli.Usagef("--lines %d: must not be negative", last)
		}
		n, err := s.node(ctx, args[0])
		if err != nil {
			return err
		}
		err = showLog(ctx, s.stdout, s.cluster.LogPath(n.Alias), last, follow)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s has never run: it has no log yet", n.Alias)
		}
		return err
	})
	return c
}

// showLog copies the last lines of a file to w, and, if asked to, what is added
// until the context ends.
func showLog(ctx context.Context, w io.Writer, path string, last int, follow bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := seekLast(f, last); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := io.Copy(w, f); err != nil || !follow {
		return err
	}
	err = poll.Until(ctx, pollEvery, func() (_ bool, err error) {
		f, err = copyAdded(w, f, path)
		return false, err
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// seekLast moves to where the last lines of f begin.
func seekLast(f *os.File, lines int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || lines == 0 {
		return err
	}
	for size := int64(64 << 10); ; size *= 2 {
		begin := max(0, end-size)
		text := make([]byte, end-begin)
		if _, err := f.ReadAt(text, begin); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		at := len(bytes.TrimSuffix(text, []byte("\n")))
		for n := lines; n > 0 && at >= 0; n-- {
			at = bytes.LastIndexByte(text[:at], '\n')
		}
		if at >= 0 || begin == 0 {
			_, err := f.Seek(begin+int64(at)+1, io.SeekStart)
			return err
		}
	}
}

const pollEvery = 200 * time.Millisecond

// copyAdded copies what was added to f, from its beginning if it has become shorter, and
// goes on with another file if one has taken its place at path. There may be none for a
// while.
func copyAdded(w io.Writer, f *os.File, path string) (*os.File, error) {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return f, err
	}
	before, err := f.Stat()
	if err == nil && before.Size() < at {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(w, f)
	}
	if err != nil {
		return f, err
	}
	next, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if now, err := next.Stat(); err != nil || os.SameFile(before, now) {
		return f, errors.Join(err, next.Close())
	}
	_ = f.Close()
	_, err = io.Copy(w, next)
	return next, err
}
