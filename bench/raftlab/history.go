package raftlab

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/internal/cli"
)

func newHistory(lab Lab) *cobra.Command {
	var format, lang string
	c := &cobra.Command{
		Use:   "history DIR DIR…",
		Short: "Find between which of many runs something changed",
		Long: `Line up many runs of one experiment by the time of their start and find between
which of them a quantity of a cell changed, by how much, and in what version,
commit, machine or setting those runs differ. It takes eight runs to find a
change. Trials within a run are summed up by their median: the unit is the run.

  raftlab history out/backends-*
  raftlab history out/backends-* --format csv >history.csv`,
		Args: cli.Wants(2, -1, "two run folders or more"),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(report.HistoryFormats, format) {
				return cli.Usagef("--format %s: want %s", format, strings.Join(report.HistoryFormats, ", "))
			}
			l, err := language(lang)
			if err != nil {
				return err
			}
			var folders []*record.Folder
			for _, dir := range args {
				folder, err := openRun(dir)
				if err != nil {
					return err
				}
				defer folder.Close()
				folders = append(folders, folder)
			}
			err = report.History(c.Context(), c.OutOrStdout(), lab.Kinds, folders, report.HistoryOptions{
				Format: format, Lang: l, Width: widthOf(c.OutOrStdout())})
			if errors.Is(err, report.ErrNotOneExperiment) {
				return cli.Usage(err)
			}
			return err
		},
	}
	c.Flags().StringVar(&format, "format", report.HistoryFormats[0], "text, csv or json")
	c.Flags().StringVar(&lang, "lang", "en", "language of text: en or ru")
	return c
}
