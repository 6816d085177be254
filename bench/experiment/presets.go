package experiment

import (
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/conf"
)

const (
	keyPreset    = "load.preset"
	keyReadRatio = "load.read_ratio"
	tableMix     = "load.mix"
)

// preset is a core workload of YCSB.
type preset struct {
	mix  workload.Mix
	keys string
}

// presets are the core workloads of B. Cooper et al., "Benchmarking Cloud Serving Systems
// with YCSB", SoCC 2010, table 2, with what their files in YCSB 0.17 say: scans begin at a
// zipfian key and are of uniform length.
func presets() map[string]preset {
	return map[string]preset{
		"ycsb-a": {workload.Mix{Read: 0.5, Write: 0.5}, workload.Zipf},
		"ycsb-b": {workload.Mix{Read: 0.95, Write: 0.05}, workload.Zipf},
		"ycsb-c": {workload.Mix{Read: 1}, workload.Zipf},
		"ycsb-d": {workload.Mix{Read: 0.95, Insert: 0.05}, workload.Latest},
		"ycsb-e": {workload.Mix{Scan: 0.95, Insert: 0.05}, workload.Zipf},
		"ycsb-f": {workload.Mix{Read: 0.5, ReadModifyWrite: 0.5}, workload.Zipf},
	}
}

// recordBytes is a record of YCSB: ten fields of 100 bytes.
const recordBytes = 1000

// settings are what the preset sets, all of the mix, so that it covers another one's.
func (p preset) settings(at conf.Origin) []conf.Setting {
	all := []conf.Setting{{Key: "load.key_distribution", Data: p.keys, At: at}, {Key: "load.value_size", Data: int64(recordBytes), At: at}}
	return append(all, mixSettings(p.mix, at)...)
}

// mixSettings are all shares of a mix.
func mixSettings(m workload.Mix, at conf.Origin) []conf.Setting {
	var all []conf.Setting
	shares := conf.Map(m)
	for _, name := range conf.SchemaOf(m).Keys() {
		share, _ := shares[name].(float64)
		all = append(all, conf.Setting{Key: conf.Qualify(tableMix, name), Data: share, At: at})
	}
	return all
}

// keysOf are the keys of settings.
func keysOf(settings []conf.Setting) []string {
	var keys []string
	for _, s := range settings {
		keys = append(keys, s.Key)
	}
	return keys
}

// mixes reports whether a key says of which kinds the operations are.
func mixes(key string) bool { return key == keyReadRatio || strings.HasPrefix(key, tableMix+".") }

// spreadPresets puts what presets stand for in their place, but for what the file says
// itself. A factor of presets becomes one whose levels set several keys.
func (d *draft) spreadPresets() {
	file := keysOf(d.settings)
	if s := d.setting(keyPreset); s != nil && d.factor(keyPreset) == nil {
		said := slices.Clone(file)
		for _, f := range d.factors {
			if f.coupled == nil {
				said = append(said, f.key)
			}
		}
		d.settings = append(d.settings, standsFor(*s, said)...)
	}
	for i := range d.factors {
		f := &d.factors[i]
		if f.key == keyPreset && !slices.ContainsFunc(f.levels, func(v conf.Value) bool { return standsFor(conf.Setting{Data: v.Data}, nil) == nil }) {
			for _, v := range f.levels {
				f.coupled = append(f.coupled, rawLevel{name: v.Data.(string), at: f.at, settings: []conf.Setting{{Key: keyPreset, Data: v.Data, At: f.at}}})
			}
			f.key = ""
		}
		said := slices.Clone(file)
		for j := range d.factors {
			if j != i {
				said = append(said, keysOf(d.factors[j].settings())...)
			}
		}
		for j := range f.coupled {
			f.coupled[j].spreadPreset(said)
		}
	}
}

// standsFor returns what a preset sets, less what is said; nil: there is no such preset.
func standsFor(s conf.Setting, said []string) []conf.Setting {
	name, _ := s.Data.(string)
	p, ok := presets()[name]
	if !ok {
		return nil
	}
	mixed := slices.ContainsFunc(said, mixes)
	return slices.DeleteFunc(p.settings(s.At), func(s conf.Setting) bool {
		return slices.Contains(said, s.Key) || mixed && mixes(s.Key) || s.Key == "load.value_size" && slices.Contains(said, "load.value_sizes")
	})
}

// spreadPreset puts what a preset stands for into a level. One that says of which kinds
// the operations are says so of all: another mix below it does not show through.
func (l *rawLevel) spreadPreset(said []string) {
	own := keysOf(l.settings)
	for _, s := range l.settings {
		if s.Key == keyPreset {
			l.settings = append(l.settings, standsFor(s, append(said, own...))...)
		}
	}
	if slices.ContainsFunc(own, mixes) {
		for _, s := range append(mixSettings(workload.Mix{}, l.at), conf.Setting{Key: keyReadRatio, Data: 0.0, At: l.at}) {
			if !slices.Contains(own, s.Key) {
				l.settings = append(l.settings, s)
			}
		}
	}
}
