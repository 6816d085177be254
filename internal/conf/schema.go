package conf

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Schema is the settings of a type of struct, in the order of its fields. It is a
// value to read: several goroutines may use one at once, but for Restrict, Check and
// Elsewhere.
type Schema struct {
	typ       reflect.Type
	fields    []*Field
	elsewhere []elsewhere
}

// elsewhere is keys that the schema does not have, and the table that they stand in.
type elsewhere struct {
	table string
	keys  []string
}

// Field is one setting.
type Field struct {
	Table string // "load"; empty at the top level
	Name  string // "clients"

	Default, Min, Max, Zero, Unit, Kind, Example, Doc string // the tags

	names []string           // text: what it may be; nil: anything
	check func(string) error // text: a further check, or nil
	typ   reflect.Type
	index []int
	// optional: the field is a pointer to typ, and nil where nothing was set, so that zero is a
	// value like others.
	optional bool
}

// Key is the qualified key: "load.clients", or "seed" at the top level.
func (f *Field) Key() string { return Qualify(f.Table, f.Name) }

// Qualify puts a key behind its table, which may be empty.
func Qualify(table, name string) string {
	if table == "" {
		return name
	}
	return table + "." + name
}

// SchemaOf makes the schema of a struct's type; its value does not count. That of nil has
// no settings.
func SchemaOf(v any) *Schema {
	s := &Schema{typ: reflect.TypeOf(v)}
	if v != nil {
		s.add(s.typ, "", nil)
	}
	return s
}

func (s *Schema) add(t reflect.Type, table string, index []int) {
	for i := range t.NumField() {
		field := t.Field(i)
		at := append(slices.Clone(index), i)
		name, ok := field.Tag.Lookup("key")
		if !ok {
			name, _, _ = strings.Cut(cmp.Or(field.Tag.Get("json"), field.Tag.Get("toml")), ",")
		}
		switch {
		case field.Anonymous && field.Type.Kind() == reflect.Struct && name == "":
			s.add(field.Type, table, at)
		case name == "" || name == "-":
		case field.Type.Kind() == reflect.Struct:
			s.add(field.Type, Qualify(table, name), at)
		default:
			tag := field.Tag
			f := &Field{
				Table: table, Name: name, typ: field.Type, index: at,
				Default: tag.Get("default"), Min: tag.Get("min"), Max: tag.Get("max"),
				Zero: tag.Get("zero"), Unit: tag.Get("unit"), Kind: tag.Get("kind"), Example: tag.Get("example"), Doc: tag.Get("doc"),
			}
			if f.typ.Kind() == reflect.Pointer {
				f.typ, f.optional = f.typ.Elem(), true
			}
			if words := tag.Get("oneof"); words != "" {
				f.names = strings.Fields(words)
			}
			s.fields = append(s.fields, f)
		}
	}
}

// zero returns a pointer to a struct in which nothing is set.
func (s *Schema) zero() any { return reflect.New(s.typ).Interface() }

// Fields returns the settings, in the order of the struct.
func (s *Schema) Fields() []*Field { return s.fields }

// Find returns the setting with a qualified key, or nil.
func (s *Schema) Find(key string) *Field {
	for _, f := range s.fields {
		if f.Key() == key {
			return f
		}
	}
	return nil
}

// Keys returns the qualified keys.
func (s *Schema) Keys() []string {
	var keys []string
	for _, f := range s.fields {
		keys = append(keys, f.Key())
	}
	return keys
}

// Names returns the bare keys of one table; "" is the top level.
func (s *Schema) Names(table string) []string {
	var names []string
	for _, f := range s.fields {
		if f.Table == table {
			names = append(names, f.Name)
		}
	}
	return names
}

// Tables returns the tables, without the top level.
func (s *Schema) Tables() []string {
	var tables []string
	for _, f := range s.fields {
		if f.Table != "" && !slices.Contains(tables, f.Table) {
			tables = append(tables, f.Table)
		}
	}
	return tables
}

// Restrict admits only these words for a setting of text; none at all, if names is
// empty.
func (s *Schema) Restrict(key string, names []string) {
	s.Find(key).names = append([]string{}, names...)
}

// Check adds a check for a setting of text. Its error says only what is wanted.
func (s *Schema) Check(key string, check func(string) error) { s.Find(key).check = check }

// Elsewhere tells of keys that the schema does not have, and of the table that they
// stand in, for messages about keys in a wrong place.
func (s *Schema) Elsewhere(table string, keys []string) {
	s.elsewhere = append(s.elsewhere, elsewhere{table, keys})
}

// Without returns the schema without some settings. The two share the others.
func (s *Schema) Without(keys ...string) *Schema {
	less := *s
	less.fields = slices.DeleteFunc(slices.Clone(s.fields), func(f *Field) bool { return slices.Contains(keys, f.Key()) })
	return &less
}

// Setting is a value that a document, or something laid over it, gives a key.
type Setting struct {
	Key  string // qualified
	Data any    // as Value.Data
	At   Origin
}

// Settings takes the settings of a table out of a document and notes in m what the
// schema does not know. The table "" is the whole document, with its other tables. What
// stands under a key of others is left to its func.
func (s *Schema) Settings(name string, table Table, m *Mistakes, others map[string]func(Entry)) []Setting {
	var found []Setting
	for _, e := range table {
		key := Qualify(name, e.Key)
		other, isOther := others[e.Key]
		_, isTable := e.Data.(Table)
		switch {
		case isOther:
			other(e)
		case slices.Contains(s.Names(name), e.Key):
			found = append(found, Setting{key, e.Data, Origin{m.File, e.Line}})
		case slices.Contains(s.Tables(), key):
			if below, ok := m.WantTable(e, key); ok {
				found = append(found, s.Settings(key, below, m, nil)...)
			}
		case name == "" && isTable:
			m.Add(e.Line, key, "unknown table [%s]; %s", Abridge(e.Key), m.Hint(e.Key, s.tables(others)))
		default:
			where := "at the top level"
			if name != "" {
				where = "in [" + name + "]"
			}
			m.Add(e.Line, key, "unknown key %q %s; %s", Abridge(e.Key), where, s.misplaced(name, e.Key, others, m))
		}
	}
	return found
}

// tables returns the tables of a document in which others have some.
func (s *Schema) tables(others map[string]func(Entry)) []string {
	tables := s.Tables()
	more := slices.Sorted(maps.Keys(others))
	return append(tables, slices.DeleteFunc(more, func(name string) bool { return slices.Contains(tables, name) })...)
}

// misplaced ends a message about a key that its table does not have. In YAML a table is
// a key like others.
func (s *Schema) misplaced(table, name string, others map[string]func(Entry), m *Mistakes) string {
	if slices.Contains(s.Names(""), name) {
		return "it belongs at the top of the file, above the first table"
	}
	same := func(known string) bool { return fold(known) == fold(name) }
	known, more := s.Names(table), slices.Sorted(maps.Keys(others))
	var places []elsewhere
	for _, t := range s.Tables() {
		places = append(places, elsewhere{t, s.Names(t)})
	}
	for _, p := range append(places, s.elsewhere...) {
		if slices.ContainsFunc(p.keys, same) && !slices.ContainsFunc(known, same) {
			return fmt.Sprintf("it belongs in [%s]", p.table)
		}
	}
	if table != "" || IsYAML(m.File) {
		known, more = append(known, more...), nil
	}
	for _, p := range s.elsewhere {
		more = append(more, p.keys...)
	}
	return m.Hint(name, known, more...)
}

// WantTable returns the table that an entry should be, or notes that it is none.
func (m *Mistakes) WantTable(e Entry, name string) (Table, bool) {
	table, ok := e.Data.(Table)
	if ok {
		return table, true
	}
	if IsYAML(m.File) {
		m.Add(e.Line, name, "%s = %s: want keys with values below it", name, Show(e.Data))
	} else if _, isList := listOfTables(e.Data); isList {
		m.Add(e.Line, name, "%s is a list of tables: write [%s] once, in single brackets", name, name)
	} else {
		m.Add(e.Line, name, "%s = %s: want a table: write [%s] on a line of its own", name, Show(e.Data), name)
	}
	return nil, false
}

// Apply gives the settings to the struct that target points to, and notes what it
// does not take.
func (s *Schema) Apply(target any, settings []Setting, m *Mistakes) {
	for _, set := range settings {
		if err := s.Find(set.Key).Set(target, set.Data); err != nil {
			m.AddAt(set.At, set.Key, "%s = %s: %v", set.Key, Show(set.Data), err)
		}
	}
}

// Defaults sets every field of the struct that target points to to its default.
func (s *Schema) Defaults(target any) error {
	for _, f := range s.fields {
		if f.Default == "" {
			continue
		}
		if err := f.SetText(target, f.Default); err != nil {
			return fmt.Errorf("default of %s = %s: %w", f.Key(), f.Default, err)
		}
	}
	return nil
}
