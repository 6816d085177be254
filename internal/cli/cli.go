// Package cli is what the command lines of the programs have in common: the exit code of
// an error, and what is said of a wrong command line. It knows no command of a program
// and never ends the process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/internal/visible"
)

// exitUsage is the exit code where the command line, or a file given on it, is wrong.
const exitUsage = 2

// exitError carries an exit code through cobra.
type exitError struct {
	error
	code int
}

func (e *exitError) Unwrap() error { return e.error }

// Usage makes err one of wrong usage: exit code 2.
func Usage(err error) error { return &exitError{err, exitUsage} }

// Usagef is Usage of a new error.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Said is an error without a text: all there is to say was printed.
func Said(code int) error { return &exitError{errors.New(""), code} }

// Run executes one command line and returns its exit code. Of an error, judge gives the
// text that follows the program's name on stderr, and the exit code if err carries none.
func Run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer,
	judge func(error) (text string, code int)) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	text, code := judge(err)
	if text != "" {
		fmt.Fprintf(stderr, "%s: %s\n", root.Name(), visible.Lines(text)) // errors quote files and programs
	}
	if carried, carries := Code(err); carries {
		return carried
	}
	return code
}

// Code returns the exit code that err carries, if it does.
func Code(err error) (code int, carries bool) {
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code, true
	}
	return 0, false
}

// Root makes c the root of a program: by itself it prints its help, and wrong usage comes
// back as an error that says where to find more.
func Root(c *cobra.Command) *cobra.Command {
	c.SuggestionsMinimumDistance = 2
	c.SilenceErrors, c.SilenceUsage = true, true
	c.Args, c.RunE = NoCommand, Help
	c.SetUsageTemplate(strings.ReplaceAll(c.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Usagef("%w; see '%s --help'", err, c.CommandPath())
	})
	return c
}

// Version gives the root of a program the flag --version. What is printed then may take a
// while to find out, so it is asked for only when it is needed.
func Version(root *cobra.Command, version func() string) {
	root.Flags().BoolP("version", "v", false, "version for "+root.Name())
	otherwise := root.RunE
	root.RunE = func(c *cobra.Command, args []string) error {
		if asked, err := c.Flags().GetBool("version"); err != nil || !asked {
			return otherwise(c, args)
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s version %s\n", c.Name(), version())
		return err
	}
}

// Help is the RunE of a command that only has others below it.
func Help(c *cobra.Command, _ []string) error { return c.Help() }

// NoCommand is the Args of such a command: an argument is a command that it has not.
func NoCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return Usagef("unknown command %q%s; see '%s --help'", args[0], hint, c.CommandPath())
}

// Wants checks the number of arguments and says what they are; high -1: any.
func Wants(low, high int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= low && (high < 0 || len(args) <= high) {
			return nil
		}
		return Usagef("%s wants %s, not %s; see '%s --help'", c.Name(), what, Count(len(args), "argument"), c.CommandPath())
	}
}

// Count is a number with its noun.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
