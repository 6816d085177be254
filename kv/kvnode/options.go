package kvnode

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/conf"
)

var _ pflag.Value = (*optionSet)(nil)

// optionSet is the settings of one plug-in, by key in snake case, from the
// command line (k=v) and the file. It knows where each was given.
type optionSet map[string]option

type option struct {
	value any
	at    string // in the file; empty: a flag
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
	o.put(key, option{value: conf.Literal(strings.TrimSpace(value))})
	return nil
}

func (o *optionSet) put(key string, given option) {
	if *o == nil {
		*o = optionSet{}
	}
	(*o)[strings.ReplaceAll(key, "-", "_")] = given
}

// fromFile sets what a table of the file says, unless the command line does.
func (o *optionSet) fromFile(e conf.Entry, m *conf.Mistakes) {
	table, _ := m.WantTable(e, e.Key)
	for _, n := range table {
		if given, ok := (*o)[strings.ReplaceAll(n.Key, "-", "_")]; !ok || given.at != "" {
			o.put(n.Key, option{n.Plain(conf.Qualify(e.Key, n.Key), m), fmt.Sprintf("%s:%d", m.File, n.Line)})
		}
	}
}

// take moves the options called so from another set, that of a flag, where they do not
// replace any.
func (o *optionSet) take(from optionSet, flag string, keys []string) {
	for _, key := range keys {
		given, ok := from[key]
		given.at = cmp.Or(given.at, flag)
		if _, has := (*o)[key]; ok && !has {
			o.put(key, given)
		}
		delete(from, key)
	}
}

func (o optionSet) plain() core.Options {
	plain := make(core.Options, len(o))
	for key, given := range o {
		plain[key] = given.value
	}
	return plain
}

// check asks the plug-in about each option alone, so that an error can name the
// place, and then about all.
func (o optionSet) check(flag string, ask func(core.Options) error) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if err := ask(core.Options{key: o[key].value}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", cmp.Or(o[key].at, flag), err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := ask(o.plain()); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}
