package conf

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Mistake is one mistake in a document or in what is laid over it, with the way to
// mend it.
type Mistake struct {
	File    string // as given to Parse, or what was laid over the document: a flag, an override
	Line    int    // from 1; 0 where it is of no file
	Key     string // qualified, e.g. "load.clients"; empty where no key is at fault
	Msg     string
	Invalid error // the [Kind]'s
}

// Error implements error.
func (e *Mistake) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Is reports that a Mistake is what its kind of document calls invalid.
func (e *Mistake) Is(target error) bool { return e.Invalid != nil && target == e.Invalid }

// Origin is where a value was written.
type Origin struct {
	File string
	Line int // from 1; 0 where it is of no file
}

// Mistakes gathers what is wrong with one document.
type Mistakes struct {
	File    string
	Invalid error
	Help    string // see [Kind]
	list    []*Mistake
}

// Add notes a mistake on a line of the document.
func (m *Mistakes) Add(line int, key, format string, args ...any) {
	m.AddAt(Origin{m.File, line}, key, format, args...)
}

// AddAt notes a mistake anywhere.
func (m *Mistakes) AddAt(at Origin, key, format string, args ...any) {
	m.list = append(m.list, &Mistake{at.File, at.Line, key, fmt.Sprintf(format, args...), m.Invalid})
}

// Err joins the mistakes in the order of their lines, those of no file last. It is
// nil if there are none.
func (m *Mistakes) Err() error {
	rank := func(e *Mistake) int {
		if e.Line == 0 {
			return math.MaxInt
		}
		return e.Line
	}
	slices.SortStableFunc(m.list, func(a, b *Mistake) int { return cmp.Compare(rank(a), rank(b)) })
	joined := make([]error, len(m.list))
	for i, e := range m.list {
		joined[i] = e
	}
	return errors.Join(joined...)
}

// mostListed is up to how many names are listed in a message about another.
const mostListed = 12

// Hint is [Hint] for a document: where more is known than can be listed, it says which
// names have a part in common, and the command that lists all.
func (m *Mistakes) Hint(got string, known []string, aliases ...string) string {
	if m.Help == "" || len(known) <= mostListed || Nearest(got, slices.Concat(known, aliases)) != "" {
		return Hint(got, known, aliases...)
	}
	if like := alike(got, known); len(like) > 0 {
		return fmt.Sprintf("did you mean %s? See '%s'", strings.Join(like, " or "), m.Help)
	}
	return fmt.Sprintf("see '%s'", m.Help)
}

// alike returns the few known names, in quotes, whose last part is that of got, or else
// has it within, the shortest first.
func alike(got string, known []string) (names []string) {
	const most, leastLetters = 3, 4
	part := fold(lastPart(got))
	same := func(name string) bool { return fold(lastPart(name)) == part }
	within := func(name string) bool {
		return len(part) >= leastLetters && strings.Contains(fold(lastPart(name)), part)
	}
	for _, is := range []func(string) bool{same, within} {
		for _, name := range known {
			if is(name) {
				names = append(names, fmt.Sprintf("%q", name))
			}
		}
		if len(names) > 0 {
			break
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return names[:min(most, len(names))]
}

// Hint ends a message about an unknown name: the nearest known one, or all. Aliases
// are suggested but not listed.
func Hint(got string, known []string, aliases ...string) string {
	if near := Nearest(got, slices.Concat(known, aliases)); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 {
		return "it takes none"
	}
	return "known are " + strings.Join(known, ", ")
}

// Nearest returns the known name that got is most likely a slip of, or "": at most a
// third of the letters after the last dot, rounded up, may differ.
func Nearest(got string, known []string) string {
	best, least := "", len(got)
	for _, name := range known {
		limit := (max(len(lastPart(got)), len(lastPart(name))) + 2) / 3
		if d := editDistance(fold(got), fold(name)); d <= limit && d < least {
			best, least = name, d
		}
	}
	return best
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// fold takes names for one that differ only in what people mix up.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// editDistance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours, each counted once (Damerau 1964, in the
// restricted form that edits no letter twice).
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
