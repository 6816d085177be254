package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/shirou/gopsutil/v4/process"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"clusterctl": main, mortal: mortalMain})
}

// leakChecked is the tests, without the programs of the scripts, which are this binary, too.
type leakChecked struct{ *testing.M }

func (l leakChecked) Run() int {
	code := l.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the program as its users do, with real nodes: see
// testdata/script.
func TestScripts(t *testing.T) {
	bin := filepath.Dir(clustertest.Program(t, "kvnode"))
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"addresses":  addresses,
			"append":     appendTo,
			"cut":        cut,
			"digest":     digest,
			"eventually": eventually,
			"exit":       exitCodeIs,
			"firstkey":   firstKey,
			"flip":       flip,
			"gone":       gone,
			"hold":       hold,
			"http":       request,
			"index":      index,
			"interrupt":  interrupt,
			"leader":     leader,
			"prints":     prints,
		},
		Setup: func(e *testscript.Env) error {
			host, release, err := clustertest.Host()
			if err != nil {
				return err
			}
			e.Defer(release)
			e.Setenv("HOST", host)
			e.Setenv("BIN", bin)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // or every command takes a second more under -race
			e.Defer(func() {                        // what a script that failed has left
				for _, p := range nodesIn(e.WorkDir) {
					_ = p.Kill()
				}
			})
			return nil
		},
	})
}

// nodesIn returns the kvnodes that were started in dir. One that has ended and
// was not reaped has no command line any more.
func nodesIn(dir string) []*process.Process {
	all, err := process.Processes()
	if err != nil {
		panic(err)
	}
	var found []*process.Process
	for _, p := range all {
		line, _ := p.Cmdline()
		cwd, _ := p.Cwd()
		if strings.Contains(line, "kvnode") && cwd == dir {
			found = append(found, p)
		}
	}
	return found
}

// gone wants that no node is left: gone.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	left := nodesIn(ts.Getenv("WORK"))
	if neg && len(left) == 0 {
		ts.Fatalf("no node runs: 'gone' has lost its subject")
	}
	if !neg && len(left) > 0 {
		ts.Fatalf("%d processes are still there: %v", len(left), left)
	}
}

// addresses sets H1, H2, …, R1, R2, … and G1, G2, … to the addresses in a cluster
// file: addresses FILE.
func addresses(ts *testscript.TestScript, _ bool, args []string) {
	f, err := clusterfile.Read(ts.MkAbs(args[0]))
	ts.Check(err)
	for i, n := range f.Nodes {
		ts.Setenv(fmt.Sprintf("H%d", i+1), n.HTTPAddress)
		ts.Setenv(fmt.Sprintf("R%d", i+1), n.RPCAddress)
		ts.Setenv(fmt.Sprintf("G%d", i+1), n.GossipAddress)
	}
}

// exitCodeIs runs clusterctl and wants an exit code: exit CODE ARGS…
func exitCodeIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exit CODE ARGS…")
	}
	code := "0"
	if err := ts.Exec("clusterctl", args[1:]...); err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// eventually runs clusterctl until its output is as wanted: eventually REGEXP
// ARGS…
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	await(ts, func() bool {
		_ = ts.Exec("clusterctl", args[1:]...)
		return want.MatchString(ts.ReadFile("stdout")) != neg
	})
}

func await(ts *testscript.TestScript, holds func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("still not as wanted after 20 s")
		}
	}
}

// request sends a request and prints the body of the answer: http METHOD URL
// [BODY]. With ! the answer has to be an error.
func request(ts *testscript.TestScript, neg bool, args []string) {
	body := ""
	if len(args) > 2 {
		body = args[2]
	}
	req, err := http.NewRequest(args[0], "http://"+args[1], strings.NewReader(body))
	ts.Check(err)
	client := http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
	if failed := resp.StatusCode >= 400; failed != neg {
		ts.Fatalf("%s", resp.Status)
	}
}

// interrupt sends a SIGINT to the process of a node: interrupt PIDFILE.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	var pid int
	_, err := fmt.Sscan(ts.ReadFile(args[0]), &pid)
	ts.Check(err)
	p, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(p.Signal(syscall.SIGINT))
}

// index sets a variable to what a file holds: index NAME FILE.
func index(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// firstKey sets a variable to the first key that a journal of a load has:
// firstkey NAME JOURNAL.
func firstKey(ts *testscript.TestScript, _ bool, args []string) {
	_, text, _ := strings.Cut(ts.ReadFile(args[1]), "\n") // behind the header
	var line struct{ Keys []string }
	ts.Check(json.NewDecoder(strings.NewReader(text)).Decode(&line))
	ts.Setenv(args[0], line.Keys[0])
}

// appendTo adds a text to a file: append FILE TEXT.
func appendTo(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0]) + strings.ReplaceAll(args[1], `\n`, "\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// digest sets a variable to the digest that was printed: digest NAME.
func digest(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], regexp.MustCompile(`[0-9a-f]{64}`).FindString(ts.ReadFile("stdout")))
}

// flip copies a file with one bit changed in the middle: flip FROM TO.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile(args[0]))
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// cut copies a file without its last byte: cut FROM TO.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	data := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:len(data)-1]), 0o600))
}

// hold keeps an address taken until the end of the script, by a server that hangs
// up on everybody: hold ADDRESS.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	ts.Defer(func() {
		_ = l.Close()
		<-done
	})
}

// leader sets LEADER and LEADER_HTTP to who leads, once a node does: leader FILE.
func leader(ts *testscript.TestScript, _ bool, args []string) {
	var r report
	await(ts, func() bool {
		_ = ts.Exec("clusterctl", "-c", args[0], "status", "--output", "json")
		r = report{}
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &r))
		return r.Leader != nil
	})
	ts.Setenv("LEADER", *r.Leader)
	for _, n := range r.Nodes {
		if n.Alias == *r.Leader {
			ts.Setenv("LEADER_HTTP", n.HTTPAddress)
		}
	}
}

var (
	anyTime = regexp.MustCompile(`\d{4}/\d\d/\d\d \d\d:\d\d:\d\d`)
	anyPID  = regexp.MustCompile(`\(pid \d+\)`)
)

// prints compares what was printed with a file, but for times and process ids:
// prints FILE.
func prints(ts *testscript.TestScript, _ bool, args []string) {
	got := anyTime.ReplaceAllString(ts.ReadFile("stdout"), "TIME")
	got = anyPID.ReplaceAllString(got, "(pid N)")
	want := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	if got != want {
		ts.Fatalf("printed\n%s\nwant\n%s", got, want)
	}
}

// TestNodesIn sees that the search for leftovers finds something.
func TestNodesIn(t *testing.T) {
	dir := t.TempDir()
	path := clustertest.Program(t, "kvnode")
	cmd := exec.Command(path, "--id", "node", "--inmem", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "data")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var found []*process.Process // it takes a moment to become that program
	for deadline := time.Now().Add(10 * time.Second); len(found) == 0 && time.Now().Before(deadline); {
		found = nodesIn(dir)
	}
	if len(found) != 1 || int(found[0].Pid) != cmd.Process.Pid {
		t.Errorf("found %v, want %d", found, cmd.Process.Pid)
	}
}
