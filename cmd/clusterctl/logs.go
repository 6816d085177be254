package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/poll"
)

func newLogs(m *manager) *cobra.Command {
	var last int
	var follow bool
	c := &cobra.Command{
		Use:   "logs NODE",
		Short: "Show the log of a node",
		Long: `Show the end of a node's log: what its processes have logged and written to
standard output and error, as far back as --lines wants, also in the files that
the log was rotated to: node.log.1, node.log.2 and so on, the older the higher.
With --follow, go on until Ctrl-C as the node writes, also across its restarts
and the log's rotations.`,
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
			return s.noLog(ctx, n)
		}
		return err
	})
	return c
}

// noLog says why a node has none.
func (s *session) noLog(ctx context.Context, n clusterfile.Node) error {
	for _, now := range s.cluster.Status(ctx) {
		if now.Node.Alias == n.Alias && now.State.PID != 0 {
			return fmt.Errorf("the log of %s is gone, though it runs: 'kill -HUP %d' has it begin a new one", n.Alias, now.State.PID)
		}
	}
	return fmt.Errorf("%s has no log: it has never run, or its log was removed: %s", n.Alias, s.command("start "+n.Alias))
}

// showLog copies the last lines of a log to w, and, if asked to, what is added until the
// context ends. The log may be rotated: then older lines are in path.1, still older ones in
// path.2, and so on.
func showLog(ctx context.Context, w io.Writer, path string, last int, follow bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	missing, err := seekLast(f, last)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := showRotated(w, path, 1, missing); err != nil {
		return err
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

func rotated(path string, n int) string { return fmt.Sprintf("%s.%d", path, n) }

// showRotated copies so many lines of the end of path.n, and of the files before it.
func showRotated(w io.Writer, path string, n, lines int) error {
	if lines == 0 {
		return nil
	}
	f, err := os.Open(rotated(path, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	missing, err := seekLast(f, lines)
	if err == nil {
		err = showRotated(w, path, n+1, missing)
	}
	if err == nil {
		_, err = io.Copy(w, f)
	}
	return err
}

// seekLast moves to where the last lines of f begin, and returns how many of them f has not.
func seekLast(f *os.File, lines int) (missing int, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || lines == 0 || end == 0 {
		return lines, err
	}
	for size := int64(64 << 10); ; size *= 2 {
		begin := max(0, end-size)
		text := make([]byte, end-begin)
		if _, err := f.ReadAt(text, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		at, missing := len(bytes.TrimSuffix(text, []byte("\n"))), lines
		for ; missing > 0 && at >= 0; missing-- {
			at = bytes.LastIndexByte(text[:at], '\n')
		}
		if at >= 0 || begin == 0 {
			_, err := f.Seek(begin+int64(at)+1, io.SeekStart)
			return missing, err
		}
	}
}

const pollEvery = 200 * time.Millisecond

// copyAdded copies what was added to f, from its beginning if it has become shorter, and
// goes on with another file if one has taken its place at path, by way of those that came
// in between. There may be none for a while.
func copyAdded(w io.Writer, f *os.File, path string) (*os.File, error) {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return f, err
	}
	mine, err := f.Stat()
	if err == nil && mine.Size() < at {
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
	if now, err := next.Stat(); err != nil || os.SameFile(mine, now) {
		return f, errors.Join(err, next.Close())
	}
	_, err = io.Copy(w, f) // what came before the other took its place
	err = errors.Join(err, copyBetween(w, mine, path), f.Close())
	if err == nil {
		_, err = io.Copy(w, next)
	}
	return next, err
}

// copyBetween copies the rotated files that are newer than a file, if that is still there.
func copyBetween(w io.Writer, than fs.FileInfo, path string) error {
	var newer []io.Reader // the oldest first
	for n := 1; ; n++ {
		f, err := os.Open(rotated(path, n))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was moved elsewhere
		}
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if os.SameFile(info, than) {
			_, err := io.Copy(w, io.MultiReader(newer...))
			return err
		}
		newer = slices.Insert(newer, 0, io.Reader(f))
	}
}
