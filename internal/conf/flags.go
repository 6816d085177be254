package conf

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Flags makes a flag of every setting of the top level, with the fields of the struct
// that target points to as defaults. What the tag kind does not name otherwise, help
// calls after what the setting takes; words to choose from are listed behind the doc.
func (s *Schema) Flags(target any) *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	for _, f := range s.fields {
		if f.Table != "" || f.Doc == "" {
			continue
		}
		usage := f.Doc
		if len(f.names) > 0 {
			usage += ": " + strings.Join(f.names, ", ")
		}
		flag := flags.VarPF(&flagValue{f, target}, f.Name, "", usage)
		if f.form() == formBool {
			flag.NoOptDefVal = "true"
		}
	}
	return flags
}

// flagValue is a setting as the value of a flag.
type flagValue struct {
	field  *Field
	target any
}

// String implements pflag.Value.
func (v *flagValue) String() string { return v.field.shown(v.target) }

// Type implements pflag.Value.
func (v *flagValue) Type() string {
	if v.field.Kind != "" {
		return v.field.Kind
	}
	if v.field.form() == formCustom {
		return v.field.place(v.target).Addr().Interface().(pflag.Value).Type()
	}
	return map[form]string{formText: "string", formBool: "bool", formWhole: "number", formNumber: "number", formDuration: "duration"}[v.field.form()]
}

// Set implements pflag.Value. On a command line nothing stands in quotes.
func (v *flagValue) Set(text string) error {
	if b, err := strconv.ParseBool(text); err == nil && v.field.form() == formBool {
		text = strconv.FormatBool(b)
	}
	if err := v.field.SetText(v.target, text); err != nil {
		return errors.New(strings.NewReplacer(", without quotes", "", " in quotes", "").Replace(err.Error()))
	}
	return nil
}

// custom is what a field with a syntax of its own implements. Setting it again adds to it.
var custom = reflect.TypeFor[pflag.Value]()

// setCustom gives a value with a syntax of its own one text or several.
func (f *Field) setCustom(place reflect.Value, data any) error {
	value, _ := place.Addr().Interface().(pflag.Value)
	if text, ok := data.(string); ok {
		return value.Set(text)
	}
	list, _ := data.([]Value)
	for _, item := range list {
		text, ok := item.Data.(string)
		if !ok {
			list = nil
			break
		}
		if err := value.Set(text); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("want a list such as [%q]", f.Example)
	}
	return nil
}
