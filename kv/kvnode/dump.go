package kvnode

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/ctxio"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/backup"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/kv/node"
)

const dumpHelp = `Usage: kvnode dump [options] <raft-data-path>

Print what the folder of a node that does not run holds, by its snapshot and its
log, whatever has become of its group. The folder is not changed, and may be
read-only.
` + readsCopy + `
One line of JSON for each key, in order:

  {"key":"fruit","value":"pear","index":12,"committed":true}

index is that of the log entry that set it. committed is false where the node,
as far as its disk knows, never learned that this entry was committed: it may
count or not. A key that such an entry deletes comes after the others, as it was
before, with "deleted":true. A key or value that is no UTF-8 stands in
key_base64 or value_base64 instead.

With --format backup such entries stand apart, and no restore takes them: so a
node that has taken no snapshot may give an empty backup. --all has them count,
as 'kvnode recover' does.

What is printed to standard error sums it up. Where the log is damaged, what
comes before the damage is printed, and where it is lost, or cannot be opened,
the snapshot; the exit code is 1.

`

// dumping is what its command line says, and what has come of it.
type dumping struct {
	data, out, format string
	committed, all    bool
	options           *optionSet

	last   uint64 // entry that was read
	damage error  // behind it
}

// Formats of a dump.
const (
	asLines  = "jsonl"
	asBackup = "backup"
)

// dumpCommand is kvnode dump.
func dumpCommand(known cluster.Catalogs, flags *pflag.FlagSet) *subcommand {
	d := &dumping{options: storeOptions(flags)}
	flags.StringVar(&d.out, "out", "", "write to this new `file`, not to standard output")
	flags.StringVar(&d.format, "format", asLines, "jsonl, or backup: a file that 'clusterctl restore' and 'kvnode restore' take, with what is not known to be committed apart")
	flags.BoolVar(&d.committed, "committed", false, "leave out what is not known to be committed")
	flags.BoolVar(&d.all, "all", false, "of a backup: what is not known to be committed counts")
	return &subcommand{
		about: dumpHelp, exits: "0 all was printed, 1 failed, or the log is lost or damaged, 2 wrong usage", flags: flags,
		check: func(args []string) error {
			if d.format != asLines && d.format != asBackup {
				return fmt.Errorf("--format %s: want %s or %s", d.format, asLines, asBackup)
			}
			if d.all && (d.committed || d.format != asBackup) {
				return fmt.Errorf("--all is for --format %s, without --committed", asBackup)
			}
			return oneFolder(&d.data)(args)
		},
		run: func(ctx context.Context, stdout, stderr io.Writer) error { return d.run(ctx, known, stdout, stderr) },
	}
}

func (d *dumping) run(ctx context.Context, known cluster.Catalogs, stdout, stderr io.Writer) (err error) {
	left, err := node.OpenLeft(ctx, d.data, parts(known, d.options))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, left.Close()) }()
	m, damage := left.Committed()
	if m == nil {
		return damage
	}
	image := m.Image()
	d.last, d.damage = image.Index(), damage
	image.Release()
	if err := d.write(ctx, left, m, stdout); err != nil {
		return err
	}
	group := "no known group"
	if left.Group != "" {
		group = "group " + left.Group
	}
	fmt.Fprintf(stderr, "%s of %s, as of entry %d\n", left.ID, group, d.last)
	if d.last > left.CommittedIndex {
		fmt.Fprintf(stderr, "Never known to be committed: entries %d to %d%s\n", left.CommittedIndex+1, d.last, d.fate())
	}
	if d.damage != nil {
		return fmt.Errorf("%s: entries after %d are left out: %w", d.data, d.last, d.damage)
	}
	return nil
}

// doubtful are the entries of what is left that are wanted and not known to be committed,
// up to what is damaged.
func (d *dumping) doubtful(left *node.Left) iter.Seq2[core.Remnant, error] {
	return func(yield func(core.Remnant, error) bool) {
		if d.committed || d.damage != nil {
			return
		}
		for e, err := range left.Doubtful() {
			if err != nil {
				d.damage = err
				return
			}
			if d.last = e.Index; !yield(e, nil) {
				return
			}
		}
	}
}

// fate says what becomes of such entries in a backup.
func (d *dumping) fate() string {
	switch {
	case d.format != asBackup:
		return ""
	case d.all:
		return ", which count"
	}
	return "\nThe backup has them apart, and a restore leaves them out; with --all they count"
}

// write writes all to standard output, or to a file that appears once it is whole.
func (d *dumping) write(ctx context.Context, left *node.Left, m *kv.Store, stdout io.Writer) error {
	dump := func(to io.Writer) error {
		buffer := bufio.NewWriter(ctxio.Writer(ctx, to))
		return errors.Join(d.writeTo(buffer, left, m), buffer.Flush())
	}
	if d.out == "" {
		return dump(stdout)
	}
	if _, err := os.Lstat(d.out); err == nil {
		return fmt.Errorf("%w: --out: there is a file %s already: give another name", core.ErrInvalid, d.out)
	}
	if err := atomicfile.WriteFrom(d.out, dump); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

func (d *dumping) writeTo(to io.Writer, left *node.Left, m *kv.Store) error {
	if d.format != asBackup {
		return d.writeLines(to, m, d.doubtful(left), left.CommittedIndex)
	}
	doubtful := d.doubtful(left)
	if d.all {
		apply(m, doubtful)
		doubtful = nil
	}
	image := m.Image()
	defer image.Release()
	of := backup.Header{Group: left.Group, Term: left.Term, Node: left.ID, Engine: left.Engine, Version: node.Version()}
	_, err := backup.Write(to, of, image, doubtful)
	return err
}

// writeLines writes the map with the entries that are not known to be committed, and then
// the keys that these delete.
func (d *dumping) writeLines(to io.Writer, m *kv.Store, doubtful iter.Seq2[core.Remnant, error], committed uint64) error {
	all := m.Clone()
	apply(all, doubtful)
	lines := json.NewEncoder(to)
	lines.SetEscapeHTML(false)
	for p := range pairs(all) {
		if err := lines.Encode(dumped{httpapi.PairOf(p), p.Index <= committed, false}); err != nil {
			return err
		}
	}
	for p := range pairs(m) {
		if _, _, there := all.Get(p.Key); there {
			continue
		}
		if err := lines.Encode(dumped{httpapi.PairOf(p), true, true}); err != nil {
			return err
		}
	}
	return nil
}

// apply has a map take in entries.
func apply(m *kv.Store, entries iter.Seq2[core.Remnant, error]) {
	for e := range entries {
		if e.Command != nil {
			m.Apply(e.Index, e.Command)
		}
	}
}

// dumped is a line.
type dumped struct {
	api.Pair
	Committed bool `json:"committed"`
	Deleted   bool `json:"deleted,omitempty"`
}

// pairs are all of a map that nothing is applied to meanwhile.
func pairs(store *kv.Store) iter.Seq[kv.Pair] {
	const page = 1024
	return func(yield func(kv.Pair) bool) {
		after := ""
		for {
			some := store.Scan("", after, page)
			for _, p := range some {
				if !yield(p) {
					return
				}
				after = p.Key
			}
			if len(some) < page {
				return
			}
		}
	}
}
