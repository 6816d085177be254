package kvnode

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// maxConfigBytes is far above any settings file: it keeps a file that was named
// by mistake from being taken apart.
const maxConfigBytes = 16 << 10

// configError is one mistake in a settings file.
type configError struct {
	file string
	line int // from 1
	text string
}

// Error implements error.
func (e *configError) Error() string { return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.text) }

// notInFile are the flags that make no sense in a file.
func notInFile() []string { return []string{"config", "describe", "help", "version"} }

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
	source = bytes.TrimPrefix(source, []byte("\xef\xbb\xbf"))
	if len(source) > maxConfigBytes {
		return &configError{file, 1, fmt.Sprintf("longer than %d KiB: this is no settings file", maxConfigBytes>>10)}
	}
	entries, err := parseTOML(source)
	if err != nil {
		return syntaxError(file, source, err)
	}
	var errs []error
	lines := map[string]int{} // of keys already seen
	for _, e := range entries {
		name := strings.ReplaceAll(e.key, "_", "-")
		text := ""
		if first, again := lines[name]; again {
			text = fmt.Sprintf("%s is given twice, first on line %d", e.key, first)
		} else if err := c.applyEntry(file, name, e); err != nil {
			text = err.Error()
		}
		lines[name] = e.line
		if text != "" {
			errs = append(errs, &configError{file, e.line, text})
		}
	}
	return errors.Join(errs...)
}

// applyEntry sets what one key or table of the file says. The name has dashes.
func (c *commandLine) applyEntry(file, name string, e entry) error {
	tables := map[string]*optionSet{
		"backend-options": c.backendOptions, "transport-options": c.transportOptions, "raft": c.raftOptions,
	}
	if options, ok := tables[name]; ok {
		if e.table == nil {
			return fmt.Errorf("%s: want a table: write [%s] on a line of its own", e.key, e.key)
		}
		for _, o := range e.table {
			options.fromFile(o.key, o.value, fmt.Sprintf("%s:%d", file, o.line))
		}
		return nil
	}
	if name == "data" {
		return c.dataFromFile(e)
	}
	if table, ok := tableOf(name); ok {
		return fmt.Errorf("%s: write a table: [%s]", e.key, table)
	}
	flag := c.flags.Lookup(name)
	switch {
	case flag == nil:
		return c.unknownKey(e, name)
	case slices.Contains(notInFile(), name):
		return fmt.Errorf("%s: this is for the command line only", e.key)
	}
	words, err := fileValue(flag, e)
	if err != nil || c.flags.Changed(name) {
		return err
	}
	for _, word := range words {
		if err := flag.Value.Set(word); err != nil {
			return fmt.Errorf("%s = %q: %w", e.key, word, err)
		}
	}
	c.fromFile = append(c.fromFile, name)
	return nil
}

// tableOf returns the table that stands for a flag of the form key=value.
func tableOf(flag string) (table string, ok bool) {
	switch flag {
	case "backend-option", "transport-option":
		return flag + "s", true
	case "raft-option":
		return "raft", true
	}
	return "", false
}

func (c *commandLine) dataFromFile(e entry) error {
	path, ok := e.value.(string)
	if !ok || path == "" {
		return fmt.Errorf("%s: want a path in quotes", e.key)
	}
	if c.data == "" {
		c.data = path
	}
	return nil
}

func (c *commandLine) unknownKey(e entry, name string) error {
	kind := "key " + strconv.Quote(e.key)
	if e.table != nil {
		kind = "table [" + e.key + "]"
	}
	if slices.Contains(raftKeys(), snake(name)) {
		return fmt.Errorf("unknown %s: it belongs in [raft]", kind)
	}
	names := slices.DeleteFunc(c.flagNames(), func(n string) bool {
		_, isTable := tableOf(n)
		return isTable || slices.Contains(notInFile(), n)
	})
	names = append(names, "data", "backend-options", "transport-options", "raft")
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("unknown %s; did you mean %q?", kind, near)
	}
	return fmt.Errorf("unknown %s; known are %s", kind, strings.Join(names, ", "))
}

// fileValue returns what to give the flag, after a check of the value's type.
func fileValue(flag *pflag.Flag, e entry) ([]string, error) {
	if flag.Value.Type() == "bool" {
		if b, ok := e.value.(bool); ok {
			return []string{strconv.FormatBool(b)}, nil
		}
		return nil, fmt.Errorf("%s: want true or false", e.key)
	}
	if flag.Value.Type() == "number" {
		if n, ok := e.value.(int64); ok {
			return []string{strconv.FormatInt(n, 10)}, nil
		}
		return nil, fmt.Errorf("%s: want a whole number", e.key)
	}
	if s, ok := e.value.(string); ok {
		return []string{s}, nil
	}
	known, isList := flag.Value.(list)
	if !isList {
		return nil, fmt.Errorf("%s: want text in quotes", e.key)
	}
	var words []string
	items, ok := e.value.([]any)
	for _, item := range items {
		word, isText := item.(string)
		ok = ok && isText
		words = append(words, word)
	}
	if !ok || len(words) == 0 {
		return nil, fmt.Errorf(`%s: want addresses, such as [%q]`, e.key, known.example())
	}
	return words, nil
}
