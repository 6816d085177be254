package formation

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// Name is what experiments and records call the kind, and version the form of its data.
const (
	Name    = "formation"
	version = 1
)

// Data is how a group came into being in one trial. Times count from just
// before the first process was started until the answer of a node that tells
// the event, so an event is never recorded too early. Each error is how much
// too late it may be recorded at most: back to when the question before, which
// did not tell it yet, was sent to the same node.
type Data struct {
	PollNS int64 `json:"poll_ns"` // pause between an answer of a node and the next question to it

	LeaderNS      int64 `json:"leader_ns"` // until a node said that it leads
	LeaderErrorNS int64 `json:"leader_error_ns"`

	// Until the leader had all nodes as voters in its configuration and each had
	// caught up with it: was ready.
	VotersNS      int64 `json:"voters_ns"`
	VotersErrorNS int64 `json:"voters_error_ns"`

	// Traffic is what the discovery layers sent at rest, after the group was whole,
	// by node in the order of their names; zero where members do not look for each
	// other. Empty where a process had ended.
	Traffic []Traffic `json:"traffic"`
}

// Traffic is what one node sent between two looks at its counters.
type Traffic struct {
	NS       int64 `json:"ns"` // between the looks
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// maxCount bounds a counter, so that those of all members and trials can be added up.
const maxCount = math.MaxInt64 / 10_000

func (d *Data) validate(brokenOff bool) error {
	for _, event := range []struct {
		name      string
		at, error int64
	}{{"leader", d.LeaderNS, d.LeaderErrorNS}, {"voters", d.VotersNS, d.VotersErrorNS}} {
		if event.error < 0 || event.error > event.at {
			return fmt.Errorf("formation: %s after %d ns, at most %d too late", event.name, event.at, event.error)
		}
		if !brokenOff && event.at == 0 {
			return fmt.Errorf("formation: no %s and no failure", event.name)
		}
	}
	if d.PollNS < 0 || !brokenOff && d.VotersNS < d.LeaderNS {
		return fmt.Errorf("formation: all voters after %d ns, a leader after %d", d.VotersNS, d.LeaderNS)
	}
	for i, x := range d.Traffic {
		if x.NS <= 0 || min(x.Messages, x.Bytes) < 0 || max(x.Messages, x.Bytes) > maxCount {
			return fmt.Errorf("formation: traffic of node %d: %d messages, %d bytes in %d ns", i+1, x.Messages, x.Bytes, x.NS)
		}
	}
	return nil
}

func read(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
	var d Data
	if there, err := t.Get(Name, version, &d); !there || err != nil {
		return measure.Values{}, err
	}
	if err := d.validate(t.Failure != ""); err != nil {
		return measure.Values{}, fmt.Errorf("%w: %w", record.ErrDamaged, err)
	}
	v := measure.Values{Scalars: map[string]float64{}}
	seconds := func(key string, ns int64) { v.Scalars[key] = time.Duration(ns).Seconds() }
	if d.LeaderNS > 0 {
		seconds("leader", d.LeaderNS)
		seconds("leader.late", d.LeaderErrorNS)
	}
	if d.VotersNS > 0 {
		seconds("voters", d.VotersNS)
		seconds("voters.late", d.VotersErrorNS)
	}
	if len(d.Traffic) > 0 {
		messages, bytes := 0.0, 0.0
		for _, x := range d.Traffic {
			messages += float64(x.Messages) / time.Duration(x.NS).Seconds()
			bytes += float64(x.Bytes) / time.Duration(x.NS).Seconds()
		}
		v.Scalars["messages"], v.Scalars["bytes"] = messages, bytes
	}
	return v, nil
}

// check looks for contradictions between a trial and its cell.
func check(cell *record.CellInfo, t *record.Trial, _ measure.Values) []measure.Contradiction {
	var d Data
	if there, err := t.Get(Name, version, &d); !there || err != nil || t.Failure != "" {
		return nil
	}
	var out []measure.Contradiction
	stopped := false
	for _, g := range t.Gates {
		stopped = stopped || (g.Name == "alive" && g.Verdict == record.Fail)
		if nodes := float64(cell.Cluster.Nodes); g.Name == "voters" && g.Limit != nodes {
			out = append(out, measure.Contradiction{Field: "gates.voters.limit", Printed: fmt.Sprint(g.Limit), Computed: fmt.Sprint(nodes)})
		}
	}
	if n := len(d.Traffic); n != cell.Cluster.Nodes && !(stopped && n == 0) {
		out = append(out, measure.Contradiction{
			Field: "formation.traffic", Printed: strconv.Itoa(n) + " nodes", Computed: strconv.Itoa(cell.Cluster.Nodes) + " nodes",
		})
	}
	for i, x := range d.Traffic {
		if x.NS < int64(cell.Formation.Rest) {
			out = append(out, measure.Contradiction{
				Field: fmt.Sprintf("formation.traffic[%d].ns", i), Printed: strconv.FormatInt(x.NS, 10), Computed: "at least " + cell.Formation.Rest.String(),
			})
		}
	}
	return out
}

// Kind returns the kind of measurement.
func Kind() *measure.Kind {
	seconds := func(of func(experiment.Formation) experiment.Duration) func(*record.CellInfo) string {
		return func(c *record.CellInfo) string {
			return strconv.FormatFloat(time.Duration(of(c.Formation)).Seconds(), 'f', 3, 64)
		}
	}
	return &measure.Kind{
		Name: Name, Needs: []system.Ability{system.Processes}, Run: run, Read: read, Check: check,
		Gates:      []string{"alive", "leader", "voters", "clock"},
		Quantities: quantities(), Answer: []string{"voters", "leader", "bytes"},
		Columns: []measure.Setting{
			{Column: "settle_s", Of: seconds(func(f experiment.Formation) experiment.Duration { return f.Settle })},
			{Column: "rest_s", Of: seconds(func(f experiment.Formation) experiment.Duration { return f.Rest })},
		},
		Figures: figures(), Method: method,
	}
}

func quantities() []measure.Quantity {
	late := func(key, column string) measure.Quantity {
		return measure.Quantity{Key: key, Unit: measure.Seconds, Column: column, Scale: 1e-3, Decimals: 3}
	}
	return []measure.Quantity{
		{Key: "leader", Name: measure.Text{En: "first leader", Ru: "первый лидер"}, Long: measure.Text{En: "time to the first leader", Ru: "время до первого лидера"},
			Unit: measure.Seconds, Role: measure.Compared, Column: "first_leader_ms", Scale: 1e-3, Decimals: 3},
		late("leader.late", "first_leader_late_ms"),
		{Key: "voters", Name: measure.Text{En: "all voters", Ru: "полный состав"}, Long: measure.Text{En: "time to all voters", Ru: "время до полного состава"},
			Unit: measure.Seconds, Role: measure.Compared, Column: "all_voters_ms", Scale: 1e-3, Decimals: 3},
		late("voters.late", "all_voters_late_ms"),
		{Key: "messages", Name: measure.Text{En: "messages at rest", Ru: "сообщения в покое"}, Unit: measure.PerSecond, Role: measure.Shown,
			Column: "messages_per_s", Decimals: 3},
		{Key: "bytes", Name: measure.Text{En: "bytes at rest", Ru: "байты в покое"}, Unit: measure.BytesPerSecond, Role: measure.Shown, Apart: true,
			Column: "bytes_per_s", Decimals: 2},
	}
}

func figures() []measure.Figure {
	return []measure.Figure{
		{
			Name: "formation", Form: measure.ByLevel, Quantities: []string{"leader", "voters"},
			Title: measure.Text{En: "Formation", Ru: "Образование группы"}, Axis: measure.Text{En: "time", Ru: "время"},
			Caption: measure.Text{
				En: "From the first start to the first leader and to all voters: medians over the trials with their intervals.",
				Ru: "От первого запуска до первого лидера и до полного состава: медианы по испытаниям с доверительными интервалами.",
			},
		},
		{
			Name: "traffic", Form: measure.ByLevel, Quantities: []string{"messages", "bytes"},
			Title: measure.Text{En: "Discovery at rest", Ru: "Обнаружение в покое"},
			Caption: measure.Text{
				En: "What the discovery layers of all nodes together send per second: medians over the trials with their intervals.",
				Ru: "Что отправляют за секунду слои обнаружения всех узлов вместе: медианы по испытаниям с доверительными интервалами.",
			},
		},
	}
}

// discoveryText says how the members find each other.
func discoveryText(name string) measure.Text {
	return map[string]measure.Text{
		experiment.DiscoveryStatic: {
			En: "Static join: the first node founds the group; the others are started once it is seen to lead, which is looked for every 25 ms, and ask it to be let in.",
			Ru: "Статическое присоединение (static): первый узел основывает группу; остальные запускаются, когда видно, что он лидер (проверка каждые 25 мс), и просят его принять их.",
		},
		experiment.DiscoveryGossip: {
			En: "Gossip: all nodes are started at once, told the addresses of the others, and found the group when they have seen each other; the timings are those for a network (profile lan).",
			Ru: "Gossip: все узлы запускаются одновременно, зная адреса друг друга, и основывают группу, когда увидят друг друга; интервалы — как для сети (профиль lan).",
		},
	}[name]
}

func method(cells []*record.CellInfo, w measure.Words) []measure.Item {
	of := func(separator string, write func(*record.CellInfo) string) string {
		return measure.Distinct(cells, separator, write)
	}
	return []measure.Item{
		{Term: w.Say(measure.Text{En: "Formation", Ru: "Образование группы"}), Text: w.Say(measure.Text{
			En: "Every trial starts kvnode processes in empty folders, as clusterctl does. Times count from just before the first process is started: to the first leader, until a node says that it leads; to all voters, until the leader has all nodes as voters in its configuration and each has answered that it has caught up.",
			Ru: "В каждом испытании процессы kvnode запускаются в пустых каталогах так же, как это делает clusterctl. Время отсчитывается от момента непосредственно перед запуском первого процесса: до первого лидера — пока какой-либо узел не ответит, что он лидер; до полного состава — пока в конфигурации лидера все узлы не станут голосующими и каждый не ответит, что догнал лидера.",
		})},
		{Term: w.Say(measure.Text{En: "Discovery", Ru: "Обнаружение узлов"}),
			Text: of(" ", func(c *record.CellInfo) string { return w.Say(discoveryText(c.Cluster.Discovery)) })},
		{Term: w.Say(measure.Text{En: "Resolution", Ru: "Разрешение по времени"}), Text: w.Say(measure.Text{
			En: "Nodes are asked over HTTP, again 5 ms after each answer. An event counts from the answer that tells it, so it is never too early; results.csv has for each trial how much too late it can be at most. The questions take processor time of the machine that all share.",
			Ru: "Узлы опрашиваются по HTTP, следующий запрос — через 5 мс после ответа. Событие отмечается по ответу, который о нём сообщает, поэтому никогда не раньше времени; насколько позже оно может быть отмечено, results.csv содержит для каждого испытания. Опрос занимает процессор машины, общей для всех.",
		})},
		{Term: w.Say(measure.Text{En: "At rest", Ru: "Покой"}), Text: measure.Fill(w, measure.Text{
			En: "What the discovery layers of all nodes together send, packets and streams, counted over %s at the sender only. Counting begins %s after the group was whole, when the news of its formation have gone round. Raft’s own messages are not among it; with static join there is no such layer.",
			Ru: "Что отправляют слои обнаружения всех узлов вместе, пакеты и потоки; подсчёт идёт %s и только у отправителя. Он начинается через %s после того, как группа собралась: к этому времени новости об её образовании уже разошлись. Сообщения самого Raft сюда не входят; при статическом присоединении такого слоя нет.",
		}, of(", ", func(c *record.CellInfo) string { return w.Duration(c.Formation.Rest) }),
			of(", ", func(c *record.CellInfo) string { return w.Duration(c.Formation.Settle) }))},
	}
}
