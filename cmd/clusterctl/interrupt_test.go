package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clustertest"
)

// TestInterrupt presses Ctrl-C once a command is at work. For those that have no
// other end that is success.
func TestInterrupt(t *testing.T) {
	tests := []struct {
		args string
		at   string // interrupted when this was printed
		code int
		says string
	}{
		{"status --watch --interval 10ms", "-\n\nNODE ", exitOK, ""},
		{"status --watch --interval 10ms -o json", "}\n{\"leader\":null,", exitOK, ""},
		{"logs node1 -f", "hello\n", exitOK, ""},
		{"load --clients 1 --timeout 100ms --journal j", "   1 s: ", exitInterrupted, "Refused "},
		{"start", "Started ", exitInterrupted, "clusterctl: interrupted\n"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			generate(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out := &trigger{at: test.at, pull: cancel}
			code := run(ctx, strings.Fields(test.args), strings.NewReader(""), out, out)
			text := out.text.String()
			if code != test.code || !strings.Contains(text, test.at) || !strings.Contains(text, test.says) {
				t.Errorf("exit code %d, want %d\n%s", code, test.code, text)
			}
			if code := run(t.Context(), []string{"stop"}, nil, out, out); code != exitOK {
				t.Errorf("stop: exit code %d\n%s", code, out.text.String())
			}
		})
	}
}

// TestInterruptInput presses Ctrl-C while a value is waited for.
func TestInterruptInput(t *testing.T) {
	t.Chdir(t.TempDir())
	generate(t)
	for _, args := range []string{"set key -", "set --json -", "backup --verify -"} {
		pipe, typed := io.Pipe()
		stdin := &asked{Reader: pipe, first: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int, 1)
		var out strings.Builder
		go func() { code <- run(ctx, strings.Fields(args), stdin, &out, &out) }()
		select {
		case <-stdin.first:
		case got := <-code:
			t.Fatalf("%s: exit code %d before it reads\n%s", args, got, out.String())
		}
		cancel()
		select {
		case got := <-code:
			if got != exitInterrupted || out.String() != "clusterctl: interrupted\n" {
				t.Errorf("%s: exit code %d\n%s", args, got, out.String())
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: still waits for input", args)
		}
		_ = typed.Close()
	}
}

// asked tells when it is first read from.
type asked struct {
	io.Reader
	once  sync.Once
	first chan struct{}
}

func (a *asked) Read(p []byte) (int, error) {
	a.once.Do(func() { close(a.first) })
	return a.Reader.Read(p)
}

// generate writes a cluster file, and a log of node1.
func generate(t *testing.T) {
	t.Helper()
	var out strings.Builder
	if code := run(t.Context(), []string{"init", "--bin-path", filepath.Dir(clustertest.Program(t, "kvnode"))}, nil, &out, &out); code != exitOK {
		t.Fatal(out.String())
	}
	if err := os.MkdirAll(filepath.Join("var", "node1"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join("var", "node1", "node.log"), "hello\n")
}

// trigger calls pull as soon as a text was written to it. Not for concurrent use:
// no command writes to stdout and stderr at once.
type trigger struct {
	text strings.Builder
	at   string
	pull func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	if strings.Contains(w.text.String(), w.at) {
		w.pull()
	}
	return n, err
}
