package experiment

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Known says which names an experiment may use. The caller fills it from the
// catalogues of the program. Names have no dots.
type Known struct {
	Engines, Backends, Transports []string

	// Options lists the option keys of a backend or transport by its name.
	Options map[string][]string
}

// plugins returns the names that may stand in [options.NAME].
func (k *Known) plugins() []string {
	names := slices.Concat(k.Backends, k.Transports)
	slices.Sort(names)
	return slices.Compact(names)
}

// optionKeys returns the dotted names of all options, sorted.
func (k *Known) optionKeys() []string {
	var keys []string
	for _, plugin := range k.plugins() {
		for _, option := range k.Options[plugin] {
			keys = append(keys, optionKey(plugin, option))
		}
	}
	slices.Sort(keys)
	return keys
}

// scalar is a key of an experiment file that holds one value.
type scalar struct {
	key   string // qualified: "load.clients", or "seed" at the top level
	index []int  // of the field in Experiment, for reflect
	limit limit
}

// limit bounds the values of a scalar.
type limit struct {
	low, high float64            // inclusive; durations in seconds
	names     []string           // text: what it may be; nil: anything
	check     func(string) error // text: a further check, or nil
}

// schema is all scalars, in the order of the types in experiment.go: their JSON
// names are the keys of the file.
type schema []scalar

// newSchema makes the schema; a nil known leaves the names of plug-ins
// unchecked, as is right for an experiment that was checked before.
func newSchema(known *Known) schema {
	bounds := limits(known)
	var s schema
	var walk func(t reflect.Type, prefix string, index []int)
	walk = func(t reflect.Type, prefix string, index []int) {
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			key, at := prefix+name, append(slices.Clone(index), i)
			switch field.Type.Kind() {
			case reflect.Struct:
				walk(field.Type, key+".", at)
			case reflect.Slice, reflect.Map: // [matrix] and [options]: no scalars
			default:
				bound, ok := bounds[key]
				if !ok {
					bound = defaultLimit(field.Type)
				}
				s = append(s, scalar{key: key, index: at, limit: bound})
			}
		}
	}
	walk(reflect.TypeFor[Experiment](), "", nil)
	return slices.DeleteFunc(s, func(sc scalar) bool { return sc.key == "question" }) // the header comment
}

// day is the longest duration, in seconds.
const day = 24 * 60 * 60

// defaultLimit bounds the scalars that limits does not name.
func defaultLimit(t reflect.Type) limit {
	switch t {
	case reflect.TypeFor[Duration]():
		return limit{low: 0, high: day}
	case reflect.TypeFor[uint64]():
		return limit{low: 0, high: math.MaxInt64}
	default:
		return limit{low: 0, high: math.MaxInt32}
	}
}

// limits returns the bounds of the scalars that have their own.
func limits(known *Known) map[string]limit {
	bounds := map[string]limit{
		"name":                  {check: checkName},
		"trials":                {low: 1, high: 10_000},
		"measure":               {names: []string{MeasureLoad, MeasureFormation}},
		"cluster.nodes":         {low: 1, high: 99},
		"cluster.mode":          {names: []string{ModeInProcess, ModeProcess}},
		"cluster.discovery":     {names: []string{DiscoveryStatic, DiscoveryGossip}},
		"raft.log_cache":        {low: -1, high: math.MaxInt32},
		"load.clients":          {low: 1, high: 100_000},
		"load.rate":             {low: 0, high: 10_000_000},
		"load.arrival":          {names: []string{"constant", "poisson"}},
		"load.duration":         {low: 0.1, high: day},
		"load.warmup":           {low: 0, high: day},
		"load.value_size":       {low: 1, high: 64 << 20},
		"load.keys":             {low: 1, high: 1_000_000_000},
		"load.key_distribution": {names: []string{"uniform", "zipf", "sequential"}},
		"load.read_ratio":       {low: 0, high: 1},
		"load.read_level":       {names: []string{ReadLinearizable, ReadStale}},
		"load.op_timeout":       {low: 0.001, high: day},
		"formation.settle":      {low: 0, high: day},
		"formation.rest":        {low: 0.1, high: day},
		"formation.timeout":     {low: 1, high: day},
	}
	if known != nil {
		// An empty list admits nothing, unlike nil.
		bounds["cluster.engine"] = limit{names: append([]string{}, known.Engines...)}
		bounds["cluster.backend"] = limit{names: append([]string{}, known.Backends...)}
		bounds["cluster.transport"] = limit{names: append([]string{}, known.Transports...)}
	}
	return bounds
}

func checkName(name string) error {
	if len(name) <= 64 && regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(name) {
		return nil
	}
	return errors.New(`want the name of a folder, of a-z, 0-9 and "-" only, such as "backends"`)
}

// find returns the scalar of a qualified key, or nil.
func (s schema) find(key string) *scalar {
	for i := range s {
		if s[i].key == key {
			return &s[i]
		}
	}
	return nil
}

// keys returns the qualified keys.
func (s schema) keys() []string {
	keys := make([]string, len(s))
	for i := range s {
		keys[i] = s[i].key
	}
	return keys
}

// keysOf returns the bare keys of one table; "" is the top level.
func (s schema) keysOf(table string) []string {
	var keys []string
	for _, sc := range s {
		if t, bare := splitKey(sc.key); t == table {
			keys = append(keys, bare)
		}
	}
	return keys
}

// splitKey parts a qualified scalar key into its table ("" is the top level)
// and its bare key.
func splitKey(key string) (table, bare string) {
	if table, bare, ok := strings.Cut(key, "."); ok {
		return table, bare
	}
	return "", key
}

func optionKey(plugin, option string) string { return "options." + plugin + "." + option }

// splitOption parts "options.PLUGIN.OPTION".
func splitOption(key string) (plugin, option string, ok bool) {
	parts := strings.SplitN(key, ".", 3)
	if len(parts) != 3 || parts[0] != "options" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// apply sets a key, or an option, of e to a TOML value. The error says only
// what is wanted. It never writes into a map that e shares with a copy.
func (s schema) apply(e *Experiment, key string, value any) error {
	if plugin, option, ok := splitOption(key); ok {
		v, err := optionValue(value)
		if err != nil {
			return err
		}
		e.Options = cloneOptions(e.Options)
		if e.Options == nil {
			e.Options = make(map[string]map[string]any)
		}
		if e.Options[plugin] == nil {
			e.Options[plugin] = make(map[string]any)
		}
		e.Options[plugin][option] = v
		return nil
	}
	sc := s.find(key)
	if sc == nil {
		return errors.New("no such key")
	}
	return sc.set(e, value)
}

// applyText is apply of a level as text wrote it.
func (s schema) applyText(e *Experiment, key, text string) error {
	if sc := s.find(key); sc != nil {
		switch sc.ref(e).(type) {
		case *string, *Duration:
			return sc.set(e, text)
		}
	}
	return s.apply(e, key, literal(text))
}

// text returns the value of a key of e in its normal form: applyText takes it
// back, and equal values have equal texts.
func (s schema) text(e *Experiment, key string) string {
	if plugin, option, ok := splitOption(key); ok {
		return literalText(e.Options[plugin][option])
	}
	switch p := s.find(key).ref(e).(type) {
	case *string:
		return *p
	case *float64:
		return strconv.FormatFloat(*p, 'f', -1, 64)
	default:
		return fmt.Sprint(reflect.ValueOf(p).Elem().Interface())
	}
}

// ref returns a pointer to the field of e that the scalar is kept in.
func (sc *scalar) ref(e *Experiment) any {
	return reflect.ValueOf(e).Elem().FieldByIndex(sc.index).Addr().Interface()
}

func (sc *scalar) set(e *Experiment, value any) error {
	switch p := sc.ref(e).(type) {
	case *string:
		return sc.setText(p, value)
	case *bool:
		return assign(p, value, "true or false, without quotes")
	case *int:
		var n int64
		if err := sc.setInteger(&n, value); err != nil {
			return err
		}
		*p = int(n)
	case *uint64:
		var n int64
		if err := sc.setInteger(&n, value); err != nil {
			return err
		}
		*p = uint64(n)
	case *float64:
		return sc.setFloat(p, value)
	case *Duration:
		return sc.setDuration(p, value)
	}
	return nil
}

// assign stores value where it has the type of the place.
func assign[T any](place *T, value any, want string) error {
	v, ok := value.(T)
	if !ok {
		return fmt.Errorf("want %s", want)
	}
	*place = v
	return nil
}

func (sc *scalar) setText(p *string, value any) error {
	var text string
	if err := assign(&text, value, `text in quotes`); err != nil {
		return err
	}
	if sc.limit.check != nil {
		if err := sc.limit.check(text); err != nil {
			return err
		}
	}
	if sc.limit.names != nil && !slices.Contains(sc.limit.names, text) {
		return errors.New(wantOneOf(text, sc.limit.names))
	}
	*p = text
	return nil
}

func wantOneOf(got string, names []string) string {
	if len(names) == 0 {
		return "there are none in this build"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	want := "want " + strings.Join(quoted, ", ")
	if len(quoted) > 1 {
		want = "want one of " + strings.Join(quoted, ", ")
	}
	if near := nearest(got, names); near != "" && len(names) > 1 {
		want += fmt.Sprintf("; did you mean %q?", near)
	}
	return want
}

func (sc *scalar) setInteger(p *int64, value any) error {
	n, ok := value.(int64)
	if !ok || float64(n) < sc.limit.low || float64(n) > sc.limit.high {
		return fmt.Errorf("want a whole number %s, without quotes", sc.limit)
	}
	*p = n
	return nil
}

func (sc *scalar) setFloat(p *float64, value any) error {
	var f float64
	switch n := value.(type) {
	case int64:
		f = float64(n)
	case float64:
		f = n
	default:
		f = math.NaN()
	}
	if !(f >= sc.limit.low && f <= sc.limit.high) { // not a number is out of every range
		return fmt.Errorf("want a number %s, without quotes", sc.limit)
	}
	*p = f + 0 // -0 becomes 0
	return nil
}

func (sc *scalar) setDuration(p *Duration, value any) error {
	text, isText := value.(string)
	d, err := time.ParseDuration(text)
	if !isText || err != nil {
		return errors.New(`want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`)
	}
	if s := d.Seconds(); s < sc.limit.low || s > sc.limit.high {
		return fmt.Errorf("want a duration from %s to %s", seconds(sc.limit.low), seconds(sc.limit.high))
	}
	*p = Duration(d)
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// String says the range of a number.
func (l limit) String() string {
	low := strconv.FormatFloat(l.low, 'f', -1, 64)
	if l.high >= math.MaxInt64 {
		return "of at least " + low
	}
	return "from " + low + " to " + strconv.FormatFloat(l.high, 'f', -1, 64)
}

func cloneOptions(options map[string]map[string]any) map[string]map[string]any {
	c := maps.Clone(options)
	for name := range c {
		c[name] = maps.Clone(c[name])
	}
	return c
}
