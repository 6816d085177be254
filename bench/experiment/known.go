package experiment

import (
	"maps"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Known says which names an experiment may use. The caller fills it from the
// catalogues of the program. Names have no dots.
type Known struct {
	Engines, Backends, Transports []Plugin

	// Measures are what may be measured beside a load and a formation. The options of
	// one stand in a table of its name.
	Measures []Plugin
}

// Plugin is something that an experiment names, with the options that it takes.
type Plugin struct {
	Name    string
	Options []string
	// Check looks at the value of one option; it may be nil. The error says only what is
	// wanted.
	Check func(option string, value any) error
	// Defaults of a measure's options. Parse fills them in.
	Defaults map[string]any
}

// PluginOf describes a plug-in by a struct with the default values of its options, with
// the tags of package conf.
func PluginOf(name string, options any) Plugin {
	return Plugin{
		Name:    name,
		Options: conf.SchemaOf(options).Keys(),
		Check: func(option string, value any) error {
			return conf.SchemaOf(options).Find(option).Set(conf.New(options), value)
		},
		Defaults: conf.Map(options),
	}
}

// The kinds of plug-ins, as [options.KIND.NAME] has them.
const (
	KindEngine    = "engine"
	KindBackend   = "backend"
	KindTransport = "transport"
	KindMeasure   = "measure"
)

func kinds() []string { return []string{KindEngine, KindBackend, KindTransport, KindMeasure} }

func (k *Known) of(kind string) []Plugin {
	switch kind {
	case KindEngine:
		return k.Engines
	case KindBackend:
		return k.Backends
	case KindTransport:
		return k.Transports
	default:
		return k.Measures
	}
}

// names returns the names of the plug-ins of one kind, or of all for "".
func (k *Known) names(kind string) []string {
	var names []string
	for _, each := range kinds() {
		if kind != "" && kind != each {
			continue
		}
		for _, p := range k.of(each) {
			names = append(names, p.Name)
		}
	}
	if kind == "" {
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names
}

// options returns the options of the plug-ins called name.
func (k *Known) options(kind, name string) []string {
	var options []string
	for _, each := range kinds() {
		for _, p := range k.of(each) {
			if p.Name == name && (kind == "" || kind == each) {
				options = append(options, p.Options...)
			}
		}
	}
	return options
}

// takers returns the kinds of the plug-ins called name that take an option.
func (k *Known) takers(name, option string) []string {
	var takers []string
	for _, kind := range kinds() {
		if slices.Contains(k.options(kind, name), option) {
			takers = append(takers, kind)
		}
	}
	return takers
}

// find returns the key of an option as it is kept: "options.NAME.OPTION", and with the
// kind before the name only where plug-ins of several kinds are called so and take the
// option. Which one is meant must be said then: takers are those to choose from. There
// are none if the option is not known.
func (k *Known) find(kind, name, option string) (key string, takers []string) {
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

// check asks the plug-in that a key belongs to about a value.
func (k *Known) check(key string, value any) error {
	owner, option, _ := splitOption(key)
	kind, name, qualified := strings.Cut(owner, ".")
	if !qualified {
		kind, name = "", owner
	}
	for _, each := range kinds() {
		for _, p := range k.of(each) {
			if p.Name == name && (kind == "" || kind == each) && slices.Contains(p.Options, option) && p.Check != nil {
				return p.Check(option, value)
			}
		}
	}
	return nil
}

// optionKeys returns the keys of all options, sorted.
func (k *Known) optionKeys() []string {
	var keys []string
	for _, kind := range kinds() {
		for _, p := range k.of(kind) {
			for _, option := range p.Options {
				key, _ := k.find(kind, p.Name, option)
				keys = append(keys, key)
			}
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
	if c[owner] == nil {
		c[owner] = map[string]any{}
	}
	c[owner][option] = value
	return c
}

func (o Options) clone() Options {
	c := maps.Clone(o)
	for name := range c {
		c[name] = maps.Clone(c[name])
	}
	return c
}
