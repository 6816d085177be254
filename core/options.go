package core

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core/size"
)

// Options are the settings that an experiment or node file gives one plug-in,
// as its format decoded them: [options.mdb] map_size = "1GiB".
type Options map[string]any

// OptionReader takes typed values out of [Options]. A wrong type or value, and
// at the end a key that nobody asked for, is collected and told by Err, so that
// a plug-in reads all its options first and checks once.
type OptionReader struct {
	owner   string
	options Options
	asked   []string
	errs    []error
}

// Read begins reading the options of the plug-in called owner; the name appears
// in errors.
func (o Options) Read(owner string) *OptionReader {
	return &OptionReader{owner: owner, options: o}
}

// option returns the option key as convert makes it, or fallback where it is not set or
// is not what is wanted.
func option[T any](r *OptionReader, key string, fallback T, want string, convert func(any) (T, bool)) T {
	r.asked = append(r.asked, key)
	v, set := r.options[key]
	if !set {
		return fallback
	}
	value, ok := convert(v)
	if !ok {
		r.errs = append(r.errs, fmt.Errorf("%w: options.%s.%s = %#v: want %s", ErrInvalid, r.owner, key, v, want))
		return fallback
	}
	return value
}

// Bool returns the boolean option key, or fallback where it is not set.
func (r *OptionReader) Bool(key string, fallback bool) bool {
	return option(r, key, fallback, "true or false", func(v any) (b, ok bool) { b, ok = v.(bool); return b, ok })
}

// Int returns the integer option key, or fallback where it is not set.
func (r *OptionReader) Int(key string, fallback int) int {
	return option(r, key, fallback, "a whole number", func(v any) (int, bool) { n, ok := integer(v); return int(n), ok })
}

// Bytes returns the size option key in bytes, or fallback where it is not set.
// A size is a whole number of bytes or text as [size.Parse] takes it.
func (r *OptionReader) Bytes(key string, fallback uint64) uint64 {
	return option(r, key, fallback, `a size such as "64MiB"`, func(v any) (uint64, bool) {
		if text, ok := v.(string); ok {
			n, err := size.Parse(text)
			return n, err == nil
		}
		n, ok := integer(v)
		return uint64(n), ok && n >= 0
	})
}

// Duration returns the duration option key, or fallback where it is not set.
func (r *OptionReader) Duration(key string, fallback time.Duration) time.Duration {
	return option(r, key, fallback, `a duration such as "150ms"`, func(v any) (time.Duration, bool) {
		text, _ := v.(string)
		d, err := time.ParseDuration(text)
		return d, err == nil && d >= 0
	})
}

// String returns the text option key, or fallback where it is not set.
func (r *OptionReader) String(key, fallback string) string {
	return option(r, key, fallback, "text in quotes", func(v any) (text string, ok bool) { text, ok = v.(string); return text, ok })
}

// Err returns all that was wrong, as an [ErrInvalid], or nil.
func (r *OptionReader) Err() error {
	var unknown []string
	for key := range r.options {
		if !slices.Contains(r.asked, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	errs := slices.Clone(r.errs)
	for _, key := range unknown {
		known := "it has none"
		if len(r.asked) > 0 {
			known = "it has " + strings.Join(r.asked, ", ")
		}
		errs = append(errs, fmt.Errorf("%w: %s has no option %q; %s", ErrInvalid, r.owner, key, known))
	}
	return errors.Join(errs...)
}

// integer accepts what TOML (int64) and JSON (float64) make of a whole number.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), true
		}
	}
	return 0, false
}
