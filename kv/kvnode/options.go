package kvnode

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/core"
)

var _ pflag.Value = (*optionSet)(nil)

// optionSet is the settings of one plug-in, by key in snake case, from the
// command line (k=v) and the file. It knows where each was given.
type optionSet struct {
	flag    string // with its dashes
	entries map[string]option
}

type option struct {
	value any
	from  string // the flag, or file:line
}

func newOptionSet(flag string) *optionSet {
	return &optionSet{flag: flag, entries: map[string]option{}}
}

// String implements pflag.Value.
func (o *optionSet) String() string { return "" }

// Type implements pflag.Value.
func (o *optionSet) Type() string { return "key=value" }

// Set implements pflag.Value: of a key that is given twice, the last counts.
func (o *optionSet) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if key = strings.TrimSpace(key); !ok || key == "" {
		return errors.New("want key=value")
	}
	o.entries[snake(key)] = option{literal(strings.TrimSpace(value)), o.flag}
	return nil
}

// fromFile sets a key unless the command line has.
func (o *optionSet) fromFile(key string, value any, from string) {
	if e, given := o.entries[snake(key)]; !given || e.from != o.flag {
		o.entries[snake(key)] = option{value, from}
	}
}

func (o *optionSet) plain() core.Options {
	plain := make(core.Options, len(o.entries))
	for key, e := range o.entries {
		plain[key] = e.value
	}
	return plain
}

// check asks the plug-in about each option alone, so that an error can name the
// place, and then about all.
func (o *optionSet) check(ask func(core.Options) error) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(o.entries)) {
		e := o.entries[key]
		if err := ask(core.Options{key: e.value}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.from, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := ask(o.plain()); err != nil {
		return fmt.Errorf("%s: %w", o.flag, err)
	}
	return nil
}

// literal gives text the type that a TOML file would have given it; quotes keep
// it text.
func literal(s string) any {
	if s == "true" || s == "false" {
		return s == "true"
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if quoted, err := strconv.Unquote(s); err == nil {
		return quoted
	}
	return s
}

func snake(key string) string { return strings.ReplaceAll(key, "-", "_") }
