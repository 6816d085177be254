package doc

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A word of at least so many characters, such as a path or a hash, may be broken at its
// signs, and anywhere after so many letters: TeX knows only words of a language.
const longWord, longPart = 24, 16

// TeXText writes text so that LaTeX prints it as it is, on one line: no character of it
// is a command, ends a group or begins a comment. Both pdfTeX with the encoding T2A and
// LuaTeX print all that is written; a character that they may not have is written by its
// number, U+001B, so that nothing is lost unseen.
func TeXText(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n\v\f", r) })
	var b strings.Builder
	for i, word := range words {
		switch {
		case i == 0:
		case word == "—": // never begins a line
			b.WriteString("~")
		default:
			b.WriteString(" ")
		}
		texWord(&b, word)
	}
	return b.String()
}

func texWord(b *strings.Builder, word string) {
	long := utf8.RuneCountInString(word) >= longWord
	var before rune
	part := 0
	for _, r := range word {
		if r == before && strings.ContainsRune("-,'", r) {
			b.WriteString("{}") // two of them would be one other character
		}
		before = r
		written, special := texSpecial(r)
		switch {
		case special:
			b.WriteString(written)
		case r > ' ' && r <= '~', inCyrillic(r), strings.ContainsRune(accented, r) && r != utf8.RuneError:
			b.WriteRune(r)
		default:
			fmt.Fprintf(b, "U+%04X", r)
		}
		if part++; long && (part == longPart || strings.ContainsRune("/-_=.,@", r)) {
			b.WriteString(`\allowbreak{}`)
			part = 0
		}
	}
}

// accented are the letters with marks that T2A can put together.
const accented = "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿ"

// inCyrillic reports whether T2A has the letter.
func inCyrillic(r rune) bool {
	return r >= 'А' && r <= 'я' || strings.ContainsRune("ЁёЄєІіЇїҐґЎў", r)
}

// texSpecial is what stands in LaTeX for a character that means something there or that
// some fonts lack.
func texSpecial(r rune) (written string, special bool) {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return "", false
	}
	switch r {
	case '\\':
		return `\textbackslash{}`, true
	case '{', '}', '$', '&', '#', '%', '_':
		return `\` + string(r), true
	case '~':
		return `\textasciitilde{}`, true
	case '^':
		return `\textasciicircum{}`, true
	case '<':
		return `\textless{}`, true
	case '>':
		return `\textgreater{}`, true
	case '|':
		return `\textbar{}`, true
	case '"': // active in some languages
		return `\textquotedbl{}`, true
	case '`':
		return `\textasciigrave{}`, true
	case '[', ']', '*': // would be an argument after the end of a table's row
		return "{" + string(r) + "}", true
	case '\u00a0', '\u202f':
		return "~", true
	}
	written, special = texSigns()[r]
	return written, special
}

func texSigns() map[rune]string {
	return map[rune]string{
		'—': `\textemdash{}`, '–': `\textendash{}`, '…': `\ldots{}`, '“': `\textquotedblleft{}`, '”': `\textquotedblright{}`,
		'‘': `\textquoteleft{}`, '’': `\textquoteright{}`, '«': `\guillemotleft{}`, '»': `\guillemotright{}`, '„': `\quotedblbase{}`,
		'†': `\textdagger{}`, '‡': `\textdaggerdbl{}`, '§': `\S{}`, '°': `\textdegree{}`, '№': `\textnumero{}`, 'µ': `\textmu{}`, 'μ': `\textmu{}`,
		'×': `\ensuremath{\times}`, '±': `\ensuremath{\pm}`, '·': `\ensuremath{\cdot}`, '−': `\ensuremath{-}`, '≈': `\ensuremath{\approx}`,
		'≤': `\ensuremath{\leq}`, '≥': `\ensuremath{\geq}`, '≠': `\ensuremath{\neq}`, '→': `\ensuremath{\rightarrow}`, '←': `\ensuremath{\leftarrow}`,
		'∞': `\ensuremath{\infty}`, '²': `\ensuremath{^2}`, '³': `\ensuremath{^3}`,
	}
}
