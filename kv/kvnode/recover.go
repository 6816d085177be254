package kvnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/prompt"
	"github.com/themilchenko/raftlab/kv/node"
)

const recoverHelp = `Usage: kvnode recover [options] <raft-data-path>...

Make a new group of what is left of one that has lost the majority of its voters
for good. Give the folders of all nodes that are left; none of them may run. The
state of the newest log counts: it has all that was acknowledged by a majority
with one of these nodes. What may be missing all the same, and what is dropped,
is listed before anything is written.
` + readsCopy + `
The nodes of these folders are the voters of the new group, which has an id of
its own: members of the old one that come back are turned away. Add them, or
others, in new folders.

The log and the snapshots of before stay in the folders. Whenever it is
interrupted, by Ctrl-C, a crash or a power loss, all nodes have the old state or
all the new one; to give the same command again ends it.

While a majority is there, start these nodes instead.

`

// recovery is what its command line says.
type recovery struct {
	node.Recovery
	dryRun, yes bool
}

// recoverCommand is kvnode recover.
func recoverCommand(known cluster.Catalogs, flags *pflag.FlagSet) *subcommand {
	r := &recovery{}
	r.Parts = parts(known, storeOptions(flags))
	flags.Var((*peerList)(&r.Members), "members", "Raft addresses `id=host:port,...` of the new group's members, which are those of the given folders; by default those they last had")
	flags.BoolVar(&r.dryRun, "dry-run", false, "say what it would do, and write nothing")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	return &subcommand{
		about: recoverHelp, exits: "0 recovered, 1 failed or not confirmed, 2 wrong usage, or there is\nnothing to recover", flags: flags,
		check: r.check,
		run:   func(ctx context.Context, stdout, _ io.Writer) error { return r.run(ctx, stdout) },
	}
}

func (r *recovery) check(args []string) error {
	if r.Dirs = args; len(args) == 0 {
		return errors.New("want the folders of the nodes that are left")
	}
	return nil
}

var errDeclined = errors.New("not confirmed: nothing was changed")

func (r *recovery) run(ctx context.Context, stdout io.Writer) error {
	r.Confirm = func(plan node.RecoveryPlan) error {
		var list bytes.Buffer
		writePlan(&list, plan)
		if _, err := list.WriteTo(stdout); err != nil { // nothing is lost that nobody was told of
			return fmt.Errorf("nothing was changed: %w", err)
		}
		return r.confirm(ctx, stdout)
	}
	plan, err := node.Recover(ctx, r.Recovery)
	switch {
	case r.dryRun && errors.Is(err, errDryRun):
		return nil
	case errors.Is(err, node.ErrRecovered):
		fmt.Fprintf(stdout, "These nodes are recovered already, as group %s, made %s.\n", plan.Becomes.Group, plan.Becomes.At.Format("2006-01-02 15:04:05 MST"))
	case err != nil:
		return err
	default:
		fmt.Fprintf(stdout, "Recovered as group %s. The state of before is kept:\n", plan.Becomes.Group)
		for _, s := range plan.Survivors {
			fmt.Fprintf(stdout, "  %s\n", strings.Join(within(s.Dir, s.Kept), ", "))
		}
	}
	fmt.Fprintf(stdout, "The group is %s now: start these as before, and then others, in empty\nfolders, which join them.\n", names(plan.Members))
	return nil
}

var errDryRun = errors.New("nothing was written")

// confirm asks whether to go on, where somebody is there to answer.
func (r *recovery) confirm(ctx context.Context, stdout io.Writer) error {
	switch {
	case r.dryRun:
		return errDryRun
	case r.yes:
		return nil
	case !prompt.Terminal(os.Stdin):
		return fmt.Errorf("%w: there is no terminal to ask on: give --yes to go on, or --dry-run to see no more than this", core.ErrInvalid)
	}
	yes, err := prompt.Yes(ctx, os.Stdin, stdout, "\nRecover?")
	if err == nil && !yes || ctx.Err() != nil {
		err = errDeclined
	}
	return err
}

func within(dir string, folders []string) (paths []string) {
	for _, f := range folders {
		paths = append(paths, filepath.Join(dir, f))
	}
	return paths
}

func names(members []core.Member) string {
	var ids []string
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, ", ")
}

// writePlan says what a recovery would do, as DIR… of the command line tell it.
func writePlan(w *bytes.Buffer, p node.RecoveryPlan) {
	newest := p.Survivors[0]
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "LAST TERM\tLAST INDEX\tSNAPSHOT\tCOMMITTED\t  NODE\n")
	for _, s := range p.Survivors {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t  %s\n", s.LastTerm, s.LastIndex, s.SnapshotIndex, s.CommittedIndex, s.ID)
	}
	_ = table.Flush()
	why := "its log ends in the latest term,\nand of those that do, at the highest index"
	if len(p.Survivors) == 1 {
		why = "there is no other"
	}
	fmt.Fprintf(w, "\nThe state of %s counts: %s.\n", newest.ID, why)
	fmt.Fprintf(w, "\nGroup %s had these voters: %s\n", p.Becomes.From, voters(p.Former))
	fmt.Fprintf(w, "Group %s will have these:\n", p.Becomes.Group)
	for _, m := range p.Members {
		fmt.Fprintf(w, "  %s at %s\n", m.ID, m.Address)
	}
	if len(p.Unsure) > 0 {
		fmt.Fprintf(w, "\nKept, though no survivor knew them to be committed:\n")
		writeSpans(w, "", p.Unsure)
	}
	dropped := "\nDropped: they contradict the newest log, so were never committed:\n"
	for _, s := range p.Survivors {
		if len(s.Dropped) > 0 {
			fmt.Fprint(w, dropped)
			writeSpans(w, s.ID+": ", s.Dropped)
			dropped = ""
		}
	}
	writeMissing(w, p)
}

// writeMissing says what only members that are lost can have acknowledged. In a term after
// the newest log's last it may stand in place of what is not known to be committed.
func writeMissing(w io.Writer, p node.RecoveryPlan) {
	if p.Complete {
		fmt.Fprint(w, "\nNothing that was acknowledged is missing: each majority had one of these nodes.\n")
		return
	}
	newest, later := p.Survivors[0], "any entries"
	if p.Committed > 0 {
		later = fmt.Sprintf("entries after %d", p.Committed)
	}
	fmt.Fprintf(w, `
May be missing, if a majority without any of these nodes acknowledged them:
  entries after %d of term %d
  %s of later terms
All that a majority with one of these nodes acknowledged is kept.
`, newest.LastIndex, newest.LastTerm, later)
}

func writeSpans(w io.Writer, whose string, spans []node.Span) {
	for _, s := range spans {
		if s.First == s.Last {
			fmt.Fprintf(w, "  %sentry %d of term %d\n", whose, s.First, s.Term)
			continue
		}
		fmt.Fprintf(w, "  %sentries %d to %d of term %d\n", whose, s.First, s.Last, s.Term)
	}
}

func voters(members []core.Member) string {
	var such []core.Member
	for _, m := range members {
		if m.Voter {
			such = append(such, m)
		}
	}
	return names(such)
}
