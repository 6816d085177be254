package clusterfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrInvalid is what every complaint about the content of a cluster file is,
// under [errors.Is]. A file that cannot be read is not one.
var ErrInvalid = errors.New("invalid cluster file")

// Error is one mistake in a cluster file, with the way to mend it. [Parse] joins
// all that it found, sorted by line.
type Error struct {
	File string // as given to Parse
	Line int    // from 1
	Key  string // qualified, such as cluster.alias; empty where no key is at fault
	Msg  string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Key, e.Msg)
}

// Is reports that an Error is an ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// complaints gathers the mistakes of one file.
type complaints struct {
	file string
	errs []*Error
}

func (c *complaints) add(line int, key, format string, args ...any) {
	c.errs = append(c.errs, &Error{File: c.file, Line: line, Key: key, Msg: fmt.Sprintf(format, args...)})
}

// join returns the mistakes in the order of their lines, or nil.
func (c *complaints) join() error {
	slices.SortStableFunc(c.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	joined := make([]error, len(c.errs))
	for i, e := range c.errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}

// hint ends a message about an unknown name: the nearest known one, or all.
func hint(got string, known []string) string {
	best, least := "", len(got)
	for _, name := range known {
		limit := (max(len(got), len(name)) + 2) / 3
		if d := editDistance(strings.ToLower(got), name); d <= limit && d < least {
			best, least = name, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known are " + strings.Join(known, ", ")
}

// editDistance counts the letters to insert, delete or change (Levenshtein).
func editDistance(a, b string) int {
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above[j+1]+1, row[j]+1)
		}
		above = row
	}
	return above[len(b)]
}
