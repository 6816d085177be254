package load

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/model"
	"github.com/themilchenko/raftlab/bench/record"
)

// frameBytes is about what a log entry has beside its key and value: term, index, type,
// checksum and the command's own lengths.
const frameBytes = 64

// derive sets durable writes against what the machine allows. A trial of a session that
// was not calibrated so, or without writes, gets nothing.
func derive(trials []measure.Measured) {
	about, machines := neighbours(trials), machines(trials)
	for _, t := range trials {
		machine, calibrated := machines[t.Session]
		p50, wrote := t.Values.Of(measure.Quantity{Of: "write.latency", PerMille: 500})
		if !calibrated || !wrote || t.Cell.Durability != "disk" || !t.Cell.Load.Shares().Plain() {
			continue
		}
		c := caseOf(t.Cell)
		c.Flushes = int(math.Round(median(about.syncs[like(t.Cell, true)])))
		put := func(key string, value float64) { t.Values.Scalars[key] = value }
		if t.Cell.Load.Rate == 0 {
			floor := machine.Floor(c)
			put("floor", floor)
			put("floor.ratio", p50/floor)
		}
		syncs, counted := t.Values.Scalars["syncs"]
		use := machine.Use(c, t.Values.Scalars["write.throughput"], syncs, t.Values.Scalars["cpu"])
		if counted {
			put("roof.flushes", 100*use.Flushes)
		}
		put("roof.disk", 100*use.Disk)
		if c.Wire {
			put("roof.wire", 100*use.Wire)
		}
		put("roof.cpu", 100*use.CPU)

		if c.Flushes < 1 || t.Cell.Load.Rate > 0 || !justWrites(t.Cell) {
			continue
		}
		inMemory := about.memory[like(t.Cell, false)]
		if len(inMemory) > 0 {
			c.Rest = max(0, median(inMemory)-machine.Messages(c))
		}
		c.CPU = t.Values.Scalars["cpu.op"]
		low, high := machine.Latency(c)
		put("expected.low", low)
		put("expected.high", high)
		if low == high {
			way := machine.Way(c)
			put(ExpectedLogs, way.Logs.Median())
			put(ExpectedMessages, way.Messages)
			put(ExpectedOthers, way.Others)
		}
		if low == high && len(inMemory) > 0 { // without, what is missing is the program's own share
			put("expected.error", 100*(p50/low-1))
		}
	}
}

// Values that derive gives each trial of one client, for those who measured the parts: what
// writes of logs, messages between members and all else should take of its latency.
const (
	ExpectedLogs     = "expected.logs"
	ExpectedMessages = "expected.messages"
	ExpectedOthers   = "expected.others"
)

// machines are those of the sessions that were calibrated, with flushes as all probes
// before the trials found them.
func machines(trials []measure.Measured) map[*record.Session]model.Machine {
	probes := map[*record.Session][]record.Probe{}
	for _, t := range trials {
		probes[t.Session] = append(probes[t.Session], t.Probe)
	}
	out := map[*record.Session]model.Machine{}
	for session, of := range probes {
		if machine, calibrated := model.MachineOf(*session, of); calibrated {
			out[session] = machine
		}
	}
	return out
}

func caseOf(c *record.CellInfo) model.Case {
	return model.Case{
		Nodes: c.Cluster.Nodes, Clients: c.Load.Clients, Wire: c.Wire, Processes: c.Cluster.Mode != experiment.ModeInProcess,
		Overlapped: overlapped(c), Bytes: float64(keySize(c) + c.Load.ValueSize + frameBytes),
	}
}

// overlapped reports whether the leader writes its log while it replicates. Runs before
// members said so had the engine's default, which is not to.
func overlapped(c *record.CellInfo) bool {
	return cmp.Or(c.Runs["raft.persistence"], c.Raft.Persistence) == "overlapped"
}

// justWrites reports whether all operations are writes of one key to the leader.
func justWrites(c *record.CellInfo) bool {
	m := c.Load.Shares()
	return m.Plain() && m.Read == 0 && (c.Load.Target == "" || c.Load.Target == experiment.TargetLeader)
}

// known is what cells of one client tell of those beside them, by like.
type known struct {
	syncs  map[string][]float64 // flushes of an append: nothing is batched there
	memory map[string][]float64 // seconds of a write that no disk holds up
}

func neighbours(trials []measure.Measured) known {
	k := known{map[string][]float64{}, map[string][]float64{}}
	for _, t := range trials {
		if !t.Valid || t.Cell.Load.Clients != 1 || t.Cell.Load.Rate > 0 || !justWrites(t.Cell) {
			continue
		}
		if syncs, counted := t.Values.Scalars["syncs"]; counted {
			k.syncs[like(t.Cell, true)] = append(k.syncs[like(t.Cell, true)], syncs)
		}
		p50, measured := t.Values.Of(measure.Quantity{Of: "write.latency", PerMille: 500})
		if measured && t.Cell.Durability == "nothing" {
			k.memory[like(t.Cell, false)] = append(k.memory[like(t.Cell, false)], p50)
		}
	}
	return k
}

// like names all that a cell has in common with those that differ from it in the number
// of clients, and in how the log is stored too if that is not to be the same.
func like(c *record.CellInfo, sameStore bool) string {
	x := c.Cell
	x.ID, x.Levels, x.Load.Clients = "", nil, 0
	if !sameStore {
		x.Cluster.Backend, x.Options, x.Raft.Persistence = "", nil, ""
	}
	text, err := json.Marshal(x)
	if err != nil {
		return c.ID // like nothing else
	}
	return string(text)
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	of = slices.Sorted(slices.Values(of))
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

// machineQuantities are what derive gives.
func machineQuantities() []measure.Quantity {
	time := func(key, en, ru, column string) measure.Quantity {
		return measure.Quantity{Key: key, Name: measure.Text{En: en, Ru: ru}, Unit: measure.Seconds, Column: column, Scale: 1e-6, Decimals: 3}
	}
	percent := func(key, en, ru, column string) measure.Quantity {
		return measure.Quantity{Key: key, Name: measure.Text{En: en, Ru: ru}, Unit: measure.Percent, Column: column, Decimals: 2}
	}
	return []measure.Quantity{
		time("floor", "floor", "нижняя граница", "floor_us"),
		{Key: "floor.ratio", Name: measure.Text{En: "p50 to floor", Ru: "p50 к нижней границе"}, Column: "floor_ratio", Decimals: 3},
		time("expected.low", "expected from", "ожидается от", "expected_low_us"),
		time("expected.high", "to", "до", "expected_high_us"),
		percent("expected.error", "p50 off by", "p50 отличается на", "expected_error_percent"),
		percent("roof.flushes", "flushes", "сбросы", "roof_flushes_percent"),
		percent("roof.disk", "disk bytes", "байты на диск", "roof_disk_percent"),
		percent("roof.wire", "wire", "сеть", "roof_wire_percent"),
		percent("roof.cpu", "CPU", "процессор", "roof_cpu_percent"),
	}
}

// machineTable sets the cells against the machine.
func machineTable() measure.Table {
	return measure.Table{
		Title:      measure.Text{En: "Against the machine", Ru: "Сравнение с возможностями машины"},
		Quantities: []string{"floor", "floor.ratio", "expected.low", "expected.high", "expected.error"},
		Greatest: measure.Greatest{
			Name:       measure.Text{En: "nearest roof", Ru: "ближайшее ограничение"},
			Quantities: []string{"roof.flushes", "roof.disk", "roof.wire", "roof.cpu"},
		},
		Result: true, Sparse: true,
		Method: measure.Text{
			En: "L is the leader’s flush, F a follower’s, RTT a round trip, as calibrated with as many writers on the disk, of pages where a store flushes more than once for an append and else of 512 B: rates by the calibration, times by all probes before the trials together. Medians are of the sums of distributions, flushes independent of each other. Floor: the majority-th fastest of L and RTT + F of each follower, one flush each. Expected of one client: f·L + RTT + the fastest followers’ f·F that make a majority (Raft dissertation, §3.5), where the leader’s write is overlapped the later of f·L and that of the followers (§10.2.1), f being the flushes of an append; added is what a write takes in the in-memory cell, less its RTT. L, F and RTT of one client are there those of rounds of a group that does nothing but flush, send and answer, as the probes before the trials found them; and each write that the commit waits for has a hand-over to a goroutine that has slept through a flush, two more where messages are hand-overs, and two with a client of its own process. Of more clients, bounds: log stores serve all that waits at once (Bailey, 1954), so a write waits at most for the service under way (Kleinrock, 1975, §5.2: residual life) at each station, and for clients × CPU per operation / cores (asymptotic bounds: Lazowska et al., 1984, §5.2). Use of a roof: throughput × demand (utilization law: Denning and Buzen, 1978).",
			Ru: "L — сброс лидера, F — сброс ведомого, RTT — круговая задержка, по калибровке с тем же числом одновременно пишущих: страницами, если хранилище делает несколько сбросов на одно добавление, иначе по 512 Б: частоты — по калибровке, длительности — по всем контрольным замерам перед испытаниями вместе. Медианы взяты от сумм распределений, сбросы считаются независимыми. Нижняя граница: момент, когда из L и RTT + F каждого ведомого завершилось большинство, по одному сбросу. Ожидание для одного клиента: f·L + RTT + f·F самых быстрых ведомых, составляющих большинство (диссертация Raft, §3.5), а если запись лидера идёт одновременно с репликацией — более позднее из f·L и записи ведомых (§10.2.1); f — число сбросов на одно добавление; к этому прибавлено время записи в ячейке с хранилищем в памяти без её RTT. L, F и RTT для одного клиента здесь — по раундам группы, которая только сбрасывает, посылает и отвечает, по контрольным замерам перед испытаниями; на каждую запись журнала, которой ждёт фиксация, приходится передача горутине, проспавшей сброс, ещё две — если сообщения суть передачи между горутинами, и две — если клиент в отдельном процессе. Для большего числа клиентов — границы: журнал обслуживает сразу всех ожидающих (Bailey, 1954), поэтому запись ждёт на каждой станции не дольше текущего обслуживания (Kleinrock, 1975, §5.2: остаточное время), а также число клиентов × процессорное время операции / ядра (асимптотические границы: Lazowska и др., 1984, §5.2). Использование ресурса: пропускная способность × потребность (закон использования: Denning и Buzen, 1978).",
		},
		Note: measure.Text{
			En: "Floor: the median of a durable write that no implementation undercuts on this machine, as it was when the trials began. Expected: by the way that a write goes, the flushes of this store and what an in-memory cell took. The nearest roof is what was used most of all that the machine can give; far below 100 %, the order of the steps holds a write up and no resource. Where p50 is off by more than 15 %, measure = \"anatomy\" with the same cell shows in which stage; without a cell with an in-memory store beside it, the program’s own share is not known, and p50 is set against nothing. Cells that store nothing on disk are not here; without a figure are those that count no flushes or have no cell of one client beside them.",
			Ru: "Нижняя граница — медиана задержки записи с сохранением на диск, ниже которой на этой машине не опустится никакая реализация, по её состоянию к началу испытаний. Ожидается — по пути записи, числу сбросов этого хранилища и времени ячейки с хранилищем в памяти. Ближайшее ограничение — та из возможностей машины, которая использована сильнее всего; если это намного меньше 100 %, запись сдерживает порядок шагов, а не ресурс. Если p50 отличается больше чем на 15 %, measure = \"anatomy\" с той же ячейкой покажет, на каком этапе; без ячейки с хранилищем в памяти собственная доля программы неизвестна, и p50 не сравнивается. Ячеек, которые ничего не хранят на диске, здесь нет; без значения остались те, что не считают сбросов или не имеют рядом ячейки с одним клиентом.",
		},
	}
}
