package raftlab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTutorial runs the commands of the README's tutorial, in their order, in a
// folder that holds the experiments: what the README says must work. Only how long is
// measured is less.
func TestTutorial(t *testing.T) {
	commands := tutorial(t, "../../README.md")
	if len(commands) < 8 {
		t.Fatalf("the tutorial has only %d commands of raftlab: the test has lost its subject", len(commands))
	}
	dir := t.TempDir()
	script := "symlink experiments -> $ROOT/experiments\n"
	for _, c := range commands {
		if strings.HasPrefix(c, "raftlab run ") { // what it measures is not looked at
			c += " --set load.duration=100ms --set load.warmup=20ms"
			if !strings.Contains(c, "--quick") {
				c += " --trials 2"
			}
		}
		script += "exec " + c + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "tutorial.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: setRoot})
}

// tutorial returns the commands of raftlab in the sh blocks of the tutorial, and of what a
// thesis needs after it.
func tutorial(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## Five-minute tutorial")
	if !found {
		t.Fatal("the README has no tutorial")
	}
	section, _, _ = strings.Cut(section, "\n## What you get")
	var commands []string
	for i, block := range strings.Split(section, "```") {
		if i%2 == 0 {
			continue
		}
		for _, line := range strings.Split(strings.TrimPrefix(block, "sh\n"), "\n") {
			if c, ours := strings.CutPrefix(line, "bin/"); ours {
				commands = append(commands, c)
			} else if line != "" && line != "make build" {
				t.Errorf("the tutorial has a command that is not tested: %s", line)
			}
		}
	}
	return commands
}
