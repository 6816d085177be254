package program

import (
	"context"
	"fmt"
	"strconv"

	"github.com/themilchenko/raftlab/kv/client"
)

// Control asks one member about Raft, on one connection. It is safe for concurrent use; a
// connection that has failed stays so.
type Control struct{ *client.Conn }

// Dial connects to the member that serves the Redis protocol at the address.
func Dial(ctx context.Context, address string) (*Control, error) {
	c, err := client.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &Control{c}, nil
}

// Status is what a member knows. What it does not know is empty or 0.
type Status struct {
	ID, Group, Role, Leader, LeaderRESP        string
	Term, LastIndex, CommitIndex, AppliedIndex uint64
	Keys, Commands                             uint64
}

// Status returns what the member knows.
func (c *Control) Status(ctx context.Context) (s Status, err error) {
	f, err := c.fields(ctx, "RAFT.STATUS")
	s = Status{
		ID: f.text("id"), Group: f.text("group"), Role: f.text("role"), Leader: f.text("leader"), LeaderRESP: f.text("leader_resp"),
		Term: f.number("term"), LastIndex: f.number("last_index"), CommitIndex: f.number("commit_index"), AppliedIndex: f.number("applied_index"),
		Keys: f.number("keys"), Commands: f.number("commands"),
	}
	return s, f.failure(err)
}

// Member is one of a group, as a member knows it.
type Member struct {
	ID, Address, HTTP, RESP string
	Voter, Leader           bool
}

// Members returns the members of the group, as the one asked knows them.
func (c *Control) Members(ctx context.Context) (list []Member, err error) {
	r, err := c.Do(ctx, "RAFT.MEMBERS")
	if err != nil {
		return nil, fmt.Errorf("RAFT.MEMBERS: %w", err)
	}
	for _, item := range r.Items {
		f := fieldsOf("RAFT.MEMBERS", item)
		m := Member{ID: f.text("id"), Address: f.text("address"), HTTP: f.text("http"), RESP: f.text("resp"), Voter: f.yes("voter"), Leader: f.yes("leader")}
		if err := f.failure(nil); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// Digest is of a member's map.
type Digest struct {
	ID, SHA256     string
	Keys, Commands uint64
}

// Digest returns that of the member's map.
func (c *Control) Digest(ctx context.Context) (d Digest, err error) {
	f, err := c.fields(ctx, "RAFT.DIGEST")
	d = Digest{ID: f.text("id"), SHA256: f.text("sha256"), Keys: f.number("keys"), Commands: f.number("commands")}
	return d, f.failure(err)
}

// Transfer has another member lead: the one with the id, or any if that is empty.
func (c *Control) Transfer(ctx context.Context, id string) error {
	if id == "" {
		return c.ok(ctx, "RAFT.TRANSFER")
	}
	return c.ok(ctx, "RAFT.TRANSFER", id)
}

// Snapshot has the member write a snapshot, and cut its log.
func (c *Control) Snapshot(ctx context.Context) error { return c.ok(ctx, "RAFT.SNAPSHOT") }

// ReadLevel sets the level of the reads on this connection.
func (c *Control) ReadLevel(ctx context.Context, level string) error {
	return c.ok(ctx, "RAFT.READLEVEL", level)
}

func (c *Control) ok(ctx context.Context, words ...string) error {
	r, err := c.Do(ctx, words...)
	if err == nil && string(r.Text) != "OK" {
		err = fmt.Errorf("answered %q, want OK", r.Text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	return nil
}

// fields are those of a map in an answer. The first that is missing, or is not what it
// should be, is the failure.
type fields struct {
	command string
	values  map[string]client.Reply
	err     error
}

func (c *Control) fields(ctx context.Context, command string) (*fields, error) {
	r, err := c.Do(ctx, command)
	return fieldsOf(command, r), err
}

func fieldsOf(command string, r client.Reply) *fields {
	f := &fields{command: command, values: map[string]client.Reply{}}
	for i := 0; i+1 < len(r.Items); i += 2 {
		f.values[string(r.Items[i].Text)] = r.Items[i+1]
	}
	return f
}

// failure is err, or what is wrong with the fields.
func (f *fields) failure(err error) error {
	if err == nil {
		err = f.err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.command, err)
	}
	return nil
}

func (f *fields) text(name string) string {
	r, ok := f.values[name]
	if !ok && f.err == nil {
		f.err = fmt.Errorf("the answer has no field %s", name)
	}
	if r.Kind == ':' {
		return strconv.FormatInt(r.N, 10)
	}
	return string(r.Text)
}

func (f *fields) number(name string) uint64 {
	text := f.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("field %s: %q is no number", name, text)
	}
	return n
}

func (f *fields) yes(name string) bool {
	text := f.text(name)
	if text != "yes" && text != "no" && f.err == nil {
		f.err = fmt.Errorf("field %s: %q: want yes or no", name, text)
	}
	return text == "yes"
}
