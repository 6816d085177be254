package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/prompt"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	// restoreTimeout is how long the cluster may take for a part: it may have to elect a
	// leader meanwhile.
	restoreTimeout = 30 * time.Second
	// partBytes is about how large a part of a restore is. A larger value goes alone.
	partBytes = 1 << 20
)

type restoreFlags struct {
	timeout time.Duration
	yes     bool
	asNew   bool
	options process.Options
}

func newRestore(m *manager) *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use:   "restore FILE | --new FILE",
		Short: "Replace all keys by those of a backup, or begin with it",
		Long: `Replace the map of the running cluster by that of a backup, all or nothing. The
file, or with "-" standard input, is read to its end and checked before anything
changes; until then its keys are gathered beside the map, which takes memory for
both. Then one entry of the log puts them in its place, on every node.

Reads and writes go on meanwhile; what is written until then is replaced, too.
The membership stays as it is. A leader that dies is waited for; where the
command fails or is interrupted nothing has changed, but for exit code 3: then
nobody knows, and 'clusterctl backup -' tells by its digest.

All members have to run, with a kvnode that knows restores. It asks before it
replaces keys that are there; without a terminal it wants --yes.

--new is for a cluster whose nodes have no data yet: it begins with the backup,
where the log of its group ended, so that the keys keep the indexes of their
changes. One node is made of the file, all are started, and the others join.

  clusterctl restore --yes monday.backup
  clusterctl init --out other.yaml --data-dir other
  clusterctl -c other.yaml restore --new monday.backup`,
		Args: cli.Wants(1, 1, "a file"),
	}
	c.ValidArgsFunction = completeFile
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "replace what is there without asking")
	c.Flags().DurationVar(&f.timeout, "timeout", restoreTimeout, "give up once nothing has gone on for this time")
	c.Flags().BoolVar(&f.asNew, "new", false, "begin a cluster without data with it, and start it")
	addReadyTimeout(c, &f.options, readyTimeout)
	c.RunE = m.toStart(&f.options, func(ctx context.Context, s *session, args []string) error {
		if err := checkTimeout(f.timeout); err != nil {
			return err
		}
		if f.asNew {
			return s.beginWith(ctx, args[0])
		}
		nodes, err := s.client(ctx, "", f.timeout)
		if err != nil {
			return err
		}
		return errors.Join(s.restore(ctx, nodes, &f, c.InOrStdin(), args[0]), nodes.Close())
	})
	return c
}

// beginWith starts a cluster without data with a backup.
func (s *session) beginWith(ctx context.Context, path string) error {
	if path == standard {
		return cli.Usagef("--new takes a file, not standard input")
	}
	file, err := openBackup(ctx, path, nil)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, again := file.(io.Seeker); !again {
		return cli.Usagef("--new takes a regular file, which %s is not: it is read more than once", path)
	}
	if _, err := s.readBackup(ctx, "Check", file, nil); err != nil {
		return notBackup(path, err)
	}
	said, err := s.cluster.Seed(ctx, path)
	if errors.Is(err, process.ErrHasData) {
		return cli.Usagef("%w: leave --new out to replace its keys while it runs: %s", err, s.command("restore "+path))
	}
	if err != nil {
		return err
	}
	fmt.Fprint(s.stdout, said)
	return start(ctx, s, nil)
}

// restore replaces the map by the backup.
func (s *session) restore(ctx context.Context, nodes *client.Client, f *restoreFlags, stdin io.Reader, path string) error {
	file, err := openBackup(ctx, path, stdin)
	if err != nil {
		return err
	}
	defer file.Close()
	what := "the backup"
	if again, ok := file.(io.Seeker); ok { // what is wrong with it shows before the cluster has any work
		checked, err := s.readBackup(ctx, "Check", file, nil)
		if err != nil {
			return notBackup(path, err)
		}
		what = fmt.Sprintf("%s, with %s", path, cli.Count(int(checked.Keys), "key"))
		if _, err := again.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	if err := s.membersAnswer(ctx, nodes); err != nil {
		return err
	}
	if path == standard {
		stdin = nil // there is nobody to ask on it
	}
	if !f.yes {
		if err := s.mayOverwrite(ctx, nodes, stdin, what); err != nil {
			return err
		}
	}
	return s.restoreFrom(ctx, nodes, file, path)
}

// restorer is what a restore needs of a client.
type restorer interface {
	RestorePart(ctx context.Context, restore string, part int, pairs []byte) error
	RestoreCommit(ctx context.Context, restore string, keys uint64, content [32]byte) (index uint64, err error)
	RestoreForget(ctx context.Context, restore string) error
}

// restoreFrom replaces the map by the backup that is read from file.
func (s *session) restoreFrom(ctx context.Context, to restorer, file io.Reader, path string) error {
	begun := time.Now()
	r := &restoring{ctx: ctx, to: to, id: core.NewIncarnation()}
	done, err := s.readBackup(ctx, "Restore", file, r.pair)
	if err == nil {
		err = r.send()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the map is as it was: %w", notBackup(path, err)), r.forget())
	}
	index, err := to.RestoreCommit(ctx, r.id, done.Keys, done.Content)
	switch {
	case errors.Is(err, client.ErrCondition):
		return fmt.Errorf("the map was not replaced: %w", err)
	case err != nil:
		return err
	}
	fmt.Fprintf(s.stdout, "%s\nDigest of keys and values: %s\n", took(fmt.Sprintf("Restored at index %d", index), done, begun), done.Content)
	if apart := done.Apart(); apart != "" {
		fmt.Fprintf(s.stdout, "Left out: %s\n", apart)
	}
	return nil
}

// membersAnswer refuses at once what the leader would refuse in the end: a member that cannot
// be asked whether it knows restores.
func (s *session) membersAnswer(ctx context.Context, nodes *client.Client) error {
	members, err := nodes.Members(ctx)
	if err != nil {
		return err
	}
	var silent []string
	for _, now := range s.cluster.Status(ctx) {
		alias := now.Node.Alias
		if now.Status == nil && slices.ContainsFunc(members, func(m api.Member) bool { return m.ID == alias }) {
			silent = append(silent, alias)
		}
	}
	if len(silent) == 0 {
		return nil
	}
	return fmt.Errorf("nothing was changed: a restore wants all members, and there is no answer of %s: %s, or take it out of the group: %s",
		strings.Join(silent, ", "), s.command("start "+strings.Join(silent, " ")), s.command("members remove "+silent[0]))
}

// mayOverwrite asks, on a terminal, whether keys that are there may be replaced.
func (s *session) mayOverwrite(ctx context.Context, nodes *client.Client, stdin io.Reader, what string) error {
	page, err := nodes.Scan(ctx, "", "", 1, client.Linearizable)
	if err != nil || len(page.Pairs) == 0 {
		return err
	}
	status, err := nodes.Status(ctx)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("The map holds %s. They are replaced by %s.", cli.Count(status.Me.Keys, "key"), what)
	if !prompt.Terminal(stdin) {
		return cli.Usagef("%s To go on, give --yes", question)
	}
	yes, err := prompt.Yes(ctx, stdin, s.stderr, question+" Go on?")
	if err == nil && !yes {
		err = errors.New("nothing was changed")
	}
	return err
}

// restoring sends a backup part by part.
type restoring struct {
	ctx   context.Context
	to    restorer
	id    string
	part  int
	pairs []byte
}

// pair takes in one key more.
func (r *restoring) pair(p kv.Pair) error {
	if more := len(p.Key) + len(p.Value); len(r.pairs) > 0 && len(r.pairs)+more > partBytes {
		if err := r.send(); err != nil {
			return err
		}
	}
	r.pairs = kv.AppendPair(r.pairs, p.Key, p.Value)
	return nil
}

// send sends what has been gathered. The first part goes out also where it is empty.
func (r *restoring) send() error {
	if len(r.pairs) == 0 && r.part > 0 {
		return nil
	}
	if err := r.to.RestorePart(r.ctx, r.id, r.part, r.pairs); err != nil {
		return err
	}
	r.part, r.pairs = r.part+1, r.pairs[:0]
	return nil
}

const forgetTime = 5 * time.Second

// forget drops what was gathered of the restore, also once ctx has ended.
func (r *restoring) forget() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), forgetTime)
	defer cancel()
	return r.to.RestoreForget(ctx, r.id)
}
