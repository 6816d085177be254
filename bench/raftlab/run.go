package raftlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/visible"
)

type runFlags struct {
	out     string
	dataDir string
	quick   bool
	resume  bool
	dryRun  bool
	trials  int
	set     []string
	lang    string
	plain   bool
	kvnode  string
}

func newRun(lab Lab) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run experiments and write their reports",
		Long: `Run one or more experiment files. Each becomes a run folder with the resolved
experiment, the machine, the raw histogram of every trial, results.csv and the
report as Markdown and HTML; the table is printed here.

Ctrl-C keeps the trials that are done: the report is made of them, and --resume
runs the rest. With --trials it adds rounds to a run, also to one that was
finished. A trial that fails is recorded with its reason, and the exit code is
1.

What cannot be run, or would take more time, memory or disk than there is, is
refused before the first trial, with the exit code 2. --dry-run tells that, the
cells and the time, and writes nothing.

  raftlab run experiments/backends.toml
  raftlab run experiments/backends.toml --quick            a look, no statistics
  raftlab run my.toml --set load.duration=10s --trials 10  for a thesis
  raftlab run my.toml --set cluster.nodes=5 --set 'matrix.clients=[1, 64]'
  raftlab run my.toml --dry-run                            cells, time, room
  raftlab run my.toml --out D --resume                     finish the run in D
  raftlab run my.toml --out D --resume --trials 10         make it 10 of each`,
		Args: cli.Wants(1, -1, "an experiment file, such as experiments/backends.toml"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(c *cobra.Command, files []string) error { return runAll(c, lab, files, f) },
	}
	f.addTo(c.Flags())
	// It fails only for a flag that is not there.
	_ = c.RegisterFlagCompletionFunc("set", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var keys []string
		for _, key := range experiment.Keys(lab.known()) {
			keys = append(keys, key+"=")
		}
		return keys, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

func (f *runFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVarP(&f.out, "out", "o", "", "run folder (default out/NAME-TIME; with several files, a folder of run folders)")
	flags.StringVar(&f.dataDir, "data-dir", "", "where the members' data goes: the disk that is measured (default: the run folder)")
	flags.StringVar(&f.kvnode, "kvnode", "", "the program for members in processes of their own (default: kvnode beside raftlab)")
	flags.BoolVar(&f.quick, "quick", false, "one trial of about a second per cell: a look, not a measurement")
	flags.BoolVar(&f.resume, "resume", false, "run only what is missing in the run folder given by --out")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be run and what it takes, and write nothing")
	flags.IntVar(&f.trials, "trials", 0, "repetitions of each cell, instead of the file's; with --resume, how many there are to be in all")
	flags.StringArrayVar(&f.set, "set", nil, "set a key of the file, as in load.duration=2s (may be repeated)")
	flags.StringVar(&f.lang, "lang", "en", "language of the printed table: en or ru")
	flags.BoolVar(&f.plain, "plain", false, "plain progress lines also on a terminal")
}

func runAll(c *cobra.Command, lab Lab, files []string, f runFlags) error {
	if f.resume && f.out == "" {
		return cli.Usagef("--resume needs --out: the run folder to go on with")
	}
	if c.Flags().Changed("trials") && f.trials < 1 {
		return cli.Usagef("--trials %d: must be at least 1", f.trials)
	}
	lang, err := language(f.lang)
	if err != nil {
		return err
	}
	var configs []runner.Config
	for _, file := range files { // all are read before the first runs
		cfg, err := configure(file, f, lab, len(files) > 1)
		if err != nil {
			return err
		}
		configs = append(configs, cfg)
	}
	var failed error
	one := func(cfg runner.Config) error { return runOne(c, cfg, f, lang) }
	if f.dryRun {
		one = func(cfg runner.Config) error { return dryRun(c.Context(), c.OutOrStdout(), cfg) }
	}
	for _, cfg := range configs {
		err := one(cfg)
		if code, _ := cli.Code(err); code == exitFailed {
			failed = err // its trials failed and were recorded; the next file may do better
			continue
		}
		if err != nil {
			return err
		}
	}
	return failed
}

// configure reads one experiment file and lays the flags over it.
func configure(file string, f runFlags, lab Lab, several bool) (runner.Config, error) {
	set, more := f.set, 0
	switch {
	case f.resume:
		more = f.trials
	case f.trials > 0:
		set = append(slices.Clip(set), fmt.Sprintf("trials=%d", f.trials))
	}
	var overrides []experiment.Override
	for _, s := range set {
		o, err := experiment.ParseOverride(s)
		if err != nil {
			return runner.Config{}, cli.Usage(err)
		}
		overrides = append(overrides, o)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return runner.Config{}, cli.Usage(err)
	}
	e, err := experiment.Parse(file, source, lab.known(), overrides)
	if err != nil {
		return runner.Config{}, cli.Usage(err)
	}
	if f.quick {
		lab.Kinds.Quick(e)
	}
	out := f.out
	switch {
	case out == "":
		out = filepath.Join("out", e.Name+"-"+time.Now().Format("20060102-150405"))
	case several:
		out = filepath.Join(out, e.Name)
	}
	return runner.Config{
		Experiment: e,
		Source:     source,
		Overrides:  set,
		Quick:      f.quick,
		Command:    commandLine(lab.Program, file, f),
		Out:        out,
		DataDir:    f.dataDir,
		Systems:    lab.Systems(kvnode(f.kvnode)),
		Kinds:      lab.Kinds,
		Resume:     f.resume,
		Trials:     more,
	}, nil
}

// kvnode is the path of the program: the one that was named, or else the one that
// was built together with this one.
func kvnode(path string) string {
	if path != "" {
		return path
	}
	if self, err := os.Executable(); err == nil {
		return filepath.Join(filepath.Dir(self), "kvnode")
	}
	return "kvnode"
}

// commandLine is how to repeat the run, without the folders of this machine.
func commandLine(program, file string, f runFlags) []string {
	line := []string{program, "run", filepath.ToSlash(file)}
	if f.quick {
		line = append(line, "--quick")
	}
	if f.trials > 0 {
		line = append(line, fmt.Sprintf("--trials=%d", f.trials))
	}
	for _, s := range f.set {
		line = append(line, "--set", s)
	}
	return line
}

func runOne(c *cobra.Command, cfg runner.Config, f runFlags, lang report.Lang) error {
	stdout, stderr := c.OutOrStdout(), c.ErrOrStderr()
	cfg.Progress = newProgress(stderr, f.plain, cfg)
	plan, err := runner.NewPlan(c.Context(), cfg)
	if c.Context().Err() != nil {
		fmt.Fprintln(stderr, "interrupted before the first trial")
		return cli.Said(exitInterrupted)
	}
	if err != nil {
		return cli.Usage(err)
	}
	aloud(stderr, cfg, plan)
	outcome, err := plan.Start(c.Context(), cfg)
	if outcome.Folder != nil {
		defer outcome.Folder.Close()
	}
	if errors.Is(err, runner.ErrUsage) {
		return cli.Usage(errors.New(strings.TrimPrefix(err.Error(), runner.ErrUsage.Error()+": ")))
	}
	if outcome.Folder == nil && outcome.Interrupted {
		fmt.Fprintln(stderr, "interrupted before the first trial")
		return cli.Said(exitInterrupted)
	}
	if outcome.Folder == nil {
		return err
	}
	if reportErr := present(context.WithoutCancel(c.Context()), stdout, outcome, cfg.Kinds, lang); reportErr != nil {
		return errors.Join(err, reportErr)
	}
	switch {
	case err != nil:
		return err
	case outcome.Interrupted:
		fmt.Fprintf(stderr, "interrupted; what was measured is kept. To go on:\n  %s --out %s --resume\n",
			visible.Text(strings.Join(cfg.Command, " ")), visible.Text(cfg.Out))
		return cli.Said(exitInterrupted)
	case len(outcome.Failures) > 0:
		fmt.Fprintf(stderr, "%d trials failed:\n", len(outcome.Failures))
		for _, text := range outcome.Failures {
			fmt.Fprintf(stderr, "  %s\n", visible.Text(text))
		}
		return cli.Said(exitFailed)
	}
	return nil
}

// present writes and prints the report of what was measured, also by a run that was
// interrupted; a second Ctrl-C ends the program.
func present(ctx context.Context, w io.Writer, outcome runner.Outcome, kinds measure.Catalog, lang report.Lang) error {
	trials, err := outcome.Folder.Trials()
	if err != nil || len(trials) == 0 {
		return err
	}
	return writeReport(ctx, w, outcome.Folder, kinds, lang)
}
