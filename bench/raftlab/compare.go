package raftlab

import (
	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/internal/cli"
)

func newCompare(lab Lab) *cobra.Command {
	var marginPercent float64
	var lang string
	c := &cobra.Command{
		Use:   "compare DIR DIR",
		Short: "Compare two runs, cell by cell",
		Long: `Compare the cells that two runs have in common: what was measured, with the
ratio and its interval, and "~" where no difference was found. Two runs happen
at two times, so what the machine did differently is told first; compare within
one run where you can. Both runs must have measured the same.`,
		Args: cli.Wants(2, 2, "two run folders"),
		RunE: func(c *cobra.Command, args []string) error {
			if marginPercent < 0 || marginPercent >= 100 {
				return cli.Usagef("--margin %g: must be a percentage from 0 to below 100", marginPercent)
			}
			l, err := language(lang)
			if err != nil {
				return err
			}
			a, err := openRun(args[0])
			if err != nil {
				return err
			}
			defer a.Close()
			b, err := openRun(args[1])
			if err != nil {
				return err
			}
			defer b.Close()
			return report.Compare(c.OutOrStdout(), lab.Kinds, a, b, report.CompareOptions{
				Margin: marginPercent / 100, Lang: l, Width: widthOf(c.OutOrStdout())})
		},
	}
	c.Flags().Float64Var(&marginPercent, "margin", 0, "smallest difference that counts, in percent (default: estimated from the machine's drift, at least 5)")
	c.Flags().StringVar(&lang, "lang", "en", "language: en or ru")
	return c
}
