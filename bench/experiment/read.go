package experiment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// draft is an experiment file taken apart, before its values are checked.
type draft struct {
	*conf.Mistakes
	known      Known
	schema     *conf.Schema
	settings   []conf.Setting // one per key, or option
	factors    []rawFactor
	excludes   []rawExclude
	matrixLine int
}

// rawFactor is a line of [matrix], or a list of tables there: then it has no key, and
// coupled levels.
type rawFactor struct {
	name, key string
	levels    []conf.Value
	at        conf.Origin
	coupled   []rawLevel
}

// Keys returns the keys of an experiment file, options too.
func Keys(known Known) []string { return append(Schema(known).Keys(), known.keys()...) }

// Schema describes an experiment file, but for options; a nil known leaves the names of
// plug-ins unchecked, as is right for an experiment that was checked before.
func Schema(known Known) *conf.Schema {
	s := conf.SchemaOf(Experiment{})
	s.Check("name", checkName)
	s.Check("load.value_sizes", func(text string) error { return checkSizes(text, maxValueBytes) })
	s.Check("load.scan_length", func(text string) error { return checkSizes(text, maxScanLength) })
	if known != nil {
		s.Restrict("cluster.engine", known.names(KindEngine))
		var own []string
		if slices.ContainsFunc(known, func(p Plugin) bool { return p.Own }) {
			own = []string{Own}
		}
		s.Restrict("cluster.backend", append(known.names(KindBackend), own...))
		s.Restrict("cluster.transport", append(known.names(KindTransport), own...))
		s.Restrict("cluster.mode", known.names(KindSystem))
		s.Restrict("measure", append([]string{MeasureLoad, MeasureFormation}, known.names(KindMeasure)...))
	}
	for _, p := range known.named("", "") {
		s.Elsewhere("options."+p.Name, p.Options)
	}
	return s
}

// read takes the keys of a file into the draft.
func (d *draft) read(root conf.Table) {
	others := map[string]func(conf.Entry){"options": d.readOptions, "matrix": d.readMatrix, "exclude": d.readExclude}
	for _, m := range d.known.named(KindMeasure, "") {
		others[m.Name] = func(e conf.Entry) { d.readMeasure(m, e) }
	}
	i := slices.IndexFunc(root, func(e conf.Entry) bool { return e.Key == "question" })
	if i >= 0 {
		d.Add(root[i].Line, "question", `unknown key "question": the question is the comment at the very top of the file`)
		root = slices.Delete(slices.Clone(root), i, i+1)
	}
	for _, s := range d.schema.Settings("", d.takeMoved(root), d.Mistakes, others) {
		d.put(s)
	}
}

// moved are the keys that [raft] had before they became options of the engine.
func moved() []string {
	return []string{"batch_apply", "log_cache", "disable_pre_vote", "trailing_logs"}
}

// today returns the key that stands for one of old.
func today(key string) string {
	if old := strings.TrimPrefix(key, "raft."); slices.Contains(moved(), old) {
		return optionKey("hashicorp", old)
	}
	return key
}

// takeMoved takes old keys out of [raft].
func (d *draft) takeMoved(root conf.Table) conf.Table {
	root = slices.Clone(root)
	for i, e := range root {
		raft, ok := e.Data.(conf.Table)
		if e.Key != "raft" || !ok {
			continue
		}
		root[i].Data = slices.DeleteFunc(slices.Clone(raft), func(n conf.Entry) bool {
			old := slices.Contains(moved(), n.Key)
			if old {
				d.put(conf.Setting{Key: today("raft." + n.Key), Data: n.Data, At: d.at(n)})
			}
			return old
		})
	}
	return root
}

func (d *draft) at(e conf.Entry) conf.Origin { return conf.Origin{File: d.File, Line: e.Line} }

// put adds a setting of the file.
func (d *draft) put(s conf.Setting) {
	if first := d.setting(s.Key); first != nil {
		d.AddAt(s.At, s.Key, "%s is given twice, first on line %d: remove one", s.Key, first.At.Line)
		return
	}
	d.settings = append(d.settings, s)
}

func (d *draft) setting(key string) *conf.Setting {
	for i := range d.settings {
		if d.settings[i].Key == key {
			return &d.settings[i]
		}
	}
	return nil
}

// readMeasure reads the table of a kind of measurement.
func (d *draft) readMeasure(p Plugin, e conf.Entry) {
	table, _ := d.WantTable(e, e.Key)
	for _, n := range table {
		key := conf.Qualify(p.Name, n.Key)
		if !slices.Contains(p.Options, n.Key) {
			d.Add(n.Line, key, "unknown key %q in [%s]; %s", n.Key, p.Name, d.Hint(n.Key, p.Options))
			continue
		}
		d.put(conf.Setting{Key: key, Data: n.Data, At: d.at(n)})
	}
}

func (d *draft) readOptions(options conf.Entry) {
	table, ok := d.WantTable(options, "options")
	if !ok {
		return
	}
	for _, e := range table {
		below, isTable := e.Data.(conf.Table)
		if !isTable || len(d.known.named(e.Key, "")) == 0 || slices.Contains(d.known.names(""), e.Key) {
			d.readPlugin("", e, "options."+e.Key)
			continue
		}
		for _, plugin := range below {
			d.readPlugin(e.Key, plugin, "options."+e.Key+"."+plugin.Key)
		}
	}
}

// readPlugin reads the options of a plug-in of a kind, or, for "", of any kind.
func (d *draft) readPlugin(kind string, plugin conf.Entry, name string) {
	if names := d.known.names(kind); !slices.Contains(names, plugin.Key) {
		what := kind
		if kind == "" {
			what = "engine, backend or transport"
		}
		d.Add(plugin.Line, name, "[%s]: there is no %s %q; %s", name, what, plugin.Key, d.Hint(plugin.Key, names))
		return
	}
	table, ok := d.WantTable(plugin, name)
	if !ok {
		return
	}
	for _, n := range table {
		key, takers := d.known.find(kind, plugin.Key, n.Key)
		switch {
		case key != "":
			d.put(conf.Setting{Key: key, Data: n.Data, At: d.at(n)})
		case len(takers) > 1:
			d.Add(n.Line, name+"."+n.Key, "%s.%s: %s", name, n.Key, choose(plugin.Key, takers))
		default:
			d.Add(n.Line, name+"."+n.Key, "unknown key %q in [%s]; %s", n.Key, name, d.Hint(n.Key, d.known.options(kind, plugin.Key)))
		}
	}
}

// choose says that an option must say which plug-in it is for.
func choose(name string, takers []string) string {
	var tables []string
	for _, kind := range takers {
		tables = append(tables, fmt.Sprintf("[options.%s.%s]", kind, name))
	}
	return fmt.Sprintf("the %s %q both take it: write %s", strings.Join(takers, " and the "), name, strings.Join(tables, " or "))
}

func (d *draft) readMatrix(matrix conf.Entry) {
	d.matrixLine = matrix.Line
	if table, ok := d.WantTable(matrix, "matrix"); ok {
		d.readFactors(table, matrix.Line, "")
	}
}

// readFactors takes in the factors below a table: raft.commit_timeout = […] makes a
// table "raft" of its own.
func (d *draft) readFactors(table conf.Table, line int, prefix string) {
	if len(table) == 0 {
		d.Add(line, "matrix", `[matrix%s] is empty: add a factor such as backend = ["inmem", "bolt"], or remove the table for a single cell`,
			strings.TrimSuffix("."+prefix, "."))
	}
	for _, e := range table {
		name := prefix + e.Key
		if below, isTable := e.Data.(conf.Table); isTable {
			d.readFactors(below, e.Line, name+".")
			continue
		}
		if list, ok := tables(e.Data); ok {
			d.readCoupled(name, list, d.at(e))
			continue
		}
		key, ok := d.factorKey(name, "[matrix]", d.at(e))
		if !ok {
			continue
		}
		levels, isList := e.Data.([]conf.Value)
		switch first := d.factor(key); {
		case !isList:
			d.Add(e.Line, key, "matrix.%s = %s: want a list of values, such as %s = [%s]", name, conf.Show(e.Data), name, conf.Show(e.Data))
		case len(levels) == 0:
			d.Add(e.Line, key, "matrix.%s is empty: list at least one value, or remove the line", name)
		case first != nil:
			d.Add(e.Line, key, "matrix.%s is the same key as %s on line %d: remove one", name, first.name, first.at.Line)
		default:
			d.factors = append(d.factors, rawFactor{name: name, key: key, levels: levels, at: d.at(e)})
		}
	}
}

// factor returns the factor of one key, or nil.
func (d *draft) factor(key string) *rawFactor {
	for i := range d.factors {
		if d.factors[i].key == key {
			return &d.factors[i]
		}
	}
	return nil
}

// resolve returns the qualified key of a bare or dotted one. Without one, it says why.
func (d *draft) resolve(name string) (key, problem string) {
	name = today(name)
	for _, table := range append([]string{""}, d.schema.Tables()...) {
		if key := conf.Qualify(table, name); d.schema.Find(key) != nil {
			return key, ""
		}
	}
	if owner, option, ok := splitOption(name); ok {
		kind, plugin := splitOwner(owner)
		key, takers := d.known.find(kind, plugin, option)
		if len(takers) > 1 {
			return "", choose(plugin, takers)
		}
		return key, ""
	}
	if _, _, ok := d.known.measures(name); ok {
		return name, ""
	}
	return "", ""
}

// factorKey resolves the name of a factor, or of a setting of a level, or complains; in
// is the table that it stands in.
func (d *draft) factorKey(name, in string, at conf.Origin) (string, bool) {
	key, problem := d.resolve(name)
	if key == "" {
		if problem == "" {
			problem = d.factorHint(name)
		}
		d.AddAt(at, "matrix."+name, "unknown key %q in %s; %s", name, in, problem)
		return "", false
	}
	if f := d.schema.Find(key); f != nil && f.Table == "" {
		d.AddAt(at, "matrix."+name, "%q is the same for all cells and cannot be a factor; factors are the keys of [cluster], [raft], [load] and [formation], and options", name)
		return "", false
	}
	return key, true
}

func (d *draft) factorHint(name string) string {
	for _, key := range d.known.keys() {
		if strings.HasSuffix(key, "."+name) {
			return fmt.Sprintf("write %s", key)
		}
	}
	return d.Hint(name, d.factorNames(), d.qualified()...)
}

// qualified returns all keys of tables, also those that [raft] had once.
func (d *draft) qualified() []string {
	keys := d.schema.Keys()
	for _, old := range moved() {
		keys = append(keys, "raft."+old)
	}
	return keys
}

// factorNames returns what a factor may be called in short, and the options.
func (d *draft) factorNames() []string {
	var names []string
	for _, table := range d.schema.Tables() {
		names = append(names, d.schema.Names(table)...)
	}
	return append(names, d.known.keys()...)
}
