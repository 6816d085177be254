package experiment

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Factors whose levels set several keys each, for what only makes sense together:
//
//	[[matrix.system]]
//	name = "kvnode"
//	mode = "process"
//
//	[[matrix.system]]
//	name                   = "etcd"
//	mode                   = "etcd"
//	raft.heartbeat_timeout = "1s"

// rawLevel is one such level.
type rawLevel struct {
	name     string
	settings []conf.Setting
	at       conf.Origin
	partial  bool // some of what it sets could not be read
}

// maxLevelName keeps the names of levels fit for the head of a column.
const maxLevelName = 60

// tables tells the levels of such a factor from the values of a plain one.
func tables(data any) ([]conf.Value, bool) {
	list, ok := data.([]conf.Value)
	isTable := func(v conf.Value) bool { _, is := v.Data.(conf.Table); return is }
	return list, ok && slices.ContainsFunc(list, isTable)
}

// readCoupled takes in the levels of such a factor.
func (d *draft) readCoupled(name string, list []conf.Value, at conf.Origin) {
	f := rawFactor{name: name, at: at}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(name) || len(name) > maxLevelName {
		d.AddAt(at, "matrix."+name, `[[matrix.%s]]: want a name of at most %d letters, digits, "_" and "-", such as [[matrix.system]]`, conf.Abridge(name), maxLevelName)
		return
	}
	if key, problem := d.resolve(name); key != "" || problem != "" || slices.Contains(append(d.schema.Tables(), "options"), name) {
		d.AddAt(at, "matrix."+name, "[[matrix.%s]]: that is a name of settings; a factor whose levels set several keys needs one of its own, such as [[matrix.system]]", name)
		return
	}
	for _, v := range list {
		line := conf.Origin{File: at.File, Line: v.Line}
		table, ok := v.Data.(conf.Table)
		if !ok {
			d.AddAt(line, "matrix."+name, "level %s of matrix.%s: want a table with a name and settings, as the other levels are", conf.Show(v.Data), name)
			return
		}
		level := rawLevel{at: line}
		d.readLevel(&level, name, table, "")
		f.coupled = append(f.coupled, level)
	}
	d.factors = append(d.factors, f)
}

// readLevel takes in one level: its name and what it sets, also in tables below it.
func (d *draft) readLevel(level *rawLevel, factor string, table conf.Table, prefix string) {
	in := "[[matrix." + factor + "]]"
	for _, e := range table {
		name, at := prefix+e.Key, conf.Origin{File: level.at.File, Line: e.Line}
		if below, ok := e.Data.(conf.Table); ok {
			d.readLevel(level, factor, below, name+".")
			continue
		}
		if name == "name" {
			level.name, _ = e.Data.(string)
			if problem := levelName(level.name); problem != "" {
				d.AddAt(at, "matrix."+factor, "%s: name = %s: want %s", in, conf.Show(e.Data), problem)
			}
			continue
		}
		key, ok := d.factorKey(name, in, at)
		if !ok {
			level.partial = true
			continue
		}
		if i := slices.IndexFunc(level.settings, func(s conf.Setting) bool { return s.Key == key }); i >= 0 {
			d.AddAt(at, key, "%s is given twice in one level of matrix.%s, first on line %d: remove one", key, factor, level.settings[i].At.Line)
			continue
		}
		level.settings = append(level.settings, conf.Setting{Key: key, Data: e.Data, At: at})
	}
	if _, named := find(table, "name"); prefix == "" && !named {
		d.AddAt(level.at, "matrix."+factor, `%s: a level has no name: add a line such as name = "etcd"`, in)
	}
}

func find(table conf.Table, key string) (conf.Entry, bool) {
	i := slices.IndexFunc(table, func(e conf.Entry) bool { return e.Key == key })
	if i < 0 {
		return conf.Entry{}, false
	}
	return table[i], true
}

// levelName says what the name of a level must be, or nothing where it is that.
func levelName(name string) string {
	printable := !strings.ContainsFunc(name, func(r rune) bool { return r == ';' || r == '=' || r < ' ' || r == 0x7f })
	if name == strings.TrimSpace(name) && name != "" && printable && utf8.RuneCountInString(name) <= maxLevelName {
		return ""
	}
	return fmt.Sprintf(`text in quotes, of 1 to %d characters without ";" and "="`, maxLevelName)
}

// settings returns what the factor sets and where, a key of several levels with the first.
func (f *rawFactor) settings() []conf.Setting {
	if f.coupled == nil {
		return []conf.Setting{{Key: f.key, At: f.at}}
	}
	var all []conf.Setting
	for _, l := range f.coupled {
		for _, s := range l.settings {
			if !slices.ContainsFunc(all, func(have conf.Setting) bool { return have.Key == s.Key }) {
				all = append(all, s)
			}
		}
	}
	return all
}

// setting returns where the factor sets a key, or nil.
func (f *rawFactor) setting(key string) *conf.Setting {
	for _, s := range f.settings() {
		if s.Key == key {
			return &s
		}
	}
	return nil
}

// checkOverlap sees that no two factors set the same key. That of two plain ones was seen
// when they were read.
func (d *draft) checkOverlap() {
	for i, f := range d.factors {
		for _, g := range d.factors[:i] {
			if f.coupled == nil && g.coupled == nil {
				continue
			}
			for _, s := range f.settings() {
				if other := g.setting(s.Key); other != nil {
					d.AddAt(s.At, s.Key, "matrix.%s and matrix.%s both set %s: take it out of one", g.name, f.name, s.Key)
				}
			}
		}
	}
}

// coupledLevels is levels of a factor whose levels set several keys.
func (d *draft) coupledLevels(e *Experiment, f rawFactor) (Factor, bool) {
	factor := Factor{Name: f.name}
	ok := !slices.ContainsFunc(f.coupled, func(l rawLevel) bool { return l.partial })
	for _, l := range f.coupled {
		scratch, sets := *e, map[string]string{}
		for _, s := range l.settings {
			if err := d.apply(&scratch, s.Key, s.Data); err != nil {
				d.AddAt(s.At, s.Key, "level %q of matrix.%s: %s = %s: %v", conf.Abridge(l.name), f.name, s.Key, conf.Show(s.Data), err)
				ok = false
				continue
			}
			sets[s.Key] = d.text(&scratch, s.Key)
		}
		if slices.Contains(factor.Levels, l.name) {
			d.AddAt(l.at, "matrix."+f.name, "level %q of matrix.%s is there twice: give one another name", conf.Abridge(l.name), f.name)
			ok = false
		} else if i := slices.IndexFunc(factor.Sets, func(other map[string]string) bool { return ok && maps.Equal(sets, other) }); i >= 0 {
			d.AddAt(l.at, "matrix."+f.name, "levels %q and %q of matrix.%s set the same: remove one", factor.Levels[i], l.name, f.name)
			ok = false
		}
		factor.Levels, factor.Sets = append(factor.Levels, l.name), append(factor.Sets, sets)
	}
	return factor, ok
}

// coupledFactor returns the factor of that name whose levels set several keys, or nil.
func (d *draft) coupledFactor(name string) *rawFactor {
	i := slices.IndexFunc(d.factors, func(f rawFactor) bool { return f.coupled != nil && f.name == name })
	if i < 0 {
		return nil
	}
	return &d.factors[i]
}

// overrideCoupled keeps the levels of f that the list names, in its order.
func (d *draft) overrideCoupled(f *rawFactor, data any, at conf.Origin) {
	var names []string
	for _, l := range f.coupled {
		names = append(names, l.name)
	}
	list, ok := data.([]conf.Value)
	if !ok {
		d.AddAt(at, "matrix."+f.name, "matrix.%s = %s: want a list of its levels, such as matrix.%s=[%s]", f.name, conf.Show(data), f.name, conf.Quote(names[0]))
		return
	}
	var kept []rawLevel
	for _, v := range list {
		name, _ := v.Data.(string)
		i := slices.Index(names, name)
		if i < 0 {
			d.AddAt(at, "matrix."+f.name, "matrix.%s has no level %s; %s", f.name, conf.Show(v.Data), d.Hint(name, names))
			return
		}
		kept = append(kept, f.coupled[i])
	}
	if len(kept) == 0 {
		d.factors = slices.DeleteFunc(d.factors, func(other rawFactor) bool { return other.coupled != nil && other.name == f.name })
		return
	}
	f.coupled = kept
}

// dropFromLevels takes a key out of all levels that set several.
func (d *draft) dropFromLevels(key string) {
	for i := range d.factors {
		for j := range d.factors[i].coupled {
			l := &d.factors[i].coupled[j]
			l.settings = slices.DeleteFunc(slices.Clone(l.settings), func(s conf.Setting) bool { return s.Key == key })
		}
	}
}
