package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/record"
)

// uniform is the distribution between two times.
func uniform(low, high float64) Dist {
	d := make(Dist, points)
	for i := range d {
		d[i] = low + (high-low)*(float64(i)+0.5)/points
	}
	return d
}

// machine has a disk on which writers cost each other nothing.
func machine(flush Dist, rtt float64) Machine {
	f := []Flushes{{1, flush, 1 / flush.Mean()}, {9, flush, 9 / flush.Mean()}}
	return Machine{Cores: 2, Entries: f, Pages: f, RTT: rtt, DiskBytesPerS: 1e9, WireBytesPerS: 1e9}
}

func slowed(of []Flushes, times float64) (out []Flushes) {
	for _, f := range of {
		each := slices.Clone(f.Each)
		for i := range each {
			each[i] *= times
		}
		out = append(out, Flushes{f.Writers, each, f.PerSecond / times})
	}
	return out
}

func near(got, want, within float64) bool { return math.Abs(got-want) <= within*want }

func drawCase(t *rapid.T) (Machine, Case) {
	low := rapid.Float64Range(1e-5, 1e-2).Draw(t, "flush")
	m := machine(uniform(low, low*rapid.Float64Range(1, 10).Draw(t, "spread")), rapid.Float64Range(0, 1e-3).Draw(t, "rtt"))
	return m, Case{
		Nodes: rapid.IntRange(1, 9).Draw(t, "nodes"), Clients: rapid.IntRange(1, 300).Draw(t, "clients"),
		Flushes: rapid.IntRange(1, 3).Draw(t, "flushes"), Overlapped: rapid.Bool().Draw(t, "overlapped"),
		Wire: rapid.Bool().Draw(t, "wire"), Processes: rapid.Bool().Draw(t, "processes"),
		Bytes: rapid.Float64Range(0, 1e5).Draw(t, "bytes"), CPU: rapid.Float64Range(0, 1e-3).Draw(t, "cpu"),
		Rest: rapid.Float64Range(0, 1e-3).Draw(t, "rest"),
	}
}

// TestMonotone: more flushes, a slower disk, longer messages, a larger majority: nothing of
// it makes a write quicker. And the floor is the floor.
func TestMonotone(t *testing.T) {
	const rounding = 1 + 1e-9
	rapid.Check(t, func(t *rapid.T) {
		m, c := drawCase(t)
		low, high := m.Latency(c)
		if high*rounding < low || low*rounding < m.Floor(Case{Nodes: c.Nodes, Clients: 1, Wire: c.Wire, Processes: c.Processes}) {
			t.Fatalf("floor %g, from %g to %g", m.Floor(c), low, high)
		}
		slower, farther, flushes, larger := m, m, c, c
		slower.Entries, slower.Pages = slowed(m.Entries, 1.5), slowed(m.Pages, 1.5)
		farther.RTT *= 2
		flushes.Flushes++
		larger.Nodes += 2
		for name, x := range map[string]struct {
			Machine
			Case
		}{"disk": {slower, c}, "messages": {farther, c}, "flushes": {m, flushes}} {
			if l, h := x.Latency(x.Case); l*rounding < low || h*rounding < high {
				t.Fatalf("%s: from %g to %g, before from %g to %g", name, l, h, low, high)
			}
		}
		if c.Nodes%2 == 1 && c.Nodes > 1 && m.Floor(larger)*rounding < m.Floor(c)*0.9 {
			t.Fatalf("floor of %d nodes %g, of %d %g", larger.Nodes, m.Floor(larger), c.Nodes, m.Floor(c))
		}
	})
}

// TestFormulas: with times that are always the same, the formulas can be read off.
func TestFormulas(t *testing.T) {
	const flush, rtt, cpu = 1e-3, 1e-4, 1e-5
	m := machine(constant(flush), rtt)
	for name, x := range map[string]struct {
		Case
		floor, low, high float64
	}{
		"serial":            {Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true}, flush + rtt, 2*flush + rtt, 2*flush + rtt},
		"two flushes":       {Case{Nodes: 3, Clients: 1, Flushes: 2, Wire: true}, flush + rtt, 4*flush + rtt, 4*flush + rtt},
		"overlapped":        {Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true, Overlapped: true}, flush + rtt, flush + rtt, flush + rtt},
		"in memory between": {Case{Nodes: 3, Clients: 1, Flushes: 1}, flush, 2 * flush, 2 * flush},
		"processes":         {Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true, Processes: true}, flush + 2*rtt, 2*flush + 2*rtt, 2*flush + 2*rtt},
		"one node":          {Case{Nodes: 1, Clients: 1, Flushes: 1, Wire: true}, flush, flush, flush},
		"the rest":          {Case{Nodes: 3, Clients: 1, Flushes: 1, Rest: 5e-4}, flush, 2*flush + 5e-4, 2*flush + 5e-4},
		"many clients":      {Case{Nodes: 3, Clients: 1000, Flushes: 1, CPU: cpu}, flush, 1000 * cpu / 2, 2*flush + 3*flush + 1000*cpu/2},
	} {
		low, high := m.Latency(x.Case)
		if !near(m.Floor(x.Case), x.floor, 1e-9) || !near(low, x.low, 1e-9) || !near(high, x.high, 1e-9) {
			t.Errorf("%s: floor %g, from %g to %g; want %g, %g, %g", name, m.Floor(x.Case), low, high, x.floor, x.low, x.high)
		}
	}
}

// TestRounds: what a group that does nothing else takes is on the way of one client, with
// hand-overs to those that sleep, and neither in the floor nor in what more clients take at
// least.
func TestRounds(t *testing.T) {
	const flush, rtt, rest, leader, follower, messages, handOver = 1e-3, 1e-4, 5e-5, 1.2e-3, 1.5e-3, 3e-4, 2e-5
	awake := machine(constant(flush), rtt)
	m := awake
	m.HandOver = handOver
	for _, overlapped := range []bool{false, true} {
		r := Round{3, overlapped, constant(leader), constant(follower), messages}
		m.EntryRounds, m.PageRounds = append(m.EntryRounds, r), append(m.PageRounds, r)
	}
	for name, x := range map[string]struct {
		Case
		logs, messages, others float64
	}{
		"serial":            {Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true, Rest: rest}, leader + follower, messages, 2*handOver + rest},
		"overlapped":        {Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true, Rest: rest, Overlapped: true}, follower, messages, handOver + rest},
		"in memory between": {Case{Nodes: 3, Clients: 1, Flushes: 2, Rest: rest}, 2 * (leader + follower), 2 * handOver, 2*handOver + rest},
		"processes":         {Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true, Processes: true}, leader + follower, messages, 4*handOver + rtt},
		"another group":     {Case{Nodes: 5, Clients: 1, Flushes: 1, Wire: true}, 2 * flush, rtt, 2 * handOver},
		"one node":          {Case{Nodes: 1, Clients: 1, Flushes: 1, Wire: true}, flush, 0, handOver},
	} {
		got := m.Way(x.Case)
		low, high := m.Latency(x.Case)
		if !near(got.Logs.Median(), x.logs, 1e-9) || !near(got.Messages, x.messages, 1e-9) || !near(got.Others, x.others, 1e-9) ||
			!near(low, x.logs+x.messages+x.others, 1e-9) || low != high {
			t.Errorf("%s: %g, %g, %g of %g to %g, want %g, %g, %g", name, got.Logs.Median(), got.Messages, got.Others, low, high, x.logs, x.messages, x.others)
		}
		if m.Floor(x.Case) != awake.Floor(x.Case) {
			t.Errorf("%s: the floor sleeps", name)
		}
		x.Clients = 10
		low, high = m.Latency(x.Case)
		if l, h := awake.Latency(x.Case); low != l || high < h {
			t.Errorf("%s: with more clients from %g to %g, awake from %g to %g", name, low, high, l, h)
		}
	}
	slow := Round{3, true, constant(5e-3), constant(follower), messages}
	m.EntryRounds = []Round{slow}
	if got := m.Way(Case{Nodes: 3, Clients: 1, Flushes: 1, Wire: true, Overlapped: true}).Median(); !near(got, 5e-3+handOver, 1e-9) {
		t.Errorf("a slow leader, overlapped: %g", got)
	}
}

// TestRoofs: with ever more clients throughput comes to the roof and not over it, and that
// roof is then all used.
func TestRoofs(t *testing.T) {
	m := machine(constant(1e-3), 1e-4)
	c := Case{Nodes: 3, Clients: 1_000_000, Flushes: 1, Wire: true, CPU: 1e-4}
	low, high := m.Latency(c)
	roof := float64(m.Cores) / c.CPU
	if x := float64(c.Clients) / low; !near(x, roof, 1e-9) {
		t.Errorf("at most %g op/s, want %g", x, roof)
	}
	if x := float64(c.Clients) / high; !near(x, roof, 0.01) {
		t.Errorf("at least %g op/s, want nearly %g", x, roof)
	}
	u := m.Use(c, roof, 0.001, roof*c.CPU)
	if !near(u.CPU, 1, 1e-9) || !near(u.Flushes, roof*0.001*3/3000, 1e-9) {
		t.Errorf("%+v", u)
	}
	c.Bytes = 1e6
	if u := m.Use(c, 100, 1, 0); !near(u.Disk, 0.3, 1e-9) || !near(u.Wire, 0.2, 1e-9) {
		t.Errorf("%+v", u)
	}
}

// TestKth against drawing at random.
func TestKth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	of := []Dist{uniform(0, 1), uniform(0.5, 3), uniform(0.2, 0.4), nil, uniform(0, 10)}
	for k := 1; k <= len(of); k++ {
		var drawn []float64
		for range 20_000 {
			var times []float64
			for _, d := range of {
				times = append(times, draw(d, random))
			}
			slices.Sort(times)
			drawn = append(drawn, times[k-1])
		}
		slices.Sort(drawn)
		got := Kth(k, slices.Clone(of)...)
		for _, i := range []int{5, points / 2, points - 6} {
			if want := drawn[(2*i+1)*len(drawn)/(2*points)]; math.Abs(got[i]-want) > 0.02*want+0.01 {
				t.Errorf("%d of %d, quantile %d: %g, drawn %g", k, len(of), i, got[i], want)
			}
		}
	}
}

func draw(d Dist, random *rand.Rand) float64 {
	if len(d) == 0 {
		return 0
	}
	return d[random.IntN(len(d))]
}

// TestMachineOf: flushes are as all probes found them together, rates as they were
// calibrated. Of the session of an earlier raftlab there is none.
func TestMachineOf(t *testing.T) {
	hist := func(from int64) string {
		h := record.NewHistogram()
		for us := from; us <= from+100; us++ {
			if err := h.RecordValue(us * 1000); err != nil {
				t.Fatal(err)
			}
		}
		text, err := record.EncodeHistogram(h)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	s := record.Session{Calibration: record.Calibration{Flushes: []record.Flushes{
		{Bytes: 512, Writers: 1, EachHist: hist(5000), PerSecond: 100}, {Bytes: 4096, Writers: 1, EachHist: hist(5000), PerSecond: 100}, {Bytes: 4096, Writers: 3, EachHist: hist(5000), PerSecond: 300},
	}}}
	probes := []record.Probe{
		{Flushes: []record.Flushes{{Bytes: 512, Writers: 1, EachHist: hist(1)}, {Bytes: 4096, Writers: 2, EachHist: hist(1)}}},
		{}, // of a cell in memory
		{Flushes: []record.Flushes{{Bytes: 512, Writers: 1, EachHist: hist(102)}, {Bytes: 4096, Writers: 3, EachHist: hist(201)}}},
	}
	m, ok := MachineOf(s, probes)
	if !ok || len(m.Entries) != 1 || len(m.Pages) != 2 || !near(m.Write(1, 1).Median(), 101e-6, 0.02) || !near(m.Write(3, 2).Median(), 502e-6, 0.02) {
		t.Errorf("%+v, %t", m, ok)
	}
	if m.FlushesPerS(2, 2) != 200 || m.FlushesPerS(3, 1) != 100 {
		t.Errorf("%g and %g/s", m.FlushesPerS(2, 2), m.FlushesPerS(3, 1))
	}
	inMemory := s
	inMemory.Environment.DataMemory = true
	for _, x := range []struct {
		record.Session
		probes []record.Probe
	}{{record.Session{}, probes}, {inMemory, probes}, {s, nil}} {
		if _, ok := MachineOf(x.Session, x.probes); ok {
			t.Errorf("a machine of %+v", x)
		}
	}
}
