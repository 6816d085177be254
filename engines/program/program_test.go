package program_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/engines/program"
)

// standIn is set for a process of this test that is to be a program.
const standIn = "RAFTLAB_TEST_STANDIN"

func TestMain(m *testing.M) {
	if how := os.Getenv(standIn); how != "" {
		beProgram(how)
	}
	goleak.VerifyTestMain(m)
}

// description is what the stand-in says of itself.
func description() program.Description {
	return program.Description{
		Protocol: program.Protocol, Engine: "standin", Library: "none", Version: "1", Language: "Go",
		Storage: program.Part{Name: "memory"}, Transport: program.Part{Name: "none"},
		Durability: "nothing", ReadLevels: []string{"linearizable"}, Reads: "log entry", Features: []string{program.Snapshot},
		Settings: map[string]program.Setting{"heartbeat_timeout": {Default: "1000000us", Doc: "how long", Honoured: true}},
	}
}

// beProgram is a program that serves the least that makes it ready, and ends badly as it is told.
func beProgram(how string) {
	if os.Args[1] == "describe" {
		settings, err := os.ReadFile(os.Args[3])
		if err != nil || strings.Contains(string(settings), "colour") {
			fmt.Fprintf(os.Stderr, "starting\n%s:1: colour: no such setting\n", os.Args[3])
			os.Exit(2)
		}
		d := description()
		d.Runs = map[string]string{"settings": string(settings)}
		_ = json.NewEncoder(os.Stdout).Encode(d)
		os.Exit(0)
	}
	fmt.Println("it begins")
	if how == "fails" {
		fmt.Println("no room")
		os.Exit(1)
	}
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	l, err := net.Listen("tcp", os.Args[6]) // --id I --raft R --resp A
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c, map[bool]string{true: "n1"}[how != "leaderless"])
		}
	}()
	<-terms
	if how == "stubborn" {
		select {}
	}
	os.Exit(0)
}

func answer(c net.Conn, leader string) {
	b := make([]byte, 1024)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		var out strings.Builder
		fields := []string{"id", "n1", "group", "g", "role", "leader", "leader", leader, "leader_resp", "-", "term", "3", "last_index", "7",
			"commit_index", "7", "applied_index", "7", "keys", "0", "commands", "0"}
		fmt.Fprintf(&out, "*%d\r\n", len(fields))
		for i, f := range fields {
			if i > 10 && i%2 == 1 {
				fmt.Fprintf(&out, ":%s\r\n", f)
				continue
			}
			fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(f), f)
		}
		if _, err := c.Write([]byte(out.String())); err != nil {
			return
		}
	}
}

// spec is of a stand-in that behaves as it is told.
func spec(t *testing.T, how string) program.Spec {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return program.Spec{
		Path: self, ID: "n1", Raft: "127.0.0.1:1", RESP: free.Addr().String(), Dir: filepath.Join(dir, "data"), Log: filepath.Join(dir, "logs", "n1.log"),
		Members: []program.Address{{ID: "n1", At: "127.0.0.1:1"}}, Env: []string{standIn + "=" + how},
		Settings: map[string]string{"heartbeat_timeout": program.Duration(time.Second), "pre_vote": "true"},
	}
}

func start(t *testing.T, s program.Spec) *program.Process {
	t.Helper()
	p, err := program.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestLife(t *testing.T) {
	s := spec(t, "serves")
	p := start(t, s)
	if err := p.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(s.Dir + ".settings")
	if err != nil || string(settings) != "heartbeat_timeout = 1000000us\npre_vote = true\n" {
		t.Errorf("settings %q, %v", settings, err)
	}
	c, err := program.Dial(soon(t), s.RESP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Status(soon(t))
	want := program.Status{ID: "n1", Group: "g", Role: "leader", Leader: "n1", LeaderRESP: "-", Term: 3, LastIndex: 7, CommitIndex: 7, AppliedIndex: 7}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := p.Pause(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if s, err := c.Status(ctx); err == nil {
		t.Errorf("paused it answers %+v", s)
	}
	if err := p.Stop(soon(t)); err != nil || p.ExitCode() != 0 {
		t.Errorf("stop of one that is paused: %v, code %d", err, p.ExitCode())
	}
	if err := errors.Join(p.Stop(soon(t)), p.Kill(), p.Resume()); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// TestEnds: how a member does not become ready, or does not end, is told with its last words.
func TestEnds(t *testing.T) {
	p := start(t, spec(t, "fails"))
	err := p.Ready(soon(t))
	if err == nil || !strings.Contains(err.Error(), "exit status 1: no room") || !errors.As(err, new(*exec.ExitError)) {
		t.Errorf("one that fails: %v", err)
	}
	p = start(t, spec(t, "leaderless"))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := p.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "knows no leader: it begins") {
		t.Errorf("one without a leader: %v", err)
	}
	p = start(t, spec(t, "stubborn"))
	if err := p.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("no patience"))
	defer cancel()
	if err := p.Stop(ctx); err == nil || !strings.Contains(err.Error(), "no patience") || p.ExitCode() != -1 {
		t.Errorf("one that does not end: %v", err)
	}
	s := spec(t, "serves")
	s.Path = filepath.Join(t.TempDir(), "raftlab-none")
	if _, err := program.Start(t.Context(), s); !errors.Is(err, program.ErrMissing) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(program.Folders, dir)
	if _, err := program.Find("none"); !errors.Is(err, program.ErrMissing) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "make engines") {
		t.Errorf("a missing one: %v", err)
	}
	path := filepath.Join(dir, "raftlab-none")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := program.Find("none"); err == nil || errors.Is(err, program.ErrMissing) || !strings.Contains(err.Error(), path) {
		t.Errorf("one that is no program: %v", err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := program.Find("none"); got != path || err != nil {
		t.Errorf("found %s, %v", got, err)
	}
}

func TestDescribe(t *testing.T) {
	t.Setenv(standIn, "serves")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := program.Describe(soon(t), self, map[string]string{"b": "2", "a": "1"})
	if err != nil || d.Engine != "standin" || d.Runs["settings"] != "a = 1\nb = 2\n" || !d.Has(program.Snapshot) || d.Has(program.Links) {
		t.Errorf("%+v, %v", d, err)
	}
	_, err = program.Describe(soon(t), self, map[string]string{"colour": "red"})
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 2: its settings:1: colour: no such setting") {
		t.Errorf("a setting that is refused: %v", err)
	}
	for _, bad := range []map[string]string{{"A": "1"}, {"a b": "1"}, {"a": ""}, {"a": "1\n2"}, {"a": " 1"}} {
		if err := program.WriteSettings(filepath.Join(t.TempDir(), "s"), bad); err == nil {
			t.Errorf("%q was written", bad)
		}
	}
}

// TestGiven: what is found in $RAFTLAB_ENGINES without being asked for.
func TestGiven(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{
		filepath.Join(first, "raftlab-mine"): 0o755, filepath.Join(second, "raftlab-mine"): 0o755, filepath.Join(second, "raftlab-a"): 0o755,
		filepath.Join(first, "raftlab-notes"): 0o644, filepath.Join(first, "other"): 0o755, filepath.Join(first, "raftlab-folder", "x"): 0o755,
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, mode)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(program.Folders, first+string(filepath.ListSeparator)+second+string(filepath.ListSeparator)+filepath.Join(first, "missing"))
	if names, err := program.Given(); err != nil || !slices.Equal(names, []string{"a", "mine"}) {
		t.Errorf("Given() = %q, %v; want a, mine", names, err)
	}
}
