package experiment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Combinations of the matrix that are left out:
//
//	[[exclude]]
//	backend   = "inmem"
//	transport = "tcp"

// rawExclude is one such table.
type rawExclude struct {
	entries []conf.Setting // names of factors as they are written, and levels
	at      conf.Origin
}

// readExclude takes in [[exclude]].
func (d *draft) readExclude(e conf.Entry) {
	list, ok := tables(e.Data)
	if !ok {
		d.Add(e.Line, "exclude", "exclude = %s: want tables [[exclude]], each with levels of the matrix that do not go together", conf.Show(e.Data))
		return
	}
	for _, v := range list {
		table, ok := v.Data.(conf.Table)
		if !ok || len(table) == 0 {
			d.Add(v.Line, "exclude", `[[exclude]] is empty: name levels of the matrix that do not go together, such as backend = "inmem"`)
			continue
		}
		x := rawExclude{at: conf.Origin{File: d.File, Line: v.Line}}
		d.readExcluded(&x, table, "")
		d.excludes = append(d.excludes, x)
	}
}

func (d *draft) readExcluded(x *rawExclude, table conf.Table, prefix string) {
	for _, e := range table {
		if below, ok := e.Data.(conf.Table); ok {
			d.readExcluded(x, below, prefix+e.Key+".")
			continue
		}
		x.entries = append(x.entries, conf.Setting{Key: prefix + e.Key, Data: e.Data, At: d.at(e)})
	}
}

// exclude resolves the tables once the matrix is. What an override has taken out of the
// matrix needs no excluding: then the table is dropped.
func (d *draft) exclude(e *Experiment, overridden bool) {
	for _, x := range d.excludes {
		levels := map[string]string{}
		for _, s := range x.entries {
			f := d.excludedFactor(e, s.Key)
			if f == nil {
				var names []string
				for _, f := range e.Matrix {
					names = append(names, f.Name)
				}
				if !overridden {
					d.AddAt(s.At, "exclude", "[[exclude]] names %q, which is no factor of the matrix; it has %s", conf.Abridge(s.Key), strings.Join(names, ", "))
				}
				levels = nil
				break
			}
			text, err := d.excludedLevel(e, f, s.Data)
			if err != nil && !overridden {
				d.AddAt(s.At, "exclude", "[[exclude]] %s = %s: %v", conf.Abridge(s.Key), conf.Show(s.Data), err)
			}
			if err != nil {
				levels = nil
				break
			}
			levels[f.Name] = text
		}
		if len(levels) > 0 {
			e.Exclude = append(e.Exclude, levels)
		}
	}
}

// excludedFactor finds a factor by its name, or by the key that it sets.
func (d *draft) excludedFactor(e *Experiment, name string) *Factor {
	key, _ := d.resolve(name)
	for i := range e.Matrix {
		if f := &e.Matrix[i]; f.Name == name || f.Key != "" && f.Key == key {
			return f
		}
	}
	return nil
}

// excludedLevel returns the level of a factor in its normal form.
func (d *draft) excludedLevel(e *Experiment, f *Factor, data any) (string, error) {
	text, _ := data.(string)
	if f.Key != "" {
		scratch := *e
		if err := d.apply(&scratch, f.Key, data); err != nil {
			return "", err
		}
		text = d.text(&scratch, f.Key)
	}
	if !slices.Contains(f.Levels, text) {
		return "", fmt.Errorf("the matrix has no such level of %s; it has %s", f.Name, strings.Join(f.Levels, ", "))
	}
	return text, nil
}
