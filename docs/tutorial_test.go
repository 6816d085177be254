// Package docs holds only this test: it does what tutorial.md says.
package docs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

// TestMain lets this program stand in for curl, which a fresh machine may lack.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		if err := curl(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// curl understands what the tutorial uses: URL, -X METHOD, -d BODY, -s, -f.
func curl(args []string) error {
	method, url, body, strict := http.MethodGet, "", "", false
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-X":
			i++
			method = args[i]
		case "-s":
		case "-f":
			strict = true
		case "-d":
			i++
			body = args[i]
		default:
			url = "http://" + args[i]
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if strict && resp.StatusCode >= http.StatusBadRequest {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// step is one command with the output that the tutorial shows, or, of an sh block,
// the whole block; its output is not compared.
type step struct {
	line    int
	command string
	output  string
	compare bool
	root    bool // needs a disk that root can freeze
}

// steps reads the fenced blocks of the tutorial.
func steps(text string) []step {
	var all []step
	fence := ""
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if fence = strings.TrimPrefix(line, "```"); fence == "sh" || fence == "sh root" {
				all = append(all, step{line: i + 1, root: fence == "sh root"})
			}
		case fence == "sh" || fence == "sh root":
			all[len(all)-1].command += line + "\n"
		case fence == "console":
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, step{line: i + 1, command: command, compare: true})
			} else if n := len(all) - 1; n >= 0 && all[n].compare {
				all[n].output += line + "\n"
			}
		}
	}
	return all
}

// TestTutorial runs the tutorial's commands in a folder of its own, on free ports,
// and compares what they print.
func TestTutorial(t *testing.T) {
	source, err := os.ReadFile("tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	text := onFreePorts(t, string(source))
	dir := workplace(t)
	t.Cleanup(func() {
		_, _ = inShell(t, dir, "for f in cluster gossip trio five; do clusterctl -c $f.yaml stop; done; true")
	})
	// Before the nodes are stopped: one that waits for a frozen disk cannot be.
	t.Cleanup(func() { _, _ = inShell(t, dir, "fsfreeze -u disk; umount -l disk; true") })
	freezable := canFreeze(t)
	elected, gone := false, false
	for _, s := range steps(text) {
		if strings.Contains(s.command, "make build") {
			continue // workplace has done it
		}
		if s.root && !freezable {
			t.Logf("tutorial.md:%d: not run: it takes root, mkfs.ext4, loop devices and fsfreeze", s.line)
			continue
		}
		out, err := inShell(t, dir, s.command)
		if err != nil {
			t.Fatalf("tutorial.md:%d: %s\n%v\n%s%s", s.line, s.command, err, out, logs(dir))
		}
		if strings.HasPrefix(s.command, "kill -INT") {
			elected, gone = true, true
		}
		if strings.Contains(s.command, "start node1") {
			gone = false
		}
		if got, want := normal(out, elected), normal(s.output, elected); s.compare && got != want {
			t.Fatalf("tutorial.md:%d: %s\nprints\n%s\nand should print\n%s%s", s.line, s.command, got, want, logs(dir))
		}
		if gone && strings.Contains(s.command, "status") && strings.Contains(out, "node1") {
			t.Errorf("tutorial.md:%d: node1 was stopped and is listed:\n%s", s.line, out)
		}
	}
	if left := processes(t, dir); left != "" {
		t.Errorf("processes that the tutorial has left:\n%s", left)
	}
}

// canFreeze says whether this machine can mount a file and freeze it.
func canFreeze(t *testing.T) bool {
	t.Helper()
	_, err := inShell(t, t.TempDir(), `test $(id -u) = 0
truncate -s 16M try.img; mkfs.ext4 -q try.img; mkdir try; mount -o loop try.img try
fsfreeze -f try && fsfreeze -u try; ok=$?; umount try; exit $ok`)
	return err == nil
}

// TestReadme runs the commands of the README's section on the store.
func TestReadme(t *testing.T) {
	source, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(source), "\n## The key-value store\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("README.md has no section on the store")
	}
	section = onFreePorts(t, section)
	dir := workplace(t)
	t.Cleanup(func() { _, _ = inShell(t, dir, "bin/clusterctl stop") })
	ran := ""
	for _, s := range steps(section) {
		command := strings.Replace(s.command, "make build", "true", 1) // workplace has done it
		if out, err := inShell(t, dir, command); err != nil {
			t.Fatalf("README.md: %s\n%v\n%s%s", command, err, out, logs(dir))
		}
		ran += command
	}
	for _, program := range []string{"bin/kvnode", "bin/clusterctl start"} {
		if !strings.Contains(ran, program) {
			t.Errorf("no %s was found among\n%s", program, ran)
		}
	}
	if left := processes(t, dir); left != "" {
		t.Errorf("processes that the README has left:\n%s", left)
	}
}

// inShell runs a command in dir with its programs on the path.
func inShell(t *testing.T, dir, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-c", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+command)
	cmd.WaitDelay = 10 * time.Second // what a failed command leaves running holds its output
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// normal leaves out what differs from run to run: times, process ids, indexes, terms, ids
// of groups, a final newline, and, once the leader was elected, who that is.
func normal(text string, elected bool) string {
	text = regexp.MustCompile(`\d{4}/\d\d/\d\d \d\d:\d\d:\d\d`).ReplaceAllString(text, "TIME")
	text = regexp.MustCompile(`\(pid \d+\)`).ReplaceAllString(text, "(pid N)")
	text = regexp.MustCompile(`\b(entry |entries after |term |group |index":)([0-9a-f]{16}|\d+)\b`).ReplaceAllString(text, "${1}N")
	if elected {
		text = regexp.MustCompile(`node\d( \([0-9.]+:\d+\))?`).ReplaceAllString(text, "nodeN")
	}
	return strings.TrimSpace(text)
}

// workplace is a folder with the programs in bin.
func workplace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"curl": self, "kvnode": clustertest.Program(t, "kvnode"), "clusterctl": clustertest.Program(t, "clusterctl"),
	} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// onFreePorts puts free ports in place of the tutorial's.
func onFreePorts(t *testing.T, text string) string {
	t.Helper()
	ports := regexp.MustCompile(`:[789]0\d\d\b`)
	free, err := clusterfile.Generate(30, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	chosen := map[string]string{}
	return ports.ReplaceAllStringFunc(text, func(port string) string {
		if chosen[port] == "" {
			_, number, _ := strings.Cut(free.Nodes[len(chosen)].HTTPAddress, ":")
			chosen[port] = ":" + number
		}
		return chosen[port]
	})
}

// processes lists the nodes that run in dir, from /proc; elsewhere it sees none.
func processes(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(line), "kvnode") && strings.Contains(cwd(f), dir) {
			fmt.Fprintln(&found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found.String()
}

func cwd(cmdline string) string {
	dir, _ := os.Readlink(filepath.Join(filepath.Dir(cmdline), "cwd"))
	return dir
}

// logs are the last lines of every node.
func logs(dir string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "node.log"))
	var all strings.Builder
	for _, f := range files {
		data, _ := os.ReadFile(f)
		fmt.Fprintf(&all, "\n--- %s\n%s", filepath.Base(filepath.Dir(f)), data[max(0, len(data)-2000):])
	}
	return all.String()
}
