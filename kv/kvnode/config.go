package kvnode

import (
	"errors"
	"fmt"
	"maps"
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
	others := map[string]func(conf.Entry){"raft": func(e conf.Entry) { c.RaftOptions.fromFile(e, m) }}
	refused := map[string]string{"raft-option": "write a table: [raft]"}
	for flag, options := range map[string]*optionSet{"backend": &c.BackendOptions, "transport": &c.TransportOptions, "engine": &c.EngineOptions} {
		others[flag+"-options"] = func(e conf.Entry) { options.fromFile(e, m) }
		refused[flag+"-option"] = fmt.Sprintf("write a table: [%s-options]", flag)
	}
	for _, flag := range []string{"config", "describe", "help", "version"} {
		refused[flag] = "this is for the command line only"
	}
	schema := c.schema.Without(slices.Collect(maps.Keys(refused))...)
	for _, name := range c.catalogs.Engines.Names() {
		schema.Elsewhere("engine-options", c.engineOptions(name))
	}

	lines := map[string]int{} // of keys already seen
	for i, e := range root {
		root[i].Key = strings.ReplaceAll(e.Key, "_", "-")
		if first, again := lines[root[i].Key]; again {
			m.Add(e.Line, e.Key, "%s is given twice, first on line %d", e.Key, first)
		}
		lines[root[i].Key] = e.Line
	}
	root = slices.DeleteFunc(root, func(e conf.Entry) bool {
		why, is := refused[e.Key]
		if is {
			m.Add(e.Line, e.Key, "%s: %s", e.Key, why)
		}
		return is
	})
	for _, s := range schema.Settings("", root, m, others) {
		target := &c.given
		if c.overrides(s.Key) {
			target = new(given) // only to see that it is right
		} else {
			c.fromFile = append(c.fromFile, s.Key)
		}
		c.schema.Apply(target, []conf.Setting{s}, m)
	}
	return m.Err()
}

// overrides reports whether the command line says what a key of the file says.
func (c *commandLine) overrides(key string) bool {
	return c.flags.Changed(key) || key == "data" && c.Data != ""
}
