package raftlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/internal/poll"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){"raftlab": program})
}

// program is the whole process.
func program() {
	os.Exit(Main(context.Background(), Builtin(), os.Args[1:], os.Stdout, os.Stderr))
}

// TestScripts runs the program as its users do: see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit":   exitCode,
			"tamper": tamper,
			"trials": countTrials,
		},
		Setup: setRoot,
	})
}

// setRoot tells scripts where the repository is.
func setRoot(e *testscript.Env) error {
	root, err := filepath.Abs("../..")
	e.Setenv("ROOT", root)
	e.Setenv("GORACE", "atexit_sleep_ms=0") // or every command takes a second more under -race
	return err
}

// exitCode runs a program of ours in this process and wants an exit code:
// exit CODE ARGS…
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exit CODE ARGS…")
	}
	err := ts.Exec("raftlab", args[1:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// tamper changes one figure: tamper FILE ROW COLUMN adds one to a field of a
// CSV file, rows counting from 1 below the header.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: tamper FILE ROW COLUMN")
	}
	path := ts.MkAbs(args[0])
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	var row int
	_, err := fmt.Sscan(args[1], &row)
	ts.Check(err)
	for i, name := range strings.Split(lines[0], ",") {
		if name == args[2] {
			fields := strings.Split(lines[row], ",")
			fields[i] = "1" + fields[i]
			lines[row] = strings.Join(fields, ",")
			ts.Check(os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644))
			return
		}
	}
	ts.Fatalf("no column %s", args[2])
}

// countTrials wants a number of recorded trials: trials DIR N.
func countTrials(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: trials DIR N")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "trials", "*.json"))
	ts.Check(err)
	if fmt.Sprint(len(files)) != args[1] {
		ts.Fatalf("%d trials, want %s", len(files), args[1])
	}
}

const small = `
name = "small"
title = "A small one"
trials = 3
[load]
clients = 2
duration = "200ms"
warmup = "50ms"
[matrix]
backend = ["inmem", "bolt"]
`

// TestInterrupt sends a real SIGINT half way: the exit code is 130, the report
// is made of what is done, and --resume runs only the rest.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "small.toml"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	interrupted := make(chan struct{})
	go func() { // Ctrl-C once two trials are recorded
		defer close(interrupted)
		defer cancel()
		for ctx.Err() == nil {
			if done, _ := filepath.Glob(filepath.Join(out, "trials", "*.json")); len(done) >= 2 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	var stdout, stderr bytes.Buffer
	code := run(ctx, Builtin(), []string{"run", file, "--out", out}, &stdout, &stderr)
	cancel()
	<-interrupted
	if code != exitInterrupted || !strings.Contains(stderr.String(), "--resume") {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	if _, err := os.Stat(filepath.Join(out, "report.md")); err != nil {
		t.Errorf("no report of what was done: %v", err)
	}
	before := recorded(t, out)
	if len(before) < 2 || len(before) >= 6 {
		t.Fatalf("%d trials recorded before the interrupt", len(before))
	}

	stderr.Reset()
	if code := run(t.Context(), Builtin(), []string{"run", file, "--out", out, "--resume"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("resume: exit code %d\n%s", code, stderr.String())
	}
	after := recorded(t, out)
	if len(after) != 6 {
		t.Fatalf("%d trials in the end, want 6", len(after))
	}
	for name, started := range before {
		if !after[name].Equal(started) {
			t.Errorf("%s was run again", name)
		}
	}
}

// TestInterruptBeforeTheFirstTrial: while the program of the members is asked what it
// would run, too, an interrupt ends raftlab at once, all that was started, and with its
// exit code; a second file is not begun.
func TestInterruptBeforeTheFirstTrial(t *testing.T) {
	dir := t.TempDir()
	file, program, begun := filepath.Join(dir, "small.toml"), filepath.Join(dir, "kvnode"), filepath.Join(dir, "begun")
	text := strings.Replace(small, "[load]", "[cluster]\nmode = \"process\"\n[load]", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// A child of the program keeps its output open.
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho >> "+begun+"\nsleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		_ = poll.Until(ctx, 5*time.Millisecond, func() (bool, error) { _, err := os.Stat(begun); return err == nil, nil })
	}()
	var stdout, stderr bytes.Buffer
	code := run(ctx, Builtin(), []string{"run", file, file, "--kvnode", program, "--out", filepath.Join(dir, "out")}, &stdout, &stderr)
	if code != exitInterrupted || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	if asked, err := os.ReadFile(begun); err != nil || len(asked) != 1 {
		t.Errorf("the program was started %d times, %v", len(asked), err)
	}
}

// recorded maps the trial files to when the trials started.
func recorded(t *testing.T, out string) map[string]time.Time {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, "trials", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	started := map[string]time.Time{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var trial record.Trial
		if err := json.Unmarshal(data, &trial); err != nil {
			t.Fatal(err)
		}
		started[filepath.Base(f)] = trial.Started
	}
	return started
}
