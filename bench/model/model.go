// Package model predicts from what a machine costs (bench/calibrate) what a durable write
// to a Raft group on it costs: the floor that no implementation undercuts, what the way
// that an implementation goes should take, and how much of what the machine can give is
// used. All are pure functions; nothing is measured here, and nothing is fitted to what
// was measured.
//
// # One client
//
// L is the leader's write to its log, F a follower's, RTT a message there and its answer,
// q the majority of n voters, f the flushes that the log store makes for one append:
//
//	serial      f·L + RTT + (q−1)th fastest of n−1 f·F     (Raft dissertation, §3.5: leaders append first)
//	overlapped  the later of f·L and RTT + that of the followers (ibid., §10.2.1)
//	floor       qth fastest of {L, (RTT + F) n−1 times}
//
// The leader's own disk always counts where it overlaps: what it acknowledges, it has. The
// floor does not need it.
//
// With a process for each member, the client's own RTT comes before and after. The terms
// are distributions; what is told is the median of the sum, which is not the sum of
// medians. What the program itself costs is taken from the in-memory cell beside it.
//
// Who is sent something after a flush has slept through it, and the processor may have
// too; and all members want one at the same moment. An in-memory group knows neither. So on
// the way RTT is that of a group that does nothing but flush, send and answer, and a
// hand-over to a goroutine that has slept costs more: one after each write that the commit
// waits for, two where messages are hand-overs, and two for the client's messages. The floor
// has none of it: who waits may spin.
//
// # More clients
//
// N clients, each with one operation at a time, are a closed network. A log store is a
// station with batch service: it takes all that waits (Bailey, On queueing processes with
// bulk service, 1954), so a write waits at most for the rest of the service under way and
// for its own, however many there are. Therefore bounds, and no point:
//
//	R ≥ max(way of one client, N·D)
//	R ≤ way of one client + one service of each station on it + N·D
//
// D is the greatest demand of an operation on what is shared (CPU time per operation over
// the cores, bytes over the bandwidth): the asymptotic bounds of Lazowska, Zahorjan,
// Graham and Sevcik, Quantitative System Performance (1984), §5.2. Serially, the leader's
// loop notices a commit between its own writes, so that station is passed twice. Of a
// random service, what is left of it when somebody comes is its residual life.
//
// # Roofs
//
// A resource's use is throughput times demand, the utilization law (Denning and Buzen, The
// operational analysis of queueing network models, 1978, §3). The resource with the
// greatest use is the roof that binds. Where none is used up, the order of the steps binds.
package model

import (
	"maps"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/record"
)

// pageBytes tells pages from small appends.
const pageBytes = 4096

// Machine is what the machine gives and costs.
type Machine struct {
	Cores         int
	Entries       []Flushes // of small appends, by the number of writers, ascending
	Pages         []Flushes // of pages
	RTT           float64   // seconds that a small message takes there and back
	Waking        Waking
	DiskBytesPerS float64
	WireBytesPerS float64
}

// Waking is what sleeping through flushes costs, in seconds. All 0: not known.
type Waking struct {
	RTT      float64 // messages to a majority of a group and back, without the flushes between
	HandOver float64 // to a goroutine that has slept, more than to one that has not
}

// Flushes is what flushes of so many writers at a time cost.
type Flushes struct {
	Writers   int
	Each      Dist
	PerSecond float64 // of all together
}

// MachineOf takes what a session calibrated, and how long flushes took just before its
// trials, all probes together: a disk that others use is not the same for long. There is
// none in a session of an earlier raftlab, and of a file system in memory, where a flush
// is none.
func MachineOf(s record.Session, probes []record.Probe) (m Machine, ok bool) {
	c := s.Calibration
	if len(c.Flushes) == 0 || s.Environment.DataMemory {
		return m, false
	}
	m = Machine{Cores: s.Environment.Cores, RTT: c.LoopbackUS.P50 * 1e-6, DiskBytesPerS: c.WriteBytesPerS.P50}
	m.Waking = Waking{c.LoopbackAfterUS.P50 * 1e-6, max(0, c.WakeAfterUS.P50-c.WakeUS.P50) * 1e-6}
	m.Entries = flushesOf(func(bytes int) bool { return bytes < pageBytes }, c.Flushes, probes)
	m.Pages = flushesOf(func(bytes int) bool { return bytes >= pageBytes }, c.Flushes, probes)
	if c.Loopback64KUS.P50 > 0 {
		m.WireBytesPerS = 2 * (64 << 10) / (c.Loopback64KUS.P50 * 1e-6)
	}
	return m, len(m.Entries) > 0 && len(m.Pages) > 0
}

// flushesOf joins what all probes found for each number of writers, and sets the rate that
// was calibrated beside it.
func flushesOf(size func(bytes int) bool, calibrated []record.Flushes, probes []record.Probe) (out []Flushes) {
	var rates []Flushes
	for _, f := range calibrated {
		if size(f.Bytes) {
			rates = append(rates, Flushes{Writers: f.Writers, PerSecond: f.PerSecond})
		}
	}
	found := map[int]*hdrhistogram.Histogram{}
	for _, p := range probes {
		for _, f := range p.Flushes {
			h, err := record.DecodeHistogram(f.EachHist)
			if !size(f.Bytes) || err != nil {
				continue
			}
			if sum, err := record.MergeHistograms(found[f.Writers], h); err == nil {
				found[f.Writers] = sum
			}
		}
	}
	for _, writers := range slices.Sorted(maps.Keys(found)) {
		if each := Of(found[writers]); len(each) > 0 && len(rates) > 0 {
			out = append(out, Flushes{writers, each, rate(rates, writers)})
		}
	}
	return out
}

// flushes are those of a store. One that flushes twice for an append writes pages and then
// the page that says where they are, as a B+tree does; one that flushes once, a log.
func (m Machine) flushes(perAppend int) []Flushes {
	if perAppend > 1 {
		return m.Pages
	}
	return m.Entries
}

// Write is how long a store takes for an append that it flushes so many times, where so
// many begin at once: between the numbers that were measured straight, and beyond them as
// the nearest.
func (m Machine) Write(writers, flushes int) Dist {
	a, b, share := between(m.flushes(flushes), writers)
	each := make(Dist, points)
	for i := range each {
		each[i] = a.Each[i] + share*(b.Each[i]-a.Each[i])
	}
	return each.Times(flushes)
}

// FlushesPerS is how many flushes so many such stores get done, all together.
func (m Machine) FlushesPerS(writers, flushes int) float64 {
	return rate(m.flushes(flushes), writers)
}

func rate(of []Flushes, writers int) float64 {
	a, b, share := between(of, writers)
	return a.PerSecond + share*(b.PerSecond-a.PerSecond)
}

func between(measured []Flushes, writers int) (a, b Flushes, share float64) {
	i := slices.IndexFunc(measured, func(f Flushes) bool { return f.Writers >= writers })
	switch {
	case i < 0:
		return measured[len(measured)-1], measured[len(measured)-1], 0
	case i == 0:
		return measured[0], measured[0], 0
	}
	a, b = measured[i-1], measured[i]
	return a, b, float64(writers-a.Writers) / float64(b.Writers-a.Writers)
}

// Case is what is asked of the group.
type Case struct {
	Nodes      int
	Clients    int  // of a closed loop
	Flushes    int  // that the log store makes for one append; at least 1
	Overlapped bool // the leader writes while it replicates
	Wire       bool // members talk over the loopback, not in memory
	Processes  bool // clients do so with the leader, too

	Bytes float64 // of a log entry
	CPU   float64 // seconds of CPU time of an operation; 0: not known
	Rest  float64 // seconds that a write takes beside disks and messages; 0: not known
}

func (c Case) majority() int { return c.Nodes/2 + 1 }

// messages are the round trips between members, and of the client.
func (m Machine) messages(c Case) (members, client float64) {
	if c.Wire && c.Nodes > 1 {
		members = m.RTT
	}
	if c.Processes {
		client = m.RTT
	}
	return members, client
}

// Messages is how long the messages of one write take, without disks.
func (m Machine) Messages(c Case) float64 {
	members, client := m.messages(c)
	return members + client
}

// asleep is how long the messages between members take that sleep through flushes, and what
// else a write of one client takes beside the logs.
func (m Machine) asleep(c Case) (members, others float64) {
	members, others = m.messages(c)
	handOvers := 1
	if c.Nodes > 1 && !c.Overlapped {
		handOvers++
	}
	switch {
	case members > 0:
		members = max(members, m.Waking.RTT)
	case c.Nodes > 1:
		members = 2 * m.Waking.HandOver
	}
	if c.Processes {
		handOvers += 2
	}
	return members, others + float64(handOvers)*m.Waking.HandOver + c.Rest
}

// demand is what an operation takes of the greatest of the resources that are shared: the
// time between two operations at most.
func (m Machine) demand(c Case, cpu float64) float64 {
	d := cpu / float64(max(1, m.Cores))
	if m.DiskBytesPerS > 0 {
		d = max(d, c.Bytes*float64(c.Nodes)/m.DiskBytesPerS)
	}
	if c.Wire && m.WireBytesPerS > 0 {
		d = max(d, c.Bytes*float64(c.Nodes-1)/m.WireBytesPerS)
	}
	return d
}

// followers is the time of those followers' writes that the leader waits for.
func (m Machine) followers(c Case) Dist {
	return Kth(c.majority()-1, slices.Repeat([]Dist{m.Write(c.Nodes-1, c.Flushes)}, c.Nodes-1)...)
}

// way is that of a write of one client.
func (m Machine) way(c Case) Dist {
	between, others := m.asleep(c)
	members, rest := constant(between), constant(others)
	switch {
	case c.Nodes == 1:
		return rest.Plus(m.Write(1, c.Flushes))
	case c.Overlapped:
		return rest.Plus(Kth(2, m.Write(c.Nodes, c.Flushes), members.Plus(m.followers(c))))
	}
	return rest.Plus(m.Write(1, c.Flushes)).Plus(members).Plus(m.followers(c))
}

// Floor is the median that a durable write takes at least on this machine, in seconds,
// however it is implemented: each voter flushes once, all at the same time, and the
// program itself costs nothing; bytes take their time on disk and wire.
func (m Machine) Floor(c Case) float64 {
	members, client := m.messages(c)
	write := m.Write(c.Nodes, 1)
	voters := slices.Repeat([]Dist{constant(members).Plus(write)}, c.Nodes)
	voters[0] = write
	return max(client+Kth(c.majority(), voters...).Median(), float64(c.Clients)*m.demand(c, 0))
}

// Latency is what a write should take, in seconds: between low and high, which are the
// same for one client.
func (m Machine) Latency(c Case) (low, high float64) {
	write := m.Write(c.Nodes, c.Flushes)
	service := max(write.Mean(), 2*write.Residual())
	stations := 3.0 // the leader's, a follower's, and the leader's loop again
	switch {
	case c.Nodes == 1:
		stations = 2
	case c.Overlapped:
		stations = 1
	}
	one := m.way(c).Median()
	if c.Clients <= 1 {
		return one, one
	}
	queue := float64(c.Clients) * m.demand(c, c.CPU)
	awake := m // under load nobody need sleep
	awake.Waking = Waking{}
	return max(awake.way(c).Median(), queue), one + stations*service + queue
}

// Parts are those of what a write of one client should take: writes of logs, messages
// between members, and all else, with the client's own messages. They add up to it.
type Parts struct{ Logs, Messages, Others float64 }

// Parts parts Latency.
func (m Machine) Parts(c Case) (p Parts) {
	p.Messages, p.Others = m.asleep(c)
	p.Logs = m.way(c).Median() - p.Messages - p.Others
	return p
}

// Use is how much of what the machine can give was used, 1 being all of it.
type Use struct{ Flushes, Disk, Wire, CPU float64 }

// Use computes it from what was measured: writes per second, flushes of each member for a
// write, and processors kept busy.
func (m Machine) Use(c Case, writesPerS, flushesPerWrite, cores float64) Use {
	share := func(used, roof float64) float64 {
		if roof <= 0 || math.IsNaN(used) {
			return 0
		}
		return used / roof
	}
	bytes := writesPerS * c.Bytes
	u := Use{
		Flushes: share(writesPerS*flushesPerWrite*float64(c.Nodes), m.FlushesPerS(c.Nodes, c.Flushes)),
		Disk:    share(bytes*float64(c.Nodes), m.DiskBytesPerS),
		CPU:     share(cores, float64(m.Cores)),
	}
	if c.Wire {
		u.Wire = share(bytes*float64(c.Nodes-1), m.WireBytesPerS)
	}
	return u
}
