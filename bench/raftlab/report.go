package raftlab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/cli"
)

// defaultWidth is the width of a table that is not printed on a terminal.
const defaultWidth = 80

// formatTeX is the format of a chapter.
const formatTeX = "tex"

type reportFlags struct {
	lang   string
	format string
	out    string
	pdf    bool
}

func newReport(lab Lab) *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report DIR [DIR…]",
		Short: "Write the report of a run again, or one chapter of several runs",
		Long: `Write the tables, the plots and the reports of a run folder again, from its raw
data alone, and print the table. The same folder gives the same bytes.

  raftlab report D                          all: CSV, JSON, HTML and Markdown
  raftlab report D --format html            only that; text: only the table
  raftlab report D --format tex --lang ru   a chapter for a thesis, in D/tex-ru
  raftlab report D E --format tex --out chapter --pdf
                                            one of two runs, compiled`,
		Args: cli.Wants(1, -1, "a run folder"),
		RunE: func(c *cobra.Command, dirs []string) error { return makeReport(c, lab, f, dirs) },
	}
	c.Flags().StringVar(&f.lang, "lang", string(report.English), "language of the table or the chapter: en or ru")
	c.Flags().StringVar(&f.format, "format", "", "write this format only: html, md, csv, json, text or tex")
	c.Flags().StringVarP(&f.out, "out", "o", "", "with --format tex: the folder of the chapter (default DIR/tex-LANG)")
	c.Flags().BoolVar(&f.pdf, "pdf", false, "with --format tex: compile the chapter and its figures, with latexmk")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp)) // fails for no such flag only
	return c
}

func formats() []string {
	return []string{string(report.HTML), string(report.Markdown), string(report.CSV), string(report.JSON), string(report.Text), formatTeX}
}

func makeReport(c *cobra.Command, lab Lab, f reportFlags, dirs []string) error {
	lang, err := language(f.lang)
	if err != nil {
		return err
	}
	if f.format != "" && !slices.Contains(formats(), f.format) {
		return cli.Usagef("--format %s: want one of %s", f.format, strings.Join(formats(), ", "))
	}
	if f.format != formatTeX {
		switch {
		case len(dirs) > 1:
			return cli.Usagef("%d run folders: several make one chapter, with --format tex; compare sets two against each other", len(dirs))
		case f.out != "" || f.pdf:
			return cli.Usagef("--out and --pdf go with --format tex: the other reports are files of the run folder")
		}
	}
	var folders []*record.Folder
	for _, dir := range dirs {
		folder, err := openRun(dir)
		if err != nil {
			return err
		}
		defer folder.Close()
		folders = append(folders, folder)
	}
	w := c.OutOrStdout()
	switch f.format {
	case formatTeX:
		return makeChapter(c, lab, f, lang, folders)
	case string(report.Text):
		return report.Terminal(c.Context(), w, folders[0], lab.Kinds, lang, widthOf(w))
	case "":
		return writeReport(c.Context(), w, folders[0], lab.Kinds, lang)
	default:
		names, err := report.WriteOnly(c.Context(), folders[0], lab.Kinds, report.Format(f.format))
		for _, name := range names {
			fmt.Fprintln(w, filepath.Join(folders[0].Dir(), filepath.FromSlash(name)))
		}
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		return nil
	}
}

// makeChapter writes a chapter in LaTeX, and compiles it if asked to.
func makeChapter(c *cobra.Command, lab Lab, f reportFlags, lang report.Lang, folders []*record.Folder) error {
	files, err := report.Chapter(c.Context(), folders, lab.Kinds, lang)
	if err != nil {
		return err
	}
	out := f.out
	if out == "" {
		out = filepath.Join(folders[0].Dir(), "tex-"+string(lang))
	}
	var figures []string
	for _, x := range files {
		path := filepath.Join(out, filepath.FromSlash(x.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write the chapter: %w", err)
		}
		if err := atomicfile.Write(path, x.Data); err != nil {
			return fmt.Errorf("write the chapter: %w", err)
		}
		if strings.HasPrefix(x.Name, "figures/") {
			figures = append(figures, path)
		}
	}
	w := c.OutOrStdout()
	main := filepath.Join(out, "main.tex")
	fmt.Fprintf(w, "%s\n%s\n", main, filepath.Join(out, "chapter.tex"))
	if !f.pdf {
		fmt.Fprintf(w, "\nTo compile it: latexmk -cd -pdf %s, or this command with --pdf\n", main)
		return nil
	}
	return compile(c, append([]string{main}, figures...))
}

// compile makes PDF files of LaTeX sources.
func compile(c *cobra.Command, sources []string) error {
	const packages = "latexmk texlive-latex-extra texlive-pictures texlive-lang-cyrillic cm-super"
	latexmk, err := exec.LookPath("latexmk")
	if err != nil {
		return fmt.Errorf("--pdf needs latexmk and LaTeX, which are not there; on Debian: apt install %s", packages)
	}
	for _, source := range sources {
		var said bytes.Buffer
		run := exec.CommandContext(c.Context(), latexmk, "-cd", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", source)
		run.Stdout, run.Stderr, run.WaitDelay = &said, &said, 5*time.Second
		if err := run.Run(); err != nil {
			if c.Context().Err() != nil {
				return c.Context().Err()
			}
			log := strings.TrimSuffix(source, ".tex") + ".log"
			return fmt.Errorf("compile %s: %w; its last words are below, all of them in %s. What is missing comes with: apt install %s\n%s", source, err, log, packages, lastLines(said.String(), 12))
		}
		clean := exec.CommandContext(c.Context(), latexmk, "-cd", "-c", source) // what only the compiler needs
		if err := clean.Run(); err != nil {
			return fmt.Errorf("clean up after %s: %w", source, err)
		}
		fmt.Fprintln(c.OutOrStdout(), strings.TrimSuffix(source, ".tex")+".pdf")
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
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

// writeReport writes the report, prints its table and where it lies.
func writeReport(ctx context.Context, w io.Writer, folder *record.Folder, kinds measure.Catalog, lang report.Lang) error {
	if err := report.WriteAndPrint(ctx, w, folder, kinds, lang, widthOf(w)); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintln(w)
	for _, name := range []string{"report.html", "report.md", "report.ru.html", "report.ru.md", "results.csv", "summary.csv", "report.json"} {
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
