package prompt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/themilchenko/raftlab/internal/prompt"
)

// TestYes: nothing but a yes is one.
func TestYes(t *testing.T) {
	fault := errors.New("input/output error")
	for answer, want := range map[string]bool{"y\n": true, " YES \nno\n": true, "yes": true, "n\n": false, "yesterday\n": false, "\n": false, "": false} {
		var out bytes.Buffer
		if got, err := prompt.Yes(t.Context(), strings.NewReader(answer), &out, "Go on?"); got != want || err != nil || out.String() != "Go on? [y/N] " {
			t.Errorf("%q: %t, %v: %q", answer, got, err, &out)
		}
	}
	if yes, err := prompt.Yes(t.Context(), iotest.ErrReader(fault), io.Discard, ""); yes || !errors.Is(err, fault) {
		t.Errorf("%t, %v", yes, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fault)
	silent, end := io.Pipe()
	defer end.Close()
	if yes, err := prompt.Yes(ctx, silent, io.Discard, ""); yes || !errors.Is(err, fault) {
		t.Errorf("without an answer: %t, %v", yes, err)
	}
}

// TestTerminal: a file is none, nor is what is no file.
func TestTerminal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if prompt.Terminal(file) || prompt.Terminal(&bytes.Buffer{}) {
		t.Error("it is taken for a terminal")
	}
}
