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
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/kv/node"
)

const dumpHelp = `Usage: kvnode dump [options] <raft-data-path>

Print what the folder of a node that does not run holds, by its snapshot and its log,
whatever has become of its group. The folder is not changed.

One line of JSON for each key, in order:

  {"key":"fruit","value":"pear","index":12,"committed":true}

index is that of the log entry that set it. committed is false where the node, as far as
its disk knows, never learned that this entry was committed: it may count or not. A key
that such an entry deletes comes after the others, as it was before, with "deleted":true.
A key or value that is no UTF-8 stands in key_base64 or value_base64 instead.

What is printed to standard error sums it up. Where the log is damaged, what comes before
the damage is printed, and the exit code is 1.

`

// dumping is what its command line says.
type dumping struct {
	data, out string
	committed bool
	options   *optionSet
}

// dumpCommand is kvnode dump.
func dumpCommand(known cluster.Catalogs, flags *pflag.FlagSet) *subcommand {
	d := &dumping{options: storeOptions(flags)}
	flags.StringVar(&d.out, "out", "", "write to this new `file`, not to standard output")
	flags.BoolVar(&d.committed, "committed", false, "leave out what is not known to be committed")
	return &subcommand{
		about: dumpHelp, exits: "0 all was printed, 1 failed, or the log is damaged, 2 wrong usage", flags: flags,
		check: oneFolder(&d.data),
		run:   func(_ context.Context, stdout, stderr io.Writer) error { return d.run(known, stdout, stderr) },
	}
}

func (d *dumping) run(known cluster.Catalogs, stdout, stderr io.Writer) error {
	left, err := node.ReadLeft(d.data, parts(known, d.options))
	if err != nil {
		return err
	}
	if d.committed {
		left.All, left.LastIndex = left.Committed, min(left.LastIndex, left.CommittedIndex)
	}
	unsure, err := d.write(left, stdout)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%s of group %s: %d keys as of entry %d\n", left.ID, left.Group, left.All.Len(), left.LastIndex)
	if left.LastIndex > left.CommittedIndex {
		fmt.Fprintf(stderr, "Never known to be committed: entries %d to %d, by which %d keys were changed\n", left.CommittedIndex+1, left.LastIndex, unsure)
	}
	if left.Damage != nil {
		return fmt.Errorf("%s: entries after %d are left out: %w", d.data, left.LastIndex, left.Damage)
	}
	return nil
}

// write prints the keys, and returns how many of them are not known to be committed.
func (d *dumping) write(left *node.Left, stdout io.Writer) (unsure int, err error) {
	to := stdout
	if d.out != "" {
		f, err := os.OpenFile(d.out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return 0, fmt.Errorf("--out: %w", err)
		}
		defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
		to = f
	}
	buffer := bufio.NewWriter(to)
	lines := json.NewEncoder(buffer)
	lines.SetEscapeHTML(false)
	line := func(p kv.Pair, committed, deleted bool) error {
		if !committed || deleted {
			unsure++
		}
		return lines.Encode(dumped{httpapi.PairOf(p), committed, deleted})
	}
	for p := range pairs(left.All) {
		if err := line(p, p.Index <= left.CommittedIndex, false); err != nil {
			return unsure, err
		}
	}
	for p := range pairs(left.Committed) {
		if _, _, there := left.All.Get(p.Key); !there {
			if err := line(p, true, true); err != nil {
				return unsure, err
			}
		}
	}
	return unsure, buffer.Flush()
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
