package raftlab

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/conf"
)

// newExperimentHelp is a topic of help, not a command.
func newExperimentHelp(lab Lab) *cobra.Command {
	c := &cobra.Command{Use: "experiment", Short: "What an experiment file may say"}
	c.SetHelpFunc(func(c *cobra.Command, _ []string) {
		w := c.OutOrStdout()
		fmt.Fprint(w, "What an experiment file may say: each key with its default and what it takes.\nThe same as a page: docs/experiment.md\n")
		conf.WriteHelp(w, reference(lab), widthOf(w))
	})
	return c
}

// reference describes the experiment file with the parts and kinds of a lab.
func reference(lab Lab) []conf.Section {
	catalogs, known := lab.Parts, lab.known()
	schema := experiment.Schema(known)
	table := func(name, title, text string) conf.Section {
		return conf.Section{Title: title, Text: text, Schema: schema, Table: name}
	}
	sections := []conf.Section{
		table("", "At the top", "The comment that the file begins with is the question that the report answers."),
		table("cluster", "[cluster]", ""),
	}
	for name, e := range catalogs.Engines.All() {
		if p := e.Program; p != nil {
			sections = append(sections, conf.Section{Title: "[options." + name + "]", Schema: &conf.Schema{}, Text: fmt.Sprintf(
				"%s, is a program of its own, %s, which brings its log store and transport: with mode = \"process\" and client = \"resp\". "+
					"What it takes here and of [raft], with its defaults, it tells itself: bin/%s describe.", p.Library, p.FileName(name), p.FileName(name))})
			continue
		}
		text := fmt.Sprintf("What every engine has, with the defaults of %s. 0 is the default too.", name)
		if len(e.Unused) > 0 {
			text += fmt.Sprintf(" %s has nothing for %s: a report says so where one is set.", name, strings.Join(e.Unused, ", "))
		}
		own := "What this engine has beside."
		if name == "hashicorp" {
			own += " [raft] takes these keys too, as it once did."
		}
		sections = append(sections,
			conf.Section{Title: "[raft]", Schema: conf.SchemaOf(core.Tuning{}), Defaults: &e.Tuning, Text: text},
			conf.Section{Title: "[options." + name + "]", Schema: e.Schema(), Defaults: conf.New(e.Options), Text: own})
	}
	sections = append(sections,
		table("load", "[load]", `With measure = "load".`),
		table("load.mix", "[load.mix]", "Which operations there are: shares that add up to 1, in place of read_ratio."),
		table("formation", "[formation]", `With measure = "formation", which needs mode = "process".`))
	for _, kind := range lab.Kinds {
		if kind.Settings != nil {
			sections = append(sections, conf.Section{Title: "[" + kind.Name + "]", Schema: conf.SchemaOf(kind.Settings),
				Defaults: conf.New(kind.Settings), Text: fmt.Sprintf("With measure = %q.", kind.Name)})
		}
	}
	for _, p := range known {
		if (p.Kind == experiment.KindBackend || p.Kind == experiment.KindTransport) && len(p.Options) > 0 {
			sections = append(sections, conf.Section{Title: "[options." + p.Name + "]", Schema: &conf.Schema{},
				Text: fmt.Sprintf("What the %s %s takes: %s.", p.Kind, p.Name, strings.Join(p.Options, ", "))})
		}
	}
	return append(sections, conf.Section{Title: "[matrix]", Schema: &conf.Schema{}, Text: matrixText})
}

const matrixText = `Every combination of its factors is a cell, and what the file says of a factor
elsewhere does not hold. A factor is a key of [cluster], [raft], [load] or
[formation] by its bare or dotted name, or an option by its dotted name, with the
list of its values:

    [matrix]
    backend                = ["inmem", "bolt", "mdb"]
    raft.heartbeat_timeout = ["500ms", "1s"]
    options.mdb.map_size   = ["1GiB", "2GiB"]

Settings that only go together are levels of a factor with a name of its own, each a
table with a name, by which the report calls it:

    [[matrix.system]]
    name = "kvnode"
    mode = "process"

    [[matrix.system]]
    name    = "in one process, without disk"
    backend = "inmem"

No two factors may set the same key. What a level does not set is as the file has it
elsewhere.

Combinations that do not go together are left out, and the others keep their numbers:

    [[exclude]]
    backend   = "inmem"
    transport = "tcp"

The report compares the levels of the first factor. Where two plug-ins of one name
take the same option, [options.backend.NAME] and [options.transport.NAME] tell them
apart. On the command line --set KEY=VALUE puts a value in the place of the file's,
and --set 'matrix.KEY=[…]' a factor; --set 'matrix.system=["kvnode"]' keeps those of
its levels that it names.`
