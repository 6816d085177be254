package kvnode

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// maxConfigBytes is far above any settings file.
const maxConfigBytes = 16 << 10

// errConfig is what every mistake in a settings file is.
var errConfig = errors.New("invalid settings file")

func (c *commandLine) readConfig(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	return c.applyConfig(path, source)
}

// applyConfig lays the settings of a file below those of the command line. It
// reports all mistakes, in the order of their lines.
func (c *commandLine) applyConfig(file string, source []byte) error {
	root, m, err := conf.Kind{Name: "settings file", Invalid: errConfig, MaxBytes: maxConfigBytes}.Parse(file, source)
	if err != nil {
		return err
	}
	others := map[string]func(conf.Entry){}
	for flag, options := range map[string]*optionSet{"backend": &c.BackendOptions, "transport": &c.TransportOptions, "engine": &c.EngineOptions} {
		others[flag+"-options"] = func(e conf.Entry) { options.fromFile(e, m) }
		others[flag+"-option"] = func(e conf.Entry) { m.Add(e.Line, e.Key, "%s: write a table: [%s-options]", e.Key, flag) }
	}
	others["raft"] = func(e conf.Entry) { c.RaftOptions.fromFile(e, m) }
	others["raft-option"] = func(e conf.Entry) { m.Add(e.Line, e.Key, "%s: write a table: [raft]", e.Key) }
	for _, flag := range []string{"config", "describe", "help", "version"} {
		others[flag] = func(e conf.Entry) { m.Add(e.Line, e.Key, "%s: this is for the command line only", e.Key) }
	}

	for _, name := range c.catalogs.Engines.Names() {
		for _, option := range c.engineOptions(name) {
			others[strings.ReplaceAll(option, "_", "-")] = func(e conf.Entry) {
				m.Add(e.Line, e.Key, "unknown key %q at the top level; it belongs in [engine-options]", option)
			}
		}
	}

	lines := map[string]int{} // of keys already seen
	for i, e := range root {
		root[i].Key = strings.ReplaceAll(e.Key, "_", "-")
		if first, again := lines[root[i].Key]; again {
			m.Add(e.Line, e.Key, "%s is given twice, first on line %d", e.Key, first)
		}
		lines[root[i].Key] = e.Line
	}
	found := c.schema.Settings("", root, m, others)
	overridden := slices.DeleteFunc(slices.Clone(found), func(s conf.Setting) bool { return !c.overrides(s.Key) })
	found = slices.DeleteFunc(found, func(s conf.Setting) bool { return c.overrides(s.Key) })
	c.schema.Apply(conf.New(given{}), overridden, m) // only to see that it is right
	c.schema.Apply(&c.given, found, m)
	for _, s := range found {
		c.fromFile = append(c.fromFile, s.Key)
	}
	return m.Err()
}

// overrides reports whether the command line says what a key of the file says.
func (c *commandLine) overrides(key string) bool {
	return c.flags.Changed(key) || key == "data" && c.Data != ""
}
