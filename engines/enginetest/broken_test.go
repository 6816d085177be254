package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/engines/program"
)

// TestSeesWhatIsBroken: engines that break what they promise do not pass.
func TestSeesWhatIsBroken(t *testing.T) {
	if *path != "" {
		t.Skip("another program is given")
	}
	kvnode := Kvnode(clustertest.Program(t, "kvnode"), "hashicorp")
	for name, tt := range map[string]struct {
		subject func(t *testing.T) Subject
		demand  string
		want    string // of the error
	}{
		"it forgets all when it ends":    {func(*testing.T) Subject { return afresh(kvnode) }, "restart of all", "lost"},
		"it serves what is left":         {func(*testing.T) Subject { return afresh(kvnode) }, "damaged log", "it serves"},
		"it acknowledges early":          {func(t *testing.T) Subject { return behind(t, kvnode, early) }, "no majority", "SET is answered"},
		"it reads what is old":           {func(t *testing.T) Subject { return behind(t, kvnode, stale) }, "no majority", "GET is answered"},
		"it reads what was confirmed":    {func(t *testing.T) Subject { return behind(t, kvnode, stale) }, "a leader that is cut off", "GET is answered \"before\""},
		"it forwards":                    {func(t *testing.T) Subject { return behind(t, kvnode, forwards) }, "not the leader", "want NOTLEADER"},
		"it does not look what there is": {func(t *testing.T) Subject { return behind(t, kvnode, careless) }, "pipeline", "is answered"},
		"it refuses a large value":       {func(t *testing.T) Subject { return behind(t, kvnode, refuses()) }, "large values", "answered TOOLARGE"},
		"it ends with another code":      {func(*testing.T) Subject { return Subject{Path: "false", Arguments: none} }, "usage", "exit code 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := newGroup(tt.subject(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer g.close()
			for _, d := range demands() {
				if d.name != tt.demand {
					continue
				}
				if d.name != "usage" {
					if err := g.whole(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), checkTime)
				defer cancel()
				if err := d.run(ctx, g); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v; want %q", err, tt.want)
				}
				return
			}
			t.Errorf("there is no demand %q", tt.demand)
		})
	}
}

func none(*program.Spec, string) []string { return nil }

// afresh has each start of a member begin in a folder of its own.
func afresh(s Subject) Subject {
	var mu sync.Mutex
	starts := 0
	with := s.Arguments
	s.Arguments = func(spec *program.Spec, settings string) []string {
		mu.Lock()
		defer mu.Unlock()
		starts++
		moved := *spec
		moved.Dir = filepath.Join(spec.Dir, fmt.Sprint(starts))
		return with(&moved, settings)
	}
	return s
}

// lie is what a proxy in front of a member does with a command: with an answer it gives
// that, and by apart it sends it on another connection than the others.
type lie func(words []string) (answer string, apart bool)

// early acknowledges what may yet fail.
func early(words []string) (string, bool) {
	if words[0] == "SET" {
		return "+OK\r\n", true
	}
	return "", false
}

// stale reads on a connection that asks nobody else.
func stale(words []string) (string, bool) { return "", words[0] == "GET" }

// forwards has the member do it, when it is told not to.
func forwards(words []string) (answer string, apart bool) {
	if words[0] == "RAFT.FORWARD" {
		return "+OK\r\n", false
	}
	return "", false
}

// refuses is a lie that refuses one value for its size. The same value is no smaller later.
func refuses() lie {
	var once atomic.Bool
	return func(words []string) (answer string, apart bool) {
		if words[0] == "SET" && words[1] == "large" && !once.Swap(true) {
			return "-TOOLARGE too large\r\n", false
		}
		return "", false
	}
}

// careless sets what there is.
func careless(words []string) (answer string, apart bool) {
	if words[0] == "SETNX" {
		return ":1\r\n", false
	}
	return "", false
}

// behind puts a proxy with the lie in front of each member.
func behind(t *testing.T, s Subject, f lie) Subject {
	var mu sync.Mutex
	proxies := map[string]bool{}
	with := s.Arguments
	s.Arguments = func(spec *program.Spec, settings string) []string {
		mu.Lock()
		defer mu.Unlock()
		moved := *spec
		host, port, _ := net.SplitHostPort(spec.RESP)
		n, _ := strconv.Atoi(port)
		moved.RESP = net.JoinHostPort(host, fmt.Sprint(n+50))
		moved.RESPMembers = nil
		for _, m := range spec.RESPMembers {
			host, port, _ := net.SplitHostPort(m.At)
			n, _ := strconv.Atoi(port)
			moved.RESPMembers = append(moved.RESPMembers, program.Address{ID: m.ID, At: net.JoinHostPort(host, fmt.Sprint(n+50))})
		}
		if !proxies[spec.RESP] {
			proxies[spec.RESP] = true
			proxy(t, spec.RESP, moved.RESP, f)
		}
		return with(&moved, settings)
	}
	return s
}

// proxy serves until the end of the test.
func proxy(t *testing.T, at, to string, f lie) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = c.Close() })()
				defer c.Close()
				relay(ctx, c, to, f)
			})
		}
	})
}

// relay hands commands on, one at a time.
func relay(ctx context.Context, c net.Conn, to string, f lie) {
	var ups [2]*wire // the ordinary one, and the one apart
	for i := range ups {
		up, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", to)
		if err != nil {
			return
		}
		defer up.Close()
		defer context.AfterFunc(ctx, func() { _ = up.Close() })()
		ups[i] = &wire{up, bufio.NewReader(up)}
	}
	if ups[1].say(command("RAFT.READLEVEL", "stale"), "+OK\r\n") != nil {
		return
	}
	in := bufio.NewReader(c)
	for {
		words, err := readCommand(in)
		if err != nil {
			return
		}
		answer, apart := f(words)
		up := ups[0]
		if apart {
			up = ups[1]
		}
		if answer == "" || apart {
			if _, err := io.WriteString(up, command(words...)); err != nil {
				return
			}
		}
		if answer == "" {
			var b strings.Builder
			if copyReply(&b, up.in) != nil {
				return
			}
			answer = b.String()
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) (words []string, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	for ; n > 0 && err == nil; n-- {
		var b strings.Builder
		if err = copyReply(&b, in); err == nil {
			_, word, _ := strings.Cut(b.String(), "\n")
			words = append(words, strings.TrimSuffix(word, "\r\n"))
		}
	}
	return words, err
}

// copyReply copies one value of the protocol.
func copyReply(to io.Writer, in *bufio.Reader) error {
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := io.WriteString(to, line); err != nil {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch {
	case line[0] == '$' && n >= 0:
		_, err = io.CopyN(to, in, int64(n)+2)
	case line[0] == '*':
		for ; n > 0 && err == nil; n-- {
			err = copyReply(to, in)
		}
	}
	return err
}
