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
// L, F and RTT of the way are those of rounds of a group that does nothing but flush, send
// and answer (record.Commits). Flushes there begin after a pause, and beside the last one of
// the member that was not waited for; who is sent something has slept through a flush, and
// all members want a processor at the same moment. Each costs more than the same alone.
// A hand-over to a goroutine that has slept costs more too: one after each write that the
// commit waits for, two where messages are hand-overs, and two for a client's own
// messages. The floor has none of that.
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
	HandOver      float64   // seconds to a goroutine that has slept through a flush, more than to one that has not
	EntryRounds   []Round   // of small appends
	PageRounds    []Round
	DiskBytesPerS float64
	WireBytesPerS float64
}

// Round is what the steps of a commit take in a group that does nothing else.
type Round struct {
	Members          int
	Overlapped       bool
	Leader, Follower Dist // flushes
	RTT              float64
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
	m.HandOver = max(0, c.WakeAfterUS.P50-c.WakeUS.P50) * 1e-6
	small, pages := func(bytes int) bool { return bytes < pageBytes }, func(bytes int) bool { return bytes >= pageBytes }
	m.Entries, m.Pages = flushesOf(small, c.Flushes, probes), flushesOf(pages, c.Flushes, probes)
	m.EntryRounds, m.PageRounds = roundsOf(small, probes), roundsOf(pages, probes)
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

// roundsOf joins what all probes found of each kind of rounds.
func roundsOf(size func(bytes int) bool, probes []record.Probe) (out []Round) {
	type kind struct {
		members    int
		overlapped bool
	}
	found := map[kind]*[3]*hdrhistogram.Histogram{}
	for _, p := range probes {
		for _, c := range p.Commits {
			if !size(c.Bytes) {
				continue
			}
			k := kind{c.Members, c.Overlapped}
			if found[k] == nil {
				found[k] = &[3]*hdrhistogram.Histogram{}
			}
			for i, text := range []string{c.LeaderHist, c.FollowerHist, c.MessagesHist} {
				if h, err := record.DecodeHistogram(text); err == nil {
					if sum, err := record.MergeHistograms(found[k][i], h); err == nil {
						found[k][i] = sum
					}
				}
			}
		}
	}
	for k, of := range found {
		if r := (Round{k.members, k.overlapped, Of(of[0]), Of(of[1]), Of(of[2]).Median()}); len(r.Leader) > 0 && len(r.Follower) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// round returns what the steps take in a group as that of c, after all flushes of an
// append. Where its rounds were not measured, it has flushes that begin at once, and
// messages of those who do not sleep.
func (m Machine) round(c Case) (r Round) {
	of := m.EntryRounds
	if c.Flushes > 1 {
		of = m.PageRounds
	}
	i := slices.IndexFunc(of, func(r Round) bool { return r.Members == c.Nodes && r.Overlapped == c.Overlapped })
	if i >= 0 {
		r = of[i]
		r.Leader, r.Follower = r.Leader.Times(c.Flushes), r.Follower.Times(c.Flushes)
		return r
	}
	writers := 1
	if c.Overlapped {
		writers = c.Nodes
	}
	return Round{Leader: m.Write(writers, c.Flushes), Follower: m.followers(c), RTT: m.RTT}
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

// Parts are those of the way of a write of one client: writes of logs, messages between
// members, and all else, with the client's own messages.
type Parts struct {
	Logs             Dist
	Messages, Others float64
}

// Median is that of the way.
func (p Parts) Median() float64 { return p.Logs.Median() + p.Messages + p.Others }

// Way is that of a write of one client.
func (m Machine) Way(c Case) (p Parts) {
	r, handOvers := m.round(c), 1
	p.Messages, p.Others = m.messages(c)
	switch {
	case p.Messages > 0:
		p.Messages = r.RTT
	case c.Nodes > 1:
		p.Messages = 2 * m.HandOver
	}
	switch {
	case c.Nodes == 1:
		p.Logs = m.Write(1, c.Flushes)
	case c.Overlapped: // what the leader's own takes longer than the messages is no more of them
		p.Logs = Kth(2, r.Leader.Minus(p.Messages), r.Follower)
	default:
		p.Logs = r.Leader.Plus(r.Follower)
		handOvers++
	}
	if c.Processes {
		handOvers += 2
	}
	p.Others += float64(handOvers)*m.HandOver + c.Rest
	return p
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
	one := m.Way(c).Median()
	if c.Clients <= 1 {
		return one, one
	}
	queue := float64(c.Clients) * m.demand(c, c.CPU)
	awake := m // under load nobody need sleep
	awake.HandOver, awake.EntryRounds, awake.PageRounds = 0, nil, nil
	return max(awake.Way(c).Median(), queue), one + stations*service + queue
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
