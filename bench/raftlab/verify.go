package raftlab

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/internal/cli"
)

func newVerify(lab Lab) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Recompute every printed number of a run folder from its raw data",
		Long: `Recompute results.csv, the plots and the reports of a run folder from the raw
histograms and counts of its trials, and compare them with the files that are
there. Exits 1 on any difference and names each. Nothing is written. Of a report
that was laid out by an earlier raftlab only results.csv is compared, which is
told.`,
		Args: cli.Wants(1, 1, "a run folder"),
		RunE: func(c *cobra.Command, args []string) error {
			folder, err := openRun(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			found, err := report.Verify(folder, lab.Kinds)
			if err != nil {
				return err
			}
			for _, d := range found.Differences {
				fmt.Fprintln(c.OutOrStdout(), d)
			}
			if len(found.Unchecked) > 0 {
				fmt.Fprintf(c.OutOrStdout(), "%s: laid out by an earlier raftlab, so the text was not checked; raftlab report %s makes it anew\n",
					strings.Join(found.Unchecked, ", "), args[0])
			}
			switch n := len(found.Differences); {
			case n == 1:
				return fmt.Errorf("%s: 1 difference between what is printed and the raw data", args[0])
			case n > 1:
				return fmt.Errorf("%s: %d differences between what is printed and the raw data", args[0], n)
			}
			trials, err := folder.Trials()
			if err != nil {
				return err
			}
			checked := "every printed number"
			if len(found.Unchecked) > 0 {
				checked = "every number of results.csv"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s follows from the raw data of %d trials\n", args[0], checked, len(trials))
			return err
		},
	}
}
