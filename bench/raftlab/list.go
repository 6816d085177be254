package raftlab

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
)

func newList(lab Lab) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the engines, backends and transports an experiment may name",
		Long: `List the engines, backends (log stores) and transports that an experiment may
name, with the version of the library behind each. "durable" says what survives
once a write has returned: nothing, os-buffer (a crash of the process, not of
the machine) or disk.`,
		Args: cli.Wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error { return list(c.OutOrStdout(), lab.Parts) },
	}
}

func list(w io.Writer, catalogs cluster.Catalogs) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ENGINE\tLIBRARY\tVERSION\tOPTIONS")
	for name, e := range catalogs.Engines.All() {
		engine, err := e.New(nil)
		if err != nil {
			return err
		}
		d := engine.Describe()
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, library(d.Library), d.Version, options(e.Schema().Keys()))
	}
	fmt.Fprintln(t, "\nBACKEND\tLIBRARY\tVERSION\tDURABLE\tOPTIONS")
	var notes []string
	for name, b := range catalogs.Backends.All() {
		info, err := b.Info(core.Options{})
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, library(info.Library), version(info.Version), info.Durability, options(b.Options))
		if b.Available != nil {
			if err := b.Available(); err != nil {
				notes = append(notes, err.Error())
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
		fmt.Fprintf(w, "\nnot in this program: %s\n", n)
	}
	return nil
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
