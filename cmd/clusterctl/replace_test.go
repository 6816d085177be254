package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/themilchenko/raftlab/cluster/clustertest"
)

var allKills = flag.Bool("all-kills", false, "have every kind of cluster killed at every step of a replacement, not each at some")

// mortal is clusterctl that kills itself before it says its so-manieth thing, of which each
// step of a command says one: the number is in $MORTAL_AT.
const mortal = "mortal-clusterctl"

func mortalMain() {
	at, err := strconv.Atoi(os.Getenv("MORTAL_AT"))
	if err != nil {
		panic(err)
	}
	out := &lastWords{to: os.Stdout, left: at}
	os.Exit(run(context.Background(), os.Args[1:], nil, out, out))
}

type lastWords struct {
	to   io.Writer
	left int
}

// Write implements io.Writer.
func (w *lastWords) Write(p []byte) (int, error) {
	if w.left--; w.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it takes effect
	}
	return w.to.Write(p)
}

// runKilled runs clusterctl until its thing number at; false: it had less to say, and ended.
func runKilled(t *testing.T, at int, args ...string) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0], cmd.Env = mortal, append(os.Environ(), fmt.Sprint("MORTAL_AT=", at))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return true
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), args, nil, &out, &out); code != exitOK {
		t.Fatalf("%v: exit code %d\n%s", args, code, &out)
	}
	return out.String()
}

// damages are what may have become of a member.
var damages = []struct {
	name string
	do   func(t *testing.T, dir string)
	keep bool // something is left of the folder
}{
	{"wiped and dead", func(t *testing.T, dir string) {
		mustRun(t, "kill", "node2")
		removeAll(t, dir)
	}, false},
	{"without its log", func(t *testing.T, dir string) {
		mustRun(t, "kill", "node2")
		removeAll(t, filepath.Join(dir, "log"))
	}, true},
	{"wiped and running", removeAll, false},
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// TestReplaceKilled kills a replacement at each of its steps: the same command completes it,
// whichever way nodes find each other and with each engine. The group never has two members of
// the name, loses nothing, and what the old folder held is kept, once.
func TestReplaceKilled(t *testing.T) {
	bin := filepath.Dir(clustertest.Program(t, "kvnode"))
	kinds := []struct{ discovery, engine string }{{"gossip", "hashicorp"}, {"static", "etcd"}, {"gossip", "etcd"}, {"static", "hashicorp"}}
	killed := map[int]int{} // how often before the step
	for i, kind := range kinds {
		t.Run(kind.discovery+" "+kind.engine, func(t *testing.T) {
			t.Chdir(t.TempDir())
			startTrio(t, bin, kind.discovery, kind.engine)
			defer mustRun(t, "stop")
			mustRun(t, "set", "fruit", "pear")
			first, stride := 1+i, len(kinds)
			if *allKills {
				first, stride = 1, 1
			}
			for at := first; ; at += stride {
				damage := damages[(at+i)%len(damages)]
				damage.do(t, filepath.Join("var", "node2"))
				if !runKilled(t, at, "replace", "node2") {
					break
				}
				killed[at]++
				said := mustRun(t, "replace", "node2")
				checkReplaced(t, fmt.Sprintf("%s, killed at step %d", damage.name, at), damage.keep, said)
			}
		})
	}
	t.Logf("killed before the steps: %v", killed)
	for at := 1; at <= 6; at++ { // announced, stopped, removed, moved or starting, started, caught up
		if killed[at] == 0 {
			t.Errorf("never killed before it said its thing number %d", at)
		}
	}
}

func startTrio(t *testing.T, bin, discovery, engine string) {
	t.Helper()
	host, release, err := clustertest.Host()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	args := []string{"init", "--host", host, "--bin-path", bin}
	if discovery == "static" {
		args = append(args, "--leader", "node1")
	}
	mustRun(t, args...)
	f, err := os.OpenFile("config.yaml", os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(f, "kvnode: {engine: %s, backend: bolt}\n", engine)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, "start")
}

// checkReplaced wants all three as members that vote, node2 with the data, and nothing left
// over but what was kept.
func checkReplaced(t *testing.T, when string, kept bool, said string) {
	t.Helper()
	if got := mustRun(t, "get", "fruit", "--node", "node2", "--consistency", "stale"); got != "pear\n" {
		t.Errorf("%s: node2 has %q", when, got)
	}
	var members struct {
		Members []struct {
			ID    string
			Voter bool
		}
	}
	if err := json.Unmarshal([]byte(mustRun(t, "members", "-o", "json")), &members); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(members.Members) != "[{node1 true} {node2 true} {node3 true}]" {
		t.Errorf("%s: members %v\n%s", when, members.Members, said)
	}
	old, err := filepath.Glob(filepath.Join("var", "node2.replaced-*"))
	if err != nil || len(old) > 1 || len(old) == 1 != kept {
		t.Errorf("%s: kept %q, %v\n%s", when, old, err, said)
	}
	for _, dir := range old {
		if _, err := os.Stat(filepath.Join(dir, "node.json")); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		removeAll(t, dir)
	}
	if _, err := os.Stat(filepath.Join("var", "node2.replacing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: the note stays: %v", when, err)
	}
	if !strings.Contains(said, `"node2" is a voter and has caught up`) {
		t.Errorf("%s: %s", when, said)
	}
}

// overheard is a writer that calls then before each thing that is said.
type overheard struct {
	bytes.Buffer
	then func()
}

// Write implements io.Writer.
func (o *overheard) Write(p []byte) (int, error) {
	o.then()
	return o.Buffer.Write(p)
}

// TestReplaceAtOnce gives the command again at each step of a replacement that goes on, and has the
// member removed: the others are refused, and the first one ends well.
func TestReplaceAtOnce(t *testing.T) {
	bin := filepath.Dir(clustertest.Program(t, "kvnode"))
	for _, discovery := range []string{"gossip", "static"} {
		t.Run(discovery, func(t *testing.T) {
			t.Chdir(t.TempDir())
			startTrio(t, bin, discovery, "hashicorp")
			defer mustRun(t, "stop")
			mustRun(t, "set", "fruit", "pear")
			damages[0].do(t, filepath.Join("var", "node2"))
			steps := 0
			first := overheard{then: func() {
				steps++
				for _, second := range [][]string{{"replace", "node2"}, {"replace", "node3", "--force"}, {"members", "remove", "node2"}} {
					var out bytes.Buffer
					if code := run(t.Context(), second, nil, &out, &out); code != exitFailed || !strings.Contains(out.String(), "wait until it is done") {
						t.Errorf("%v at step %d: exit code %d\n%s", second, steps, code, &out)
					}
				}
			}}
			if code := run(t.Context(), []string{"replace", "node2"}, nil, &first, &first); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			checkReplaced(t, "at the end", damages[0].keep, first.String())
			if steps < 6 {
				t.Errorf("%d steps: %s", steps, first.String())
			}
		})
	}
}
