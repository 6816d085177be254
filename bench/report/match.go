package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
)

// setting is one thing that makes a cell what it is, by its qualified key.
type setting struct{ key, value string }

// settings lists everything about a cell that changes what is measured, except
// for how long and how often.
func settings(c *record.CellInfo) []setting {
	out := []setting{
		{keyEngine, c.Cluster.Engine},
		{keyBackend, c.Cluster.Backend},
		{keyTransport, c.Cluster.Transport},
		{keyNodes, strconv.Itoa(c.Cluster.Nodes)},
		{keyMode, c.Cluster.Mode},
		{keyDiscovery, c.Cluster.Discovery},
		{keyRate, plain(c.Load.Rate)},
		{keyClients, strconv.Itoa(c.Load.Clients)},
		{"load.arrival", c.Load.Arrival},
		{keyValueSize, strconv.Itoa(c.Load.ValueSize)},
		{"load.keys", strconv.Itoa(c.Load.Keys)},
		{"load.key_distribution", c.Load.KeyDistribution},
		{keyReadRatio, plain(c.Load.ReadRatio)},
		{"raft", fmt.Sprintf("%+v", c.Raft)},
	}
	if c.Load.Rate == 0 {
		out = slices.DeleteFunc(out, func(s setting) bool { return s.key == "load.arrival" })
	}
	if c.Load.ReadRatio > 0 {
		out = append(out, setting{keyReadLevel, c.Load.ReadLevel})
	}
	for _, part := range []string{c.Cluster.Engine, c.Cluster.Backend, c.Cluster.Transport} {
		options := c.Options[part]
		for _, key := range slices.Sorted(maps.Keys(options)) {
			out = append(out, setting{"options." + part + "." + key, fmt.Sprint(options[key])})
		}
	}
	return out
}

// without drops the setting of one key and, as they belong to it, the options of
// the parts it names.
func without(all []setting, key string) []setting {
	part := ""
	for _, s := range all {
		if s.key == key {
			part = "options." + s.value + "."
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s setting) bool {
		return s.key == key || (part != "" && strings.HasPrefix(s.key, part))
	})
}

// pair is a cell of run A and the cell of run B that it is compared with.
type pair struct{ a, b *cell }

// matchResult says which cells of two runs belong together.
type matchResult struct {
	pairs        []pair
	onlyA, onlyB []*cell
	swapped      string // key of the one setting that was left out of account; empty: all agree
}

// match pairs the cells of two runs that agree in all settings. If no two do, but
// all cells of A have one value of one setting and all cells of B another, that
// setting is what the runs compare, and is left out of account.
func match(a, b *model) matchResult {
	exact := matchWithout(a, b, "")
	if len(exact.pairs) > 0 {
		return exact
	}
	for _, key := range []string{keyBackend, keyTransport, keyEngine, keyNodes, keyClients, keyRate, keyValueSize,
		keyReadRatio, keyReadLevel, keyMode, keyDiscovery, "load.arrival", "load.keys", "load.key_distribution", "raft"} {
		va, vb := constant(a, key), constant(b, key)
		if va == "" || vb == "" || va == vb {
			continue
		}
		if m := matchWithout(a, b, key); len(m.pairs) > 0 {
			return m
		}
	}
	return exact
}

func matchWithout(a, b *model, key string) matchResult {
	m := matchResult{swapped: key}
	taken := map[*cell]bool{}
	for _, x := range a.cells {
		i := slices.IndexFunc(b.cells, func(y *cell) bool {
			return !taken[y] && slices.Equal(without(settings(x.info), key), without(settings(y.info), key))
		})
		if i < 0 {
			m.onlyA = append(m.onlyA, x)
			continue
		}
		taken[b.cells[i]] = true
		m.pairs = append(m.pairs, pair{x, b.cells[i]})
	}
	for _, y := range b.cells {
		if !taken[y] {
			m.onlyB = append(m.onlyB, y)
		}
	}
	return m
}

// constant returns the value that all cells have of a setting, empty if they
// differ.
func constant(m *model, key string) string {
	var found []string
	for _, c := range m.cells {
		for _, s := range settings(c.info) {
			if s.key == key && !slices.Contains(found, s.value) {
				found = append(found, s.value)
			}
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}
