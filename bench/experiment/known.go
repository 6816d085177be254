package experiment

import (
	"maps"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Known is what an experiment may name: the plug-ins of the program. Names have no dots.
type Known []Plugin

// Plugin is something that an experiment names, with the options that it takes.
type Plugin struct {
	Kind, Name string
	Options    []string
	// Check looks at the value of one option; it may be nil. The error says only what is
	// wanted.
	Check func(option string, value any) error
	// Defaults of a measure's options. Parse fills them in.
	Defaults map[string]any
	// Load: the measure puts the load of the [load] table to the group.
	Load bool
	// Own: the engine brings its log store and its network.
	Own bool
	// Ask returns the options, where it takes asking to know them; it is called for files that
	// give some. With an error they are taken unseen: whoever runs the plug-in looks at them
	// again.
	Ask func() ([]string, error)
	any bool // it takes options of any name
	// Connects: the measure has clients of its own, and they connect as [load] says.
	Connects bool
}

// The kinds of plug-ins. All but the last two have their options in [options.NAME] or
// [options.KIND.NAME].
const (
	KindEngine    = "engine"
	KindBackend   = "backend"
	KindTransport = "transport"
	// KindMeasure is what may be measured beside a load and a formation. Its options
	// stand in a table of its name.
	KindMeasure = "measure"
	// KindSystem is what runs the members: the words of cluster.mode. It has no options.
	KindSystem = "system"
)

// PluginOf describes a plug-in by a struct with the default values of its options, with
// the tags of package conf; nil: it has none.
func PluginOf(kind, name string, options any) Plugin {
	return Plugin{
		Kind: kind, Name: name,
		Options: conf.SchemaOf(options).Keys(),
		Check: func(option string, value any) error {
			return conf.SchemaOf(options).Find(option).Set(conf.New(options), value)
		},
		Defaults: conf.Map(options),
	}
}

// takes reports whether there is an option of that name.
func (p Plugin) takes(option string) bool { return p.any || slices.Contains(p.Options, option) }

// named returns the plug-ins of a kind with a name. As a kind "" stands for all but
// measures and systems, and as a name for any.
func (k Known) named(kind, name string) []Plugin {
	return slices.DeleteFunc(slices.Clone(k), func(p Plugin) bool {
		return kind != "" && p.Kind != kind || kind == "" && (p.Kind == KindMeasure || p.Kind == KindSystem) || name != "" && p.Name != name
	})
}

// measures returns the kind of measurement that a key "NAME.OPTION" is a setting of.
func (k Known) measures(key string) (p Plugin, option string, ok bool) {
	name, option, _ := strings.Cut(key, ".")
	for _, p := range k.named(KindMeasure, name) {
		if slices.Contains(p.Options, option) {
			return p, option, true
		}
	}
	return Plugin{}, "", false
}

// loads says whether a measure takes a key of the [load] table.
func (k Known) loads(measure, key string) bool {
	connects := key == "load.client" || key == "load.connections"
	return measure == MeasureLoad || slices.ContainsFunc(k.named(KindMeasure, measure), func(p Plugin) bool { return p.Load || p.Connects && connects })
}

// names returns the names of the plug-ins of one kind, or of all for "".
func (k Known) names(kind string) []string {
	var names []string
	for _, p := range k.named(kind, "") {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// options returns the options of the plug-ins of a kind, or of any for "", with a name.
func (k Known) options(kind, name string) []string {
	var options []string
	for _, p := range k.named(kind, name) {
		options = append(options, p.Options...)
	}
	return options
}

// takers returns the kinds of the plug-ins called name that take an option.
func (k Known) takers(name, option string) []string {
	var takers []string
	for _, p := range k.named("", name) {
		if p.takes(option) {
			takers = append(takers, p.Kind)
		}
	}
	return takers
}

// find returns the key of an option as it is kept: "options.NAME.OPTION", and with the
// kind before the name only where plug-ins of several kinds are called so and take the
// option. Which one is meant must be said then: takers are those to choose from. There
// are none if the option is not known.
func (k Known) find(kind, name, option string) (key string, takers []string) {
	takers = k.takers(name, option)
	switch {
	case len(takers) > 1 && slices.Contains(takers, kind):
		return optionKey(kind+"."+name, option), nil
	case len(takers) == 1 && (kind == "" || kind == takers[0]):
		return optionKey(name, option), nil
	case kind != "":
		return "", nil
	}
	return "", takers
}

// owner returns the plug-in that the key of an option belongs to.
func (k Known) owner(key string) (p Plugin, option string) {
	if p, option, ok := k.measures(key); ok {
		return p, option
	}
	owner, option, ok := splitOption(key)
	kind, name := splitOwner(owner)
	for _, p := range k.named(kind, name) {
		if ok && p.takes(option) {
			return p, option
		}
	}
	return Plugin{}, option
}

// keys returns the keys of all options, sorted.
func (k Known) keys() []string {
	var keys []string
	for _, p := range k {
		for _, option := range p.Options {
			key := conf.Qualify(p.Name, option)
			if p.Kind != KindMeasure {
				key, _ = k.find(p.Kind, p.Name, option)
			}
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func optionKey(owner, option string) string { return "options." + owner + "." + option }

// splitOption parts "options.OWNER.OPTION", where the owner may be "KIND.NAME".
func splitOption(key string) (owner, option string, ok bool) {
	rest, ok := strings.CutPrefix(key, "options.")
	at := strings.LastIndexByte(rest, '.')
	if !ok || at < 0 {
		return "", "", false
	}
	return rest[:at], rest[at+1:], true
}

// splitOwner parts "KIND.NAME", where the kind may be missing.
func splitOwner(owner string) (kind, name string) {
	if kind, name, ok := strings.Cut(owner, "."); ok {
		return kind, name
	}
	return "", owner
}

// Options holds [options.NAME] for the plug-in NAME, as TOML gave it, and what is only
// meant for one of two kinds of the same name as "KIND.NAME".
type Options map[string]map[string]any

// Of returns the options of one plug-in, which takes those named so. The caller owns
// the result.
func (o Options) Of(kind, name string, takes []string) map[string]any {
	own := map[string]any{}
	for option, value := range o[name] {
		if slices.Contains(takes, option) {
			own[option] = value
		}
	}
	maps.Copy(own, o[kind+"."+name])
	return own
}

// with returns a copy in which one option is set.
func (o Options) with(owner, option string, value any) Options {
	c := o.clone()
	if c == nil {
		c = Options{}
	}
	c[owner] = with(c[owner], option, value)
	return c
}

// with returns a copy of options in which one is set.
func with(options map[string]any, option string, value any) map[string]any {
	c := maps.Clone(options)
	if c == nil {
		c = map[string]any{}
	}
	c[option] = value
	return c
}

func (o Options) clone() Options {
	c := maps.Clone(o)
	for name := range c {
		c[name] = maps.Clone(c[name])
	}
	return c
}
