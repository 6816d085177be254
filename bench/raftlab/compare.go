package raftlab

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/cli"
)

type compareFlags struct {
	margin float64 // percent
	lang   string
	format string
	out    string
}

func newCompare(lab Lab) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two runs, cell by cell",
		Long: `Compare the cells that two runs have in common: first what came of it, then of
each cell what was measured, the ratio with its interval, and whether B is
lower, higher, equal within the margin or undecided. Two runs happen at two
times, so what the machine did differently is told too; compare within one run
where you can. Both runs must have measured the same.

  raftlab compare A B
  raftlab compare A B --format html --out comparison.html`,
		Args: cli.Wants(2, 2, "two run folders"),
		RunE: func(c *cobra.Command, dirs []string) error { return compareRuns(c, lab, f, dirs) },
	}
	c.Flags().Float64Var(&f.margin, "margin", 0, "smallest difference that counts, in percent (default: estimated from the machine's drift, at least 5)")
	c.Flags().StringVar(&f.lang, "lang", string(report.English), "language: en or ru")
	c.Flags().StringVar(&f.format, "format", string(report.Text), "text, md, html, csv or json")
	c.Flags().StringVarP(&f.out, "out", "o", "", "file to write it to (default: print it)")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(comparisonFormats(), cobra.ShellCompDirectiveNoFileComp)) // fails for no such flag only
	return c
}

func comparisonFormats() []string {
	return []string{string(report.Text), string(report.Markdown), string(report.HTML), string(report.CSV), string(report.JSON)}
}

func compareRuns(c *cobra.Command, lab Lab, f compareFlags, dirs []string) error {
	if f.margin < 0 || f.margin >= 100 {
		return cli.Usagef("--margin %g: must be a percentage from 0 to below 100", f.margin)
	}
	if !slices.Contains(comparisonFormats(), f.format) {
		return cli.Usagef("--format %s: want one of %s", f.format, strings.Join(comparisonFormats(), ", "))
	}
	lang, err := language(f.lang)
	if err != nil {
		return err
	}
	a, err := openRun(dirs[0])
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openRun(dirs[1])
	if err != nil {
		return err
	}
	defer b.Close()
	opts := report.CompareOptions{Margin: f.margin / 100, Lang: lang, Format: report.Format(f.format), Width: widthOf(c.OutOrStdout())}
	if f.out == "" {
		return report.Compare(c.Context(), c.OutOrStdout(), lab.Kinds, a, b, opts)
	}
	opts.Width = defaultWidth
	var text bytes.Buffer
	if err := report.Compare(c.Context(), &text, lab.Kinds, a, b, opts); err != nil {
		return err
	}
	if err := atomicfile.Write(f.out, text.Bytes()); err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	_, err = io.WriteString(c.OutOrStdout(), f.out+"\n")
	return err
}
