package measure

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
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

// Ascending does what Distinct does, in the order of an amount.
func Ascending[N cmp.Ordered](cells []*record.CellInfo, separator string, by func(*record.CellInfo) N, of func(*record.CellInfo) string) string {
	sorted := slices.SortedStableFunc(slices.Values(cells), func(a, b *record.CellInfo) int { return cmp.Compare(by(a), by(b)) })
	return Distinct(sorted, separator, of)
}

// Protocol is that between clients and members; empty where members are called as
// functions. Runs before it was kept had HTTP only, where nothing else was said.
func Protocol(c *record.CellInfo) string {
	if c.Protocol == "" && c.Cluster.Mode == experiment.ModeProcess {
		return cmp.Or(c.Load.Client, experiment.ClientHTTP)
	}
	return c.Protocol
}

// Protocols says over which protocols the clients of the cells ask, if any, and on how many
// connections where that was set.
func Protocols(cells []*record.CellInfo, w Words) []Item {
	text := Distinct(cells, ", ", func(c *record.CellInfo) string {
		said := w.Term(Protocol(c))
		if n := c.Load.Connections; n > 0 {
			said += Fill(w, Text{En: " (connections: %d)", Ru: " (соединений: %d)"}, n)
		}
		return said
	})
	if text == "" {
		return nil
	}
	return []Item{{Term: w.Say(Text{En: "Protocol of the clients", Ru: "Протокол клиентов"}), Text: text + "."}}
}
