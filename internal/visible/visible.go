// Package visible writes text that somebody else gave so that it does nothing but stand
// there: what would move a cursor, colour a terminal, turn the direction of writing, hide
// or break a line becomes a visible escape such as \x1b or \u202e. It knows no markup;
// that is for whoever writes HTML, Markdown, LaTeX or CSV.
package visible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text writes text for one line.
func Text(text string) string { return escape(text, "") }

// Lines writes text of several lines, which may be indented.
func Lines(text string) string { return escape(text, "\n\t") }

func escape(text, keep string) string {
	shown := func(r rune) bool {
		return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || strings.ContainsRune(keep, r) // spaces of any width
	}
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !shown(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case shown(r):
			b.WriteString(text[:size])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		text = text[size:]
	}
	return b.String()
}
