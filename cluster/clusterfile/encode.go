package clusterfile

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/goccy/go-yaml"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Encode returns the file's text in the format that the extension of path asks
// for. Parse gives the same File back, but for Path; a File that it would
// refuse is an [ErrInvalid].
func (f *File) Encode(path string) (text []byte, err error) {
	if err := checkExtension(path); err != nil {
		return nil, err
	}
	errs := []error{sayable("kvnode", f.Kvnode)}
	for _, n := range f.Nodes {
		errs = append(errs, sayable(n.Alias+".kvnode", n.Kvnode))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if conf.IsYAML(path) {
		text, err = yaml.MarshalWithOptions(f, yaml.CustomMarshaler[string](yamlString), yaml.CustomMarshaler[float64](yamlNumber))
	} else {
		text, err = toml.Marshal(f)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := Parse(path, text); err != nil {
		return nil, err
	}
	return text, nil
}

// sayable reports a setting that does not come back from a file as it is.
func sayable(key string, v any) (err error) {
	switch v := v.(type) {
	case bool, int64:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: %s: %v is not finite", ErrInvalid, key, v)
		}
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("%w: %s: %q is not UTF-8", ErrInvalid, key, v)
		}
	case []any:
		for _, item := range v {
			err = errors.Join(err, sayable(key, item))
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			err = errors.Join(err, sayable(key, k), sayable(conf.Qualify(key, k), v[k]))
		}
	default:
		return fmt.Errorf("%w: %s: of type %T: bool, int64, float64, string, []any and map[string]any are possible", ErrInvalid, key, v)
	}
	return err
}

var (
	// yamlBare is what means itself without quotes, unless it is a yamlWord.
	yamlBare = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)
	// yamlWord is what some version of YAML takes for a boolean or nothing.
	yamlWord = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null)$`)
)

// yamlString writes a string in place of the library's encoder, which leaves some bare
// that its parser then takes for something else.
func yamlString(s string) ([]byte, error) {
	if yamlBare.MatchString(s) && !yamlWord.MatchString(s) {
		return []byte(s), nil
	}
	return []byte(conf.Quote(s)), nil
}

// yamlNumber writes a float so that it comes back as one, and without an exponent,
// which the library's parser takes for text.
func yamlNumber(f float64) ([]byte, error) {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}
