package respapi

import (
	"path"
	"strings"
	"testing"
)

// FuzzGlob: patterns match what they do in package path, where they mean the same.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*", "a*b", "?b", "[a-c]x*", "[^a]", `\*a`, "**a*", "a[b", `[\]]`, "*a*a*a*b"} {
		f.Add(s, "aab")
		f.Add(s, "*a]")
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		p := newPattern([]byte(pattern))
		got := strings.HasPrefix(key, p.prefix) && p.matches(key)
		want, err := path.Match(pattern, key)
		// Package path refuses sets that Redis takes, knows characters where Redis knows bytes,
		// and has / end a *.
		if err != nil || strings.Contains(pattern+key, "/") || strings.ContainsFunc(pattern+key, func(r rune) bool { return r > '~' }) || backwards(pattern) {
			return
		}
		if got != want {
			t.Errorf("%q and %q: %v", pattern, key, got)
		}
	})
}

// backwards reports whether the pattern may have a set like [c-a], which is empty in package path.
func backwards(pattern string) bool {
	return strings.Contains(pattern, "[") && strings.Contains(pattern, "-")
}
