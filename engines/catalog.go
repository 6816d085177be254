// Package engines is the table of consensus engines: which names an experiment
// or a node may ask for. It starts nothing itself.
package engines

import (
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/etcd"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/internal/conf"
)

// Entry is one entry of the catalogue.
type Entry struct {
	// Options is a struct of what only this engine takes, with the values that hold
	// where nothing is said. The tags of its fields (key, min, max, oneof, unit, doc) are
	// those of core.Tuning. Nil: it takes none.
	Options any
	// Tuning is what holds where a field of a replica's tuning is zero.
	Tuning core.Tuning
	// Unused are the keys of the tuning that the engine has nothing for. They may be set all
	// the same, for files that other engines run too, and are told as not honoured.
	Unused []string
	// NeedsWire: it takes only networks with a wire.
	NeedsWire bool
	// New makes the engine. An option that is unknown or has a wrong value is an error
	// that is core.ErrInvalid. Nil: the engine is a Program.
	New func(core.Options) (core.Engine, error)
	// Program is set instead of all of the above for an engine that is a program of its own.
	Program *Program
}

// Program is an engine that brings its own log store and network, as one process for each
// member: a program called raftlab-NAME, which docs/engine-programs.md tells what to do.
// Only it knows its version, its options and their defaults. Experiments run it.
type Program struct {
	Library string // in a few words: "Apache Ratis, in Java"
	Needs   string // what building it takes: "cargo, on Debian: apt install cargo"
}

// FileName is what the program of the engine called name is called.
func (*Program) FileName(name string) string { return "raftlab-" + name }

// Schema describes the options.
func (e Entry) Schema() *conf.Schema { return conf.SchemaOf(e.Options) }

// Takes refuses a network that the engine, called name, cannot use.
func (e Entry) Takes(name string, n core.NetworkInfo) error {
	if !e.NeedsWire || n.Wire {
		return nil
	}
	return fmt.Errorf("%w: the engine %s needs a network with a wire, and %s hands over messages as structs of hashicorp/raft: take tcp",
		core.ErrInvalid, name, n.Name)
}

// Settings says what a replica of the engine, called name, runs with, its defaults
// included: as text, "raft.persistence" and "NAME.OPTION". What is off is left out, and so
// are timeouts that follow another one and what is not set and not used; what is set and not
// used says so.
func (e Entry) Settings(name string, t core.Tuning, o core.Options) map[string]string {
	out := map[string]string{}
	add := func(table string, settings map[string]any) {
		for key, value := range settings {
			out[conf.Qualify(table, key)] = fmt.Sprint(value)
		}
	}
	add("raft", conf.Map(t.Over(e.Tuning)))
	for _, key := range e.Unused {
		if key = conf.Qualify("raft", key); out[key] != "" {
			out[key] = "not honoured by " + name
		}
	}
	add(name, conf.Map(e.Options))
	add(name, o)
	return out
}

// Catalog maps names to engines.
type Catalog = core.Catalog[Entry]

// Builtin returns a new catalogue of the engines that come with raftlab.
func Builtin() *Catalog {
	return core.NewCatalog("engine", check, map[string]Entry{
		etcd.Name: {
			Options: etcd.DefaultOptions(),
			Tuning:  etcd.DefaultTuning(),
			Unused:  etcd.Unused(), NeedsWire: true,
			New: func(o core.Options) (core.Engine, error) {
				var e etcd.Engine
				if err := conf.FromMap(&e.Options, o, "options."+etcd.Name); err != nil {
					return nil, fmt.Errorf("%w: %w", core.ErrInvalid, err)
				}
				return e, nil
			},
		},
		"ratis": {Program: &Program{
			Library: "Apache Ratis, in Java", Needs: "a JDK of version 17 or later and Maven (on Debian: apt install openjdk-17-jdk-headless maven)",
		}},
		"raft-rs": {Program: &Program{
			Library: "raft-rs of TiKV, in Rust", Needs: "Rust of version 1.89 or later with cargo, for example by rustup, and a C compiler",
		}},
		"braft": {Program: &Program{
			Library: "braft on brpc, in C++", Needs: "cmake, a C++ compiler, and braft and brpc, installed by hand: no registry has them",
		}},
		hashicorp.Name: {
			Options: hashicorp.DefaultOptions(),
			Tuning:  hashicorp.DefaultTuning(),
			New: func(o core.Options) (core.Engine, error) {
				var e hashicorp.Engine
				if err := conf.FromMap(&e.Options, o, "options."+hashicorp.Name); err != nil {
					return nil, fmt.Errorf("%w: %w", core.ErrInvalid, err)
				}
				return e, nil
			},
		},
	})
}

func check(e Entry) error {
	if (e.New == nil) == (e.Program == nil) {
		return errors.New("it needs New, or is a Program")
	}
	return nil
}

// Library refuses an engine, called name, that cannot be part of a Go program.
func (e Entry) Library(name string) error {
	if e.Program == nil {
		return nil
	}
	return fmt.Errorf("%w: the engine %s is a program of its own, %s: experiments run it, with engine = %q and mode = \"process\"",
		core.ErrInvalid, name, e.Program.FileName(name), name)
}

// Libraries are the names of the engines that can be part of a Go program.
func Libraries(c *Catalog) (names []string) {
	for name, e := range c.All() {
		if e.Program == nil {
			names = append(names, name)
		}
	}
	return names
}

// New makes the engine called name with its options.
func New(c *Catalog, name string, o core.Options) (core.Engine, error) {
	e, err := c.Lookup(name)
	if err != nil {
		return nil, err
	}
	if err := e.Library(name); err != nil {
		return nil, err
	}
	return e.New(o)
}
