package load

import (
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// Kind returns the kind of measurement.
func Kind() *measure.Kind {
	return &measure.Kind{
		Name: Name, Load: true, Accept: accept, Room: room, Run: run, Read: read, Derive: derive, Check: check, Histograms: histograms,
		Gates:      []string{"load", "errors", "client", "leader", "convergence", "acknowledged", "clock"},
		Quantities: quantities(), Lines: lines(), Answer: []string{"latency.p50", "throughput", "latency.p99", "held"}, Main: "latency",
		Columns: columns(), Tables: tables(), Figures: figures(), Method: method, Cautions: cautions,
	}
}

func accept(c experiment.Cell) error {
	spec, err := c.Load.Spec(1)
	if err != nil {
		return err
	}
	return spec.Validate()
}

func quantities() []measure.Quantity {
	count := func(key, column string) measure.Quantity {
		return measure.Quantity{Key: key, Column: column, Unit: measure.Count}
	}
	all := percentiles("latency", "", measure.Text{}, measure.Compared)
	all = append(all,
		measure.Quantity{Key: "throughput", Name: measure.Text{En: "throughput", Ru: "пропускная способность"}, Unit: measure.OpsPerSecond,
			Role: measure.Compared, More: true, Imposed: true, Column: "throughput_ops", Decimals: 2},
		measure.Quantity{Key: "cpu.op", Name: measure.Text{En: "CPU per op", Ru: "процессор на операцию"},
			Long: measure.Text{En: "CPU time of all members per operation", Ru: "процессорное время всех узлов на операцию"},
			Unit: measure.Seconds, Role: measure.Compared, Column: "cpu_per_op_us", Scale: 1e-6, Decimals: 3},
		rampQuantity(),
		count("ops", "ops"), count("errors", "errors"),
		measure.Quantity{Key: "window", Unit: measure.Seconds, Column: "duration_s", Decimals: 3})
	for _, x := range []struct {
		of   string
		name measure.Text
	}{{"write", measure.Text{En: "writes", Ru: "записи"}}, {"read", measure.Text{En: "reads", Ru: "чтения"}}} {
		all = append(all, count(x.of+".ops", x.of+"s"), count(x.of+".errors", x.of+"_errors"))
		all = append(all, percentiles(x.of+".latency", x.of+"_", x.name, measure.Detail)...)
		all = append(all, measure.Quantity{Key: x.of + ".throughput", Name: x.name, Unit: measure.OpsPerSecond})
	}
	return slices.Concat(all, kindQuantities(), []measure.Quantity{
		count("scheduled", "scheduled"),
		{Key: "lag.p99", Name: measure.Text{En: "lag p99", Ru: "опоздание p99"}, Unit: measure.Seconds,
			Column: "lag_p99_us", Scale: 1e-6, Decimals: 3, Of: "lag", PerMille: 990},
		{Key: "syncs", Name: measure.Text{En: "flushes per write", Ru: "сбросов на запись"}, Column: "syncs_per_command", Decimals: 4},
		{Key: "cpu", Name: measure.Text{En: "CPU", Ru: "процессор"}, Unit: measure.Cores, Column: "cpu_cores", Decimals: 3},
		{Key: "peak", Name: measure.Text{En: "peak", Ru: "предел"}, Unit: measure.OpsPerSecond, Column: "peak_ops", Decimals: 2},
		{Key: "rate", Name: measure.Text{En: "scheduled", Ru: "по расписанию"}, Unit: measure.OpsPerSecond},
		{Key: "snapshots", Name: measure.Text{En: "snapshots", Ru: "снимков"}, Column: "snapshots"},
		{Key: "snapshot.time", Name: measure.Text{En: "time of a snapshot", Ru: "время снимка"}, Unit: measure.Seconds, Column: "snapshot_ms", Scale: 1e-3, Decimals: 3},
	}, memberQuantities(), machineQuantities())
}

// lines are what a trial's timeline has.
func lines() []measure.Line {
	return []measure.Line{
		{Key: "throughput", Name: measure.Text{En: "throughput", Ru: "пропускная способность"}, Unit: measure.OpsPerSecond, Level: true},
		{Key: "latency.p50", Name: measure.Text{En: "p50", Ru: "p50"}, Unit: measure.Seconds, Level: true, PerMille: 500},
		{Key: "latency.p99", Name: measure.Text{En: "p99", Ru: "p99"}, Unit: measure.Seconds, PerMille: 990},
		{Key: "offered", Name: measure.Text{En: "offered load", Ru: "интенсивность"}, Unit: measure.OpsPerSecond},
		{Key: "cpu", Name: measure.Text{En: "CPU of the members", Ru: "процессор узлов"}, Unit: measure.Cores},
		{Key: "written", Name: measure.Text{En: "written to the disk", Ru: "запись на диск"}, Unit: measure.BytesPerSecond},
		{Key: "syncs", Name: measure.Text{En: "flushes of the log stores", Ru: "сбросы хранилищ журнала"}, Unit: measure.PerSecond},
	}
}

// percentiles are the quantities of a latency distribution. The middle is compared,
// the tail has that role.
func percentiles(of, column string, prefix measure.Text, role measure.Role) []measure.Quantity {
	middle := measure.Detail
	if role > measure.Detail {
		middle = measure.Compared
	}
	latency := func(name, nameRu, key, suffix string, perMille int, role measure.Role) measure.Quantity {
		q := measure.Quantity{
			Key: of + "." + key, Unit: measure.Seconds, Role: role, Column: column + suffix + "_us", Scale: 1e-6, Decimals: 3,
			Name: measure.Text{En: strings.TrimSpace(prefix.En + " " + name), Ru: strings.TrimSpace(prefix.Ru + " " + nameRu)},
		}
		if perMille > 0 {
			q.Of, q.PerMille = of, perMille
		}
		return q
	}
	p50 := latency("p50", "p50", "p50", "p50", 500, middle)
	p50.Long = measure.Text{En: "median latency (p50)", Ru: "медиана задержки (p50)"}
	p99 := latency("p99", "p99", "p99", "p99", 990, role)
	p99.Long = measure.Text{En: "99th percentile of latency (p99)", Ru: "99-й перцентиль задержки (p99)"}
	return []measure.Quantity{
		latency("mean", "среднее", "mean", "mean", 0, measure.Detail),
		p50,
		latency("p90", "p90", "p90", "p90", 900, measure.Detail),
		p99,
		latency("p99.9", "p99,9", "p999", "p999", 999, measure.Detail),
		latency("max", "макс.", "max", "max", 1000, measure.Detail),
		{Key: of + ".samples", Column: column + "samples"},
		{Key: of + ".effective", Name: measure.Text{
			En: strings.TrimSpace(prefix.En + " effective samples"), Ru: strings.TrimSpace(prefix.Ru + " независимых измерений"),
		}, Column: column + "effective_samples"},
	}
}

func keySize(c *record.CellInfo) int { return len(workload.Spec{KeyBytes: c.Load.KeySize}.Key(0)) }

func columns() []measure.Setting {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return []measure.Setting{
		{Column: "clients", Of: func(c *record.CellInfo) string { return strconv.Itoa(c.Load.Clients) }},
		{Column: "rate", Of: func(c *record.CellInfo) string { return number(c.Load.Rate) }},
		{Column: "key_size", Of: func(c *record.CellInfo) string { return strconv.Itoa(keySize(c)) }},
		{Column: "value_size", Of: func(c *record.CellInfo) string { return strconv.Itoa(c.Load.ValueSize) }},
		{Column: "client", Of: measure.Protocol},
		{Column: "read_ratio", Of: func(c *record.CellInfo) string { return number(c.Load.Shares().Reads()) }},
	}
}

func tables() []measure.Table {
	return append([]measure.Table{
		rampTable(),
		kindTable(),
		machineTable(),
		{
			Title:      measure.Text{En: "Latency in detail", Ru: "Задержка подробно"},
			Quantities: []string{"latency.mean", "latency.p90", "latency.p999", "latency.max", "latency.effective", "cpu", "syncs", "lag.p99", "peak", "rate", "snapshots", "snapshot.time"},
			OverTime:   "throughput",
			Note: measure.Text{
				En: "Each figure is the median over the trials. Effective samples are how many of the operations count as independent where the tail is concerned: slow ones come together. CPU and flushes include the warm-up; flushes are the mean over the members. “Over time” is throughput along the window, all trials added up, from zero.",
				Ru: "Каждое значение — медиана по испытаниям. Независимых измерений столько, скольким независимым операциям равноценны измеренные в хвосте распределения: медленные операции идут подряд. Процессор и сбросы учтены вместе с прогревом; сбросы усреднены по узлам. «Во времени» — пропускная способность на протяжении окна, сумма по всем испытаниям, от нуля.",
			},
		},
	}, memberTables()...)
}

func figures() []measure.Figure {
	latency := measure.Text{En: "latency", Ru: "задержка"}
	return []measure.Figure{
		{
			Name: "levels", Form: measure.ByLevel, Quantities: []string{"latency.p50", "latency.p99"}, Axis: latency,
			Title: measure.Text{En: "Latency", Ru: "Задержка"},
			Caption: measure.Text{
				En: "p50 and p99 of the latency: medians over the trials with their intervals.",
				Ru: "p50 и p99 задержки: медианы по испытаниям с доверительными интервалами.",
			},
		},
		{
			Name: "throughput", Form: measure.Against, Quantities: []string{"throughput", "latency.p50", "latency.p99"}, Axis: latency,
			Title: measure.Text{En: "Throughput and latency", Ru: "Пропускная способность и задержка"},
			Caption: measure.Text{
				En: "p50 and p99 of the latency against throughput: medians over the trials with their intervals.",
				Ru: "p50 и p99 задержки в зависимости от пропускной способности: медианы по испытаниям с доверительными интервалами.",
			},
		},
		rampFigure(),
		{
			Name: "latency", Form: measure.Percentiles, Quantities: []string{"latency"}, Axis: latency,
			Title: measure.Text{En: "Latency distribution", Ru: "Распределение задержки"},
			Caption: measure.Text{
				En: "Latency by percentile, all valid trials of a cell together. The percentile axis stretches the tail: each step divides what lies beyond by ten. A curve ends where fewer than 10 samples lie beyond it.",
				Ru: "Задержка по перцентилям, все достоверные испытания ячейки вместе. Ось перцентилей растягивает хвост распределения: каждое деление уменьшает оставшуюся за ним долю в десять раз. Кривая обрывается там, где за ней лежит меньше 10 измерений.",
			},
		},
		{
			Name: "time", Form: measure.OverTime, Quantities: []string{"offered", "throughput", "latency.p50", "latency.p99", "cpu", "written", "syncs"},
			Title: measure.Text{En: "Over time", Ru: "Ход испытаний во времени"},
			Axis:  measure.Text{En: "time since the window opened", Ru: "время от начала окна"},
			Caption: measure.Text{
				En: "The warm-up lies before zero. Latency is that of the operations that were to start in a step, throughput that of those that completed in it; CPU and flushes are of all members together, bytes what the disk took from all.",
				Ru: "Прогрев лежит левее нуля. Задержка относится к операциям, которые должны были начаться на шаге, пропускная способность — к завершившимся на нём; процессор и сбросы — всех узлов вместе, запись — всё, что принял диск.",
			},
		},
		{
			Name: "cpu", Form: measure.ByLevel, Quantities: []string{"cpu.op"},
			Title: measure.Text{En: "CPU time per operation", Ru: "Процессорное время на операцию"},
			Axis:  measure.Text{En: "CPU time", Ru: "процессорное время"},
			Caption: measure.Text{
				En: "CPU time of all members per operation, warm-up included: medians over the trials with their intervals.",
				Ru: "Процессорное время всех узлов на операцию, с прогревом: медианы по испытаниям с доверительными интервалами.",
			},
		},
		{
			Name: "ecdf", Form: measure.Cumulative, Quantities: []string{"latency"}, Axis: latency,
			Title: measure.Text{En: "Empirical distribution function of latency", Ru: "Эмпирическая функция распределения задержки"},
			Caption: measure.Text{
				En: "The share of operations that took no longer, all valid trials of a cell together.",
				Ru: "Доля операций, занявших не больше времени; все достоверные испытания ячейки вместе.",
			},
		},
	}
}

// cautions says that a percentile may be of several kinds of operations.
func cautions(cells []*record.CellInfo) []measure.Text {
	mixed := func(c *record.CellInfo) bool { return len(c.Load.Shares().Kinds()) > 1 && !c.Load.Ramps() }
	if !slices.ContainsFunc(cells, mixed) {
		return nil
	}
	return []measure.Text{{
		En: "Here p50 and p99 are of all kinds of operations together; a table below has each kind by itself.",
		Ru: "Здесь p50 и p99 относятся ко всем видам операций вместе; ниже есть таблица, где они разделены.",
	}}
}

// method says how the figures came about.
func method(cells []*record.CellInfo, w measure.Words) []measure.Item {
	of := func(write func(*record.CellInfo) string) string { return measure.Distinct(cells, ", ", write) }
	reads := of(func(c *record.CellInfo) string {
		return w.Term(c.ReadLevel)
	})
	items := []measure.Item{
		{Term: w.Say(measure.Text{En: "Load", Ru: "Нагрузка"}), Text: loadText(cells, w)},
		{Term: w.Say(measure.Text{En: "Windows", Ru: "Окна"}), Text: measure.Fill(w, measure.Text{
			En: "Warm-up %s; measured window %s.", Ru: "Прогрев %s; окно измерения %s.",
		}, measure.Ascending(cells, ", ", func(c *record.CellInfo) experiment.Duration { return c.Load.Warmup }, func(c *record.CellInfo) string { return w.Duration(c.Load.Warmup) }),
			measure.Ascending(cells, ", ", func(c *record.CellInfo) experiment.Duration { return c.Load.Duration }, func(c *record.CellInfo) string { return windowText(&c.Load, w) })) + warmText(cells, w)},
		{Term: w.Say(measure.Text{En: "Acknowledgement of a write", Ru: "Подтверждение записи"}),
			Text: measure.Distinct(cells, "; ", func(c *record.CellInfo) string { return w.Term(c.Acknowledgement) }) + "."},
	}
	items = append(items, measure.Item{Term: w.Say(measure.Text{En: "Leader", Ru: "Лидер"}), Text: w.Say(measure.Text{
		En: "The first member leads: where another was elected, leadership was transferred to it before the load; in one process it is told to stand for election. A trial that another member leads, or in which the leader or its term changes, is invalid.",
		Ru: "Лидер — первый узел: если избран другой, лидерство передаётся первому до начала нагрузки; в одном процессе ему велят выдвинуть себя. Испытание, которым руководит другой узел либо в котором меняется лидер или его срок, недостоверно.",
	})})
	if ramp := rampText(cells, w); ramp != "" {
		items = append(items, measure.Item{Term: w.Say(measure.Text{En: "Ramp", Ru: "Изменение интенсивности"}), Text: ramp})
	}
	items = append(items, measure.Protocols(cells, w)...)
	if reads != "" {
		items = append(items, measure.Item{Term: w.Say(measure.Text{En: "Reads", Ru: "Чтение"}), Text: reads + "."})
	}
	return append(items, measure.Item{Term: w.Say(measure.Text{En: "Latency", Ru: "Задержка"}), Text: w.Say(measure.Text{
		En: "From the start of an operation as its client meant it to its acknowledgement, in HDR histograms of 3 significant digits. A failed operation counts as slower than all others in every percentile: as having taken the operation timeout, or as long as the slowest that was answered if that was longer; the mean is of those that were answered. A cell’s percentile is the median over its trials of each trial’s percentile; percentiles are never averaged. Slow operations come together, so a percentile is marked as unreliable by how many of the samples beyond it count as independent: by the index of dispersion of their counts in steps of 100 ms (Cox and Lewis, 1966) and the autocorrelation of these (Bayley and Hammersley, 1946). The distributions in the plots are of all valid trials of a cell together.",
		Ru: "Задержка отсчитывается от намеченного клиентом начала операции до её подтверждения и хранится в гистограммах HDR с тремя значащими цифрами. Операция, завершившаяся ошибкой, в каждом перцентиле считается самой медленной: ей приписывается предельное время операции или задержка самой медленной из выполненных, если та больше; среднее относится к выполненным. Перцентиль ячейки — медиана перцентилей её испытаний; сами перцентили никогда не усредняются. Медленные операции идут подряд, поэтому о надёжности перцентиля судят по числу независимых измерений за ним: по индексу дисперсии их количества на шагах по 100 мс (Cox и Lewis, 1966) и по автокорреляции этих количеств (Bayley и Hammersley, 1946). Распределения на графиках построены по всем достоверным испытаниям ячейки вместе.",
	})})
}

func loadText(cells []*record.CellInfo, w measure.Words) string {
	of := func(write func(*record.CellInfo) string) string { return measure.Distinct(cells, ", ", write) }
	open := func(write func(*record.CellInfo) string) string {
		return of(func(c *record.CellInfo) string {
			if !c.Load.Open() {
				return ""
			}
			return write(c)
		})
	}
	clients := func(c *record.CellInfo) int { return c.Load.Clients }
	nodes := func(c *record.CellInfo) int { return c.Cluster.Nodes }
	closed := measure.Ascending(cells, ", ", clients, func(c *record.CellInfo) string {
		if c.Load.Open() {
			return ""
		}
		return strconv.Itoa(c.Load.Clients)
	})
	var texts []string
	if closed != "" {
		texts = append(texts, measure.Fill(w, measure.Text{
			En: "Closed loop of %s clients: each starts its next operation when the last one is answered.",
			Ru: "Замкнутый цикл, число клиентов: %s; каждый начинает следующую операцию, когда получит ответ на предыдущую.",
		}, closed))
	}
	if rate := open(func(c *record.CellInfo) string { return rateText(&c.Load, w) }); rate != "" {
		texts = append(texts, measure.Fill(w, measure.Text{
			En: "Open loop of %s, arriving %s: operations start on schedule, whether or not earlier ones were answered, and latency counts from the scheduled start.",
			Ru: "Открытый цикл, %s, %s: операции начинаются по расписанию независимо от ответов на прежние, и задержка отсчитывается от запланированного начала.",
		}, rate, open(func(c *record.CellInfo) string { return w.Term(c.Load.Arrival) })))
	}
	texts = append(texts, operationsText(cells, w)...)
	return strings.Join(append(texts, measure.Fill(w, measure.Text{
		En: "Group of %s voters, %s.", Ru: "Голосующих узлов: %s, %s.",
	}, measure.Ascending(cells, ", ", nodes, func(c *record.CellInfo) string { return strconv.Itoa(c.Cluster.Nodes) }),
		of(func(c *record.CellInfo) string { return w.Term(c.Cluster.Mode) }))), " ")
}
