package load

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// operationsText says which operations the clients carry out, and on which keys and values.
func operationsText(cells []*record.CellInfo, w measure.Words) []string {
	of := func(write func(*record.CellInfo) string) string { return measure.Distinct(cells, "; ", write) }
	texts := []string{
		measure.Fill(w, measure.Text{En: "Operations: %s.", Ru: "Операции: %s."}, of(func(c *record.CellInfo) string { return mixText(&c.Load, w) })),
		measure.Fill(w, measure.Text{
			En: "Values of %s; %s keys of %s, chosen %s.", Ru: "Размер значения: %s; ключей: %s, размер ключа: %s; выбираются %s.",
		}, measure.Ascending(cells, "; ", func(c *record.CellInfo) int { return c.Load.ValueSize }, func(c *record.CellInfo) string { return sizesText(&c.Load, w) }),
			measure.Ascending(cells, "; ", func(c *record.CellInfo) int { return c.Load.Keys }, func(c *record.CellInfo) string { return strconv.Itoa(c.Load.Keys) }),
			of(func(c *record.CellInfo) string { return w.Bytes(uint64(keySize(c))) }),
			of(func(c *record.CellInfo) string { return keysText(&c.Load, w) })),
	}
	asked := of(func(c *record.CellInfo) string { return targetText(c.Load.Target, w) })
	if !strings.HasPrefix(asked, targetText("", w)) || strings.Contains(asked, "; ") {
		texts = append(texts, measure.Fill(w, measure.Text{En: "Clients ask %s.", Ru: "Клиенты обращаются: %s."}, asked))
	}
	every := of(func(c *record.CellInfo) string {
		if c.Load.SnapshotEvery == 0 {
			return ""
		}
		return w.Duration(c.Load.SnapshotEvery)
	})
	if every != "" {
		texts = append(texts, measure.Fill(w, measure.Text{
			En: "Under the load all members are told to write a snapshot, every %s.",
			Ru: "Под нагрузкой всем узлам велено снимать снимок состояния, каждые %s.",
		}, every))
	}
	return texts
}

// mixText says the shares of the kinds of operations.
func mixText(l *experiment.Load, w measure.Words) string {
	m, n := l.Shares(), strconv.Itoa(cmp.Or(l.BatchSize, experiment.DefaultBatchSize))
	length := cmp.Or(l.ScanLength, experiment.DefaultScanLength)
	var parts []string
	for _, x := range []struct {
		share float64
		name  measure.Text
	}{
		{m.Read, measure.Text{En: "reads", Ru: "чтения"}},
		{m.Write, measure.Text{En: "writes", Ru: "записи"}},
		{m.Insert, measure.Text{En: "inserts of new keys", Ru: "вставки новых ключей"}},
		{m.Scan, measure.Text{En: "scans of " + length + " keys in order", Ru: "просмотры " + length + " ключей по порядку"}},
		{m.ReadModifyWrite, measure.Text{En: "reads followed by a write of the same key", Ru: "чтения с последующей записью того же ключа"}},
		{m.CompareAndSet, measure.Text{En: "reads followed by a write on the condition that nothing has come between, both repeated until it holds",
			Ru: "чтения с последующей записью при условии, что значение не менялось; повторяются, пока условие не выполнится"}},
		{m.Batch, measure.Text{En: "batches of " + n + " writes in one log entry", Ru: "пакеты из " + n + " записей в одной записи журнала"}},
	} {
		if x.share > 0 {
			parts = append(parts, w.Number(100*x.share)+" % "+w.Say(x.name))
		}
	}
	text := strings.Join(parts, ", ")
	if l.Preset != "" {
		text = strings.ToUpper(strings.Replace(l.Preset, "-", " ", 1)) + ": " + text
	}
	return text
}

// sizesText says how large values are.
func sizesText(l *experiment.Load, w measure.Words) string {
	if l.ValueSizes == "" {
		return w.Bytes(uint64(max(0, l.ValueSize)))
	}
	russian := strings.NewReplacer("lognormal median", "логнормально: медиана", "sigma", "σ", "max", "не более", "..", "–",
		"KiB", " КиБ", "MiB", " МиБ", "GiB", " ГиБ", "kB", " кБ", "MB", " МБ", "GB", " ГБ", "B", " Б", ".", ",", "%", " %").Replace(l.ValueSizes)
	return measure.Fill(w, measure.Text{En: "%[1]s (mean %[3]s)", Ru: "%[2]s (в среднем %[3]s)"}, l.ValueSizes, russian, w.Bytes(uint64(max(0, l.ValueSize))))
}

// keysText says which keys operations take.
func keysText(l *experiment.Load, w measure.Words) string {
	exponent := w.Number(cmp.Or(l.ZipfExponent, workload.DefaultZipfExponent))
	switch l.KeyDistribution {
	case workload.Zipf:
		return measure.Fill(w, measure.Text{
			En: "by Zipf’s law with exponent %s, the popular ones scattered", Ru: "по закону Ципфа с показателем %s, популярные рассеяны",
		}, exponent)
	case workload.Latest:
		return measure.Fill(w, measure.Text{
			En: "by age: the newest is the most popular, by Zipf’s law with exponent %s", Ru: "по возрасту: чем новее, тем популярнее, по закону Ципфа с показателем %s",
		}, exponent)
	case workload.HotSpot:
		percent := func(x, otherwise float64) string { return w.Number(100*cmp.Or(x, otherwise)) + " %" }
		text := measure.Fill(w, measure.Text{
			En: "so that %[2]s of the operations go to %[1]s of them", Ru: "так, что на %[1]s из них приходится %[2]s операций",
		}, percent(l.HotKeys, experiment.DefaultHotKeys), percent(l.HotOperations, experiment.DefaultHotOperations))
		if l.HotMoves > 0 {
			text += measure.Fill(w, measure.Text{En: ", others every %s", Ru: ", каждые %s — на другие"}, w.Duration(l.HotMoves))
		}
		return text
	}
	return w.Term(l.KeyDistribution)
}

// targetText says whom clients ask.
func targetText(target string, w measure.Words) string {
	switch target {
	case experiment.TargetFollowers:
		return w.Say(measure.Text{En: "the followers, each its own", Ru: "ведомые узлы, каждый — к своему"})
	case experiment.TargetAll:
		return w.Say(measure.Text{En: "all members, each its own", Ru: "все узлы, каждый — к своему"})
	}
	return w.Say(measure.Text{En: "the leader", Ru: "лидер"})
}

// windowText says how long the measured window is.
func windowText(l *experiment.Load, w measure.Words) string {
	if l.Operations > 0 {
		return measure.Fill(w, measure.Text{En: "until %d operations have ended", Ru: "до завершения %d операций"}, l.Operations)
	}
	return w.Duration(l.Duration)
}

// warmText says how many operations come before the warm-up.
func warmText(cells []*record.CellInfo, w measure.Words) string {
	of := func(c *record.CellInfo) int64 { return c.WarmupOperations }
	said := measure.Ascending(cells, ", ", of, func(c *record.CellInfo) string { return strconv.FormatInt(of(c), 10) })
	if said == "0" {
		return ""
	}
	return measure.Fill(w, measure.Text{
		En: " Before that, operations of the same load, for code that is compiled while it runs, in a closed loop of %[2]d clients or, where there are more, of all: %[1]s.",
		Ru: " До этого — операции той же нагрузки, для кода, который компилируется по ходу работы; в замкнутом цикле, число клиентов: %[2]d или, если их больше, все; операций: %[1]s.",
	}, said, warmClients)
}

// rateText says how much load an open loop offers.
func rateText(l *experiment.Load, w measure.Words) string {
	if l.PeakShare > 0 {
		return measure.Fill(w, measure.Text{
			En: "%s of the throughput of a closed loop of %d clients, with which each trial begins, for as long",
			Ru: "%s от пропускной способности замкнутого цикла с числом клиентов %d, которым такой же длительности начинается каждое испытание",
		}, w.Number(100*l.PeakShare)+" %", l.Clients)
	}
	if l.Ramps() {
		return measure.Fill(w, measure.Text{
			En: "a rate that goes from %s to %s op/s over the window, after a warm-up at the first",
			Ru: "интенсивность меняется за окно с %s до %s оп/с, прогрев — при первой",
		}, w.Number(l.Rate), w.Number(l.RateTo))
	}
	return w.Number(l.Rate) + " " + w.Say(measure.Text{En: "op/s", Ru: "оп/с"})
}
