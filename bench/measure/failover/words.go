package failover

import (
	"strconv"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

func quantities() []measure.Quantity {
	time := func(key, column string, role measure.Role, name measure.Text) measure.Quantity {
		return measure.Quantity{Key: key, Name: name, Unit: measure.Seconds, Role: role, Column: column, Scale: 1e-3, Decimals: 3}
	}
	count := func(key, column string, role measure.Role, name measure.Text) measure.Quantity {
		return measure.Quantity{Key: key, Name: name, Column: column, Role: role}
	}
	p50 := time("failover.p50", "failover_p50_ms", measure.Compared, measure.Text{En: "failover p50", Ru: "простой p50"})
	p50.Long = measure.Text{En: "median time without service after the leader is killed", Ru: "медиана времени без обслуживания после отказа лидера"}
	whole := time("whole", "failover_mean_ms", measure.Detail, measure.Text{En: "in all", Ru: "всего"})
	whole.Long = measure.Text{En: "the mean time without service", Ru: "среднее время без обслуживания"}
	needless := count("needless", "needless_elections", measure.Shown, measure.Text{En: "needless elections", Ru: "лишние выборы"})
	needless.Long = measure.Text{En: "needless elections per trial", Ru: "число лишних выборов за испытание"}
	needless.Apart = true
	return []measure.Quantity{
		p50,
		time("failover.max", "failover_max_ms", measure.Shown, measure.Text{En: "failover max", Ru: "простой макс."}),
		needless,
		{Key: "throughput", Name: measure.Text{En: "writes", Ru: "записи"}, Unit: measure.OpsPerSecond, Role: measure.Shown, More: true, Column: "acknowledged_ops", Decimals: 2},
		time("gap.p50", "gap_p50_ms", measure.Detail, measure.Text{En: "gap p50", Ru: "разрыв p50"}),
		time("gap.max", "gap_max_ms", measure.Detail, measure.Text{En: "gap max", Ru: "разрыв макс."}),
		time("back.p50", "back_p50_ms", measure.Detail, measure.Text{En: "back p50", Ru: "возврат p50"}),
		time("detection", "detection_mean_ms", measure.Detail, measure.Text{En: "detection", Ru: "обнаружение"}),
		time("election", "election_mean_ms", measure.Detail, measure.Text{En: "election", Ru: "выборы"}),
		time("rediscovery", "rediscovery_mean_ms", measure.Detail, measure.Text{En: "rediscovery", Ru: "поиск лидера"}),
		whole,
		time("late", "phases_late_mean_ms", measure.Detail, measure.Text{En: "seen late by", Ru: "опоздание"}),
		{Key: "rounds", Name: measure.Text{En: "terms per kill", Ru: "сроков на отказ"}, Column: "terms_per_kill", Decimals: 3},
		count("kills", "kills", measure.Detail, measure.Text{En: "kills", Ru: "отказов"}),
		count("acknowledged", "acknowledged", measure.Detail, measure.Text{En: "acknowledged", Ru: "подтверждено"}),
		count("unknown", "unknown", measure.Detail, measure.Text{En: "unknown", Ru: "исход неизвестен"}),
		count("refused", "refused", measure.Detail, measure.Text{En: "refused", Ru: "отклонено"}),
		count("checked", "read_back", measure.Detail, measure.Text{En: "read back", Ru: "прочитано"}),
		{Key: "load", Unit: measure.Seconds, Column: "load_s", Decimals: 3},
	}
}

func parts() *measure.Parts {
	return &measure.Parts{
		Title: measure.Text{En: "Where the time goes", Ru: "Из чего складывается время"},
		Whole: "whole",
		List: []measure.Part{
			{Name: measure.Text{En: "detection", Ru: "обнаружение"}, Mean: "detection"},
			{Name: measure.Text{En: "election", Ru: "выборы"}, Mean: "election"},
			{Name: measure.Text{En: "rediscovery", Ru: "поиск лидера"}, Mean: "rediscovery"},
		},
		Note: measure.Text{
			En: "Means over the kills of a trial, averaged over the trials: they add up. Detection lasts until a member that lives on no longer takes the killed one for its leader, the election until one says that it leads, rediscovery until a client has an acknowledgement.",
			Ru: "Средние по отказам испытания, усреднённые по испытаниям: их сумма равна целому. Обнаружение длится до тех пор, пока один из живых узлов не перестанет считать отказавший узел лидером, выборы — пока один из них не ответит, что он лидер, поиск лидера — пока клиент не получит подтверждение.",
		},
	}
}

func tables() []measure.Table {
	return []measure.Table{
		{
			Title:      measure.Text{En: "Writes", Ru: "Записи"},
			Quantities: []string{"gap.p50", "gap.max", "back.p50", "late", "rounds", "kills", "acknowledged", "unknown", "refused", "checked"},
			Note: measure.Text{
				En: "“Seen late by” is how much of a phase may belong to the one before, on average at most. “Gap” is the longest time without any acknowledgement around a kill; “back” is from the kill until the killed member has been started again and has caught up. Of a write whose outcome is unknown nobody told the client whether it took effect; a refused one did not.",
				Ru: "«Опоздание» показывает, какая часть фазы могла относиться к предыдущей, в среднем не более. «Разрыв» — наибольшее время без подтверждений около отказа; «возврат» — от отказа до того, как отказавший узел запущен снова и догнал лидера. Если исход записи неизвестен, клиент не узнал, подействовала ли она; отклонённая запись не подействовала.",
			},
		},
	}
}

func figures() []measure.Figure {
	return []measure.Figure{
		{
			Name: "phases", Form: measure.Stacked,
			Title: measure.Text{En: "Phases of a failover", Ru: "Фазы отказа"}, Axis: measure.Text{En: "mean time", Ru: "среднее время"},
			Caption: measure.Text{
				En: "Mean time of each phase; together they are the mean time without service.",
				Ru: "Среднее время каждой фазы; вместе они составляют среднее время без обслуживания.",
			},
		},
		{
			Name: "failover", Form: measure.ByLevel, Quantities: []string{"failover.p50", "failover.max"},
			Title: measure.Text{En: "Time without service", Ru: "Время без обслуживания"}, Axis: measure.Text{En: "time", Ru: "время"},
			Caption: measure.Text{
				En: "From the end of the leader to the first acknowledged write, the median and the longest of a trial: medians over the trials with their intervals.",
				Ru: "От отказа лидера до первой подтверждённой записи, медиана и наибольшее время испытания: медианы по испытаниям с доверительными интервалами.",
			},
		},
		{
			Name: "needless", Form: measure.ByLevel, Quantities: []string{"needless"},
			Title: measure.Text{En: "Needless elections", Ru: "Лишние выборы"},
			Caption: measure.Text{
				En: "By how much the term went up in a trial while no leader had been killed: medians over the trials with their intervals.",
				Ru: "На сколько вырос срок за испытание, пока лидера принудительно не завершали: медианы по испытаниям с доверительными интервалами.",
			},
		},
	}
}

func method(cells []*record.CellInfo, w measure.Words) []measure.Item {
	of := func(write func(settings) string) string {
		return measure.Distinct(cells, ", ", func(c *record.CellInfo) string { return write(settingsOf(c)) })
	}
	clients := of(func(s settings) string { return strconv.Itoa(s.Clients) })
	size := of(func(s settings) string { return w.Bytes(uint64(s.ValueSize)) })
	load := measure.Fill(w, measure.Text{
		En: "Closed loop of %s clients that write values of %s, each to keys of its own.",
		Ru: "Замкнутый цикл, число клиентов: %s; каждый пишет значения размером %s в собственные ключи.",
	}, clients, size)
	if rate := of(func(s settings) string {
		if s.Rate == 0 {
			return ""
		}
		return w.Number(s.Rate)
	}); rate != "" {
		load += " " + measure.Fill(w, measure.Text{En: "Together they write at most %s times a second.", Ru: "Вместе они пишут не чаще %s раз в секунду."}, rate)
	}
	items := append([]measure.Item{{Term: w.Say(measure.Text{En: "Load", Ru: "Нагрузка"}), Text: load}}, measure.Protocols(cells, w)...)
	kills := of(func(s settings) string {
		if s.Kills == 0 {
			return ""
		}
		return strconv.Itoa(s.Kills)
	})
	if kills != "" {
		items = append(items, measure.Item{Term: w.Say(measure.Text{En: "Kills", Ru: "Отказы"}), Text: measure.Fill(w, measure.Text{
			En: "In every trial %s times the process that leads is killed (SIGKILL) under load. Time without service counts from just before the signal to the first acknowledgement of a write that was begun once the process was gone, so no answer of the dead leader can end it. Then the process is started again on its data, is awaited until it has caught up, and the load goes on for %s before the next.",
			Ru: "В каждом испытании процесс лидера под нагрузкой принудительно завершают (SIGKILL), число отказов: %s. Время без обслуживания отсчитывается от момента непосредственно перед сигналом до первого подтверждения записи, начатой после конца процесса, поэтому ответ прежнего лидера его завершить не может. Затем процесс запускают снова на его данных, ждут, пока он догонит лидера, и до следующего отказа нагрузка продолжается ещё %s.",
		}, kills, of(func(s settings) string { return w.Duration(experiment.Duration(s.Pause)) }))})
	}
	if watched := of(func(s settings) string {
		if s.Kills > 0 {
			return ""
		}
		return w.Duration(experiment.Duration(s.Duration))
	}); watched != "" {
		items = append(items, measure.Item{Term: w.Say(measure.Text{En: "Watching", Ru: "Наблюдение"}), Text: measure.Fill(w, measure.Text{
			En: "Without kills the group is watched under load for %s.", Ru: "Без отказов группа наблюдается под нагрузкой %s."}, watched)})
	}
	return append(items, verdicts(w)...)
}

func verdicts(w measure.Words) []measure.Item {
	return []measure.Item{
		{Term: w.Say(measure.Text{En: "Needless elections", Ru: "Лишние выборы"}), Text: w.Say(measure.Text{
			En: "By how much the term went up while no leader had been killed: before the first kill, and from the first acknowledgement after one kill to the next. The return of the killed member is among that time.",
			Ru: "На сколько вырос срок, пока лидера принудительно не завершали: до первого отказа и от первого подтверждения после одного отказа до следующего. Возвращение отказавшего узла входит в это время.",
		})},
		{Term: w.Say(measure.Text{En: "Phases", Ru: "Фазы"}), Text: w.Say(measure.Text{
			En: "From just before each kill to the first acknowledgement the members that live on are asked for their state, again 5 ms after each answer. An event counts from the answer that tells it, so it is never too early, and no later than the first acknowledgement. The questions take processor time of the machine that all share.",
			Ru: "От момента перед каждым отказом до первого подтверждения остальные узлы опрашиваются, следующий запрос — через 5 мс после ответа. Событие отмечается по ответу, который о нём сообщает, поэтому никогда не раньше времени и не позже первого подтверждения. Опрос занимает процессор машины, общей для всех.",
		})},
		{Term: w.Say(measure.Text{En: "Acknowledged writes", Ru: "Подтверждённые записи"}), Text: w.Say(measure.Text{
			En: "After each kill every client's last write that was acknowledged before it is read back; no client overwrites it until then. At the end all keys are read: each must hold the last acknowledged write to it, or one that was never acknowledged, which may take effect late.",
			Ru: "После каждого отказа читается последняя подтверждённая до него запись каждого клиента; до этого её никто не перезаписывает. В конце читаются все ключи: в каждом должна быть последняя подтверждённая запись в него или та, что не была подтверждена и могла подействовать позже.",
		})},
	}
}
