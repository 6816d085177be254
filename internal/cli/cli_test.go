package cli_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/internal/cli"
)

func TestCode(t *testing.T) {
	cause := errors.New("cause")
	for name, c := range map[string]struct {
		err     error
		code    int
		carries bool
		text    string
	}{
		"usage, wrapped": {fmt.Errorf("a: %w", cli.Usage(cause)), 2, true, "a: cause"},
		"said, joined":   {errors.Join(cli.Said(7), nil), 7, true, ""},
		"another error":  {cause, 0, false, "cause"},
	} {
		if code, carries := cli.Code(c.err); code != c.code || carries != c.carries || c.err.Error() != c.text {
			t.Errorf("%s: %d, %v, %q", name, code, carries, c.err)
		}
	}
	if !errors.Is(cli.Usagef("a: %w", cause), cause) {
		t.Error("the cause is lost")
	}
}

// TestWrongUsage: the message names the place and the mend.
func TestWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"strat":         `unknown command "strat"; did you mean "start"?; see 'lab --help'`,
		"start":         "start wants one node or two, not 0 arguments; see 'lab start --help'",
		"start --force": "unknown flag: --force; see 'lab start --help'",
	} {
		root := cli.Root(&cobra.Command{Use: "lab"})
		root.AddCommand(&cobra.Command{Use: "start", Args: cli.Wants(1, 2, "one node or two"), RunE: cli.Help})
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		root.SetArgs(strings.Fields(args))
		err := root.Execute()
		if code, _ := cli.Code(err); err == nil || err.Error() != want || code != 2 {
			t.Errorf("%s: %v, exit code %d", args, err, code)
		}
	}
}
