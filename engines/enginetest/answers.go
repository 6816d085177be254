package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// usage: wrong usage ends with 2 and one line, before anything is written.
func usage(ctx context.Context, g *group) error {
	var errs []error
	for name, change := range map[string]func(*program.Spec) (extra []string){
		"an unknown flag":           func(*program.Spec) []string { return []string{"--no-such-flag=1"} },
		"an address that is none":   func(s *program.Spec) []string { s.Raft = "nowhere"; return nil },
		"an address without a port": func(s *program.Spec) []string { s.RESP = "127.0.0.1"; return nil },
		"an unknown setting":        func(s *program.Spec) []string { s.Settings["colour"] = "1"; return nil },
		"a value that is no number": func(s *program.Spec) []string { s.Settings["snapshot_threshold"] = "many"; return nil },
	} {
		s := g.members[0].spec
		s.Settings = g.subject.settings()
		s.Dir = filepath.Join(g.dir, "usage")
		extra := change(&s)
		try, cancel := context.WithTimeout(ctx, healTime)
		code, said, err := s.Try(try, extra...)
		cancel()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		case code != 2 || strings.Count(strings.TrimSpace(said), "\n") > 0 || strings.TrimSpace(said) == "":
			errs = append(errs, fmt.Errorf("%s: exit code %d, standard error %q; want 2 and one line", name, code, said))
		}
		if _, err := os.Stat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: there is %s afterwards: %v", name, s.Dir, err))
		}
	}
	if g.subject.Arguments == nil {
		errs = append(errs, described(ctx, g))
	}
	return errors.Join(append(errs, taken(ctx, g))...)
}

// taken: a member whose address somebody else has ends with 1, and says which.
func taken(ctx context.Context, g *group) error {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	s := g.members[0].spec
	s.Dir = filepath.Join(g.dir, "taken")
	host, _, _ := net.SplitHostPort(s.Raft)
	code, said, err := s.Try(ctx)
	if err != nil || code != 1 || !strings.Contains(said, host) {
		return fmt.Errorf("a member whose addresses %s and %s are taken: exit code %d, %v, standard error %q; want 1, and the address", s.Raft, s.RESP, code, err, said)
	}
	return nil
}

// described: describe takes what a member does, and says what it makes of it.
func described(ctx context.Context, g *group) error {
	d, err := program.Describe(ctx, g.subject.Path, g.subject.settings())
	if err != nil {
		return err
	}
	var errs []error
	for key := range g.subject.settings() {
		s, known := d.Settings[key]
		if _, runs := d.Runs[key]; !known || s.Honoured && !runs {
			errs = append(errs, fmt.Errorf("describe: settings has %s: %t, runs: %t", key, known, runs))
		}
	}
	_, err = program.Describe(ctx, g.subject.Path, map[string]string{"colour": "1"})
	if err == nil || !strings.Contains(err.Error(), "colour") || !strings.Contains(err.Error(), "exit status 2") {
		errs = append(errs, fmt.Errorf("describe with the unknown setting colour: %v; want exit status 2 and a line that names it", err))
	}
	return errors.Join(errs...)
}

// wire is a connection on which bytes count.
type wire struct {
	net.Conn
	in *bufio.Reader
}

func (m *member) wire(ctx context.Context) (*wire, error) {
	c, err := (&net.Dialer{Timeout: askTime}).DialContext(ctx, "tcp", m.spec.RESP)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(healTime))
	return &wire{c, bufio.NewReader(c)}, nil
}

// say sends a text and compares what is answered; of an error only the first word.
func (w *wire) say(text, want string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if strings.HasPrefix(want, "-") {
		line, err := w.in.ReadString('\n')
		word, _, _ := strings.Cut(want, " ")
		if err != nil || line != want && !strings.HasPrefix(line, word+" ") {
			return fmt.Errorf("%.100q is answered %.100q, %v; want %.100q", text, line, err, word)
		}
		return nil
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(w.in, got)
	if err != nil || string(got) != want {
		return fmt.Errorf("%.100q is answered %.100q, %v; want %.100q", text, got[:n], err, want)
	}
	return nil
}

func command(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// conversation is one of kv/respapi/testdata/vectors.json.
type conversation struct {
	Name  string
	Steps []struct {
		Do         []string
		Send, Want string
		Closed     bool
	}
}

// conversations are those of the Redis protocol that every engine is to have.
func conversations() (list []conversation, err error) {
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../kv/respapi/testdata/vectors.json"))
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(text, &list)
	return slices.DeleteFunc(list, func(c conversation) bool {
		return !slices.Contains([]string{"greeting", "set and get", "conditions", "several keys", "pipeline", "not a command", "too large"}, c.Name)
	}), err
}

// beyond are commands that only kvnode has, which end a conversation, but for those that
// change nothing.
func beyond(words []string) (is, harmless bool) {
	switch {
	case len(words) == 0:
		return false, false
	case words[0] == "TYPE":
		return true, true
	}
	return slices.ContainsFunc(words, func(w string) bool { return w == "IFEQ" || w == "GET" && words[0] == "SET" }), false
}

// answers: what the leader answers is that of docs/resp.md, byte for byte.
func answers(ctx context.Context, g *group) error {
	list, err := conversations()
	if err != nil {
		return err
	}
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range list {
		if err := c.hold(ctx, leader); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
		}
	}
	return errors.Join(append(errs, own(ctx, leader))...)
}

func (c conversation) hold(ctx context.Context, m *member) error {
	w, err := m.wire(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	for _, s := range c.Steps {
		is, harmless := beyond(s.Do)
		if harmless {
			continue
		}
		if is {
			break
		}
		if s.Do != nil {
			s.Send = command(s.Do...)
		}
		if err := w.say(s.Send, s.Want); err != nil {
			return err
		}
		if s.Closed {
			if rest, err := io.ReadAll(w.in); err != nil || len(rest) > 0 {
				return fmt.Errorf("after %.100q: %q, %v; want the end of the connection", s.Send, rest, err)
			}
		}
	}
	return w.clean("k", "new", "a", "b")
}

// clean deletes keys, on a connection that may have ended.
func (w *wire) clean(keys ...string) error {
	if _, err := io.WriteString(w, command(append([]string{"DEL"}, keys...)...)); err == nil {
		_, _ = w.in.ReadString('\n')
	}
	return nil
}

// own: what the vectors do not have, of this engine or of any.
func own(ctx context.Context, m *member) error {
	w, err := m.wire(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	large := strings.Repeat("large\x00\r\n", 128<<10)
	binary := "\xff\x00\r\n$-1\r\n"
	for _, x := range [][2]string{
		{command("SET", "large", large), "+OK\r\n"},
		{command("GET", "large"), fmt.Sprintf("$%d\r\n%s\r\n", len(large), large)},
		{command("STRLEN", "large"), fmt.Sprintf(":%d\r\n", len(large))},
		{command("set", binary, binary), "+OK\r\n"},
		{command("MGET", binary, "none"), fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$-1\r\n", len(binary), binary)},
		{command("EXISTS", "large", binary, binary, "none"), ":3\r\n"},
		{command("DEL", "large", binary, binary, "none"), ":2\r\n"},
		{command("SET", "", "v"), "-ERR"},
		{command("SET", "k"), "-ERR"},
		{command("SET", "k", "v", "NOW"), "-ERR"},
		{command("MSET", "k", "v", "l"), "-ERR"},
		{command("GET"), "-ERR"},
		{command("NOSUCH", "k"), "-ERR"},
		{command("SELECT", "1"), "-ERR"},
		{command("SET", strings.Repeat("k", 64<<10+1), "v"), "-TOOLARGE"},
		{command("SET", strings.Repeat("k", 64<<10), "v"), "+OK\r\n"},
		{command("DEL", strings.Repeat("k", 64<<10)), ":1\r\n"},
		{command("CLIENT", "SETNAME", "me"), "+OK\r\n"},
		{command("RAFT.READLEVEL"), "$12\r\nlinearizable\r\n"},
		{command("RAFT.READLEVEL", "linearizable"), "+OK\r\n"},
		{command("RAFT.READLEVEL", "fresh"), "-ERR"},
		{command("RAFT.FORWARD", "no"), "+OK\r\n"},
		{command("RAFT.FORWARD"), "$2\r\nno\r\n"},
		{command("RESET"), "+RESET\r\n"},
		{command("QUIT"), "+OK\r\n"},
	} {
		if err := w.say(x[0], x[1]); err != nil {
			return err
		}
	}
	if rest, err := io.ReadAll(w.in); err != nil || len(rest) > 0 {
		return fmt.Errorf("after QUIT: %q, %v; want the end of the connection", rest, err)
	}
	return nil
}

// pipeline: what is sent without waiting is done and answered in its order, however much.
func pipeline(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	w, err := leader.wire(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	var text, want bytes.Buffer
	for i := range 2000 {
		value := fmt.Sprint(i)
		text.WriteString(command("SET", "p", value))
		want.WriteString("+OK\r\n")
		switch {
		case i%100 == 50:
			text.WriteString(command("GET", "p"))
			fmt.Fprintf(&want, "$%d\r\n%s\r\n", len(value), value)
		case i%100 == 70:
			text.WriteString(command("SETNX", "p", "no") + command("DEL", "p", "p") + command("EXISTS", "p") + command("NOSUCH"))
			want.WriteString(":0\r\n:1\r\n:0\r\n")
			if err := w.say(text.String(), want.String()); err != nil {
				return err
			}
			if err := w.say("", "-ERR"); err != nil {
				return err
			}
			text.Reset()
			want.Reset()
		}
	}
	if err := w.say(text.String(), want.String()); err != nil {
		return err
	}
	return w.say(command("DEL", "p"), ":1\r\n")
}

// statuses: RAFT.STATUS says where everybody is, and counts commands.
func statuses(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	var before, after program.Status
	if err := leader.ask(ctx, func(ctx context.Context, c *program.Control) (err error) {
		if before, err = c.Status(ctx); err != nil {
			return err
		}
		for range 10 {
			if _, err := c.Do(ctx, "SET", "status", "v"); err != nil {
				return err
			}
		}
		after, err = c.Status(ctx)
		return err
	}); err != nil {
		return err
	}
	switch {
	case after.Commands != before.Commands+10, after.Keys != before.Keys+1:
		return fmt.Errorf("10 writes of one new key have made %+v of %+v", after, before)
	case after.Term == 0, after.AppliedIndex < before.AppliedIndex+10, after.CommitIndex < after.AppliedIndex, after.LastIndex < after.CommitIndex:
		return fmt.Errorf("%+v: want applied_index (by 10 more than %d) ≤ commit_index ≤ last_index", after, before.AppliedIndex)
	case after.LeaderRESP != leader.spec.RESP:
		return fmt.Errorf("leader_resp is %q, want %q", after.LeaderRESP, leader.spec.RESP)
	}
	return nil
}

// notLeader: one that does not lead says who does, and where; stale reads it serves.
func notLeader(ctx context.Context, g *group) error {
	leader, err := g.leader(ctx)
	if err != nil {
		return err
	}
	want := leader.spec.ID + " " + leader.spec.RESP
	for _, m := range g.others(leader) {
		if err := m.ask(ctx, func(ctx context.Context, c *program.Control) error {
			if _, err := c.Do(ctx, "RAFT.FORWARD", "no"); err != nil {
				return err
			}
			for _, words := range [][]string{{"SET", "k", "v"}, {"DEL", "k"}, {"MSET", "k", "v"}, {"GET", "k"}} {
				r, err := c.Do(ctx, words...)
				if words[0] == "GET" && err == nil && r.Null {
					continue // it may serve the read
				}
				var told *client.RESPError
				if !errors.As(err, &told) || told.Prefix != "NOTLEADER" || told.Message != want {
					return fmt.Errorf("%s is answered %q, %v; want NOTLEADER %s", words[0], r.Text, err, want)
				}
			}
			if !g.subject.reads("stale") {
				return nil
			}
			if err := c.ReadLevel(ctx, "stale"); err != nil {
				return err
			}
			_, err := c.Do(ctx, "GET", "k")
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// strangers: what connects to the port of messages by mistake, or by malice, ends no member
// and changes nothing.
func strangers(ctx context.Context, g *group) error {
	for _, m := range g.members {
		for _, text := range []string{
			"", "GET / HTTP/1.1\r\nHost: raft\r\n\r\n", command("SET", "k", "v"), strings.Repeat("\x00", 4096), strings.Repeat("\xff", 4096),
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x7f", 512),
			"\x00\x00\x10\x00" + strings.Repeat("raft", 1024), "\x7f\xff\xff\xff" + strings.Repeat("\x01", 64),
		} {
			c, err := (&net.Dialer{Timeout: askTime}).DialContext(ctx, "tcp", m.spec.Raft)
			if err != nil {
				return fmt.Errorf("%s: %w", m.spec.ID, err)
			}
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(c, text) // it may have closed
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.CopyN(io.Discard, c, 64)
			_ = c.Close()
		}
	}
	if err := g.write(ctx, "strangers", 10); err != nil {
		return err
	}
	for _, m := range g.members {
		select {
		case <-m.process.Done():
			return fmt.Errorf("%s has ended: %v", m.spec.ID, m.process.Err())
		default:
		}
	}
	return g.whole(ctx)
}

// large: the largest value that docs/resp.md has comes to all members. That an election
// comes in between is no fault; that it is refused is final.
func large(ctx context.Context, g *group) error {
	c, err := client.NewRESP(g.endpoints(), client.Options{Timeout: healTime / 2})
	if err != nil {
		return err
	}
	defer c.Close()
	value := bytes.Repeat([]byte("0123456789abcdef"), api.MaxValueBytes/16)
	bounded, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	var last error
	if err := poll.Until(bounded, pollPause, func() (bool, error) {
		if _, last = c.Set(bounded, "large", value); errors.Is(last, client.ErrInvalid) {
			return false, last
		}
		return last == nil, nil
	}); err != nil {
		return fmt.Errorf("set %d bytes: %w", len(value), last)
	}
	if v, err := c.Get(ctx, "large", client.Linearizable); err != nil || !bytes.Equal(v.Data, value) {
		return fmt.Errorf("%d bytes are read as %d, %v", len(value), len(v.Data), err)
	}
	if err := g.whole(ctx); err != nil {
		return err
	}
	_, err = c.Delete(ctx, "large")
	return err
}

// transfer: each member can be made the leader, by the leader only, and nobody else can.
func transfer(ctx context.Context, g *group) error {
	for _, m := range g.members {
		leader, err := g.leader(ctx)
		if err != nil {
			return err
		}
		if err := leader.ask(ctx, func(ctx context.Context, c *program.Control) error { return c.Transfer(ctx, m.spec.ID) }); err != nil {
			return fmt.Errorf("transfer to %s while %s leads: %w", m.spec.ID, leader.spec.ID, err)
		}
		now, err := g.leader(ctx)
		if err != nil {
			return err
		}
		if now != m {
			return fmt.Errorf("after RAFT.TRANSFER %s was answered OK, %s leads", m.spec.ID, now.spec.ID)
		}
	}
	last := len(g.members) - 1 // it leads
	return errors.Join(
		g.members[last].refuses(ctx, "ERR", "RAFT.TRANSFER", "n9"),
		g.members[0].refuses(ctx, "NOTLEADER", "RAFT.TRANSFER", "n1"),
	)
}

// refuses is nil if a member that is not to forward answers with an error of that word.
func (m *member) refuses(ctx context.Context, word string, words ...string) error {
	return m.ask(ctx, func(ctx context.Context, c *program.Control) error {
		if _, err := c.Do(ctx, "RAFT.FORWARD", "no"); err != nil {
			return err
		}
		r, err := c.Do(ctx, words...)
		var told *client.RESPError
		if !errors.As(err, &told) || told.Prefix != word {
			return fmt.Errorf("%s is answered %q, %v; want %s", strings.Join(words, " "), r.Text, err, word)
		}
		return nil
	})
}
