package program

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/clients"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/size"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv/api"
)

// ErrMissing is the kind of the error for a program that is not there.
var ErrMissing = program.ErrMissing

// Description is what a program says of itself, and where it is.
type Description struct {
	program.Description
	Path string
}

// Describe finds the program of the engine called name and asks what it would run with the
// settings. One that is not there is an [ErrMissing], with what building it takes.
func Describe(ctx context.Context, name string, e *engines.Program, settings map[string]string) (d Description, err error) {
	if d.Path, err = program.Find(name); err == nil {
		d.Description, err = program.Describe(ctx, d.Path, settings)
	}
	switch {
	case errors.Is(err, program.ErrMissing):
		return d, fmt.Errorf("%w; building it takes %s", err, e.Needs)
	case err == nil && d.Engine != name:
		return d, fmt.Errorf("%s says that it is the engine %q, not %q: build it again (make engines)", d.Path, d.Engine, name)
	}
	return d, err
}

// Options are the keys of [options.ENGINE]: what the program takes and [raft] has not.
func (d *Description) Options() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.Settings)), func(key string) bool { return slices.Contains(raftKeys(), key) })
}

// raftKeys are those of the [raft] table.
func raftKeys() []string { return conf.SchemaOf(core.Tuning{}).Keys() }

// asker asks programs, each question once: a virtual machine takes a second to start.
type asker struct {
	known *engines.Catalog

	mu      sync.Mutex
	answers map[string]Description
}

func (a *asker) ask(ctx context.Context, name string, settings map[string]string) (Description, error) {
	question := fmt.Sprint(name, settings) // maps are printed in the order of their keys
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := a.answers[question]; ok {
		return d, nil
	}
	e, err := a.known.Lookup(name)
	if err != nil {
		return Description{}, err
	}
	d, err := Describe(ctx, name, e.Program, settings)
	if err == nil {
		a.answers[question] = d
	}
	return d, err
}

// describe is system.System.Describe.
func (a *asker) describe(ctx context.Context, cell experiment.Cell) (record.CellInfo, error) {
	info := record.CellInfo{Cell: cell, Acknowledgement: system.Answered, Protocol: clients.Protocol(cell), ReadLevel: system.ReadLevel(cell), Wire: true}
	name := cell.Cluster.Engine
	d, err := a.ask(ctx, name, nil)
	if err != nil {
		return info, err
	}
	if err := refuse(cell, &d); err != nil {
		return info, err
	}
	settings, unused, err := settingsOf(cell, &d)
	if err != nil {
		return info, err
	}
	if d, err = a.ask(ctx, name, settings); err != nil {
		return info, err
	}
	part := func(p program.Part) record.Part {
		return record.Part{Name: experiment.Own, Library: cmp.Or(p.Library, d.Library), Version: cmp.Or(p.Version, d.Version)}
	}
	info.Engine = record.Part{Name: name, Library: d.Library, Version: d.Version, Ours: d.Ours}
	info.Backend, info.Transport = part(d.Storage), part(d.Transport)
	info.Durability, info.Runs, info.WarmAfter = d.Durability, runs(name, &d, unused), d.WarmupOperations
	return info, nil
}

// refuse tells what of a cell the program cannot do.
func refuse(cell experiment.Cell, d *Description) error {
	c, l, name := cell.Cluster, cell.Load, cell.Cluster.Engine
	switch level := system.ReadLevel(cell); {
	case c.Backend != experiment.Own || c.Transport != experiment.Own:
		return fmt.Errorf("backend = %q, transport = %q: the engine %s brings its own: leave them out", c.Backend, c.Transport, name)
	case clients.Protocol(cell) != experiment.ClientRESP:
		return fmt.Errorf("the engine %s serves the Redis protocol only: give client = %q in [load], for all engines that are compared", name, experiment.ClientRESP)
	case c.Profile != "":
		return fmt.Errorf("profile = %q is of kvnode, and the engine %s is a program of its own: leave it out, and give heartbeat_timeout in [raft]", c.Profile, name)
	case c.Discovery != experiment.DiscoveryStatic:
		return fmt.Errorf("discovery = %q is of kvnode, and members of the engine %s are told each other: leave it out", c.Discovery, name)
	case cmp.Or(l.Target, experiment.TargetLeader) != experiment.TargetLeader:
		return fmt.Errorf("load.target = %q: a follower of the engine %s forwards nothing: leave target out", l.Target, name)
	case l.Mix.Scan+l.Mix.CompareAndSet > 0:
		return fmt.Errorf("load.mix: the engine %s has no scans and no compare and set: take them out", name)
	case level != "" && !slices.Contains(d.ReadLevels, level):
		return fmt.Errorf("read_level = %q: the engine %s has %s", level, name, strings.Join(d.ReadLevels, ", "))
	case c.Nodes > 1 && !d.Has(program.Transfer):
		return fmt.Errorf("the engine %s cannot hand its leadership over, so the leader is where it happens to be: set nodes = 1", name)
	case l.SnapshotEvery > 0 && !d.Has(program.Snapshot):
		return fmt.Errorf("snapshot_every: the engine %s cannot be told to write a snapshot: leave it out", name)
	}
	return system.RefuseWrites(cell, system.Limit{Bytes: api.MaxValueBytes, What: "a write over the Redis protocol"})
}

// settingsOf are the settings of a cell's members, and the keys of [raft] that the cell has
// and the program does not know.
func settingsOf(cell experiment.Cell, d *Description) (settings map[string]string, unused []string, err error) {
	settings = map[string]string{}
	raft := conf.Map(cell.Raft)
	for _, key := range slices.Sorted(maps.Keys(raft)) {
		if _, known := d.Settings[key]; known {
			settings[key] = text(raft[key], d.Settings[key])
		} else {
			unused = append(unused, key)
		}
	}
	name := cell.Cluster.Engine
	for _, owner := range []string{name, experiment.KindEngine + "." + name} {
		for _, key := range slices.Sorted(maps.Keys(cell.Options[owner])) {
			if !slices.Contains(d.Options(), key) {
				mend := cmp.Or(strings.Join(d.Options(), ", "), "no options")
				if slices.Contains(raftKeys(), key) {
					mend = fmt.Sprintf("%s, and %s belongs in [raft]", mend, key)
				}
				return nil, nil, fmt.Errorf("unknown key %q in [options.%s]: the program takes %s", key, owner, mend)
			}
			settings[key] = text(cell.Options[owner][key], d.Settings[key])
		}
	}
	return settings, unused, nil
}

// text is a value of an experiment as the program takes it: where its default is a duration
// in microseconds, or a number, so is what stands for one here: "1s", "1MiB".
func text(value any, s program.Setting) string {
	word, is := value.(string)
	if !is {
		return fmt.Sprint(value)
	}
	if _, err := time.ParseDuration(s.Default); err == nil && strings.HasSuffix(s.Default, "us") {
		if d, err := time.ParseDuration(word); err == nil {
			return program.Duration(d)
		}
	}
	if _, err := strconv.ParseInt(s.Default, 10, 64); err == nil {
		if n, err := size.Parse(word); err == nil {
			return strconv.FormatUint(n, 10)
		}
	}
	return word
}

// runs is what members run with, as record.CellInfo has it.
func runs(name string, d *Description, unused []string) map[string]string {
	out := map[string]string{
		name + ".language": d.Language, name + ".storage": d.Storage.Name, name + ".transport": d.Transport.Name, name + ".reads": "by " + d.Reads,
		name + ".flushes": "counted by " + flushLibrary,
	}
	if counterOf(d.Path) == "" {
		out[name+".flushes"] = "not counted: there is no " + flushLibrary + " ('make engines' builds it)"
	}
	for key, value := range d.Runs {
		table := name
		if slices.Contains(raftKeys(), key) {
			table = "raft"
		}
		if d, err := time.ParseDuration(value); err == nil && strings.HasSuffix(value, "us") {
			value = d.String() // as other engines say it
		}
		out[conf.Qualify(table, key)] = value
	}
	for _, key := range unused {
		out[conf.Qualify("raft", key)] = "not honoured by " + name
	}
	return out
}

// flushLibrary counts the flushes of a program that is started with it.
const flushLibrary = "libraftlab-flushes.so"

// counterOf is where the library is: beside the program, or beside this one; empty: nowhere.
func counterOf(path string) string {
	dirs := []string{filepath.Dir(path)}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		file, err := filepath.Abs(filepath.Join(dir, flushLibrary))
		if err != nil {
			continue
		}
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// Register adds to the catalogue the engines whose programs are in $RAFTLAB_ENGINES under
// names that it does not have: who writes one need not build a raftlab that knows it.
func Register(known *engines.Catalog) error {
	names, err := program.Given()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := known.Lookup(name); err == nil {
			continue
		}
		found := &engines.Program{Library: "found in " + program.Folders, Needs: "what its author says"}
		if err := known.Register(name, engines.Entry{Program: found}); err != nil {
			return err
		}
	}
	return nil
}
