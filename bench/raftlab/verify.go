package raftlab

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/report"
)

func newVerify(lab Lab) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Recompute every printed number of a run folder from its raw data",
		Long: `Recompute results.csv, the plots and the reports of a run folder from the raw
histograms and counts of its trials, and compare them with the files that are
there. Exits 1 on any difference and names each. Nothing is written.`,
		Args: wants(1, 1, "a run folder"),
		RunE: func(c *cobra.Command, args []string) error {
			folder, err := openRun(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			differences, err := report.Verify(folder)
			if err != nil {
				return err
			}
			for _, d := range differences {
				fmt.Fprintln(c.OutOrStdout(), d)
			}
			switch n := len(differences); {
			case n == 1:
				return fmt.Errorf("%s: 1 difference between what is printed and the raw data", args[0])
			case n > 1:
				return fmt.Errorf("%s: %d differences between what is printed and the raw data", args[0], n)
			}
			trials, err := folder.Trials()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: every printed number follows from the raw data of %d trials\n", args[0], len(trials))
			return err
		},
	}
}
