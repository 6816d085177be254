package conf

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core/size"
)

// Duration is a time.Duration that reads and writes as text ("1.5s").
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// String implements fmt.Stringer.
func (d Duration) String() string { return time.Duration(d).String() }

// Bounds of a setting whose tags give none.
const (
	maxDuration = 24 * time.Hour
	maxInt      = math.MaxInt32
	maxUint64   = math.MaxInt64
)

// form is how a setting is written.
type form int

const (
	formText form = iota
	formBool
	formWhole
	formNumber
	formDuration
	formCustom
)

func (f *Field) form() form {
	if f.typ == reflect.TypeFor[time.Duration]() || f.typ == reflect.TypeFor[Duration]() {
		return formDuration
	}
	if reflect.PointerTo(f.typ).Implements(custom) {
		return formCustom
	}
	switch f.typ.Kind() {
	case reflect.Bool:
		return formBool
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return formWhole
	case reflect.Float64:
		return formNumber
	default:
		return formText
	}
}

// place is the field within the struct that target points to; of an optional one its value,
// and no valid one where nothing was set.
func (f *Field) place(target any) reflect.Value {
	place := reflect.ValueOf(target).Elem().FieldByIndex(f.index)
	if f.optional {
		return place.Elem()
	}
	return place
}

// Set gives the setting a value of a document. Where its tags do not bound it, whole
// numbers go from 0 to 2³¹-1 (of 64 bits: 2⁶³-1), other numbers from 0 on, and durations
// from 0 to 24 h. The error says only what is wanted.
func (f *Field) Set(target, data any) error {
	if foreign, ok := data.(Foreign); ok && foreign.Mend != "" && f.form() == formText {
		return errors.New(foreign.Mend)
	}
	if !f.optional {
		return f.set(f.place(target), data)
	}
	value := reflect.New(f.typ) // what was set before may be shared
	err := f.set(value.Elem(), data)
	if err == nil {
		reflect.ValueOf(target).Elem().FieldByIndex(f.index).Set(value)
	}
	return err
}

// set is Set of one place.
func (f *Field) set(place reflect.Value, data any) error {
	switch f.form() {
	case formBool:
		if b, ok := data.(bool); ok {
			place.SetBool(b)
			return nil
		}
	case formWhole:
		if n, ok := f.whole(data); ok && f.within(float64(n)) {
			if place.CanInt() {
				place.SetInt(n)
			} else {
				place.SetUint(uint64(n))
			}
			return nil
		}
	case formNumber:
		if x, ok := f.number(data); ok && f.within(x) {
			place.SetFloat(x + 0) // -0 becomes 0
			return nil
		}
	case formDuration:
		text, _ := data.(string)
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New(`want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`)
		}
		if !f.within(float64(d)) {
			return errors.New("want " + f.Wants())
		}
		place.SetInt(int64(d))
		return nil
	case formCustom:
		return f.setCustom(place, data)
	default:
		return f.setText(place, data)
	}
	if f.Unit == Bytes || f.Unit == Share {
		return errors.New("want " + f.Wants())
	}
	return errors.New("want " + f.Wants() + ", without quotes")
}

// Units that a setting also takes as text.
const (
	Bytes = "bytes" // "64KiB"
	Share = "share" // "95%"
)

// whole reads a whole number; one of bytes may be text with a unit.
func (f *Field) whole(data any) (int64, bool) {
	if text, ok := data.(string); ok && f.Unit == Bytes {
		n, err := size.Parse(text)
		return int64(n), err == nil
	}
	n, ok := data.(int64)
	return n, ok
}

// number reads a number; a share may be text in per cent.
func (f *Field) number(data any) (float64, bool) {
	switch v := data.(type) {
	case string:
		percent, ok := strings.CutSuffix(v, "%")
		x, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		return x / 100, ok && err == nil && f.Unit == Share
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func (f *Field) setText(place reflect.Value, data any) error {
	text, ok := data.(string)
	if !ok {
		return errors.New("want text in quotes")
	}
	if f.check != nil {
		if err := f.check(text); err != nil {
			return err
		}
	}
	if f.names != nil && !slices.Contains(f.names, text) {
		want := "want " + f.Wants()
		if near := Nearest(text, f.names); near != "" && len(f.names) > 1 {
			want += fmt.Sprintf("; did you mean %q?", near)
		}
		return errors.New(want)
	}
	if place.Kind() != reflect.String {
		return fmt.Errorf("no setting can be of type %s", place.Type())
	}
	place.SetString(text)
	return nil
}

// within reports whether a value is within the bounds. What is no number is within none,
// and nothing is within those.
func (f *Field) within(x float64) bool {
	low, high := f.bounds()
	return x >= low && x <= high
}

// bounds returns what the value must be within; durations in nanoseconds.
func (f *Field) bounds() (low, high float64) {
	high = maxInt
	switch {
	case f.form() == formDuration:
		high = float64(maxDuration)
	case f.typ.Kind() == reflect.Uint64, f.typ.Kind() == reflect.Int64, f.form() == formNumber:
		high = maxUint64
	}
	return f.bound(f.Min, 0), f.bound(f.Max, high)
}

// bound reads a tag. One that cannot be read admits nothing.
func (f *Field) bound(text string, otherwise float64) float64 {
	if text == "" {
		return otherwise
	}
	if f.form() == formDuration {
		if d, err := time.ParseDuration(text); err == nil {
			return float64(d)
		}
		return math.NaN()
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return x
	}
	return math.NaN()
}

// Wants says what the setting takes.
func (f *Field) Wants() string {
	low, high := f.bounds()
	within := "from " + plainFloat(low) + " to " + plainFloat(high)
	if high >= maxUint64 {
		within = "of at least " + plainFloat(low)
	}
	switch f.form() {
	case formBool:
		return "true or false"
	case formWhole:
		if f.Unit == Bytes {
			example := uint64(min(max(low, 4<<10), high))
			return fmt.Sprintf("a size from %s to %s, such as %d or %q", size.Format(uint64(low)), size.Format(uint64(high)), example, size.Format(example))
		}
		return "a whole number " + within
	case formNumber:
		if f.Unit == Share {
			return "a share " + within + `, such as 0.95 or "95%"`
		}
		return "a number " + within
	case formDuration:
		return fmt.Sprintf("a duration from %s to %s", short(time.Duration(low)), short(time.Duration(high)))
	}
	switch {
	case f.names == nil:
		return "text"
	case len(f.names) == 0:
		return "nothing: there are none in this build"
	case len(f.names) == 1:
		return strconv.Quote(f.names[0])
	}
	quoted := make([]string, len(f.names))
	for i, name := range f.names {
		quoted[i] = strconv.Quote(name)
	}
	return "one of " + strings.Join(quoted, ", ")
}

// SetText is Set of a value as text wrote it.
func (f *Field) SetText(target any, text string) error {
	if form := f.form(); form == formText || form == formDuration || form == formCustom {
		return f.Set(target, text)
	}
	return f.Set(target, Literal(text))
}

// Text returns the value in its normal form: SetText takes it back, and equal values
// have equal texts. That of an optional one that is not set is empty.
func (f *Field) Text(target any) string {
	place := f.place(target)
	switch form := f.form(); {
	case !place.IsValid():
		return ""
	case form == formNumber:
		return plainFloat(place.Float())
	case form == formCustom:
		return fmt.Sprint(place.Addr().Interface())
	}
	return fmt.Sprint(place.Interface())
}

// shown is Text for people.
func (f *Field) shown(target any) string {
	if place := f.place(target); f.form() == formDuration && place.IsValid() {
		return short(time.Duration(place.Int()))
	}
	return f.Text(target)
}

// New returns a pointer to a new struct of v's type, a copy of v.
func New(v any) any {
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}

// Map returns the settings of v, a struct without tables, that are not zero, by their
// keys, as a document would give them: a duration is text.
func Map(v any) map[string]any {
	m := map[string]any{}
	if v == nil {
		return m
	}
	target := New(v)
	for _, f := range SchemaOf(v).fields {
		switch place := f.place(target); {
		case !place.IsValid(), !f.optional && place.IsZero():
		case place.CanUint():
			m[f.Name] = int64(place.Uint())
		case f.form() == formWhole:
			m[f.Name] = place.Int()
		case f.form() == formBool, f.form() == formNumber:
			m[f.Name] = place.Interface()
		default:
			m[f.Name] = f.Text(target)
		}
	}
	return m
}

// FromMap sets fields of the struct that target points to by a map such as Map
// returns, also after it has been through JSON. An error names each key behind owner:
// the table, or what else the settings are of. Unknown keys that are meant to be one of
// elsewhere are told so.
func FromMap(target any, m map[string]any, owner string, elsewhere ...string) error {
	s := SchemaOf(reflect.ValueOf(target).Elem().Interface())
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(m)) {
		f := s.Find(key)
		if f == nil {
			errs = append(errs, fmt.Errorf("%s has no key %q; %s", owner, key, Hint(key, s.Keys(), elsewhere...)))
			continue
		}
		value, err := Option(m[key])
		if err != nil {
			value = m[key] // Set knows better what is wanted
		}
		if err := f.Set(target, value); err != nil {
			errs = append(errs, fmt.Errorf("%s.%s = %s: %w", owner, key, Show(m[key]), err))
		}
	}
	return errors.Join(errs...)
}

// short writes a duration without zeros at its end.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func plainFloat(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
