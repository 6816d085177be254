package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// requestFlags say how a request reaches the cluster.
type requestFlags struct {
	node        string
	timeout     time.Duration
	consistency string // of reads
}

func (f *requestFlags) addTo(m *manager, c *cobra.Command, what string) {
	c.Flags().StringVar(&f.node, "node", "", what)
	_ = c.RegisterFlagCompletionFunc("node", m.completeNodes(-1)) // the flag is there
	f.addTimeout(c, api.DefaultTimeout)
}

func (f *requestFlags) addTimeout(c *cobra.Command, byDefault time.Duration) {
	c.Flags().DurationVar(&f.timeout, "timeout", byDefault, "give up after this time, waiting for a leader included")
}

func (f *requestFlags) addRead(m *manager, c *cobra.Command) {
	f.addTo(m, c, "read on this node and no other (default: any)")
	c.Flags().StringVar(&f.consistency, "consistency", api.Linearizable, "linearizable, leader or stale")
	levels := cobra.FixedCompletions([]string{api.Linearizable, api.Leader, api.Stale}, cobra.ShellCompDirectiveNoFileComp)
	_ = c.RegisterFlagCompletionFunc("consistency", levels) // the flag is there
}

const toAnyNode = "send it to this node, which hands it on to the leader (default: any)"

func checkTimeout(timeout time.Duration) error {
	if timeout <= 0 || timeout > api.MaxTimeout {
		return cli.Usagef("--timeout %v: must be above 0 and at most %v", timeout, api.MaxTimeout)
	}
	return nil
}

// request returns a command's runE that calls do with a client as the flags describe.
func (m *manager) request(f *requestFlags, do func(ctx context.Context, s *session, nodes *client.Client, args []string) error) runE {
	return m.on(func(ctx context.Context, s *session, args []string) error {
		if err := checkTimeout(f.timeout); err != nil {
			return err
		}
		nodes, err := s.client(ctx, f.node, f.timeout)
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, s, nodes, args), nodes.Close())
	})
}

// reader is a client or one of its nodes.
type reader interface {
	Get(ctx context.Context, key string, level client.Consistency) (client.Value, error)
	Scan(ctx context.Context, prefix, after string, limit int, level client.Consistency) (client.Page, error)
	Backup(ctx context.Context, level client.Consistency) (io.ReadCloser, error)
}

// query is request for a command that reads.
func (m *manager) query(f *requestFlags, do func(ctx context.Context, s *session, from reader, args []string) error) runE {
	return m.request(f, func(ctx context.Context, s *session, nodes *client.Client, args []string) error {
		switch client.Consistency(f.consistency) {
		case client.Linearizable, client.Leader, client.Stale:
		default:
			return cli.Usagef("--consistency %q: must be linearizable, leader or stale", f.consistency)
		}
		var from reader = nodes
		if f.node != "" {
			from = nodes.Nodes()[0] // the only one
		}
		return do(ctx, s, from, args)
	})
}

func newGet(m *manager) *cobra.Command {
	var f requestFlags
	var raw, index bool
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: `Print the value of a key and a newline. The exit code is 1 if there is no such
key.

Reads are linearizable on every node, unless --consistency says otherwise:
"leader" trusts the leader's lease, "stale" takes what the asked node holds.

  clusterctl get fruit --node node3 --consistency stale
  clusterctl set fruit plum --if-match $(clusterctl get fruit --index)`,
		Args: cli.Wants(1, 1, "a key"),
	}
	f.addRead(m, c)
	c.Flags().BoolVar(&raw, "raw", false, "print the bytes of the value as they are, without a newline")
	c.Flags().BoolVar(&index, "index", false, "print the log index of the key's last change instead")
	c.RunE = m.query(&f, func(ctx context.Context, s *session, from reader, args []string) error {
		v, err := from.Get(ctx, args[0], client.Consistency(f.consistency))
		switch {
		case errors.Is(err, core.ErrNotFound):
			return fmt.Errorf("key %q not found", args[0])
		case err != nil:
			return err
		case index:
			_, err = fmt.Fprintln(s.stdout, v.Index)
		case raw:
			_, err = s.stdout.Write(v.Data)
		default:
			_, err = fmt.Fprintf(s.stdout, "%s\n", v.Data)
		}
		return err
	})
	return c
}

func newKeys(m *manager) *cobra.Command {
	var f requestFlags
	var prefix string
	var limit int
	c := &cobra.Command{
		Use:   "keys",
		Short: "List the keys, sorted",
		Long: `List the keys, sorted by their bytes, one on a line. They are read page by page:
a key that is written meanwhile may or may not be listed.`,
		Args: cli.Wants(0, 0, "no argument"),
	}
	f.addRead(m, c)
	c.Flags().StringVar(&prefix, "prefix", "", "only keys that begin with this")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many (default: all)")
	c.RunE = m.query(&f, func(ctx context.Context, s *session, from reader, _ []string) error {
		if limit < 0 {
			return cli.Usagef("--limit %d: must not be negative", limit)
		}
		return s.listKeys(ctx, from, client.Consistency(f.consistency), prefix, cmp.Or(limit, math.MaxInt))
	})
	return c
}

// listKeys prints at most limit keys.
func (s *session) listKeys(ctx context.Context, from reader, level client.Consistency, prefix string, limit int) error {
	out := bufio.NewWriter(s.stdout)
	for after := ""; ; {
		page, err := from.Scan(ctx, prefix, after, min(limit, api.MaxPageLimit), level)
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		for _, p := range page.Pairs {
			fmt.Fprintln(out, p.Key)
		}
		limit -= len(page.Pairs)
		if after = page.Next; after == "" || limit <= 0 {
			return out.Flush()
		}
	}
}

type setFlags struct {
	requestFlags
	json     string
	ifMatch  uint64
	ifAbsent bool
}

func newSet(m *manager) *cobra.Command {
	var f setFlags
	c := &cobra.Command{
		Use:   "set KEY VALUE | --json FILE",
		Short: "Set a key, or several at once",
		Long: `Set a key. The value "-" is read from standard input, byte for byte. Prints
nothing; exit code 1 says that nothing was written, 3 that nobody knows.

--json takes an object of strings, {"key": "value", …}, from a file or, with
"-", from standard input. All its keys are set in one log entry, or none is.

  clusterctl set -- answer -42             a value that begins with a dash
  clusterctl set photo - < photo.jpg
  echo '{"a":"1","b":"2"}' | clusterctl set --json -`,
		Args: cli.Wants(0, 2, "a key and a value"),
	}
	f.addTo(m, c, toAnyNode)
	c.Flags().StringVar(&f.json, "json", "", "set all keys of a JSON object in this file (-: standard input)")
	c.Flags().Uint64Var(&f.ifMatch, "if-match", 0, "only if the key's last change was at this log index")
	c.Flags().BoolVar(&f.ifAbsent, "if-absent", false, "only if there is no such key")
	c.RunE = m.request(&f.requestFlags, func(ctx context.Context, _ *session, to *client.Client, args []string) (err error) {
		matching := c.Flags().Changed("if-match")
		if err := f.check(c, matching, args); err != nil {
			return err
		}
		if f.json != "" {
			pairs, err := readPairs(ctx, f.json, c.InOrStdin())
			if err == nil {
				_, err = to.SetAll(ctx, pairs)
			}
			return err
		}
		value := []byte(args[1])
		if args[1] == "-" {
			if value, err = readInput(ctx, c.InOrStdin()); err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
		}
		switch {
		case f.ifAbsent:
			_, err = to.SetIfAbsent(ctx, args[0], value)
		case matching:
			_, err = to.CompareAndSet(ctx, args[0], value, f.ifMatch)
		default:
			_, err = to.Set(ctx, args[0], value)
		}
		return unmet(err)
	})
	return c
}

func (f *setFlags) check(c *cobra.Command, matching bool, args []string) error {
	switch {
	case f.ifAbsent && matching:
		return cli.Usagef("--if-absent and --if-match exclude each other")
	case f.json != "" && len(args) > 0:
		return cli.Usagef("set wants either KEY VALUE or --json")
	case f.json != "" && (f.ifAbsent || matching):
		return cli.Usagef("--json takes no condition")
	case f.json == "":
		return cli.Wants(2, 2, "a key and a value")(c, args)
	}
	return nil
}

// unmet puts a condition that did not hold into plain words.
func unmet(err error) error {
	var c *client.ConditionError
	if !errors.As(err, &c) {
		return err
	}
	if c.Index == 0 {
		return fmt.Errorf("nothing written: there is no key %q", c.Key)
	}
	return fmt.Errorf("nothing written: key %q was last changed at index %d", c.Key, c.Index)
}

// readInput reads everything, unless the context ends before. A read from a terminal
// cannot be broken off: it is left behind then, for the end of the program.
func readInput(ctx context.Context, r io.Reader) ([]byte, error) {
	done := make(chan struct{})
	var all []byte
	var readErr error
	go func() {
		defer close(done)
		all, readErr = io.ReadAll(r)
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-done:
		return all, readErr
	}
}

// readPairs reads a JSON object of strings from a file, or from standard input if that
// is called "-".
func readPairs(ctx context.Context, path string, stdin io.Reader) (map[string][]byte, error) {
	from := path
	var data []byte
	var err error
	if path == "-" {
		from = "standard input"
		data, err = readInput(ctx, stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, cli.Usagef("--json: %w", err)
	}
	var texts map[string]string
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, cli.Usagef("%s: want a JSON object of strings: %w", from, err)
	}
	if len(texts) == 0 {
		return nil, cli.Usagef("%s: there is no key in it", from)
	}
	pairs := make(map[string][]byte, len(texts))
	for key, text := range texts {
		pairs[key] = []byte(text)
	}
	return pairs, nil
}

func newDelete(m *manager) *cobra.Command {
	var f requestFlags
	var ifMatch uint64
	c := &cobra.Command{
		Use:   "delete KEY...",
		Short: "Delete keys",
		Long: `Delete keys, one after the other up to the first failure. A key that is not
there is no failure. Prints nothing; exit code 3 says that nobody knows whether
it was deleted.`,
		Args: cli.Wants(1, -1, "a key"),
	}
	f.addTo(m, c, toAnyNode)
	c.Flags().Uint64Var(&ifMatch, "if-match", 0, "only if the key's last change was at this log index; for one key")
	c.RunE = m.request(&f, func(ctx context.Context, _ *session, to *client.Client, args []string) error {
		matching := c.Flags().Changed("if-match")
		if matching && len(args) > 1 {
			return cli.Usagef("--if-match goes with one key")
		}
		for _, key := range args {
			var err error
			if matching {
				_, err = to.DeleteIf(ctx, key, ifMatch)
			} else {
				_, err = to.Delete(ctx, key)
			}
			if err != nil {
				return unmet(err)
			}
		}
		return nil
	})
	return c
}
