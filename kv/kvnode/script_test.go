package kvnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for a condition: it bounds a hang, on a busy machine too.
const patience = time.Minute

type nodesKey struct{}

// exitCode runs kvnode to its end: exit CODE ARGS…
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exit CODE ARGS…")
	}
	code := "0"
	if err := ts.Exec("kvnode", args[1:]...); err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// startNode starts a kvnode beside the script: node NAME ARGS… Its output goes to
// NAME.log, and the addresses that it listens on to $NAME_HTTP, $NAME_RAFT and, with
// --gossip, $NAME_GOSSIP.
func startNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: node NAME ARGS…")
	}
	name := args[0]
	p, err := launch(ts.MkAbs("."), ts.MkAbs(name+".log"), args[1:]...)
	ts.Check(err)
	ts.Defer(p.kill)
	nodes(ts)[name] = p
	what := map[string]string{"HTTP": "_HTTP", "Raft": "_RAFT"}
	if slices.Contains(args, "--gossip") {
		what["gossip"] = "_GOSSIP"
	}
	for what, variable := range what {
		found, err := p.find(`msg="` + what + ` listening" address=(\S+)`)
		ts.Check(err)
		ts.Setenv(name+variable, found[1])
	}
}

func nodes(ts *testscript.TestScript) map[string]*process {
	return ts.Value(nodesKey{}).(map[string]*process)
}

func named(ts *testscript.TestScript, name string) *process {
	p := nodes(ts)[name]
	if p == nil {
		ts.Fatalf("there is no node %s", name)
	}
	return p
}

// signalNode sends a signal: signal NAME INT|TERM|HUP|KILL.
func signalNode(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": os.Kill}
	if neg || len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME INT|TERM|HUP|KILL")
	}
	ts.Check(named(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// awaitEnd waits for a node to end, with an exit code: ended NAME CODE.
func awaitEnd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended NAME CODE")
	}
	p := named(ts, args[0])
	code, err := p.exit()
	ts.Check(err)
	if fmt.Sprint(code) != args[1] {
		ts.Fatalf("exit code %d, want %s\n%s", code, args[1], p.output())
	}
}

// awaitLog waits for a line in a node's output: logged NAME REGEXP.
func awaitLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logged NAME REGEXP")
	}
	_, err := named(ts, args[0]).find(args[1])
	ts.Check(err)
}

// request prints status and body of an answer: http METHOD URL [BODY].
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: http METHOD URL [BODY]")
	}
	answer, err := ask(args[0], args[1], strings.Join(args[2:], ""))
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), answer)
}

// awaitAnswer asks until the answer, status and body, matches: await [METHOD] URL REGEXP.
func awaitAnswer(ts *testscript.TestScript, neg bool, args []string) {
	method := http.MethodGet
	if len(args) == 3 {
		method, args = args[0], args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await [METHOD] URL REGEXP")
	}
	re := regexp.MustCompile(args[1])
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		answer, err := ask(method, args[0], "")
		if err == nil && re.MatchString(answer) {
			fmt.Fprintln(ts.Stdout(), answer)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("last answer: %s %v", answer, err)
		}
	}
}

func ask(method, url, body string) (string, error) {
	r, err := http.NewRequest(method, "http://"+url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, answer), err
}

// hangingUpload begins a request that it never finishes: upload HOST:PORT.
func hangingUpload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: upload HOST:PORT")
	}
	c, err := beginUpload(args[0])
	ts.Check(err)
	ts.Defer(func() { c.Close() })
}

// beginUpload begins a request whose body never comes, and returns once the handler
// waits for it.
func beginUpload(address string) (net.Conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(c, "PUT /key/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	// The server asks for the body once the handler reads it.
	answer := make([]byte, len("HTTP/1.1 100"))
	err = errors.Join(err, c.SetReadDeadline(time.Now().Add(patience)))
	if err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// spoil overwrites a file but for its beginning, as a disk might: spoil FILE.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spoil FILE")
	}
	const kept = 8192 // BoltDB's meta pages
	data := []byte(ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(data[:kept:kept], bytes.Repeat([]byte{0xff}, len(data)-kept)...), 0o600))
}

// appears waits for a file: appears FILE.
func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears FILE")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		} else if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
	}
}
