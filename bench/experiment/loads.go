package experiment

import (
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/conf"
)

// checkLoads sees that the settings of [load] go together, each mistake at the first cell
// that has it, and that none is given that means nothing.
func (d *draft) checkLoads(cells []Cell) {
	d.checkEither(keyReadRatio, "load.mix", "read_ratio is its short form")
	d.checkEither("load.operations", "load.duration", "the measured window has an end by the one or the other")
	d.checkEither("load.value_sizes", "load.value_size", "value_sizes is instead of value_size")
	for _, c := range cells {
		if !d.checkLoad(&c) {
			break
		}
	}
	d.checkClients(cells)
	load := func(used func(*Load) bool) func(Cell) bool { return func(c Cell) bool { return used(&c.Load) } }
	zipf := func(l *Load) bool {
		return l.KeyDistribution == workload.Zipf || l.KeyDistribution == workload.Latest
	}
	hot := func(l *Load) bool { return l.KeyDistribution == workload.HotSpot }
	for _, x := range []struct {
		key, of, mend string
		used          func(*Load) bool
	}{
		{"load.arrival", "an open loop, and there is no rate", "set load.rate to operations per second", (*Load).Open},
		{"load.zipf_exponent", "zipf and latest keys", `set key_distribution = "zipf"`, zipf},
		{"load.hot_keys", "hot-spot keys", `set key_distribution = "hot-spot"`, hot},
		{"load.hot_operations", "hot-spot keys", `set key_distribution = "hot-spot"`, hot},
		{"load.hot_moves", "hot-spot keys", `set key_distribution = "hot-spot"`, hot},
		{"load.scan_length", "scans, and there are none", "give load.mix.scan a share", func(l *Load) bool { return l.Mix.Scan > 0 }},
		{"load.batch_size", "batches, and there are none", "give load.mix.batch a share", func(l *Load) bool { return l.Mix.Batch > 0 }},
	} {
		if at, given := d.locate(x.key); given && !slices.ContainsFunc(cells, load(x.used)) {
			d.AddAt(at, x.key, "%s is for %s: %s, or remove %s", x.key, x.of, x.mend, x.key)
		}
	}
}

// checkEither complains if the file gives two keys of which one leaves the other nothing to
// say, or keys of a table of that name.
func (d *draft) checkEither(one, other, why string) {
	s := d.given(one)
	t := d.given(other)
	if s != nil && t != nil {
		d.AddAt(s.At, one, "%s and %s (line %d) are both given, and %s: remove one", one, t.Key, t.At.Line, why)
	}
}

// given returns where the file gives a key, or one of a table of that name: for all cells or
// as a factor of its own.
func (d *draft) given(key string) *conf.Setting {
	all := slices.Clone(d.settings)
	for _, f := range d.factors {
		if f.coupled == nil {
			all = append(all, f.settings()...)
		}
	}
	i := slices.IndexFunc(all, func(s conf.Setting) bool { return s.Key == key || strings.HasPrefix(s.Key, key+".") })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// checkLoad looks at the load of one cell.
func (d *draft) checkLoad(c *Cell) bool {
	l := &c.Load
	mixed := l.Mix != workload.Mix{}
	key := tableMix
	if s := d.given(tableMix); s != nil {
		key = s.Key
	}
	if err := l.Mix.Check(); err != nil {
		d.complain(key, "load.mix%s: %v", c.describe(), err)
		return false
	}
	if l.Rate > 0 && l.PeakShare > 0 {
		d.complain("load.peak_share", "load.peak_share = %v beside load.rate = %v%s: the rate is the one or the other: remove one", l.PeakShare, l.Rate, c.describe())
		return false
	}
	if why := l.badRamp(); why != "" {
		d.complain("load.rate_to", "load.rate_to = %v%s: %s", l.RateTo, c.describe(), why)
		return false
	}
	if mixed && l.ReadRatio > 0 {
		d.complain(keyReadRatio, "load.read_ratio = %v beside load.mix%s: read_ratio is its short form: remove one", l.ReadRatio, c.describe())
		return false
	}
	if followers := l.Target == TargetFollowers; followers && c.Cluster.Nodes == 1 {
		d.complain("load.target", "load.target = %q%s: one node has no followers: raise cluster.nodes, or remove target", l.Target, c.describe())
		return false
	}
	if l.Target != "" && l.Target != TargetLeader && l.ReadLevel == ReadLease && l.Shares().Looks() > 0 {
		d.complain("load.read_level", "load.read_level = %q beside load.target = %q%s: only the leader has a lease: set read_level = %q, which followers serve too", l.ReadLevel, l.Target, c.describe(), ReadLinearizable)
		return false
	}
	if l.Target != "" && l.Target != TargetLeader && l.ReadLevel == ReadStale && l.Mix.Insert > 0 && l.KeyDistribution == workload.Latest {
		d.complain("load.read_level", "load.read_level = %q beside load.target = %q and reads of keys that are inserted meanwhile%s: a follower need not have them yet: set read_level = %q", l.ReadLevel, l.Target, c.describe(), ReadLinearizable)
		return false
	}
	spec, err := l.Spec(1)
	if err == nil {
		err = spec.Validate()
	}
	if err != nil {
		d.complain("load.keys", "[load]%s: %s", c.describe(), strings.ReplaceAll(err.Error(), "workload: ", ""))
		return false
	}
	return true
}

// badRamp says what is wrong with rate_to, and the mend.
func (l *Load) badRamp() string {
	switch {
	case !l.Ramps():
	case l.PeakShare > 0:
		return "a ramp begins at a rate, and load.peak_share gives another one to each trial: give load.rate instead, or remove rate_to"
	case l.Rate == 0:
		return "a ramp begins at a rate, and there is none: set load.rate to operations per second, or remove rate_to"
	case l.Rate == l.RateTo:
		return "it is load.rate, so the rate does not change: give another one, or remove rate_to; where the matrix varies both, give them as pairs: [[matrix.ramp]] with name, rate and rate_to"
	case l.Operations > 0:
		return "a ramp takes a time, and load.operations leaves that open: give load.duration instead"
	}
	return ""
}

// checkClients complains of clients where all that there is is an open loop, or where they
// are varied in one.
func (d *draft) checkClients(cells []Cell) {
	const key = "load.clients"
	at, given := d.locate(key)
	open := func(c Cell) bool { return c.Load.Open() && c.Load.PeakShare == 0 } // the peak is that of so many clients
	first := slices.IndexFunc(cells, open)
	closed := slices.ContainsFunc(cells, func(c Cell) bool { return !open(c) })
	if !given || first < 0 || closed && !d.varies(key) {
		return
	}
	c := cells[first]
	d.AddAt(at, key, "load.clients = %d means nothing beside load.rate = %v%s: an open loop starts each operation on schedule, whoever is free: remove clients, or remove rate for a closed loop of so many clients",
		c.Load.Clients, c.Load.Rate, c.describe())
}

// varies reports whether the matrix gives a key.
func (d *draft) varies(key string) bool {
	return slices.ContainsFunc(d.factors, func(f rawFactor) bool { return f.setting(key) != nil })
}
