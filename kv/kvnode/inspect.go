package kvnode

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/node"
)

const inspectHelp = `Usage: kvnode inspect [options] <raft-data-path>

Print what the folder of a node that does not run says of itself: whose data it
holds, of which group, which program made it and which has written to it last,
the log store, the members as last known, the extent of log and snapshot, and
what is left of a migration or a recovery. The log is read to its end.

Nothing in the folder is written, nor need it be writable.
` + readsCopy + "\n"

// inspection is what its command line says.
type inspection struct {
	data    string
	json    bool
	options *optionSet
}

// inspectCommand is kvnode inspect.
func inspectCommand(known cluster.Catalogs, flags *pflag.FlagSet) *subcommand {
	i := &inspection{options: storeOptions(flags)}
	flags.BoolVar(&i.json, "json", false, "print one object of JSON")
	return &subcommand{
		about: inspectHelp, exits: "0 all was read, 1 failed, or the log is lost or damaged, 2 wrong usage", flags: flags,
		check: oneFolder(&i.data),
		run: func(ctx context.Context, stdout, _ io.Writer) error {
			found, err := node.Inspect(ctx, i.data, parts(known, i.options))
			if err != nil {
				return err
			}
			return i.print(found, stdout)
		},
	}
}

func (i *inspection) print(found node.Inspection, stdout io.Writer) error {
	var err error
	if i.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(found)
	} else {
		table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		for _, line := range describeFolder(found) {
			fmt.Fprintln(table, strings.Join(line, "\t"))
		}
		err = table.Flush()
	}
	if err == nil && found.Damage != "" {
		err = errors.New(found.Damage)
	}
	return err
}

// unnoted is what was written by programs that did not say so.
const unnoted = "not noted"

// describeFolder returns lines of a name and a value.
func describeFolder(f node.Inspection) [][]string {
	lines := [][]string{
		{"node", f.ID},
		{"incarnation", cmp.Or(f.Incarnation, unnoted)},
		{"engine", f.Engine},
		{"store", fmt.Sprintf("%s, in %s", f.Store, f.Log)},
		{"created", f.Created.UTC().Format(time.RFC3339)},
		{"created by", cmp.Or(f.CreatedBy, unnoted)},
		{"last written by", cmp.Or(f.WrittenBy, unnoted)},
		{"format", fmt.Sprintf("%d of node.json", f.Format)},
	}
	if f.Raft != nil {
		lines = append(lines, describeLog(*f.Raft)...)
	}
	for i, id := range slices.Sorted(maps.Keys(f.Nodes)) {
		lines = append(lines, []string{only(i == 0, "HTTP of"), id + "  " + f.Nodes[id]})
	}
	for _, r := range f.Recovered {
		lines = append(lines, []string{"recovered", fmt.Sprintf("%s from group %s, as of entry %d of term %d",
			r.At.UTC().Format(time.RFC3339), r.From, r.Index, r.Term)})
	}
	if len(f.Kept) > 0 {
		lines = append(lines, []string{"kept, not used", strings.Join(f.Kept, ", ")})
	}
	if f.Discard != "" {
		lines = append(lines, []string{"to be removed", f.Discard + ", at the next start"})
	}
	return lines
}

func describeLog(l node.InspectedLog) [][]string {
	log := "no entries"
	if l.First > 0 {
		log = fmt.Sprintf("entries %d to %d, the last of term %d", l.First, l.Last, l.LastTerm)
	}
	committed := unnoted
	if l.CommittedIndex > 0 {
		committed = fmt.Sprintf("up to entry %d at least", l.CommittedIndex)
	}
	snapshot := "none"
	if l.SnapshotIndex > 0 {
		snapshot = fmt.Sprintf("up to entry %d of term %d", l.SnapshotIndex, l.SnapshotTerm)
	}
	lines := [][]string{
		{"group", cmp.Or(l.Group, "none")},
		{"term", fmt.Sprint(l.Term)},
		{"log", log},
		{"committed", committed},
		{"snapshot", snapshot},
	}
	for i, m := range l.Members {
		name := core.Identity{ID: m.ID, Incarnation: m.Incarnation}.String()
		lines = append(lines, []string{only(i == 0, fmt.Sprintf("members, entry %d", l.MembersIndex)),
			fmt.Sprintf("%s  %s  at %s", name, map[bool]string{true: "voter", false: "nonvoter"}[m.Voter], m.Address)})
	}
	return lines
}

// only is the text where it is to be.
func only(where bool, text string) string {
	if where {
		return text
	}
	return ""
}
