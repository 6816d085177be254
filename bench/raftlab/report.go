package raftlab

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/internal/cli"
)

// defaultWidth is the width of a table that is not printed on a terminal.
const defaultWidth = 80

func newReport(lab Lab) *cobra.Command {
	var lang string
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Write the report of a run folder again and print its table",
		Long: `Write results.csv, the plots and the reports of a run folder again, from its raw
data alone, and print the table. The same folder gives the same bytes.`,
		Args: cli.Wants(1, 1, "a run folder"),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := language(lang)
			if err != nil {
				return err
			}
			folder, err := openRun(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			if err := report.Write(folder, lab.Kinds); err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			return printReport(c.OutOrStdout(), folder, lab.Kinds, l)
		},
	}
	c.Flags().StringVar(&lang, "lang", "en", "language of the printed table: en or ru")
	return c
}

func language(name string) (report.Lang, error) {
	l, err := report.ParseLang(name)
	if err != nil {
		return "", cli.Usagef("--lang: %w", err)
	}
	return l, nil
}

// openRun opens a run folder that was named on the command line.
func openRun(dir string) (*record.Folder, error) {
	folder, err := record.Open(dir)
	if err != nil {
		return nil, cli.Usage(err)
	}
	return folder, nil
}

// printReport prints the table and where the report lies.
func printReport(w io.Writer, folder *record.Folder, kinds measure.Catalog, lang report.Lang) error {
	if err := report.Terminal(w, folder, kinds, lang, widthOf(w)); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, name := range []string{"report.html", "report.md", "report.ru.html", "report.ru.md", "results.csv"} {
		path := filepath.Join(folder.Dir(), name)
		if _, err := os.Stat(path); err == nil {
			fmt.Fprintln(w, path)
		}
	}
	return nil
}

func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return defaultWidth
}
