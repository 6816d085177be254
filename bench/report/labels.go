package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
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

// isNumeric reports whether a factor's levels are amounts.
func isNumeric(f factor) bool {
	return !slices.ContainsFunc(f.Levels, func(level string) bool {
		_, err := strconv.ParseFloat(level, 64)
		return err != nil
	})
}

// isOffered reports whether a factor is how much load is offered.
func isOffered(f factor) bool { return f.Key == keyClients || f.Key == keyRate }

// withParts adds the store and the transport to the factors that a sentence
// names, where they are not factors themselves: a sentence stands alone.
func withParts(fs, factors []factor) []factor {
	out := slices.Clone(fs)
	for _, key := range []string{keyBackend, keyTransport} {
		if !slices.ContainsFunc(factors, func(f factor) bool { return f.Key == key }) {
			out = append(out, factor{experiment.Factor{Key: key}, -1})
		}
	}
	return out
}

// factorWords are what a language calls a factor and one of its levels.
type factorWords struct {
	head   string // the factor at the head of a column
	short  string // the level in a cell of that column or in a plot
	named  string // the level by itself: "bolt", "16 clients"
	placed string // the level as a circumstance: "over tcp", "at 16 clients"
}

func (l *language) words(f factor, c *record.CellInfo) factorWords {
	v := f.value(c)
	words := func(head, short, named, placed string) factorWords { return factorWords{head, short, named, placed} }
	switch f.Key {
	case keyEngine:
		return words(l.say(f.Name, "движок"), v, v, l.fill("on %s", "на движке %s", v))
	case keyBackend:
		return words(l.say(f.Name, "хранилище"), v, v, l.fill("with %s", "с хранилищем %s", v))
	case keyTransport:
		return words(l.say(f.Name, "транспорт"), v, v, l.fill("over %s", "поверх %s", v))
	case keyNodes:
		return words(l.say(f.Name, "узлы"), v, l.count(c.Cluster.Nodes, "node nodes", "узел узла узлов"),
			l.fill("with %s", "при %s", l.count(c.Cluster.Nodes, "node nodes", "узле узлах узлах")))
	case keyMode:
		return l.levelWords(l.say("members", "режим"), v)
	case keyDiscovery:
		return l.levelWords(l.say("discovery", "обнаружение"), v)
	case keyClients:
		return words(l.say(f.Name, "клиенты"), v, l.count(c.Load.Clients, "client clients", "клиент клиента клиентов"),
			l.fill("at %s", "при %s", l.count(c.Load.Clients, "client clients", "клиенте клиентах клиентах")))
	case keyRate:
		head := l.say("rate", "частота")
		if c.Load.Rate == 0 {
			closed := l.say("closed loop", "замкнутый цикл")
			return words(head, closed, closed, l.say("in a closed loop", "в замкнутом цикле"))
		}
		rate := l.General(c.Load.Rate)
		return words(head, rate, l.fill("%s op/s", "%s оп/с", rate), l.fill("at %s op/s", "при %s оп/с", rate))
	case keyValueSize:
		size := l.Bytes(uint64(max(0, c.Load.ValueSize)))
		return words(l.say("value", "значение"), size, l.fill("%s values", "значения по %s", size), l.fill("with %s values", "при значениях по %s", size))
	case keyReadRatio:
		share := l.General(100*c.Load.ReadRatio) + " %"
		named := l.fill("%s reads", "%s чтений", share)
		return words(l.say("reads", "чтения"), share, named, l.fill("with %s", "при %s", named))
	case keyReadLevel:
		level := l.Term(c.Load.ReadLevel)
		named := l.fill("%s reads", "чтение: %s", level)
		return words(l.say("read level", "чтение"), level, named, l.fill("with %s", "при %s", named))
	default:
		named := f.Name + " = " + v
		return words(f.Name, v, named, l.fill("with %s", "при %s", named))
	}
}

// levelWords are the words for levels that are names of ours. In Russian they stay
// names, as those of stores are, so that they need not be declined.
func (l *language) levelWords(head, level string) factorWords {
	w := factorWords{head, level, level, level}
	switch level {
	case experiment.ModeInProcess:
		w.short, w.placed = l.say("one process", level), l.say("in one process", "в одном процессе")
	case experiment.ModeProcess:
		w.short, w.placed = l.say("kvnode processes", level), l.say("in kvnode processes", "в процессах kvnode")
	case experiment.DiscoveryStatic:
		w.short, w.placed = l.say("static join", level), l.say("with static join", "при статическом присоединении")
	case experiment.DiscoveryGossip:
		w.placed = l.say("with gossip", "при обнаружении через gossip")
	}
	w.named = w.short
	return w
}

// ranked are the factors whose levels stand as circumstances, in the order in which
// a label has them: "bolt over tcp at 16 clients, 3 nodes".
func ranked() []string {
	return []string{keyBackend, keyTransport, keyEngine, keyMode, keyDiscovery, keyClients, keyRate}
}

func inRank(fs []factor) []factor {
	rank := func(f factor) int {
		if i := slices.Index(ranked(), f.Key); i >= 0 {
			return i
		}
		return len(ranked())
	}
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b factor) int { return rank(a) - rank(b) })
	return sorted
}

// label names a cell by its levels of fs, the first part as a noun.
func (l *language) label(fs []factor, c *record.CellInfo) string {
	var b strings.Builder
	for i, f := range inRank(fs) {
		w := l.words(f, c)
		switch {
		case i == 0:
			b.WriteString(w.named)
		case slices.Contains(ranked(), f.Key):
			b.WriteString(" " + w.placed)
		default:
			b.WriteString(", " + w.named)
		}
	}
	return b.String()
}

// circumstance names a combination of levels of fs, as "over tcp at 16 clients".
func (l *language) circumstance(fs []factor, c *record.CellInfo) string {
	var parts []string
	for _, f := range inRank(fs) {
		parts = append(parts, l.words(f, c).placed)
	}
	return strings.Join(parts, " ")
}

// fullLabel names a cell by the factors that tell it from the others, or by its
// parts where it is the only one.
func (l *language) fullLabel(factors []factor, c *record.CellInfo) string {
	if len(factors) == 0 {
		factors = withParts(nil, nil)
	}
	return l.label(factors, c)
}
