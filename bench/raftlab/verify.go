package raftlab

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/verify"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/visible"
)

func newVerify(lab Lab) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Recompute all that a run folder says from its raw data",
		Long: `Compute again what a run folder says, and compare it with what is there:

  from experiment.toml, with the recorded overrides: the experiment as it ran
  from the experiment: its cells, the order of the trials, their seeds, and
    which cells until leaves out
  from counts and histograms: the figures of the gates, and their verdicts with
    the limits of this raftlab
  from all of these: results.csv, the plots and the reports
  among the trials and plots: no file that the run has not

It cannot show that the trials were measured as recorded, nor that the machine
and the parts are what they said of themselves.

Exits 1 on any difference and names each. Nothing is written. Of a report that
was laid out by an earlier raftlab only results.csv is compared, which is told.`,
		Args: cli.Wants(1, 1, "a run folder"),
		RunE: func(c *cobra.Command, args []string) error {
			folder, err := openRun(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			found, err := verify.Run(c.Context(), folder, lab.Kinds, lab.known())
			if err != nil {
				return err
			}
			const most = 40
			for _, d := range found.Differences[:min(most, len(found.Differences))] {
				fmt.Fprintln(c.OutOrStdout(), visible.Text(d.String()))
			}
			if n := len(found.Differences) - most; n > 0 {
				fmt.Fprintf(c.OutOrStdout(), "and %d more\n", n)
			}
			for _, note := range found.Notes {
				fmt.Fprintln(c.OutOrStdout(), visible.Text(note))
			}
			if len(found.Unchecked) > 0 {
				fmt.Fprintf(c.OutOrStdout(), "%s: laid out by an earlier raftlab, so the text was not checked; raftlab report %s makes it anew\n",
					strings.Join(found.Unchecked, ", "), args[0])
			}
			if n := len(found.Differences); n > 0 {
				return fmt.Errorf("%s: %s between what it says and what follows from its raw data", args[0], cli.Count(n, "difference"))
			}
			checked := "every printed number"
			if len(found.Unchecked) > 0 {
				checked = "every number of results.csv"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), `%s: %s follows from the raw data of %d trials
computed again: the experiment from its file, cells, order and seeds, gates, figures, reports
not shown by it: that the trials were measured as recorded, by the machine and parts that are named
`, args[0], checked, found.Trials)
			return err
		},
	}
}
