package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/kv/client"
)

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
		Long: `Set a key. The value "-" is read from standard input, byte for byte. Prints nothing;
exit code 1 says that nothing was written, 3 that nobody knows.

--json takes an object of strings, {"key": "value", …}, from a file or, with "-", from
standard input. All its keys are set in one log entry, or none is.

  clusterctl set -- answer -42             a value that begins with a dash
  clusterctl set photo - < photo.jpg
  echo '{"a":"1","b":"2"}' | clusterctl set --json -`,
		Args:              wants(0, 2, "a key and a value"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.addTo(m, c, toAnyNode)
	c.Flags().StringVar(&f.json, "json", "", "set all keys of a JSON object in this file (-: standard input)")
	c.Flags().Uint64Var(&f.ifMatch, "if-match", 0, "only if the key's last change was at this log index")
	c.Flags().BoolVar(&f.ifAbsent, "if-absent", false, "only if there is no such key")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := f.check(c, args); err != nil {
			return err
		}
		if f.json != "" {
			return setAll(c, m, f)
		}
		value := []byte(args[1])
		if args[1] == "-" {
			data, err := readInput(c.Context(), c.InOrStdin())
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			value = data
		}
		return m.request(c, f.requestFlags, func(ctx context.Context, _ *session, to *client.Client) error {
			return f.set(ctx, to, c.Flags().Changed("if-match"), args[0], value)
		})
	}
	return c
}

func (f *setFlags) check(c *cobra.Command, args []string) error {
	conditions := f.ifAbsent || c.Flags().Changed("if-match")
	switch {
	case f.ifAbsent && c.Flags().Changed("if-match"):
		return usage(errors.New("--if-absent and --if-match exclude each other"))
	case f.json != "" && len(args) > 0:
		return usage(errors.New("set wants either KEY VALUE or --json"))
	case f.json != "" && conditions:
		return usage(errors.New("--json takes no condition"))
	case f.json == "" && len(args) != 2:
		return usage(fmt.Errorf("set wants a key and a value, not %s; see '%s --help'", count(len(args), "argument"), c.CommandPath()))
	}
	return nil
}

func (f *setFlags) set(ctx context.Context, to *client.Client, matching bool, key string, value []byte) error {
	var err error
	switch {
	case f.ifAbsent:
		_, err = to.SetIfAbsent(ctx, key, value)
	case matching:
		_, err = to.CompareAndSet(ctx, key, value, f.ifMatch)
	default:
		_, err = to.Set(ctx, key, value)
	}
	return unmet(err)
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
	type input struct {
		data []byte
		err  error
	}
	all := make(chan input, 1)
	go func() {
		data, err := io.ReadAll(r)
		all <- input{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case in := <-all:
		return in.data, in.err
	}
}

func setAll(c *cobra.Command, m *manager, f setFlags) error {
	from, data, err := "standard input", []byte(nil), error(nil)
	if f.json == "-" {
		data, err = readInput(c.Context(), c.InOrStdin())
	} else {
		from = f.json
		data, err = os.ReadFile(f.json)
	}
	if c.Context().Err() != nil {
		return c.Context().Err()
	}
	if err != nil {
		return usage(fmt.Errorf("--json: %w", err))
	}
	var texts map[string]string
	if err := json.Unmarshal(data, &texts); err != nil {
		return usage(fmt.Errorf("%s: want a JSON object of strings: %w", from, err))
	}
	if len(texts) == 0 {
		return usage(fmt.Errorf("%s: there is no key in it", from))
	}
	pairs := make(map[string][]byte, len(texts))
	for key, text := range texts {
		pairs[key] = []byte(text)
	}
	return m.request(c, f.requestFlags, func(ctx context.Context, _ *session, to *client.Client) error {
		_, err := to.SetAll(ctx, pairs)
		return err
	})
}

func newDelete(m *manager) *cobra.Command {
	var f requestFlags
	var ifMatch uint64
	c := &cobra.Command{
		Use:   "delete KEY...",
		Short: "Delete keys",
		Long: `Delete keys, one after the other up to the first failure. A key that is not there is
no failure. Prints nothing; exit code 3 says that nobody knows whether it was deleted.`,
		Args:              wants(1, -1, "a key"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.addTo(m, c, toAnyNode)
	c.Flags().Uint64Var(&ifMatch, "if-match", 0, "only if the key's last change was at this log index; for one key")
	c.RunE = func(c *cobra.Command, args []string) error {
		matching := c.Flags().Changed("if-match")
		if matching && len(args) > 1 {
			return usage(errors.New("--if-match goes with one key"))
		}
		return m.request(c, f, func(ctx context.Context, _ *session, to *client.Client) error {
			if matching {
				_, err := to.DeleteIf(ctx, args[0], ifMatch)
				return unmet(err)
			}
			for _, key := range args {
				if _, err := to.Delete(ctx, key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c
}
