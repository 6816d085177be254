package kvnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv/node"
)

// subcommand is what a first word of the command line stands for: something to be done
// with the folders of nodes that do not run.
type subcommand struct {
	about string // from "Usage:" to the flags
	exits string // what the exit codes mean
	flags *pflag.FlagSet
	check func(args []string) error
	run   func(ctx context.Context, stdout, stderr io.Writer) error
}

// subcommandOf returns what the word stands for; nil: it is none.
func subcommandOf(known cluster.Catalogs, word string) *subcommand {
	flags := pflag.NewFlagSet("kvnode "+word, pflag.ContinueOnError)
	switch word {
	case "migrate":
		return migrateCommand(known, flags)
	case "recover":
		return recoverCommand(known, flags)
	case "dump":
		return dumpCommand(known, flags)
	case "inspect":
		return inspectCommand(known, flags)
	}
	return nil
}

// execute returns the exit code.
func (s *subcommand) execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	help := s.flags.BoolP("help", "h", false, "print this help and exit")
	s.flags.Usage = func() {} // it is printed here
	err := s.flags.Parse(args)
	if err == nil && !*help {
		err = s.check(s.flags.Args())
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v; see '%[1]s --help'\n", s.flags.Name(), err)
		return exitUsage
	case *help:
		fmt.Fprintf(stdout, "%s%s\n%s", s.about, s.flags.FlagUsagesWrapped(helpWidth), conf.Wrapped("", "Exit codes: "+s.exits+".", helpWidth))
		return exitOK
	}
	return ended(s.flags.Name(), s.run(ctx, stdout, stderr), stderr)
}

// ended says why a command has failed, if it has, and returns the exit code.
func ended(command string, err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "%s: %s\n", command, strings.TrimPrefix(err.Error(), core.ErrInvalid.Error()+": "))
	if errors.Is(err, core.ErrInvalid) {
		return exitUsage
	}
	return exitFailed
}

// readsCopy is of every command that reads a folder without changing it.
const readsCopy = `The log is read from a copy in the folder for temporary files ($TMPDIR), which
has to have room for it.
`

// oneFolder is the check of a command that works on one.
func oneFolder(data *string) func(args []string) error {
	return func(args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("want one path for the Raft data, not %d", len(args))
		}
		*data = args[0]
		return nil
	}
}

// parts are those of the catalogues, the log stores with the same options.
func parts(known cluster.Catalogs, options *optionSet) node.Parts {
	return node.Parts{
		Engine: func(name string) (core.Engine, error) { return engines.New(known.Engines, name, nil) },
		Open:   func(backend, dir string) (core.LogStore, error) { return openStore(known, backend, dir, *options) },
	}
}

// openStore opens a store as a node does.
func openStore(known cluster.Catalogs, name, dir string, options optionSet) (core.LogStore, error) {
	backend, err := known.Backends.Lookup(name)
	if err != nil {
		return nil, err
	}
	if backend.Available != nil {
		if err := backend.Available(); err != nil {
			return nil, err
		}
	}
	return backend.Open(dir, options.plain())
}

// storeOptions adds the flag of what parts takes.
func storeOptions(f *pflag.FlagSet) *optionSet {
	options := new(optionSet)
	f.Var(options, "backend-option", "option of the log stores, as the nodes were run with; may be repeated")
	return options
}
