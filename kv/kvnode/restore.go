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
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		fmt.Fprint(stdout, restoreHelp)
		return exitOK
	}
	path, cfg, err := restoreArguments(known, args)
	if err == nil {
		err = seed(ctx, path, cfg, stdout)
	}
	return ended("kvnode restore", err, stderr)
}

// restoreArguments returns the backup and what the node will be started with. Its errors
// are core.ErrInvalid.
func restoreArguments(known cluster.Catalogs, args []string) (path string, cfg node.Config, err error) {
	if len(args) < 2 || args[0] == "" || args[0][0] == '-' {
		return "", cfg, fmt.Errorf("%w: the backup comes first: kvnode restore FILE [options] <raft-data-path>; see 'kvnode restore --help'", core.ErrInvalid)
	}
	c, err := newCommandLine(known)
	var s settings
	if err == nil {
		s, err = c.parse(args[1:])
	}
	if err == nil && (c.help || c.version || c.describe) {
		err = errors.New("--help, --version and --describe do not go with it; see 'kvnode restore --help'")
	}
	if err == nil && len(s.Join) > 0 {
		err = errors.New("--join: a new group is made; it is the others that join this node")
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", core.ErrInvalid, err)
	}
	return args[0], s.Config, err
}

// seed makes the state of the node that cfg is of, of the backup.
func seed(ctx context.Context, path string, cfg node.Config, stdout io.Writer) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no regular file: it is to be read twice", core.ErrInvalid, path)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", core.ErrInvalid, err)
	}
	defer file.Close()
	of, err := backup.Check(ctx, file)
	switch {
	case errors.Is(err, core.ErrDamaged): // the wrong file to give
		return fmt.Errorf("%w: %s: %w", core.ErrInvalid, path, err)
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	group, err := node.Seed(ctx, cfg, node.Beginning{Index: of.Index, Term: of.Term, Image: of})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Made group %s in %s: %d keys as of entry %d\nDigest of keys and values: %s\n", group, cfg.Data, of.Keys, of.Index, of.Content)
	if apart := of.Apart(); apart != "" {
		fmt.Fprintf(stdout, "Left out: %s\n", apart)
	}
	return err
}
