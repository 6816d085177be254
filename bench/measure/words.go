package measure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
)

// Fill writes a text with its verbs filled in.
func Fill(w Words, text Text, args ...any) string { return fmt.Sprintf(w.Say(text), args...) }

// Distinct joins what the cells have in of, each once and in their order; nothing is
// left out.
func Distinct(cells []*record.CellInfo, separator string, of func(*record.CellInfo) string) string {
	var out []string
	for _, c := range cells {
		if text := of(c); text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, separator)
}
