package kvnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/backup"
	"github.com/themilchenko/raftlab/kv/node"
)

// restoreWord is the first word of the command line that makes a new group of a backup.
const restoreWord = "restore"

const restoreHelp = `Usage: kvnode restore FILE [options] <raft-data-path>

Make, in a new folder, the first member of a new group that begins with a
backup: with its keys, their indexes and the log's index. FILE is read to its
end and checked first. The options are those of kvnode: give what the node will
be started with. Then start it with the same, and others with --join, in new
folders.

  kvnode restore monday.backup --id n1 --raddr 127.0.0.1:12000 var/n1
  kvnode --id n1 --raddr 127.0.0.1:12000 var/n1

A group that runs takes a backup by 'clusterctl restore FILE'.

Exit codes: 0 made, 1 failed, 2 wrong usage, or FILE is no whole backup.
`

// restore is kvnode restore, and returns the exit code.
func restore(ctx context.Context, known cluster.Catalogs, args []string, stdout, stderr io.Writer) int {
	code, err := seed(ctx, known, args, stdout)
	switch {
	case err == nil:
		return exitOK
	case code == exitFailed && (errors.Is(err, core.ErrInvalid) || errors.Is(err, core.ErrDamaged)):
		code = exitUsage
	}
	fmt.Fprintln(stderr, "kvnode restore:", err)
	return code
}

func seed(ctx context.Context, known cluster.Catalogs, args []string, stdout io.Writer) (code int, err error) {
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		_, err := fmt.Fprint(stdout, restoreHelp)
		return exitFailed, err
	}
	if len(args) < 2 || args[0] == "" || args[0][0] == '-' {
		return exitUsage, errors.New("the backup comes first: kvnode restore FILE [options] <raft-data-path>; see 'kvnode restore --help'")
	}
	c, err := newCommandLine(known)
	if err != nil {
		return exitUsage, err
	}
	s, err := c.parse(args[1:])
	if err == nil && (c.help || c.version || c.describe) {
		err = errors.New("--help, --version and --describe do not go with it; see 'kvnode restore --help'")
	}
	if err == nil && len(s.Join) > 0 {
		err = errors.New("--join: a new group is made; it is the others that join this node")
	}
	if err != nil {
		return exitUsage, err
	}
	file, err := os.Open(args[0])
	if err != nil {
		return exitUsage, err
	}
	defer file.Close()
	m, of, err := backup.Load(file)
	if err != nil {
		return exitFailed, fmt.Errorf("%s: %w", args[0], err)
	}
	group, err := node.Seed(ctx, s.Config, m, of.Term)
	if err != nil {
		return exitFailed, err
	}
	_, err = fmt.Fprintf(stdout, "Made group %s in %s: %d keys as of entry %d\nDigest of keys and values: %s\n", group, s.Data, of.Keys, of.Index, of.Content)
	if apart := of.Apart(); apart != "" {
		fmt.Fprintf(stdout, "Left out: %s\n", apart)
	}
	return exitFailed, err
}
