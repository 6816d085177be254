package raftlab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/internal/cli"
)

// draft is a new experiment in the words of its author: what the flags and the answers say.
type draft struct {
	name, compare, levels, clients, mode, duration, trials string
}

// question is one that raftlab new asks.
type question struct {
	flag, text string
	answer     *string
	normally   func() string // the default; empty: there is none
	skip       func() bool
}

func (d *draft) questions(lab Lab) []question {
	constant := func(text string) func() string { return func() string { return text } }
	is := func(key string) func() bool { return func() bool { return d.compare == key } }
	never := func() bool { return false }
	return []question{
		{"compare", "What is to be compared? A key such as backend, transport, nodes, clients, value_size, mode", &d.compare, constant("backend"), never},
		{"levels", "Which of them, the one to set the others against first", &d.levels, func() string { return usual(lab, d.compare) }, never},
		{"clients", "How many clients at a time, each number by itself", &d.clients, constant("1, 16"), is("clients")},
		{"mode", "Members within this program (inprocess), or each in a process of its own (process)", &d.mode, constant(experiment.ModeInProcess), is("mode")},
		{"duration", "How long is a trial measured, after a warm-up", &d.duration, constant("5s"), is("duration")},
		{"trials", "How many trials of each; fewer than six single out no difference", &d.trials, constant("7"), never},
	}
}

// usual are the levels that come to mind.
func usual(lab Lab, key string) string {
	names := func(all []string) string { // what costs nothing is what others are set against
		free := func(name string) bool { return name == "inmem" }
		if i := slices.IndexFunc(all, free); i > 0 {
			all = slices.Concat(all[i:i+1], all[:i], all[i+1:])
		}
		return strings.Join(all, ", ")
	}
	switch key {
	case "backend":
		return names(lab.Parts.Backends.Names())
	case "transport":
		return names(lab.Parts.Transports.Names())
	case "mode":
		return names([]string{experiment.ModeInProcess, experiment.ModeProcess})
	case "nodes":
		return "1, 3, 5"
	case "clients":
		return "1, 4, 16, 64"
	case "value_size":
		return "64, 1024, 16384"
	case "persistence":
		return "serial, overlapped"
	}
	return ""
}

func newNew(lab Lab) *cobra.Command {
	var d draft
	var yes bool
	c := &cobra.Command{
		Use:   "new [FILE]",
		Short: "Write a new experiment file, after a few questions",
		Long: `Write a commented experiment file that can be run as it is. What no flag says is
asked on the terminal, with an answer to go on with; --yes takes those answers.
A file that is there is not written over.

  raftlab new                                    ask, and write NAME.toml
  raftlab new stores.toml --compare backend      ask the rest
  raftlab new sizes.toml --yes --compare value_size --levels 64,1024`,
		Args: cli.Wants(0, 1, "one file at most"),
		RunE: func(c *cobra.Command, args []string) error { return runNew(c, lab, &d, args, yes) },
	}
	for _, q := range d.questions(lab) {
		c.Flags().StringVar(q.answer, q.flag, "", q.text)
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "ask nothing: what no flag says is as usual")
	return c
}

func runNew(c *cobra.Command, lab Lab, d *draft, args []string, yes bool) error {
	in := c.InOrStdin()
	if f, ok := in.(*os.File); !yes && ok && !term.IsTerminal(int(f.Fd())) {
		return cli.Usagef("there is no terminal to ask on: give --yes, and flags for what is not to be as usual; see '%s --help'", c.CommandPath())
	}
	file := ""
	if len(args) == 1 {
		file = args[0]
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return cli.Usagef("%s is there already: choose another name, or remove it", file)
		}
	}
	d.name = nameOf(strings.TrimSuffix(filepath.Base(file), ".toml"))
	a := asker{in: bufio.NewReader(in), out: c.OutOrStdout(), lab: lab, yes: yes}
	if err := a.ask(c.Context(), d); err != nil {
		return err
	}
	if file == "" {
		d.name = nameOf(d.compare)
		file = d.name + ".toml"
	}
	text := d.text()
	if _, err := experiment.Parse(file, []byte(text), lab.known(), nil); err != nil {
		return cli.Usage(err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return cli.Usagef("%s is there already: give another name, as in %s FILE", file, c.CommandPath())
	}
	if err != nil {
		return cli.Usage(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	fmt.Fprintf(c.OutOrStdout(), "wrote %s; see what it would run, and run it:\n  raftlab run %s --dry-run\n  raftlab run %s\n", file, file, file)
	return nil
}

// asker asks what an experiment is to be.
type asker struct {
	in  *bufio.Reader
	out io.Writer
	lab Lab
	yes bool
}

// ask asks what no flag has said, and again where the answer makes no experiment.
func (a *asker) ask(ctx context.Context, d *draft) error {
	for i, q := range d.questions(a.lab) {
		if q.skip() {
			*q.answer = ""
			continue
		}
		if given := *q.answer != ""; given || a.yes {
			if *q.answer = cmp.Or(*q.answer, q.normally()); *q.answer == "" {
				return cli.Usagef("--%s is missing: %s", q.flag, q.text)
			}
			if err := a.try(d, i); err != nil {
				return cli.Usagef("--%s %s: %w", q.flag, *q.answer, err)
			}
			continue
		}
		for {
			fmt.Fprintf(a.out, "%s [%s]: ", q.text, q.normally())
			line, err := a.line(ctx)
			if err != nil {
				return err
			}
			if *q.answer = cmp.Or(strings.TrimSpace(line), q.normally()); *q.answer == "" {
				continue
			}
			if err = a.try(d, i); err == nil {
				break
			}
			fmt.Fprintf(a.out, "  %v\n", err)
			*q.answer = ""
		}
	}
	return nil
}

// try reads the experiment as it would be with the answers up to that one, and all else as
// usual.
func (a *asker) try(d *draft, last int) error {
	so := *d
	so.name = "new"
	for i, q := range so.questions(a.lab) {
		if i > last && !q.skip() {
			*q.answer = q.normally()
		}
	}
	_, err := experiment.Parse("it", []byte(so.text()), a.lab.known(), nil)
	mistake, ok := errors.AsType[*experiment.Error](err)
	switch {
	case !ok:
		return err
	case so.levels == "" && !strings.HasPrefix(mistake.Key, "matrix."):
		return nil // a key that there is, and no levels of it yet
	}
	return errors.New(mistake.Msg)
}

// line reads a line. The read itself cannot be broken off: with ctx, the program ends.
func (a *asker) line(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := a.in.ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case x := <-got:
		if errors.Is(x.err, io.EOF) {
			return "", cli.Usagef("the answers came to an end: nothing was written; give --yes to take the usual ones")
		}
		return x.line, x.err
	case <-ctx.Done():
		fmt.Fprintln(a.out)
		return "", cli.Said(exitInterrupted)
	}
}

// nameOf makes the name of an experiment of a key.
func nameOf(key string) string {
	return cmp.Or(strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(key), "-"), "-"), "experiment")
}

// text writes the experiment file.
func (d *draft) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What does %s change of the latency and the throughput of committed writes?", d.compare)
	line("")
	line("# The comment above is the question that the report answers. What else a file may")
	line("# say: raftlab help experiment")
	line("")
	line("name   = %q", cmp.Or(d.name, nameOf(d.compare)))
	line("title  = %q", "Latency and throughput by "+d.compare)
	line("trials = %s    # of each cell, in rounds that take every cell once", d.trials)
	line("# until = \"p50 within 3%%\"    # would leave out cells that are known so closely already")
	line("")
	line("[cluster]")
	if d.compare != "nodes" {
		line("nodes = 3")
	}
	if d.mode != "" {
		line("mode  = %q", d.mode)
	}
	line("")
	line("[load]")
	if d.duration != "" {
		line("duration = %q    # measured", d.duration)
	}
	line("warmup   = \"1s\"    # before that, cut off")
	line("")
	line("# Every combination is a cell. The first factor is compared, and its first level is")
	line("# what the others are set against.")
	line("[matrix]")
	line("%s = [%s]", d.compare, levels(d.levels))
	if d.clients != "" {
		line("clients = [%s]", levels(d.clients))
	}
	return b.String()
}

// levels writes levels as TOML.
func levels(text string) string {
	var out []string
	for _, level := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		if _, err := strconv.ParseFloat(level, 64); err != nil && level != "true" && level != "false" {
			level = strconv.Quote(level)
		}
		out = append(out, level)
	}
	return strings.Join(out, ", ")
}
