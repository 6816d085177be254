package doc

import (
	"reflect"

	"github.com/themilchenko/raftlab/internal/visible"
)

// clean returns a document, table or figure in which every text only stands there: titles,
// commands, levels and errors come from files that anybody may have written. Each renderer
// begins with it, and escapes its own markup then.
func clean[T any](of T) T {
	v := reflect.New(reflect.TypeFor[T]()).Elem()
	v.Set(reflect.ValueOf(of))
	return cleaned(v).Interface().(T)
}

func cleaned(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		if text := v.String(); visible.Text(text) != text {
			v = reflect.New(v.Type()).Elem()
			v.SetString(visible.Text(text))
		}
	case reflect.Slice, reflect.Array:
		if !textual(v.Type().Elem().Kind()) {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		if v.Kind() == reflect.Slice && !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			out.Index(i).Set(cleaned(v.Index(i)))
		}
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(cleaned(v.Field(i)))
			}
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMap(v.Type())
		for key, value := range v.Seq2() {
			out.SetMapIndex(cleaned(key), cleaned(value))
		}
		return out
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		below := cleaned(v.Elem())
		if v.Kind() == reflect.Pointer {
			below = addressed(below)
		}
		out.Set(below)
		return out
	}
	return v
}

func addressed(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// textual reports whether values of the kind may hold text.
func textual(k reflect.Kind) bool {
	switch k {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Struct, reflect.Map, reflect.Pointer, reflect.Interface:
		return true
	}
	return false
}
