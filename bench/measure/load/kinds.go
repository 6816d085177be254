package load

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// A mix has its latencies by kind of operation, too. Where writes are of one kind and reads of
// one, as in all of YCSB, these are the writes and the reads; else they are recorded beside them.

// several reports whether the writes or the reads of a mix are of more than one kind.
func several(m workload.Mix) bool {
	var writes, reads int
	for _, k := range m.Kinds() {
		if k.Reads() {
			reads++
		} else {
			writes++
		}
	}
	return max(writes, reads) > 1
}

// newKinds takes what the load saw of each kind.
func newKinds(m *workload.Result, mix workload.Mix) (map[workload.Kind]Operations, error) {
	if !several(mix) {
		return nil, nil
	}
	out := map[workload.Kind]Operations{}
	for _, k := range mix.Kinds() {
		text, err := record.EncodeHistogram(m.Kinds[k].Latency)
		if err != nil {
			return nil, err
		}
		out[k] = Operations{m.Kinds[k].Completed, m.Kinds[k].Failed, text}
	}
	return out, nil
}

// histograms is how many a trial has, as measure.Kind says it: of the whole, of writes and reads,
// of late starts, and of the kinds that are not the same as writes or reads.
func histograms(cell *record.CellInfo) int {
	const always = 4
	if mix := cell.Load.Shares(); several(mix) {
		return always + len(mix.Kinds())
	}
	return always
}

// side is the writes or the reads, and the name of their distribution.
func (d *Data) side(k workload.Kind) (Operations, string) {
	if k.Reads() {
		return d.Reads, "read.latency"
	}
	return d.Writes, "write.latency"
}

// putKinds puts what is known of each kind of a mix; there is nothing to tell of a single one.
func (d *Data) putKinds(v *measure.Values, l *experiment.Load) error {
	kinds := l.Shares().Kinds()
	if len(kinds) < 2 || d.Kinds == nil && several(l.Shares()) {
		return nil
	}
	for _, k := range kinds {
		name := "kind." + k.String()
		of, side := d.side(k)
		if d.Kinds != nil {
			of = d.Kinds[k]
			h, err := record.DecodeHistogram(of.Hist)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := putDistribution(v, name, h, of.Failed, time.Duration(l.OpTimeout)); err != nil {
				return err
			}
		} else if h := v.Distributions[side]; h != nil { // shared, for all of a run are kept
			v.Distributions[name], v.Failed[name] = h, v.Failed[side]
			v.Scalars[name+".samples"] = v.Scalars[side+".samples"]
		}
		v.Scalars[name+".ops"] = float64(of.Completed)
	}
	return nil
}

// validateKinds checks that kinds add up to writes and reads.
func (d *Data) validateKinds() error {
	writes, reads := d.Writes, d.Reads
	for k, o := range d.Kinds {
		if !o.sane() {
			return fmt.Errorf("load: %s: %d completed and %d failed", k, o.Completed, o.Failed)
		}
		side := &writes
		if k.Reads() {
			side = &reads
		}
		side.Completed, side.Failed = side.Completed-o.Completed, side.Failed-o.Failed
	}
	for name, left := range map[string]Operations{"writes": writes, "reads": reads} {
		if left.Completed != 0 || left.Failed != 0 {
			return fmt.Errorf("load: %d %s completed and %d failed that are of no kind", left.Completed, name, left.Failed)
		}
	}
	return nil
}

// checkKinds tells where kinds are not those of the mix, or their latencies are not together those
// of writes and reads.
func (d *Data) checkKinds(mix workload.Mix) []measure.Contradiction {
	wrong := func(field, is, want string) []measure.Contradiction {
		return []measure.Contradiction{{Field: field, Printed: is, Computed: want}}
	}
	var kinds []workload.Kind // to be recorded
	if several(mix) {
		kinds = mix.Kinds()
	}
	for k := range d.Kinds {
		if !slices.Contains(kinds, k) {
			return wrong("kinds."+k.String(), "operations", "none, by load.mix")
		}
	}
	var sides [2][]*hdrhistogram.Histogram
	for _, k := range kinds {
		o, there := d.Kinds[k]
		h, err := record.DecodeHistogram(o.Hist)
		if !there || err != nil {
			return wrong("kinds."+k.String(), "nothing", "operations, by load.mix")
		}
		at := 0
		if k.Reads() {
			at = 1
		}
		sides[at] = append(sides[at], h)
	}
	for i, side := range []Operations{d.Writes, d.Reads} {
		sum, err := record.MergeHistograms(sides[i]...)
		whole, errWhole := record.DecodeHistogram(side.Hist)
		if len(kinds) > 0 && (err != nil || errWhole != nil || !sum.Equals(whole)) {
			return wrong([]string{"writes", "reads"}[i]+".hist", "other latencies", "those of its kinds together")
		}
	}
	return nil
}

// allKinds are those that a mix may have, with their names.
func allKinds() []kindName {
	return []kindName{
		{workload.Read, measure.Text{En: "reads", Ru: "чтения"}},
		{workload.Write, measure.Text{En: "writes", Ru: "записи"}},
		{workload.Insert, measure.Text{En: "inserts", Ru: "вставки"}},
		{workload.Scan, measure.Text{En: "scans", Ru: "просмотры"}},
		{workload.ReadModifyWrite, measure.Text{En: "reads, then writes", Ru: "чтения с последующей записью"}},
		{workload.CompareAndSet, measure.Text{En: "conditional writes", Ru: "условные записи"}},
		{workload.WriteBatch, measure.Text{En: "batches", Ru: "пакеты записей"}},
	}
}

type kindName struct {
	workload.Kind
	name measure.Text
}

func kindQuantities() []measure.Quantity {
	var out []measure.Quantity
	for _, k := range allKinds() {
		of := "kind." + k.String()
		long := func(name string) measure.Text {
			return measure.Text{En: name + " of " + k.name.En, Ru: name + ": " + k.name.Ru}
		}
		percentile := func(key string, perMille int) measure.Quantity {
			return measure.Quantity{Key: of + "." + key, Name: measure.Text{En: key, Ru: key}, Long: long(key), Unit: measure.Seconds, Some: true,
				Column: "kind_" + k.String() + "_" + key + "_us", Scale: 1e-6, Decimals: 3, Of: of, PerMille: perMille}
		}
		out = append(out, percentile("p50", 500), percentile("p99", 990), measure.Quantity{
			Key: of + ".ops", Name: measure.Text{En: "completed", Ru: "завершено"}, Long: measure.Text{En: "number of " + k.name.En, Ru: "число операций: " + k.name.Ru},
			Column: "kind_" + k.String() + "_ops", Some: true,
		})
	}
	return out
}

func kindTable() measure.Table {
	t := measure.Table{
		Title: measure.Text{En: "By kind of operation", Ru: "По видам операций"}, RowsOf: measure.Text{En: "operations", Ru: "операции"},
		Result: true,
		Note: measure.Text{
			En: "Of the operations that a load mixes, each kind by itself: medians over the trials, of the latency and of how many completed in the window.",
			Ru: "Виды операций смешанной нагрузки по отдельности: медианы по испытаниям для задержки и числа завершившихся в окне.",
		},
	}
	for _, k := range allKinds() {
		of := "kind." + k.String()
		t.Rows = append(t.Rows, measure.Row{Name: k.name, Quantities: []string{of + ".p50", of + ".p99", of + ".ops"}})
	}
	return t
}
