package visible_test

import (
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/internal/visible"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"p50 — 1,5 мс, ±3 %\u00a0\u202f": "p50 — 1,5 мс, ±3 %\u00a0\u202f",
		"\x1b[31mred\x07":                `\x1b[31mred\x07`,
		"a\nb\r\tc\x00":                  `a\nb\r\tc\x00`,
		"abc\u202edef\u2066\u200b":       `abc\u202edef\u2066\u200b`,
		"bad\xff\xfe":                    `bad\xff\xfe`,
		"\u2028\u0085\U000e0041":         `\u2028\u0085\U000e0041`,
	} {
		if got := visible.Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := visible.Lines("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("lines: %q", got)
	}
}

// TestNothingIsLeft: whatever is written, what comes out is one line of print, and the same
// when it is written again.
func TestNothingIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := visible.Text(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text"))
		if i := strings.IndexFunc(text, func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar
		}); i >= 0 {
			if !strings.HasPrefix(text[i:], "\ufffd") { // which may have been written so
				t.Fatalf("%q", text)
			}
		}
		if again := visible.Text(text); again != text {
			t.Fatalf("%q, again %q", text, again)
		}
	})
}
