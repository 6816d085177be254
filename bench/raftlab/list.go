package raftlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	programs "github.com/themilchenko/raftlab/bench/system/program"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/internal/visible"
)

// listWidth is that of a terminal that nobody has made wider.
const listWidth = 80

func newList(lab Lab) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the engines, backends and transports an experiment may name",
		Long: `List the engines, backends (log stores) and transports that an experiment may
name, with the version of the library behind each. "durable" says what survives
once a write has returned: nothing, os-buffer (a crash of the process, not of
the machine) or disk.

Some engines are programs of their own, in other languages: those that are there
are listed with their path, and what others need to be built is said below.
bin/raftlab-NAME describe tells all about one.`,
		Args: cli.Wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error { return list(c.Context(), c.OutOrStdout(), lab.Parts) },
	}
}

func list(ctx context.Context, w io.Writer, catalogs cluster.Catalogs) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	notes, err := listEngines(ctx, t, catalogs)
	if err != nil {
		return err
	}
	fmt.Fprintln(t, "\nBACKEND\tLIBRARY\tVERSION\tDURABLE\tOPTIONS")
	for name, b := range catalogs.Backends.All() {
		info, err := b.Info(core.Options{})
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, library(info.Library), version(info.Version), info.Durability, options(b.Options))
		if b.Available != nil {
			if err := b.Available(); err != nil {
				notes = append(notes, "not in this program: "+err.Error())
			}
		}
	}
	fmt.Fprintln(t, "\nTRANSPORT\tLIBRARY\tVERSION\tMOVES\tOPTIONS")
	for name, n := range catalogs.Transports.All() {
		info, err := n.Info(core.Options{})
		if err != nil {
			return err
		}
		moves := "structs in memory"
		switch {
		case info.Wire:
			moves = "bytes"
		case info.Remote:
			moves = "messages of its own"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, library(info.Library), version(info.Version), moves, options(n.Options))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(w, "\n%s\n", n)
	}
	return nil
}

// listEngines lists engines; notes say what is amiss.
func listEngines(ctx context.Context, w io.Writer, catalogs cluster.Catalogs) (notes []string, err error) {
	fmt.Fprintln(w, "ENGINE\tLIBRARY\tVERSION\tPROGRAM")
	var known []string // the options of each, which are too many for a column
	widest := 0
	for _, name := range catalogs.Engines.Names() {
		widest = max(widest, len(name))
	}
	add := func(name string, keys []string) {
		known = append(known, conf.Wrapped(fmt.Sprintf("%-*s  ", widest, name), options(keys), listWidth))
	}
	for name, e := range catalogs.Engines.All() {
		if e.Program == nil {
			engine, err := e.New(nil)
			if err != nil {
				return nil, err
			}
			d := engine.Describe()
			fmt.Fprintf(w, "%s\t%s\t%s\tkvnode\n", name, library(d.Library), d.Version)
			add(name, e.Schema().Keys())
			continue
		}
		d, err := programs.Describe(ctx, name, e.Program, nil)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			where := "fails"
			if errors.Is(err, programs.ErrMissing) {
				where = "not there"
			}
			fmt.Fprintf(w, "%s\t%s\t-\t%s\n", name, e.Program.Library, where)
			notes = append(notes, strings.TrimSuffix(conf.Wrapped("", err.Error(), listWidth), "\n"))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, library(d.Library), version(d.Version), visible.Text(near(d.Path)))
		add(name, d.Options())
	}
	fmt.Fprint(w, "\nOptions of engines, as [options.ENGINE] of an experiment has them:\n", strings.Join(known, ""))
	return notes, nil
}

// near is a path as it is from here, if that is shorter.
func near(path string) string {
	if here, err := os.Getwd(); err == nil {
		if to, err := filepath.Rel(here, path); err == nil && len(to) < len(path) {
			return to
		}
	}
	return path
}

// library shortens a module path to what tells it apart.
func library(path string) string {
	return cmp.Or(strings.TrimPrefix(path, "github.com/"), "(own)")
}

// version shortens a pseudo-version to its commit.
func version(v string) string {
	if parts := strings.Split(v, "-"); len(parts) == 3 {
		return parts[2]
	}
	return cmp.Or(v, "-")
}

func options(keys []string) string { return cmp.Or(strings.Join(keys, ", "), "-") }
