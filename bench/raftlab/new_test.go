package raftlab

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/internal/cli"
)

// asked runs raftlab new with what somebody types.
func asked(ctx context.Context, in io.Reader, args ...string) (out string, err error) {
	c := newNew(Builtin())
	var b bytes.Buffer
	c.SetIn(in)
	c.SetOut(&b)
	c.SetErr(&b)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err = c.ExecuteContext(ctx)
	return b.String(), err
}

// TestNewAsks: an answer that makes no experiment is told and asked again, an empty one is
// the usual, and what a flag says or the answers rule out is not asked.
func TestNewAsks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Mine.toml")
	out, err := asked(t.Context(), strings.NewReader("bakend\nclients\none, two\n1, 2\n\nsoon\n300ms\n"), file, "--trials", "3")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`did you mean "backend"?`, `level "one" of matrix.clients`, `duration = "soon"`, "wrote " + file} {
		if !strings.Contains(out, want) {
			t.Errorf("it did not say %q:\n%s", want, out)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`name   = "mine"`, "clients = [1, 2]", `duration = "300ms"`, "trials = 3"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(out, "How many clients") || strings.Contains(out, "How many trials") {
		t.Errorf("it asked what it knew:\n%s", out)
	}
}

// TestNewBrokenOff: nothing is written when the answers end, or with Ctrl-C.
func TestNewBrokenOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.toml")
	if _, err := asked(t.Context(), strings.NewReader("backend\n"), file); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("at the end of the answers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, typed := io.Pipe()
	defer typed.Close()
	if _, err := asked(ctx, in, file); err == nil {
		t.Error("with Ctrl-C it went on")
	} else if code, _ := cli.Code(err); code != exitInterrupted {
		t.Errorf("with Ctrl-C: exit code %d", code)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written")
	}
}
