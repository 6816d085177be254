package experiment

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Override replaces one line of an experiment file, before anything is checked.
//
//   - Key is a bare or dotted key as in the file: "trials", "load.duration",
//     "duration", "options.mdb.map_size". Where that key is also a factor of the
//     matrix, the factor is pinned to this single level; where levels that set several
//     keys set it, it holds for all of them.
//     A key that says the same in another way, such as duration beside operations, is
//     taken out of its table.
//   - "matrix.KEY" replaces the levels of a factor, or adds a factor as the
//     last one. The empty list takes the factor away, so that the value of the
//     table it came from holds. Of a factor whose levels set several keys it lists
//     the names of those that stay.
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
	err := o.check()
	if !ok {
		err = errors.New("want KEY=VALUE, such as load.duration=2s")
	}
	if err != nil {
		return Override{}, &Error{File: "override " + text, Key: o.Key, Msg: err.Error(), Invalid: ErrInvalid}
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
	at := conf.Origin{File: "override " + o.String()}
	if err := o.check(); err != nil {
		d.AddAt(at, o.Key, "%v", err)
		return
	}
	data := conf.Literal(o.Value)
	levels, isList := data.([]conf.Value)
	if name, ok := strings.CutPrefix(o.Key, "matrix."); ok {
		if f := d.coupledFactor(name); f != nil {
			d.overrideCoupled(f, data, at)
			return
		}
		key, ok := d.factorKey(name, "[matrix]", at)
		switch {
		case !ok:
		case !isList:
			d.AddAt(at, key, "matrix.%s = %s: want a list, such as matrix.%s=[%s]", name, conf.Show(data), name, conf.Show(data))
		default:
			d.overrideFactor(rawFactor{name: name, key: key, levels: levels, at: at})
		}
		return
	}
	key, problem := d.resolve(o.Key)
	if key == "" {
		for _, table := range d.schema.Tables() {
			if table == o.Key || strings.HasSuffix(table, "."+o.Key) {
				problem = fmt.Sprintf("[%s] is a table: set its keys, such as %s.%s", table, table, d.schema.Names(table)[0])
			}
		}
		if problem == "" {
			known := append(d.schema.Names(""), d.factorNames()...)
			problem = d.Hint(o.Key, known, d.qualified()...)
		}
		d.AddAt(at, o.Key, "unknown key %q; %s", o.Key, problem)
		return
	}
	if isList {
		d.AddAt(at, key, "%s takes one value; to compare several, give matrix.%s", key, o)
		return
	}
	if s := d.setting(key); s != nil {
		s.Data, s.At = data, at
	} else {
		d.settings = append(d.settings, conf.Setting{Key: key, Data: data, At: at})
	}
	if f := d.factor(key); f != nil {
		f.levels, f.at = []conf.Value{{Data: data}}, at
	}
	d.dropFromLevels(key)
	d.settings = slices.DeleteFunc(d.settings, func(s conf.Setting) bool { return instead(key, s.Key) })
}

// instead reports whether a key says what another one says too, so that with an override of
// the one the file's other has nothing to say any more.
func instead(key, other string) bool {
	if key == keyReadRatio || mixes(key) {
		return mixes(other) && (key == keyReadRatio) != (other == keyReadRatio)
	}
	return slices.Contains(map[string][]string{
		"load.operations": {"load.duration"}, "load.duration": {"load.operations"},
		"load.value_sizes": {"load.value_size"}, "load.value_size": {"load.value_sizes"},
		"load.rate": {"load.peak_share", "load.clients"}, "load.peak_share": {"load.rate", "load.rate_to"},
		"load.rate_to": {"load.peak_share"},
	}[key], other)
}

// overrideFactor puts the levels of f in the place of those that its key had.
func (d *draft) overrideFactor(f rawFactor) {
	i := slices.IndexFunc(d.factors, func(other rawFactor) bool { return other.key == f.key })
	switch {
	case i >= 0 && len(f.levels) == 0:
		d.factors = slices.Delete(d.factors, i, i+1)
	case i >= 0:
		d.factors[i].levels, d.factors[i].at = f.levels, f.at
	case len(f.levels) > 0:
		d.factors = append(d.factors, f)
	}
}
