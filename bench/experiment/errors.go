package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// ErrInvalid is what every complaint about the content of an experiment is,
// under [errors.Is]. A file that cannot be read is not one.
var ErrInvalid = errors.New("invalid experiment")

// Error is one mistake in an experiment file or override, with the way to mend
// it. [Parse] joins all that it found, sorted by line.
type Error struct {
	File string // as given to Parse; for an override: override KEY=VALUE
	Line int    // from 1; 0 for an override
	Key  string // qualified, e.g. "load.clients"; empty where no key is at fault
	Msg  string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Is reports that an Error is an ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// origin is where a value was written.
type origin struct {
	file string
	line int
}

// complaints gathers the mistakes of one Parse.
type complaints struct {
	errs []*Error
}

func (c *complaints) add(at origin, key, format string, args ...any) {
	c.errs = append(c.errs, &Error{File: at.file, Line: at.line, Key: key, Msg: fmt.Sprintf(format, args...)})
}

// join returns the mistakes in the order of their lines, overrides last, or nil.
func (c *complaints) join() error {
	rank := func(e *Error) int {
		if e.Line == 0 {
			return math.MaxInt
		}
		return e.Line
	}
	slices.SortStableFunc(c.errs, func(a, b *Error) int { return cmp.Compare(rank(a), rank(b)) })
	joined := make([]error, len(c.errs))
	for i, e := range c.errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}

// hint ends a message about an unknown name: the nearest known one, or all.
// Aliases are suggested but not listed.
func hint(got string, known []string, aliases ...string) string {
	if near := nearest(got, slices.Concat(known, aliases)); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 {
		return "it takes none"
	}
	return "known are " + strings.Join(known, ", ")
}

// nearest returns the known name that got is most likely a slip of, or "": at
// most a third of the letters after the last dot, rounded up, may differ.
func nearest(got string, known []string) string {
	best, least := "", math.MaxInt
	for _, name := range known {
		limit := (max(len(lastPart(got)), len(lastPart(name))) + 2) / 3
		if d := editDistance(fold(got), fold(name)); d <= limit && d < least {
			best, least = name, d
		}
	}
	return best
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// editDistance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours, each counted once (Damerau 1964, in
// the restricted form that edits no letter twice).
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range t {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(s)][len(t)]
}
