package anatomy

import (
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/trace"
)

// group is what some stages have in common that the model (bench/model) knows as one.
type group struct {
	key, expected string
	name          measure.Text
	stages        []trace.Stage // none: all that are in no other group
}

func groups() []group {
	return []group{
		{"logs", load.ExpectedLogs, measure.Text{En: "logs", Ru: "журналы"},
			[]trace.Stage{trace.LeaderWrite, trace.FollowerWrite, trace.Held}},
		{"messages", load.ExpectedMessages, measure.Text{En: "messages", Ru: "сообщения"},
			[]trace.Stage{trace.FollowerWait, trace.WireThere, trace.WireBack}},
		{"others", load.ExpectedOthers, measure.Text{En: "program and client", Ru: "программа и клиент"}, nil},
	}
}

// derive adds to what a load gives, for cells of one client, where the latency differs from
// what the model expects: the calls of the middle fifth, whose mean is about the median.
func (k kind) derive(trials []measure.Measured) {
	k.load.Derive(trials)
	for _, t := range trials {
		values := t.Values.Scalars
		all := 0.0
		for _, s := range stages() {
			all += values[s.middle()]
		}
		if _, expected := values[load.ExpectedLogs]; !expected || all == 0 {
			continue
		}
		left, off := all, all
		for _, g := range groups() {
			took := 0.0
			for _, s := range g.stages {
				took += values[stages()[s].middle()]
			}
			if len(g.stages) == 0 {
				took = left
			}
			left -= took
			off -= values[g.expected]
			values["took."+g.key], values["off."+g.key] = took, took-values[g.expected]
		}
		for _, g := range groups() {
			if off == 0 {
				break
			}
			values["part."+g.key] = 100 * values["off."+g.key] / off
		}
	}
}

// differing are the quantities that derive adds.
func differing() (out []measure.Quantity) {
	micros := func(key string, name measure.Text, column string) measure.Quantity {
		return measure.Quantity{Key: key, Name: name, Unit: measure.Seconds, Column: column, Scale: 1e-6, Decimals: 3}
	}
	for _, g := range groups() {
		out = append(out, micros("took."+g.key, g.name, "took_"+g.key+"_us"), micros(g.expected, g.name, "expected_"+g.key+"_us"),
			micros("off."+g.key, g.name, "off_"+g.key+"_us"),
			measure.Quantity{Key: "part." + g.key, Name: g.name, Unit: measure.Percent, Column: "off_" + g.key + "_percent", Decimals: 1})
	}
	return out
}

// differences is the table of them.
func differences() measure.Table {
	t := measure.Table{
		Title:  measure.Text{En: "Where a write differs from what is expected", Ru: "Где запись расходится с ожиданием"},
		Result: true, Sparse: true,
		Greatest: measure.Greatest{
			Name: measure.Text{En: "most of the difference", Ru: "большая часть расхождения"},
		},
		Note: measure.Text{
			En: "Cells of one client: writes whose latency lies in the middle fifth, about the median; how much longer each part took than “Against the machine” expects. Logs: the leader’s write, the follower’s and the wait for the leader’s disk. Messages: both ways, and until the follower begins to write. The last column has the part that makes most of p50’s difference, and its share; over 100 % where another part differs the other way. Without a cell with an in-memory store beside it, all that program and client take is a difference.",
			Ru: "Ячейки с одним клиентом: записи, задержка которых попала в среднюю пятую часть, то есть около медианы; на сколько дольше шла каждая часть, чем ожидается в «Сравнении с возможностями машины». Журналы: запись лидера, запись ведомого и ожидание диска лидера. Сообщения: в обе стороны и до начала записи ведомым. В последнем столбце — часть, на которую приходится большая часть расхождения p50, и её доля; больше 100 %, если другая часть расходится в обратную сторону. Без ячейки с хранилищем в памяти всё время программы и клиента входит в расхождение.",
		},
	}
	for _, g := range groups() {
		t.Quantities = append(t.Quantities, "off."+g.key)
		t.Greatest.Quantities = append(t.Greatest.Quantities, "part."+g.key)
	}
	return t
}
