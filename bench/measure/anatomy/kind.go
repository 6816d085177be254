package anatomy

import (
	"slices"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/trace"
)

// kind is the kind of measurement; load is what it is measured under.
type kind struct{ load *measure.Kind }

// Kind returns the kind of measurement.
func Kind() *measure.Kind {
	k := kind{load.Kind()}
	out := *k.load
	out.Name, out.Needs, out.Settings, out.Load = Name, []system.Ability{system.Traces}, Settings{Trace: true}, true
	out.Accept, out.Run, out.Read, out.Check, out.Derive = accept, k.run, k.read, k.check, k.derive
	out.Gates = append(slices.Clone(out.Gates), "stages", "rest")
	out.Quantities = append(slices.Clone(out.Quantities), quantities()...)
	out.Parts = parts()
	out.Tables = append([]measure.Table{paths(), differences()}, out.Tables...)
	out.Figures = slices.Concat(figures(), out.Figures)
	out.Method = func(cells []*record.CellInfo, w measure.Words) []measure.Item {
		return append(k.load.Method(cells, w), method(w)...)
	}
	return &out
}

// stage is a stage with its name.
type stage struct {
	key  string
	name measure.Text
}

// of is the name of its distribution.
func (s stage) of() string { return "stage." + s.key }

// middle is its mean over the calls of the middle fifth.
func (s stage) middle() string { return s.of() + ".middle" }

// stages are those of package trace, in their order.
func stages() [trace.Stages]stage {
	return [trace.Stages]stage{
		trace.Request:       {"request", measure.Text{En: "request in", Ru: "приём запроса"}},
		trace.Queue:         {"queue", measure.Text{En: "queue and batch wait", Ru: "очередь и сбор пакета"}},
		trace.LeaderWrite:   {"leader_write", measure.Text{En: "leader’s log write", Ru: "запись журнала лидером"}},
		trace.Replicator:    {"replicator", measure.Text{En: "wait for the replicator", Ru: "ожидание репликатора"}},
		trace.FollowerWait:  {"follower_wait", measure.Text{En: "wait for the follower", Ru: "ожидание ведомого"}},
		trace.WireThere:     {"wire_there", measure.Text{En: "wire there", Ru: "передача ведомому"}},
		trace.FollowerWrite: {"follower_write", measure.Text{En: "follower’s log write", Ru: "запись журнала ведомым"}},
		trace.WireBack:      {"wire_back", measure.Text{En: "wire back", Ru: "передача ответа лидеру"}},
		trace.Held:          {"held", measure.Text{En: "wait for the leader’s disk", Ru: "ожидание диска лидера"}},
		trace.Commit:        {"commit", measure.Text{En: "commit noticed", Ru: "обнаружение фиксации"}},
		trace.ApplyWait:     {"apply_wait", measure.Text{En: "wait for apply", Ru: "ожидание применения"}},
		trace.Apply:         {"apply", measure.Text{En: "apply", Ru: "применение"}},
		trace.Answer:        {"answer", measure.Text{En: "answer out", Ru: "отправка ответа"}},
	}
}

func quantities() []measure.Quantity {
	var out []measure.Quantity
	micros := func(key, column string, name measure.Text) measure.Quantity {
		return measure.Quantity{Key: key, Name: name, Unit: measure.Seconds, Column: column, Scale: 1e-6, Decimals: 3}
	}
	for _, s := range stages() {
		p50, p99 := micros(s.of()+".p50", s.key+"_p50_us", s.name), micros(s.of()+".p99", s.key+"_p99_us", s.name)
		p50.Of, p50.PerMille, p99.Of, p99.PerMille = s.of(), 500, s.of(), 990
		out = append(out, micros(s.of()+".mean", s.key+"_us", s.name), p50, p99)
	}
	whole := micros("traced.mean", "traced_us", measure.Text{En: "in all", Ru: "всего"})
	whole.Long = measure.Text{En: "the time of a write", Ru: "время записи"}
	return append(append(out, differing()...),
		micros("rest.mean", "rest_us", measure.Text{En: "the rest", Ru: "остаток"}),
		whole,
		measure.Quantity{Key: "calls", Column: "calls"}, measure.Quantity{Key: "joined", Column: "joined"}, measure.Quantity{Key: "dropped", Column: "spans_dropped"},
		measure.Quantity{Key: "entries.write", Name: measure.Text{En: "entries per leader’s write", Ru: "записей в сбросе лидера"}, Column: "entries_per_write", Decimals: 2},
		measure.Quantity{Key: "entries.message", Name: measure.Text{En: "entries per message", Ru: "записей в сообщении"}, Column: "entries_per_message", Decimals: 2},
		measure.Quantity{Key: "decided.leader", Name: measure.Text{En: "leader’s write was last", Ru: "последней была запись лидера"}, Column: "leader_decided", Decimals: 4},
	)
}

func parts() *measure.Parts {
	p := &measure.Parts{
		Title: measure.Text{En: "Where the time of a write goes", Ru: "Куда уходит время записи"},
		Whole: "traced.mean", Leads: true,
		Note: measure.Text{
			En: "Means over the writes of a trial, averaged over the trials: they add up. Percentiles are medians over the trials, each of that stage alone; they do not add up. “The rest” is the latency of writes whose way was not found.",
			Ru: "Средние по записям испытания, усреднённые по испытаниям: их сумма равна целому. Перцентили — медианы по испытаниям, каждый относится только к своей стадии; они не складываются. «Остаток» — задержка записей, путь которых не найден.",
		},
	}
	for _, s := range stages() {
		p.List = append(p.List, measure.Part{Name: s.name, Mean: s.of() + ".mean", P50: s.of() + ".p50", P99: s.of() + ".p99"})
	}
	p.List = append(p.List, measure.Part{Name: measure.Text{En: "the rest", Ru: "остаток"}, Mean: "rest.mean"})
	return p
}

func paths() measure.Table {
	return measure.Table{
		Title:      measure.Text{En: "Batches and quorums", Ru: "Пакеты и кворумы"},
		Quantities: []string{"entries.write", "entries.message", "decided.leader"},
		Note: measure.Text{
			En: "As a write sees them on average: how many entries the leader wrote to its log at once, how many were in the message to the follower that decided; and the share of writes for which the commit waited for the leader’s disk after the answer that made the majority had come.",
			Ru: "Как их в среднем видит одна запись: сколько записей лидер сбрасывал в журнал за раз, сколько было в сообщении решающему ведомому; и доля записей, фиксация которых ждала диска лидера уже после ответа, составившего кворум.",
		},
	}
}

func figures() []measure.Figure {
	return []measure.Figure{
		{
			Name: "stages", Form: measure.Stacked,
			Title: measure.Text{En: "Stages of a write", Ru: "Стадии записи"},
			Axis:  measure.Text{En: "mean latency", Ru: "средняя задержка"},
			Caption: measure.Text{
				En: "Mean time of each stage, in the order of the way; together they are the mean latency of a write as its client sees it.",
				Ru: "Среднее время каждой стадии в порядке прохождения; вместе они составляют среднюю задержку записи, какой её видит клиент.",
			},
		},
		{
			Name: "waterfall", Form: measure.Waterfall,
			Title: measure.Text{En: "A write, stage by stage", Ru: "Прохождение записи по стадиям"},
			Axis:  measure.Text{En: "mean time since the client’s call", Ru: "среднее время с момента вызова"},
			Caption: measure.Text{
				En: "One cell in each panel: each stage begins where the one before ends, at its mean.",
				Ru: "По одной ячейке на панель: каждая стадия начинается там, где в среднем заканчивается предыдущая.",
			},
		},
	}
}

func method(w measure.Words) []measure.Item {
	return []measure.Item{
		{Term: w.Say(measure.Text{En: "Stages", Ru: "Стадии"}), Text: w.Say(measure.Text{
			En: "Each member takes down, by log index, when it did what; times are those of one monotonic clock, which all processes of a machine share. A client’s call is known by the checksum of its command. Its path is that of its entry, through what the commit waited for last: the leader’s log, then the follower whose answer made the majority; where the leader writes beside replication (overlapped) and that answer came before the write had ended, the leader’s log alone. Request in: from the call until the replica has the command. Queue: until the leader’s loop begins with the batch and, on a path through the leader’s log alone, until its write begins. Leader’s log write: until that is done, or the loop goes on beside it. Wait for the replicator: until the entry is sent. Wait for the follower: while that one was still writing the message before, and until it began to write this one. Wire there: the rest of the way to it. Follower’s log write: until that is done. Wire back: until the leader has the answer, with what the follower does before it answers. Wait for the leader’s disk: until all entries that the answer is for are in the leader’s log too; before that, an overlapped leader does not count an answer. Commit noticed: while the leader’s loop, which has to notice it, writes its log. Wait for apply: until the state machine takes the entry. Apply: until its batch is applied. Answer out: until the client has the answer.",
			Ru: "Каждый узел отмечает по индексу записи журнала, что и когда он делал; время — по единым монотонным часам, общим для процессов одной машины. Вызов клиента опознаётся по контрольной сумме команды. Его путь — путь его записи через то, чего фиксация ждала последним: журнал лидера, затем ведомый, чей ответ составил кворум; если лидер пишет журнал одновременно с репликацией (overlapped) и ответ пришёл раньше конца этой записи — только журнал лидера. Приём запроса: от вызова до получения команды репликой. Очередь: пока цикл лидера не возьмётся за пакет, а на пути только через журнал лидера — пока не начнётся его запись. Запись журнала лидером: пока она не завершится или пока цикл не продолжит работу одновременно с ней. Ожидание репликатора: до отправки записи. Ожидание ведомого: пока он ещё записывал предыдущее сообщение и пока не начал записывать это. Передача ведомому: остальное время в пути. Запись журнала ведомым: до её завершения. Передача ответа лидеру: до получения ответа лидером, вместе с тем, что ведомый делает до ответа. Ожидание диска лидера: пока все записи, к которым относится ответ, не окажутся и в журнале лидера; до этого лидер, пишущий одновременно с репликацией, ответ не учитывает. Обнаружение фиксации: пока цикл лидера, который должен её заметить, записывает журнал. Ожидание применения: пока машина состояний не возьмёт запись. Применение: пока не применён её пакет. Отправка ответа: пока клиент не получит ответ.",
		})},
	}
}
