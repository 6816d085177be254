package raftlab

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/internal/conf"
)

var update = flag.Bool("update", false, "write docs/experiment.md")

const referenceHead = `# The experiment file

An experiment is a TOML file that asks one question. This page is made from the
program (` + "`make reference`" + `); ` + "`raftlab help experiment`" + ` prints the same. A key that is not
listed here is an error that names the line and the nearest key.
`

// TestReference holds docs/experiment.md as the program would write it.
func TestReference(t *testing.T) {
	var want bytes.Buffer
	want.WriteString(referenceHead)
	conf.WriteMarkdown(&want, reference(Builtin()))
	const path = "../../docs/experiment.md"
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("%s is not what 'make reference' writes: %s", path, diff)
	}
}

// TestHelpFitsTheTerminal: no help text is wider than a terminal of the usual width.
func TestHelpFitsTheTerminal(t *testing.T) {
	commands := [][]string{{"help"}, {"help", "experiment"}}
	for _, c := range newRoot(Builtin()).Commands() {
		commands = append(commands, []string{"help", c.Name()})
	}
	for _, args := range commands {
		var out bytes.Buffer
		if code := run(t.Context(), Builtin(), args, &out, &out); code != exitOK {
			t.Fatalf("%v: exit code %d\n%s", args, code, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > defaultWidth {
				t.Errorf("%v: %d columns: %s", args, n, line)
			}
		}
	}
}

// TestReferenceIsComplete: no key is without a meaning.
func TestReferenceIsComplete(t *testing.T) {
	for _, s := range reference(Builtin()) {
		for _, f := range s.Schema.Fields() {
			if strings.TrimSpace(f.Doc) == "" {
				t.Errorf("%s: %s has no doc", s.Title, f.Key())
			}
		}
	}
}
