package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/visible"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/backup"
	"github.com/themilchenko/raftlab/kv/client"
)

// standard stands for standard input or output where a file is asked for.
const standard = "-"

type backupFlags struct {
	requestFlags
	force, verify bool
}

func newBackup(m *manager) *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use:   "backup FILE | --verify FILE",
		Short: "Write all keys to a file, consistent and checksummed",
		Long: `Write the map as it is at one entry of the log to a file, or with "-" to
standard output, while the cluster goes on. The file appears once it is whole,
flushed and checked; Ctrl-C leaves nothing behind. With the default
--consistency it has every write that was acknowledged before; "stale" takes
what the asked node holds, also where no leader can be elected.

--verify asks no node: it reads a backup and says what it is, or what is wrong
with it. The digest is over keys and values alone: two backups with the same
digest hold the same, whatever group they are of. 'clusterctl restore FILE'
brings a backup back.

  clusterctl backup monday.backup
  clusterctl backup - | ssh vault 'cat > monday.backup'
  clusterctl backup --verify monday.backup`,
		Args: cli.Wants(1, 1, "a file"),
	}
	c.ValidArgsFunction = completeFile
	f.addRead(m, c)
	c.Flags().BoolVar(&f.force, "force", false, "write over a file that is there")
	c.Flags().BoolVar(&f.verify, "verify", false, "read the file and say what it is")
	take := m.query(&f.requestFlags, func(ctx context.Context, s *session, from reader, args []string) error {
		return s.backup(ctx, from, client.Consistency(f.consistency), args[0])
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.verify {
			return verifyBackup(c.Context(), newNarrator(c.OutOrStdout(), c.ErrOrStderr()), c.InOrStdin(), args[0])
		}
		if err := mayTakePlace(args[0], f.force); err != nil {
			return err
		}
		return take(c, args)
	}
	return c
}

// mayTakePlace refuses to have a backup take the place of what is at its path: of a file,
// unless that is wanted, and of a folder, a device or a link in any case.
func mayTakePlace(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case path == standard || err != nil:
		return nil // what is wrong with the path shows when it is written to
	case !info.Mode().IsRegular():
		return cli.Usagef("%s is no regular file, and a backup takes the place of what is there: give another name, or - to write to standard output", path)
	case !force:
		return cli.Usagef("there is a file %s already: give another name, or --force to write over it", path)
	}
	return nil
}

// completeFile has the shell complete one file.
func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// backup takes a backup and checks it on its way.
func (s *session) backup(ctx context.Context, from reader, level client.Consistency, path string) error {
	begun, say := time.Now(), s.stdout
	var done backup.Summary
	take := func(to io.Writer) error {
		stream, err := from.Backup(ctx, level)
		if err != nil {
			return err
		}
		defer stream.Close()
		kept := &keeper{to: to}
		if done, err = s.readBackup(ctx, "Backup", io.TeeReader(stream, kept), nil); kept.err != nil {
			return kept.err
		}
		return err
	}
	var err error
	if path == standard {
		say = s.stderr
		err = take(s.stdout)
	} else {
		err = atomicfile.WriteFrom(path, take)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, core.ErrDamaged):
		return fmt.Errorf("nothing was kept: what the node sent is not whole: try again: %w", err)
	case err != nil:
		return err
	}
	fmt.Fprintf(say, "%s\nDigest of keys and values: %s\n", took(fmt.Sprintf("Backup at index %d", done.Index), done, begun), done.Content)
	return nil
}

// keeper remembers why something could not be written: to who reads through it, it is an
// error of reading.
type keeper struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (k *keeper) Write(b []byte) (n int, err error) {
	n, k.err = k.to.Write(b)
	return n, k.err
}

// took says what was done with a backup, and how long that took.
func took(what string, s backup.Summary, begun time.Time) string {
	return fmt.Sprintf("%s: %s, %d bytes, in %.1f s", what, cli.Count(int(s.Keys), "key"), s.Bytes, time.Since(begun).Seconds())
}

// verifyBackup reads a backup and says what it is.
func verifyBackup(ctx context.Context, n *narrator, stdin io.Reader, path string) error {
	file, err := openBackup(ctx, path, stdin)
	if err != nil {
		return err
	}
	defer file.Close()
	s, err := n.readBackup(ctx, "Verify", file, nil)
	if err != nil {
		return notBackup(path, err)
	}
	out := bufio.NewWriter(n.stdout)
	fmt.Fprintf(out, "%s is a whole backup\n", path)
	for _, line := range []struct{ name, text string }{
		{"group", cmp.Or(s.Group, "not known")},
		{"index", fmt.Sprintf("%d, term %d", s.Index, s.Term)},
		{"node", strings.TrimSpace(fmt.Sprintf("%s %s", s.Node, s.Engine))},
		{"version", s.Version},
		{"time", s.Time.Format(time.RFC3339)},
		{"keys", fmt.Sprint(s.Keys)},
		{"bytes", fmt.Sprint(s.Bytes)},
		{"digest", s.Content.String()},
	} {
		fmt.Fprintf(out, "%-8s %s\n", line.name, visible.Text(line.text))
	}
	if apart := s.Apart(); apart != "" {
		fmt.Fprintf(out, "apart    %s: restore leaves them out\n", apart)
	}
	return out.Flush()
}

// openBackup opens a backup to be read. The caller closes it. Only a regular file can be read
// twice, and is an io.Seeker. To open or to read anything else, such as standard input or a
// pipe, cannot be broken off: it is left behind then, for the end of the program.
func openBackup(ctx context.Context, path string, stdin io.Reader) (io.ReadCloser, error) {
	if info, err := os.Stat(path); path != standard && (err != nil || info.Mode().IsRegular()) {
		file, err := os.Open(path)
		if err != nil {
			return nil, cli.Usage(err)
		}
		return file, nil
	}
	from, to := io.Pipe()
	go func() { _ = to.CloseWithError(copyFrom(path, stdin, to)) }()
	context.AfterFunc(ctx, func() { _ = to.CloseWithError(ctx.Err()) })
	return from, nil
}

// copyFrom copies what is at the path, or standard input.
func copyFrom(path string, stdin io.Reader, to io.Writer) error {
	from := stdin
	if path != standard {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		from = file
	}
	_, err := io.Copy(to, from)
	return err
}

// notBackup has a file that is none, or a damaged one, be wrong usage.
func notBackup(path string, err error) error {
	if errors.Is(err, core.ErrDamaged) || errors.Is(err, core.ErrInvalid) {
		return cli.Usagef("%s: %w", path, err)
	}
	return err
}

// readBackup reads a whole backup, unless ctx ends, and tells how far it is.
func (n *narrator) readBackup(ctx context.Context, what string, from io.Reader, each func(kv.Pair) error) (backup.Summary, error) {
	m := &meter{narrator: n, ctx: ctx, what: what, from: from, said: time.Now()}
	defer n.erase()
	return backup.Read(m, func(p kv.Pair) error {
		m.count()
		if each == nil {
			return nil
		}
		return each(p)
	}, nil)
}

// meter tells now and then how much of a backup has been read: on a terminal in one line
// that is rewritten.
type meter struct {
	*narrator
	ctx   context.Context
	what  string
	from  io.Reader
	bytes int64
	keys  int
	said  time.Time
}

// Read implements io.Reader. A read that waits for input is not interrupted.
func (m *meter) Read(b []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.from.Read(b)
	m.bytes += int64(n)
	return n, err
}

func (m *meter) count() {
	m.keys++
	every := remindEvery
	if m.live {
		every = redrawEvery
	}
	if time.Since(m.said) < every {
		return
	}
	m.said = time.Now()
	text := fmt.Sprintf("%s: %s, %.1f MB", m.what, cli.Count(m.keys, "key"), float64(m.bytes)/1e6)
	if !m.live {
		fmt.Fprintln(m.stderr, text)
		return
	}
	fmt.Fprintf(m.stderr, "\r\x1b[K%s", text)
	m.drawn = true
}
