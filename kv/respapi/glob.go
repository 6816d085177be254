package respapi

import "strings"

// pattern is one of SCAN and KEYS: * is any bytes, ? is one byte, [a-c] and [^a-c] are one
// of those or none of them, and \ takes what follows as it is.
type pattern struct {
	prefix string // what every key begins with that matches
	rest   string // the pattern after it
}

func newPattern(arg []byte) pattern {
	text := string(arg)
	plain := strings.IndexAny(text, `*?[\`)
	if plain < 0 {
		plain = len(text)
	}
	return pattern{text[:plain], text[plain:]}
}

// exact reports whether only the prefix itself matches.
func (p pattern) exact() bool { return p.rest == "" }

// matches reports whether a key that has the prefix matches.
func (p pattern) matches(key string) bool { return p.rest == "*" || glob(p.rest, key[len(p.prefix):]) }

// glob reports whether the whole text matches. It takes at most as many steps as pattern
// and text have bytes, multiplied: only the last * has to be tried again, because what
// stands before it has matched as early as it can.
func glob(pattern, text string) bool {
	star, from := -1, 0 // the pattern after the last *, and what of the text that * ends before
	p, t := 0, 0
	for t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, from = p, t
			continue
		}
		if size, ok := globByte(pattern[p:], text[t]); ok {
			p, t = p+size, t+1
			continue
		}
		if star < 0 {
			return false
		}
		from++
		p, t = star, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// globByte matches one byte with what the pattern begins with, and tells its size.
func globByte(pattern string, b byte) (size int, ok bool) {
	switch {
	case pattern == "":
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		return globSet(pattern, b)
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == b
	}
	return 1, pattern[0] == b
}

// globSet matches one byte with a set. As in Redis, one that does not end goes to the end.
func globSet(pattern string, b byte) (size int, ok bool) {
	p := 1
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	for ; p < len(pattern) && pattern[p] != ']'; p++ {
		if pattern[p] == '\\' && p+1 < len(pattern) {
			p++
			ok = ok || pattern[p] == b
			continue
		}
		low, high := pattern[p], pattern[p]
		if p+2 < len(pattern) && pattern[p+1] == '-' {
			high = pattern[p+2]
			p += 2
		}
		ok = ok || min(low, high) <= b && b <= max(low, high)
	}
	return min(p+1, len(pattern)), ok != not
}
