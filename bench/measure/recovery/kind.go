package recovery

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// Name is what experiments and records call the kind, and version the form of its data.
const (
	Name    = "recovery"
	version = 1
)

// settings are the [recovery] table of an experiment.
type settings struct {
	Keys      int `key:"keys" min:"1" max:"1000000000" doc:"how many the group holds"`
	ValueSize int `key:"value_size" min:"1" max:"1048576" unit:"bytes" doc:"of each key"`
	Passes    int `key:"passes" min:"1" max:"10000" doc:"how often each key is written; more make the log longer, and not the state"`
}

func defaults() settings { return settings{Keys: 100_000, ValueSize: 100, Passes: 1} }

// Data is what one trial measured.
type Data struct {
	Keys   int64 `json:"keys"`
	Passes int   `json:"passes"`
	FillNS int64 `json:"fill_ns"`

	EmptyBytes     []int64 `json:"empty_bytes"` // memory of each member before the fill, and after it
	FullBytes      []int64 `json:"full_bytes"`
	RestartedBytes int64   `json:"restarted_bytes"` // of the one that was restarted

	SnapshotNS  int64 `json:"snapshot_ns"`
	QuietNS     int64 `json:"quiet_ns"` // the longest write of a client alone, before the snapshot
	QuietWrites int64 `json:"quiet_writes"`
	StallNS     int64 `json:"stall_ns"` // and during it
	StallWrites int64 `json:"stall_writes"`

	RestartNS int64 `json:"restart_ns"` // from the start of the process until it had caught up
	JoinNS    int64 `json:"join_ns"`    // from the removal of a member until an empty one had caught up; 0: not measured
}

func (d *Data) validate(brokenOff bool) error {
	numbers := append(slices.Concat(d.EmptyBytes, d.FullBytes), d.FillNS, d.RestartedBytes, d.SnapshotNS, d.QuietNS, d.QuietWrites,
		d.StallNS, d.StallWrites, d.RestartNS, d.JoinNS)
	if slices.Min(numbers) < 0 || d.Keys < 1 || d.Passes < 1 {
		return fmt.Errorf("recovery: a length or count below zero, or no keys")
	}
	if !brokenOff && min(d.FillNS, d.SnapshotNS, d.RestartNS, d.RestartedBytes) == 0 {
		return fmt.Errorf("recovery: a step that took no time, and no failure")
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
	put := func(key string, value float64) {
		if value > 0 {
			v.Scalars[key] = value
		}
	}
	seconds := func(key string, ns int64) { put(key, time.Duration(ns).Seconds()) }
	seconds("fill", d.FillNS)
	seconds("snapshot", d.SnapshotNS)
	seconds("quiet", d.QuietNS)
	seconds("stall", d.StallNS)
	seconds("restart", d.RestartNS)
	seconds("join", d.JoinNS)
	if d.FillNS > 0 {
		put("fill.rate", float64(d.Keys)*float64(d.Passes)/time.Duration(d.FillNS).Seconds())
	}
	if d.JoinNS > 0 {
		put("join.rate", float64(d.Keys)/time.Duration(d.JoinNS).Seconds())
	}
	if len(d.FullBytes) > 0 {
		put("memory", float64(slices.Max(d.FullBytes)))
	}
	if len(d.EmptyBytes) > 0 && d.RestartedBytes > 0 {
		put("memory.key", float64(d.RestartedBytes-slices.Min(d.EmptyBytes))/float64(d.Keys))
	}
	return v, nil
}

// check looks for contradictions between a trial and its cell.
func check(cell *record.CellInfo, t *record.Trial, _ measure.Values) []measure.Contradiction {
	var d Data
	s, err := settingsOf(cell.Cell)
	if there, readErr := t.Get(Name, version, &d); !there || err != nil || readErr != nil {
		return nil
	}
	var out []measure.Contradiction
	compare := func(field string, is, want int) {
		if is != want {
			out = append(out, measure.Contradiction{Field: "recovery." + field, Printed: strconv.Itoa(is), Computed: strconv.Itoa(want)})
		}
	}
	compare("keys", int(d.Keys), s.Keys)
	compare("passes", d.Passes, s.Passes)
	compare("empty_bytes", len(d.EmptyBytes), cell.Cluster.Nodes)
	compare("full_bytes", len(d.FullBytes), cell.Cluster.Nodes)
	return out
}

// grown are the quantities whose growth with the number of keys is told.
func grown() []string { return []string{"memory", "snapshot", "restart", "join"} }

// derive fits how what was measured grows with the number of keys: the slope of a line
// through the medians of all sizes on logarithmic scales, by least squares. 1 is
// proportional. It needs two sizes.
func derive(trials []measure.Measured) {
	sizes := map[string]map[int]map[string][]float64{} // by what else is alike, keys, quantity
	for _, t := range trials {
		s, err := settingsOf(t.Cell.Cell)
		if err != nil || !t.Valid {
			continue
		}
		group := like(t.Cell.Cell)
		if sizes[group] == nil {
			sizes[group] = map[int]map[string][]float64{}
		}
		if sizes[group][s.Keys] == nil {
			sizes[group][s.Keys] = map[string][]float64{}
		}
		for _, q := range grown() {
			if v, there := t.Values.Scalars[q]; there {
				sizes[group][s.Keys][q] = append(sizes[group][s.Keys][q], v)
			}
		}
	}
	for _, t := range trials {
		for _, q := range grown() {
			if e, fits := exponent(sizes[like(t.Cell.Cell)], q); fits {
				t.Values.Scalars[q+".growth"] = e
			}
		}
	}
}

// like names all that a cell has in common with those of other sizes.
func like(c experiment.Cell) string {
	c.ID, c.Levels = "", nil
	settings := map[string]any{}
	for key, value := range c.Settings {
		if key != "keys" {
			settings[key] = value
		}
	}
	c.Settings = settings
	text, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return string(text)
}

// exponent fits a power of the number of keys.
func exponent(sizes map[int]map[string][]float64, quantity string) (e float64, fits bool) {
	var xs, ys []float64
	for keys, values := range sizes {
		if v := slices.Sorted(slices.Values(values[quantity])); len(v) > 0 {
			xs, ys = append(xs, math.Log(float64(keys))), append(ys, math.Log((v[(len(v)-1)/2]+v[len(v)/2])/2))
		}
	}
	if len(xs) < 2 {
		return 0, false
	}
	mean := func(of []float64) (sum float64) {
		for _, v := range slices.Sorted(slices.Values(of)) { // the order of a map must not show
			sum += v / float64(len(of))
		}
		return sum
	}
	mx, my := mean(xs), mean(ys)
	var above, below []float64
	for i := range xs {
		above, below = append(above, (xs[i]-mx)*(ys[i]-my)), append(below, (xs[i]-mx)*(xs[i]-mx))
	}
	return mean(above) / mean(below), true
}

// room is what a trial needs at most: about 700 B beside its value for each key and
// member, measured while a snapshot is written; on the disk a log and two snapshots.
func room(cell *record.CellInfo) []measure.Need {
	s, err := settingsOf(cell.Cell)
	if err != nil {
		return nil
	}
	nodes, keys, value := float64(cell.Cluster.Nodes), float64(s.Keys), float64(s.ValueSize)
	why := fmt.Sprintf("%d keys with values of %d B on %d members", s.Keys, s.ValueSize, cell.Cluster.Nodes)
	return []measure.Need{
		{Of: measure.Memory, Bytes: nodes * keys * (value + measure.MapBytesPerKey), Why: why, Mend: "recovery.keys, recovery.value_size or cluster.nodes"},
		{Of: measure.Disk, Bytes: nodes * keys * (value + 50) * float64(2*s.Passes+3), Why: fmt.Sprintf("%s, each written %d times", why, s.Passes),
			Mend: "recovery.keys, recovery.value_size or recovery.passes"},
	}
}

// Kind returns the kind of measurement.
func Kind() *measure.Kind {
	number := func(of func(settings) int) func(*record.CellInfo) string {
		return func(c *record.CellInfo) string {
			s, err := settingsOf(c.Cell)
			if err != nil {
				return ""
			}
			return strconv.Itoa(of(s))
		}
	}
	return &measure.Kind{
		Name: Name, Needs: []system.Ability{system.Kills, system.Keeps}, Settings: defaults(),
		Quick: map[string]int64{"keys": 20_000, "passes": 1}, Accept: accept, Room: room,
		Run: run, Read: read, Derive: derive, Check: check,
		Gates: []string{"keys", "convergence", "clock"}, Quantities: quantities(), Answer: []string{"memory.key", "snapshot", "restart", "join"},
		Columns: []measure.Setting{
			{Column: "keys", Of: number(func(s settings) int { return s.Keys })},
			{Column: "value_size", Of: number(func(s settings) int { return s.ValueSize })},
			{Column: "passes", Of: number(func(s settings) int { return s.Passes })},
		},
		Tables: tables(), Figures: figures(), Method: method,
	}
}

func quantities() []measure.Quantity {
	seconds := func(key, en, ru, column string, role measure.Role) measure.Quantity {
		return measure.Quantity{Key: key, Name: measure.Text{En: en, Ru: ru}, Unit: measure.Seconds, Role: role, Column: column, Scale: 1e-3, Decimals: 3}
	}
	restart := seconds("restart", "restart", "перезапуск", "restart_ms", measure.Compared)
	restart.Long = measure.Text{En: "time to restart", Ru: "время перезапуска"}
	perKey := measure.Quantity{Key: "memory.key", Name: measure.Text{En: "memory per key", Ru: "память на ключ"}, Unit: measure.Bytes,
		Role: measure.Compared, Column: "memory_per_key", Decimals: 1}
	out := []measure.Quantity{
		perKey, restart, seconds("snapshot", "snapshot", "снимок", "snapshot_ms", measure.Shown),
		seconds("stall", "longest write during it", "самая долгая запись в это время", "stall_ms", measure.Shown),
		seconds("quiet", "longest write before", "самая долгая запись до этого", "quiet_ms", measure.Detail),
		seconds("join", "empty member joins", "присоединение пустого узла", "join_ms", measure.Shown),
		{Key: "join.rate", Name: measure.Text{En: "keys joined", Ru: "ключей при присоединении"}, Unit: measure.PerSecond, Column: "join_keys_per_s", Decimals: 0},
		seconds("fill", "fill", "заполнение", "fill_ms", measure.Detail),
		{Key: "fill.rate", Name: measure.Text{En: "keys filled", Ru: "ключей при заполнении"}, Unit: measure.PerSecond, Column: "fill_keys_per_s", Decimals: 0},
		{Key: "memory", Name: measure.Text{En: "memory", Ru: "память"}, Unit: measure.Bytes, Column: "memory_bytes", Decimals: 0},
	}
	for _, key := range grown() {
		i := slices.IndexFunc(out, func(q measure.Quantity) bool { return q.Key == key })
		out = append(out, measure.Quantity{Key: key + ".growth", Name: out[i].Name, Column: key + "_growth", Decimals: 3})
	}
	return out
}

func tables() []measure.Table {
	var growth []string
	for _, key := range grown() {
		growth = append(growth, key+".growth")
	}
	return []measure.Table{
		{
			Title: measure.Text{En: "Growth with the number of keys", Ru: "Рост с числом ключей"}, Quantities: growth, Result: true,
			Note: measure.Text{
				En: "The exponent e of keys^e, fitted to the medians of all sizes: 1 is proportional, above it grows faster than the state. What does not depend on the size pulls it below 1.",
				Ru: "Показатель степени e в keys^e по медианам всех размеров: 1 — пропорционально, больше — растёт быстрее состояния. То, что от размера не зависит, уменьшает его.",
			},
		},
		{
			Title:      measure.Text{En: "In detail", Ru: "Подробно"},
			Quantities: []string{"memory", "fill", "fill.rate", "quiet", "join.rate"},
			Note: measure.Text{
				En: "Each figure is the median over the trials. Memory is the largest member’s after the fill.",
				Ru: "Каждое значение — медиана по испытаниям. Память — наибольшая среди узлов после заполнения.",
			},
		},
	}
}

func figures() []measure.Figure {
	return []measure.Figure{
		{
			Name: "recovery", Form: measure.ByLevel, Quantities: []string{"snapshot", "restart", "join"},
			Title: measure.Text{En: "Time by size", Ru: "Время в зависимости от размера"}, Axis: measure.Text{En: "time", Ru: "время"},
			Caption: measure.Text{
				En: "Snapshot, restart and an empty member’s joining: medians over the trials with their intervals. On logarithmic axes a straight line of slope 1 is proportional.",
				Ru: "Снимок, перезапуск и присоединение пустого узла: медианы по испытаниям с доверительными интервалами. На логарифмических осях прямая с наклоном 1 — пропорциональность.",
			},
		},
		{
			Name: "memory", Form: measure.ByLevel, Quantities: []string{"memory"},
			Title: measure.Text{En: "Memory by size", Ru: "Память в зависимости от размера"},
			Caption: measure.Text{
				En: "Memory of the largest member after the fill: medians over the trials with their intervals.",
				Ru: "Память наибольшего узла после заполнения: медианы по испытаниям с доверительными интервалами.",
			},
		},
	}
}

func method(cells []*record.CellInfo, w measure.Words) []measure.Item {
	of := func(number func(settings) int) string {
		return measure.Distinct(cells, ", ", func(c *record.CellInfo) string {
			s, err := settingsOf(c.Cell)
			if err != nil {
				return ""
			}
			return strconv.Itoa(cmp.Or(number(s), 0))
		})
	}
	return []measure.Item{
		{Term: w.Say(measure.Text{En: "State", Ru: "Состояние"}), Text: measure.Fill(w, measure.Text{
			En: "%s keys of 16 B in no order, values of %s B, each written %s times, in entries of up to 500 keys by 4 clients at a time.",
			Ru: "Ключей: %s, по 16 Б, без порядка; значения по %s Б; каждый записан раз: %s; записи журнала до 500 ключей, 4 клиента одновременно.",
		}, of(func(s settings) int { return s.Keys }), of(func(s settings) int { return s.ValueSize }), of(func(s settings) int { return s.Passes }))},
		{Term: w.Say(measure.Text{En: "Steps", Ru: "Шаги"}), Text: w.Say(measure.Text{
			En: "Fill; once all members are alike, their memory (resident set). A snapshot of the leader while one client writes, with its longest write before and during it. kill -9 of the last member, and its start until it has caught up; memory per key is that member’s then, above an empty one’s. From three nodes on, that member is removed with its data and an empty one joins in its place. In the end all keys must be on all members, and all digests equal.",
			Ru: "Заполнение; когда все узлы одинаковы — их память (resident set). Снимок на лидере, пока пишет один клиент; его самая долгая запись до снимка и во время него. Принудительное завершение (kill -9) последнего узла и его запуск, пока он не догонит остальных; память на ключ — его память в этот момент сверх памяти пустого узла. При трёх узлах и более этот узел исключается вместе с данными, и на его место присоединяется пустой. В конце все ключи должны быть на всех узлах, а дайджесты — совпадать.",
		})},
	}
}
