package experiment

import (
	"maps"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Engines that bring their own log store and network: programs, each with options that only
// it can tell.

// asked returns the plug-ins of a file: those that have to be asked which options they take
// are asked if it, or an override, names any.
func (k Known) asked(root conf.Table, overrides []Override) Known {
	k = slices.Clone(k)
	for i, p := range k {
		named := mentions(root, p.Name) || slices.ContainsFunc(overrides, func(o Override) bool {
			return slices.Contains(strings.Split(o.Key, "."), p.Name)
		})
		if p.Ask == nil || !named {
			continue
		}
		options, err := p.Ask()
		k[i].Options, k[i].any = options, err != nil
	}
	return k
}

// mentions reports whether some table below root has that name.
func mentions(root conf.Table, name string) bool {
	return slices.ContainsFunc(root, func(e conf.Entry) bool {
		below, isTable := e.Data.(conf.Table)
		if isTable && e.Key == name {
			return true
		}
		list, _ := tables(e.Data)
		for _, v := range list {
			if t, ok := v.Data.(conf.Table); ok && mentions(t, name) {
				return true
			}
		}
		return mentions(below, name)
	})
}

// brings says whether an engine brings its log store and network.
func (k Known) brings(engine string) bool {
	return slices.ContainsFunc(k.named(KindEngine, engine), func(p Plugin) bool { return p.Own })
}

// findOwn notes which of the engines that cells have bring theirs.
func (d *draft) findOwn(e *Experiment) {
	engines := map[string]bool{e.Cluster.Engine: true}
	for _, f := range e.Matrix {
		for level := range f.Levels {
			if name, ok := f.sets(level)["cluster.engine"]; ok {
				engines[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(engines)) {
		if d.known.brings(name) {
			e.Own = append(e.Own, name)
		}
	}
}

// checkOwn complains of the first cell that has a log store or transport which its engine
// does not take, or none.
func (d *draft) checkOwn(e *Experiment, cells []Cell) {
	for _, c := range cells {
		own, said := slices.Contains(e.Own, c.Cluster.Engine), e.said(&c)
		if own && c.Cluster.Mode != ModeProcess {
			d.complain("cluster.engine", `engine = %q is a program of its own, and cluster.mode is %q%s: set mode = %q and client = %q`,
				c.Cluster.Engine, c.Cluster.Mode, c.describe(), ModeProcess, ClientRESP)
			return
		}
		places := c.Cluster.places()
		for _, key := range slices.Sorted(maps.Keys(places)) {
			value, word := *places[key], strings.TrimPrefix(key, "cluster.")
			if s := d.setting(key); s != nil && own && said[key] == "" {
				value, _ = s.Data.(string) // what the file says of all cells
			}
			switch {
			case own && value != Own:
				d.complain(key, `%s = %q, and the engine %s brings its own%s: leave %s out; or give the other engines theirs in levels of a factor, such as [[matrix.system]] with name, engine and %s; or leave the combination out with [[exclude]]`,
					word, value, c.Cluster.Engine, c.describe(), word, word)
				return
			case !own && value == Own:
				d.complain(key, `%s = %q is for engines that bring theirs, and %s does not%s: name one, or leave %s out`, word, Own, c.Cluster.Engine, c.describe(), word)
				return
			}
		}
	}
}

// said is what the levels of a cell set, as text by qualified key.
func (e *Experiment) said(c *Cell) map[string]string {
	all := map[string]string{}
	for i, l := range c.Levels {
		maps.Copy(all, e.Matrix[i].sets(slices.Index(e.Matrix[i].Levels, l.Value)))
	}
	return all
}
