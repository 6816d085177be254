package experiment

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Override replaces one line of an experiment file, before anything is checked.
//
//   - Key is a bare or dotted key as in the file: "trials", "load.duration",
//     "duration", "options.mdb.map_size". Where that key is also a factor of the
//     matrix, the factor is pinned to this single level.
//   - "matrix.KEY" replaces the levels of a factor, or adds a factor as the
//     last one. The empty list takes the factor away, so that the value of the
//     table it came from holds.
//
// Value is TOML where it parses as such, and else text without quotes. A later
// override wins over an earlier one.
type Override struct {
	Key   string
	Value string
}

// ParseOverride reads "KEY=VALUE", such as load.duration=2s or
// matrix.backend=["bolt"]. Whether the key exists and takes the value, Parse
// tells.
func ParseOverride(text string) (Override, error) {
	key, value, ok := strings.Cut(text, "=")
	o := Override{Key: strings.TrimSpace(key), Value: strings.TrimSpace(value)}
	if !ok {
		return Override{}, fmt.Errorf("%w: override %q has no %q: want KEY=VALUE, such as load.duration=2s", ErrInvalid, text, "=")
	}
	if err := o.check(); err != nil {
		return Override{}, fmt.Errorf("%w: override %q: %w", ErrInvalid, text, err)
	}
	return o, nil
}

// String writes the override as ParseOverride reads it.
func (o Override) String() string { return o.Key + "=" + o.Value }

func (o Override) check() error {
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`).MatchString(o.Key) {
		return fmt.Errorf("%q is no key: want letters, digits, \"_\", \"-\" and dots between, such as load.duration", o.Key)
	}
	if !utf8.ValidString(o.Value) {
		return fmt.Errorf("the value is not UTF-8 text")
	}
	return nil
}

// override puts o in the place of what the file says.
func (d *draft) override(o Override) {
	at := origin{file: "override " + o.String()}
	if err := o.check(); err != nil {
		d.add(at, o.Key, "%v", err)
		return
	}
	value := literal(o.Value)
	if name, ok := strings.CutPrefix(o.Key, "matrix."); ok {
		d.overrideFactor(name, value, at)
		return
	}
	key, ok := d.resolve(o.Key)
	if !ok {
		known := append(d.schema.keysOf(""), d.factorNames()...)
		d.add(at, o.Key, "unknown key %q; %s", o.Key, hint(o.Key, known, d.schema.keys()...))
		return
	}
	if _, isList := value.([]any); isList {
		d.add(at, key, "%s takes one value; to compare several, override matrix.%s", key, o.Key)
		return
	}
	d.put(entry{key: key, value: value, at: at})
	for i := range d.factors {
		if d.factors[i].key == key {
			d.factors[i].levels, d.factors[i].at = []any{value}, at
		}
	}
}

func (d *draft) overrideFactor(name string, value any, at origin) {
	key, ok := d.factorKey(name, at)
	if !ok {
		return
	}
	levels, isList := value.([]any)
	if !isList {
		d.add(at, key, "matrix.%s = %s: want a list, such as matrix.%s=[%s]", name, show(value), name, show(value))
		return
	}
	place := -1
	for i := range d.factors {
		if d.factors[i].key == key {
			place = i
		}
	}
	switch {
	case place >= 0 && len(levels) == 0:
		d.factors = append(d.factors[:place], d.factors[place+1:]...)
	case place >= 0:
		d.factors[place].levels, d.factors[place].at = levels, at
	case len(levels) > 0:
		d.factors = append(d.factors, rawFactor{name: name, key: key, levels: levels, at: at})
	}
}
