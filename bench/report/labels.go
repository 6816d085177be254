package report

import (
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
)

// Qualified keys of the factors that the reports have words for.
const (
	keyEngine    = "cluster.engine"
	keyBackend   = "cluster.backend"
	keyTransport = "cluster.transport"
	keyNodes     = "cluster.nodes"
	keyMode      = "cluster.mode"
	keyDiscovery = "cluster.discovery"
	keyClients   = "load.clients"
	keyRate      = "load.rate"
	keyValueSize = "load.value_size"
	keyReadRatio = "load.read_ratio"
	keyReadLevel = "load.read_level"
)

// isNumeric reports whether a factor's levels are amounts, so that one can say
// that something grows with them.
func isNumeric(f factor) bool {
	switch f.Key {
	case keyEngine, keyBackend, keyTransport, keyMode, keyDiscovery, keyReadLevel:
		return false
	}
	for _, level := range f.Levels {
		if _, err := strconv.ParseFloat(level, 64); err != nil {
			return false
		}
	}
	return true
}

// short is the level of a factor as a table cell or a plot label has it.
func (l *language) short(f factor, c *record.CellInfo) string {
	switch f.Key {
	case keyValueSize:
		return l.bytes(uint64(max(0, c.Load.ValueSize)))
	case keyReadRatio:
		return l.general(100*c.Load.ReadRatio) + " %"
	case keyRate:
		if c.Load.Rate == 0 {
			return l.ClosedLoopShort
		}
		return l.general(c.Load.Rate)
	case keyReadLevel:
		return l.term(c.Load.ReadLevel)
	case keyMode:
		return word(l.ModeWords, c.Cluster.Mode, false)
	case keyDiscovery:
		return word(l.DiscoveryWords, c.Cluster.Discovery, false)
	default:
		return f.value(c)
	}
}

// named is the level as it stands by itself: "bolt", "16 clients".
func (l *language) named(f factor, c *record.CellInfo) string {
	switch f.Key {
	case keyEngine, keyBackend, keyTransport:
		return f.value(c)
	case keyNodes:
		return l.count(c.Cluster.Nodes, l.Nodes)
	case keyClients:
		return l.count(c.Load.Clients, l.Clients)
	case keyRate:
		if c.Load.Rate == 0 {
			return l.ClosedLoopShort
		}
		return l.general(c.Load.Rate) + " " + l.OpsPerSecond
	case keyValueSize:
		return fill(l.ValuesOf, l.short(f, c))
	case keyReadRatio:
		return fill(l.ReadsOf, l.short(f, c))
	case keyReadLevel:
		return fill(l.ReadsAt, l.short(f, c))
	case keyMode, keyDiscovery:
		return l.short(f, c)
	default:
		return f.Name + " = " + f.value(c)
	}
}

// placed is the level as a circumstance: "over tcp", "at 16 clients".
func (l *language) placed(f factor, c *record.CellInfo) string {
	switch f.Key {
	case keyEngine:
		return fill(l.OnEngine, f.value(c))
	case keyBackend:
		return fill(l.WithBackend, f.value(c))
	case keyTransport:
		return fill(l.OverTransport, f.value(c))
	case keyNodes:
		return fill(l.WithNodes, l.count(c.Cluster.Nodes, l.NodesAt))
	case keyClients:
		return fill(l.AtClients, l.count(c.Load.Clients, l.ClientsAt))
	case keyRate:
		if c.Load.Rate == 0 {
			return l.ClosedLoopAt
		}
		return fill(l.AtRate, l.general(c.Load.Rate))
	case keyValueSize:
		return fill(l.WithValuesOf, l.short(f, c))
	case keyMode:
		return word(l.ModeWords, c.Cluster.Mode, true)
	case keyDiscovery:
		return word(l.DiscoveryWords, c.Cluster.Discovery, true)
	default:
		return fill(l.With, l.named(f, c))
	}
}

// word says a level in words, as a circumstance ("in one process") or by itself
// ("one process").
func word(known map[string][2]string, level string, placed bool) string {
	words, ok := known[level]
	switch {
	case !ok:
		return level
	case placed:
		return words[1]
	default:
		return words[0]
	}
}

// rank orders the parts of a label: "bolt over tcp at 16 clients, 3 nodes".
func rank(key string) int {
	placed := []string{keyBackend, keyTransport, keyEngine, keyMode, keyDiscovery, keyClients, keyRate}
	for i, k := range placed {
		if k == key {
			return i
		}
	}
	return len(placed)
}

// label names a cell by its levels of fs, the first part as a noun.
func (l *language) label(fs []factor, c *record.CellInfo) string {
	var b strings.Builder
	for i, f := range inRank(fs) {
		switch {
		case i == 0:
			b.WriteString(l.named(f, c))
		case rank(f.Key) < rank(""):
			b.WriteString(" " + l.placed(f, c))
		default:
			b.WriteString(", " + l.named(f, c))
		}
	}
	return b.String()
}

// circumstance names a combination of levels of fs, as "over tcp at 16 clients".
func (l *language) circumstance(fs []factor, c *record.CellInfo) string {
	var parts []string
	for _, f := range inRank(fs) {
		parts = append(parts, l.placed(f, c))
	}
	return strings.Join(parts, " ")
}

func inRank(fs []factor) []factor {
	var sorted []factor
	for r := 0; r <= rank(""); r++ {
		for _, f := range fs {
			if rank(f.Key) == r {
				sorted = append(sorted, f)
			}
		}
	}
	return sorted
}
