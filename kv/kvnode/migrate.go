package kvnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/node"
)

const migrateHelp = `Usage: kvnode migrate --to STORE [options] <raft-data-path>

Move the log of a node that does not run to another log store: all entries, the
term and the vote, each compared with the old one before the folder is switched
over. Start the node as before then, without --backend. Whenever it is
interrupted, by Ctrl-C, a crash or a power loss, the node has either the old log
or the new one, whole.

The old log is removed once the new one has taken its place; the two are on the
disk at the same time until then.

`

// migration is what its command line says.
type migration struct {
	to                     string
	keep                   bool
	fromOptions, toOptions optionSet
	data                   string
}

// migrateCommand is kvnode migrate.
func migrateCommand(known cluster.Catalogs, flags *pflag.FlagSet) *subcommand {
	m := &migration{}
	flags.StringVar(&m.to, "to", "", "`store` to move to: "+strings.Join(durable(known.Backends), ", "))
	flags.BoolVar(&m.keep, "keep", false, "leave the old log in the folder; kvnode does not use it any more")
	flags.Var(&m.fromOptions, "from-option", "option of the old store, such as map_size=1GiB; may be repeated")
	flags.Var(&m.toOptions, "to-option", "option of the new store, such as segment_size=16MiB; may be repeated")
	return &subcommand{
		about: migrateHelp, exits: "0 moved, 1 failed or interrupted, 2 wrong usage", flags: flags,
		check: func(args []string) error { return m.check(known, args) },
		run:   func(ctx context.Context, stdout, stderr io.Writer) error { return m.run(ctx, known, stdout, stderr) },
	}
}

// durable returns the names of the stores that survive a power loss.
func durable(c *backends.Catalog) []string {
	var names []string
	for name, b := range c.All() {
		if info, err := b.Info(nil); err == nil && info.Durability == core.DurableDisk {
			names = append(names, name)
		}
	}
	return names
}

func (m *migration) check(known cluster.Catalogs, args []string) error {
	if m.to == "" {
		return errors.New("--to is missing: name the store to move to")
	}
	if err := oneFolder(&m.data)(args); err != nil {
		return err
	}
	backend, err := known.Backends.Lookup(m.to)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if !slices.Contains(durable(known.Backends), m.to) {
		return fmt.Errorf("--to %s: it keeps nothing on the disk: want one of %s", m.to, strings.Join(durable(known.Backends), ", "))
	}
	return m.toOptions.check("--to-option", func(o core.Options) error {
		info, err := backend.Info(o)
		if err == nil && info.Durability != core.DurableDisk {
			err = errors.New("the copy would not survive a power loss, and the old log is removed")
		}
		return err
	})
}

// run moves the log, and says how far it is once a second.
func (m *migration) run(ctx context.Context, known cluster.Catalogs, stdout, stderr io.Writer) error {
	begun := time.Now()
	said := begun
	done, err := node.Migrate(ctx, node.Migration{
		Data: m.data, To: m.to, Keep: m.keep,
		Open: func(name, dir string) (core.LogStore, error) {
			options := m.fromOptions
			if name == m.to {
				options = m.toOptions
			}
			return openStore(known, name, dir, options)
		},
		Progress: func(what string, done, all uint64) {
			if time.Since(said) >= time.Second {
				said = time.Now()
				fmt.Fprintf(stderr, "%s %d of %d entries (%d %%)\n", what, done, all, 100*done/all)
			}
		},
	})
	if err != nil {
		return err
	}
	if done.Passed > 0 {
		fmt.Fprintf(stdout, "Left out are %d entries before a gap, which a snapshot has taken the place of.\n", done.Passed)
	}
	what := "an empty log"
	if done.Last > 0 {
		what = fmt.Sprintf("entries %d to %d", done.First, done.Last)
	}
	fmt.Fprintf(stdout, "Moved the log of %s from %s to %s: %s, in %v.\n", done.ID, done.From, m.to, what, time.Since(begun).Round(time.Millisecond))
	if done.Kept != "" {
		fmt.Fprintf(stdout, "The old log is left in %s.\n", done.Kept)
	}
	return nil
}
