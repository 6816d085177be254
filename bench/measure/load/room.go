package load

import (
	"fmt"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// generatorBytesPerKey is what a key costs in the generator, which has all of them ready,
// beside its own bytes.
const generatorBytesPerKey = 32

// room is what the load of the [load] table needs: keys that are there before it,
// and what is under way.
func room(cell *record.CellInfo) []measure.Need {
	l, nodes := cell.Load, float64(cell.Cluster.Nodes)
	spec, err := l.Spec(0)
	if err != nil {
		return nil // it was refused
	}
	keys, value, largest := float64(l.Keys), float64(l.ValueSize), float64(spec.ValueSizes.Max())
	key := float64(len(spec.Key(0)))
	if l.Open() {
		spec.Rate = max(1, spec.Rate) // a share of the peak, too
	}
	underWay := float64(l.Clients)
	if l.Rate > 0 { // a second's, should the group stand still for so long
		underWay = max(underWay, min(l.TopRate(), workload.DefaultMaxInFlight))
	}
	if cell.WarmupOperations > 0 {
		underWay = max(underWay, warmClients)
	}
	each := key + largest
	if spec.Mix.Batch > 0 {
		each *= float64(spec.BatchSize)
	}
	all := []measure.Need{
		{Of: measure.Memory, Bytes: keys * (key + generatorBytesPerKey), Why: fmt.Sprintf("the generator's %d keys", l.Keys), Mend: "load.keys"},
		{Of: measure.Memory, Bytes: float64(spec.HistogramBytes()), Why: "the generator’s histograms of latency", Mend: "the number of kinds in load.mix"},
		// The client's copy, the leader's and a message to each follower.
		{Of: measure.Memory, Bytes: underWay * each * (1 + nodes), Why: fmt.Sprintf("%.0f operations under way of up to %.0f B", underWay, each), Mend: "load.clients or load.value_size"},
	}
	there := keys // if something reads them, they are written before the load
	if spec.Mix.Looks() == 0 {
		there = min(keys, l.TopRate()*cell.Planned().Seconds()+float64(cell.WarmupOperations)) // what a closed loop writes nobody knows
	}
	why := fmt.Sprintf("%.0f keys with values of %d B on %d members", there, l.ValueSize, cell.Cluster.Nodes)
	all = append(all, measure.Need{Of: measure.Memory, Bytes: nodes * there * (key + value + measure.MapBytesPerKey), Why: why, Mend: "load.keys, load.value_size or cluster.nodes"})
	if cell.Durability != "nothing" {
		all = append(all, measure.Need{Of: measure.Disk, Bytes: nodes * there * (key + value), Why: why, Mend: "load.keys, load.value_size or cluster.nodes"})
	}
	return all
}
