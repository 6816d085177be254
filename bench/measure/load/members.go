package load

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
)

// What each member did for the load: the flushes that its acknowledged writes needed, and
// the processor, memory and threads that it took.

// membersSince is the form from which a trial has Acknowledged, and Members where they are
// processes.
const membersSince = 5

// What the members are told apart by: the leader is the first.
const (
	leader   = "leader"
	follower = "follower"
)

// Member is what the process of a member used.
type Member struct {
	CPUNS     int64 `json:"cpu_ns"`     // over the load
	PeakBytes int64 `json:"peak_bytes"` // the most of its memory that was resident, since it started
	Threads   int   `json:"threads"`    // at the end of the load
}

// membersOf is what the members used between two observations; of others than were there
// before nothing is said.
func membersOf(before, after system.Observation) []Member {
	if len(before.Used) != len(after.Used) {
		return nil
	}
	var out []Member
	for i, u := range after.Used {
		out = append(out, Member{int64(max(0, u.CPU-before.Used[i].CPU)), u.PeakBytes, u.Threads})
	}
	return out
}

// syncsOf is how often each member flushed between two observations: nothing, where the
// flushes were not counted, or anew because a member has started again.
func syncsOf(before, after system.Observation) []uint64 {
	if len(before.Syncs) != len(after.Syncs) {
		return nil
	}
	out := slices.Clone(after.Syncs)
	for i, n := range before.Syncs {
		if out[i] < n {
			return nil
		}
		out[i] -= n
	}
	return out
}

// flushed is on how many members, on average, a write that was acknowledged can have been
// flushed before that, by the flushes that were counted. One flush serves at most the writes
// that were under way when it ended, and so at most as many as there may be at once; and
// a member can flush no more writes than there were. With one client it is a flush for each
// write.
func (d *Data) flushed(atOnce uint64) float64 {
	sum := 0.0 // of whole numbers, so that what is just enough does not fall short by a rounding
	for _, n := range d.SyncsPerNode {
		served := d.Acknowledged
		if n < served/atOnce+1 {
			served = min(served, n*atOnce)
		}
		sum += float64(served)
	}
	return sum / float64(d.Acknowledged)
}

// majority is on how many members a write has to be before it is acknowledged.
func majority(cell *record.CellInfo) float64 { return float64(cell.Cluster.Nodes/2 + 1) }

// atOnce is how many writes there may be under way.
func atOnce(l *experiment.Load) uint64 {
	n := max(1, l.Clients)
	if l.Open() {
		n = max(n, workload.DefaultMaxInFlight)
	}
	return uint64(n)
}

// proves reports whether the cell says that acknowledged writes are on a disk, and there
// were any.
func (d *Data) proves(cell *record.CellInfo) bool {
	return cell.Durability == "disk" && d.Acknowledged > 0
}

// flushGate: can the members have flushed what was acknowledged as being on the disk? It
// cannot show that they have: fewer flushes than that show that they have not. Where they
// are not counted, what the parts say of themselves is not proved, which is not enough where
// the experiment asks for the disk.
func (d *Data) flushGate(cell *record.CellInfo) record.Gate {
	const unit = "members"
	needed := majority(cell)
	switch {
	case len(d.SyncsPerNode) > 0:
	case cell.Cluster.Durability == "disk":
		return measure.AtLeast(measure.FlushGate, unit, 0, needed, `cluster.durability = "disk", and the members’ flushes are not counted, so that it is not proved`)
	default:
		return record.Gate{Name: measure.FlushGate, Verdict: record.Skip, Limit: needed, AtLeast: true, Unit: unit, Reason: "the members’ flushes are not counted"}
	}
	figure := d.flushed(atOnce(&cell.Load))
	return measure.AtLeast(measure.FlushGate, unit, figure, needed, fmt.Sprintf(
		"writes are said to be on the disk of a majority when they are acknowledged, and with %v flushes %d writes can have been on %.4g members’, at most %d writes to a flush",
		d.SyncsPerNode, d.Acknowledged, figure, atOnce(&cell.Load)))
}

// putMembers puts what the leader, which is the first member, and the others did.
func (d *Data) putMembers(v *measure.Values, cell *record.CellInfo) {
	put := func(key string, value float64) { v.Scalars[key] = value }
	byRole := func(key string, n int, of func(int) float64) {
		if n == 0 {
			return
		}
		put(leader+"."+key, of(0))
		others := 0.0
		for i := 1; i < n; i++ {
			others += of(i)
		}
		if n > 1 {
			put(follower+"."+key, others/float64(n-1))
		}
	}
	if d.Acknowledged == 0 && len(d.Members) == 0 { // an earlier form, or reads in one process
		return
	}
	if d.Commands > 0 {
		byRole("syncs", len(d.SyncsPerNode), func(i int) float64 { return float64(d.SyncsPerNode[i]) / float64(d.Commands) })
	}
	if d.proves(cell) && len(d.SyncsPerNode) > 0 {
		put("flushed", d.flushed(atOnce(&cell.Load)))
		put("flushed.needed", majority(cell))
	}
	members := len(d.Members)
	byRole("memory", members, func(i int) float64 { return float64(d.Members[i].PeakBytes) })
	byRole("threads", members, func(i int) float64 { return float64(d.Members[i].Threads) })
	if d.Operations > 0 {
		byRole("cpu.op", members, func(i int) float64 { return time.Duration(d.Members[i].CPUNS).Seconds() / float64(d.Operations) })
	}
	if d.LoadNS > 0 {
		byRole("cpu", members, func(i int) float64 { return float64(d.Members[i].CPUNS) / float64(d.LoadNS) })
	}
	most := 0.0
	for _, m := range d.Members {
		most = max(most, float64(m.PeakBytes))
	}
	if most > 0 {
		put("memory", most)
	}
}

// validateMembers checks the numbers that are divided and added up.
func (d *Data) validateMembers() error {
	for _, m := range d.Members {
		if min(m.CPUNS, m.PeakBytes, int64(m.Threads)) < 0 {
			return fmt.Errorf("load: a member has used %+v", m)
		}
	}
	for _, n := range append(d.SyncsPerNode, d.Acknowledged) {
		if n > math.MaxInt64/16 {
			return fmt.Errorf("load: %d flushes, or writes", n)
		}
	}
	return nil
}

// checkMembers looks for contradictions in what the members did.
func (d *Data) checkMembers(cell *record.CellInfo, version int) (out []measure.Contradiction) {
	refuse := func(bad bool, field string, is, want any) {
		if bad {
			out = append(out, measure.Contradiction{Field: field, Printed: fmt.Sprint(is), Computed: fmt.Sprint(want)})
		}
	}
	nodes := cell.Cluster.Nodes
	if version < membersSince {
		refuse(len(d.SyncsPerNode) > nodes, "syncs_per_node", len(d.SyncsPerNode), fmt.Sprintf("at most %d", nodes))
		return out
	}
	refuse(len(d.SyncsPerNode) != 0 && len(d.SyncsPerNode) != nodes, "syncs_per_node", len(d.SyncsPerNode), nodes)
	refuse(len(d.Members) != 0 && len(d.Members) != nodes, "members", len(d.Members), nodes)
	refuse(int64(d.Acknowledged) < d.Writes.Completed, "acknowledged", d.Acknowledged, fmt.Sprintf("at least %d", d.Writes.Completed))
	return out
}

// memberQuantities are what putMembers gives.
func memberQuantities() []measure.Quantity {
	out := []measure.Quantity{
		{Key: "leader.syncs", Name: measure.Text{En: "leader’s flushes per write", Ru: "сбросов лидера на запись"}, Column: "leader_syncs_per_command", Decimals: 4, Some: true},
		{Key: "follower.syncs", Name: measure.Text{En: "a follower’s", Ru: "ведомого"}, Column: "follower_syncs_per_command", Decimals: 4, Some: true},
		{Key: "memory", Name: measure.Text{En: "memory", Ru: "память"}, Long: measure.Text{En: "most memory of a member", Ru: "наибольшая память узла"},
			Unit: measure.Bytes, Role: measure.Shown, Column: "memory_bytes", Some: true},
		{Key: "flushed", Name: measure.Text{En: "members that can have flushed a write", Ru: "узлов, которые могли сбросить запись"}, Column: "flushed_members", Decimals: 4, Some: true},
		{Key: "flushed.needed", Name: measure.Text{En: "that had to", Ru: "должны были"}, Column: "flushed_needed", Some: true},
	}
	for _, role := range []string{leader, follower} {
		of := func(key, column string, q measure.Quantity) {
			q.Key, q.Column, q.Some = role+key, role+column, true
			out = append(out, q)
		}
		of(".cpu.op", "_cpu_per_op_us", measure.Quantity{Name: measure.Text{En: "CPU per op", Ru: "процессор на операцию"}, Unit: measure.Seconds, Scale: 1e-6, Decimals: 3})
		of(".cpu", "_cpu_cores", measure.Quantity{Name: measure.Text{En: "CPU", Ru: "процессор"}, Unit: measure.Cores, Decimals: 3})
		of(".memory", "_memory_bytes", measure.Quantity{Name: measure.Text{En: "memory", Ru: "память"}, Unit: measure.Bytes})
		of(".threads", "_threads", measure.Quantity{Name: measure.Text{En: "threads", Ru: "потоков"}, Decimals: 1})
	}
	return out
}

// memberRoles are the rows of a cell: the leader, and the followers on average.
func memberRoles() []measure.Row {
	row := func(role string, name measure.Text) measure.Row {
		return measure.Row{Name: name, Quantities: []string{role + ".cpu.op", role + ".cpu", role + ".memory", role + ".threads"}}
	}
	return []measure.Row{row(leader, measure.Text{En: "leader", Ru: "лидер"}), row(follower, measure.Text{En: "a follower", Ru: "ведомый"})}
}

// memberTables say what each member used, and whether its flushes are as many as writes need.
func memberTables() []measure.Table {
	return []measure.Table{
		{
			Title:      measure.Text{En: "Flushes that acknowledged writes need", Ru: "Сбросы, которых требуют подтверждённые записи"},
			Quantities: []string{"leader.syncs", "follower.syncs", "flushed", "flushed.needed"},
			Sparse:     true,
			Method: measure.Text{
				En: "Where a cell says that an acknowledged write is on the disks of a majority, flushes are counted from before the load until after it, by the members’ log stores or, of programs, by a counter of fsync and its kin in the process. A flush serves at most the writes that are under way when it ends, at most C at once; so, of W acknowledged writes, n flushes of a member can have served min(W, C·n), and the sum of that over the members, divided by W, must reach a majority: with one client, a flush for each write on each member of a majority. A trial with fewer is invalid. It is a necessary condition: a store that flushes twice for a write may leave one out unseen. In open loops C is what may be under way at most, so that little is shown.",
				Ru: "Если ячейка заявляет, что подтверждённая запись лежит на дисках большинства, сбросы считаются с момента до нагрузки и до момента после неё — самими хранилищами журнала, а для программ — счётчиком вызовов fsync и подобных в процессе. Один сброс обслуживает не больше записей, чем выполнялось в момент его завершения, то есть не больше C; значит, из W подтверждённых записей n сбросов узла могли обслужить min(W, C·n), и сумма этого по узлам, делённая на W, должна достигать большинства: при одном клиенте — сброс на каждую запись на каждом узле большинства. Испытание, где их меньше, недостоверно. Это необходимое условие: хранилище, которое делает на запись два сброса, может незаметно пропустить один. В открытом цикле C — сколько операций может выполняться самое большее, и показывает это мало.",
			},
			Note: measure.Text{
				En: "Flushes per write, warm-up included, of the leader and on average of the followers; on how many members’ disks an acknowledged write can have been by these at most, and on how many it had to be. Cells that say nothing of a disk are not here.",
				Ru: "Сбросы на запись, вместе с прогревом: у лидера и в среднем у ведомых; на дисках скольких узлов подтверждённая запись могла быть по этим сбросам и на скольких должна была быть. Ячеек, которые диска не обещают, здесь нет.",
			},
		},
		{
			Title:  measure.Text{En: "What each member used", Ru: "Сколько потратил каждый узел"},
			RowsOf: measure.Text{En: "member", Ru: "узел"},
			Rows:   memberRoles(),
			Note: measure.Text{
				En: "Of followers the mean. CPU time is of the whole load, warm-up included; memory is the most that was resident since the process started, what is shared with others too; threads are those of the operating system at the end of the load.",
				Ru: "Для ведомых — среднее. Процессорное время — за всю нагрузку, с прогревом; память — наибольший резидентный объём с запуска процесса, включая разделяемую с другими; потоки — операционной системы, в конце нагрузки.",
			},
		},
	}
}
