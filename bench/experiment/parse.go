package experiment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// maxFileBytes is far above any experiment: it keeps a file that was named by
// mistake from being taken apart.
const maxFileBytes = 64 << 10

// ParseFile is [Parse] of the file at path. An error that is not [ErrInvalid]
// says that the file could not be read.
func ParseFile(path string, known Known, overrides []Override) (*Experiment, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("experiment: %w", err)
	}
	return Parse(path, data, known, overrides)
}

// Parse reads an experiment file that the caller holds in data; file is its
// name in errors. Overrides are applied in their order, then everything is
// checked and defaults are filled in (the package comment lists them). What
// Parse returns also expands.
//
// The error joins an *[Error] for every mistake found, sorted by line; each is
// [ErrInvalid]. A syntax error is alone, and mistakes that only a cell shows
// come out once the rest is mended.
func Parse(file string, data []byte, known Known, overrides []Override) (*Experiment, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(data) > maxFileBytes {
		return nil, &Error{File: file, Line: 1, Msg: fmt.Sprintf("longer than %d KiB: this is no experiment file", maxFileBytes>>10)}
	}
	nodes, err := parseTree(data)
	if err != nil {
		return nil, syntaxError(file, data, err)
	}
	d := &draft{file: file, known: known, schema: newSchema(&known)}
	d.read(nodes)
	for _, o := range overrides {
		d.override(o)
	}
	e := d.resolveAll()
	e.Question = question(data)
	if err := d.join(); err != nil {
		return nil, err
	}
	cells, err := e.Expand()
	if err != nil {
		return nil, &Error{File: file, Line: d.matrixLine, Key: "matrix", Msg: strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": ")}
	}
	d.checkCells(e.Measure, cells)
	if err := d.join(); err != nil {
		return nil, err
	}
	return e, nil
}

func syntaxError(file string, data []byte, err error) error {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return &Error{File: file, Line: 1, Msg: fmt.Sprintf("not TOML: %v", err)}
	}
	return &Error{File: file, Line: lineAt(data, syntax.Position.Start), Key: syntax.LastKey, Msg: "not TOML: " + syntax.Message}
}

// question returns the comment that the file begins with, as one paragraph.
func question(data []byte) string {
	var words []string
	for line := range strings.Lines(string(data)) {
		text, isComment := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !isComment {
			break
		}
		words = append(words, strings.Fields(strings.TrimLeft(text, "#"))...)
	}
	return strings.Join(words, " ")
}

// defaults returns what holds where a file says nothing.
func defaults() *Experiment {
	return &Experiment{
		Seed:    1,
		Trials:  5,
		Measure: MeasureLoad,
		Cluster: Cluster{
			Nodes: 3, Engine: "hashicorp", Backend: "bolt", Transport: "tcp", Mode: ModeInProcess, Discovery: DiscoveryStatic,
		},
		Load: Load{
			Clients: 16, Arrival: "constant",
			Duration: Duration(5 * time.Second), Warmup: Duration(time.Second),
			ValueSize: 256, Keys: 10_000, KeyDistribution: "uniform",
			ReadRatio: 0, ReadLevel: ReadLinearizable, OpTimeout: Duration(10 * time.Second),
		},
		Formation: Formation{Settle: Duration(5 * time.Second), Rest: Duration(5 * time.Second), Timeout: Duration(time.Minute)},
	}
}

// draft is an experiment file taken apart, before its values are checked.
type draft struct {
	complaints
	file       string
	known      Known
	schema     schema
	entries    []entry // one per key
	factors    []rawFactor
	matrixLine int
}

// entry is a value that the file or an override gives a scalar or an option.
type entry struct {
	key   string // qualified
	value any
	at    origin
}

// rawFactor is a line of [matrix].
type rawFactor struct {
	name, key string
	levels    []any
	at        origin
}

func (d *draft) put(e entry) {
	for i := range d.entries {
		if d.entries[i].key == e.key {
			d.entries[i] = e
			return
		}
	}
	d.entries = append(d.entries, e)
}

func (d *draft) at(n *node) origin { return origin{file: d.file, line: n.line} }

// resolve returns the qualified key of a bare or dotted one.
func (d *draft) resolve(name string) (string, bool) {
	if d.schema.find(name) != nil {
		return name, true
	}
	for _, table := range tables() {
		if key := table + "." + name; d.schema.find(key) != nil {
			return key, true
		}
	}
	plugin, option, ok := splitOption(name)
	return name, ok && slices.Contains(d.known.plugins(), plugin) && slices.Contains(d.known.Options[plugin], option)
}

// tables are the tables that hold scalars.
func tables() []string { return []string{"cluster", "raft", "load", "formation"} }

// resolveAll turns the draft into an experiment, noting what is wrong.
func (d *draft) resolveAll() *Experiment {
	e := defaults()
	for _, entry := range d.entries {
		if err := d.schema.apply(e, entry.key, entry.value); err != nil {
			d.add(entry.at, entry.key, "%s = %s: %v", entry.key, show(entry.value), err)
		}
	}
	if !d.isSet("name") {
		d.add(origin{d.file, 1}, "name", `the key "name" is missing: add a line such as name = "backends" above the first table`)
	}
	e.Title = strings.Join(strings.Fields(e.Title), " ")
	if e.Title == "" {
		e.Title = e.Name
	}
	for _, f := range d.factors {
		if factor, ok := d.factor(e, f); ok {
			e.Matrix = append(e.Matrix, factor)
		}
	}
	d.checkMeasure(e)
	return e
}

// checkMeasure sees that the file says nothing of what is not measured, and takes
// the defaults of that out.
func (d *draft) checkMeasure(e *Experiment) {
	foreign := "formation"
	if e.Measure == MeasureFormation {
		foreign = "load"
		e.Load = Load{}
	} else {
		e.Formation = Formation{}
	}
	refuse := func(key string, at origin) {
		if table, bare := splitKey(key); table == foreign {
			d.add(at, key, "%s is for measure = %q, and this experiment has measure = %q: remove %s, or set measure at the top of the file",
				key, foreign, e.Measure, bare)
		}
	}
	for _, entry := range d.entries {
		refuse(entry.key, entry.at)
	}
	for _, f := range d.factors {
		refuse(f.key, f.at)
	}
}

func (d *draft) isSet(key string) bool {
	return slices.ContainsFunc(d.entries, func(e entry) bool { return e.key == key })
}

// factor checks the levels of one factor on copies of e.
func (d *draft) factor(e *Experiment, f rawFactor) (Factor, bool) {
	factor := Factor{Key: f.key, Name: f.name}
	ok := true
	for _, level := range f.levels {
		scratch := *e
		if err := d.schema.apply(&scratch, f.key, level); err != nil {
			d.add(f.at, f.key, "level %s of matrix.%s: %v", show(level), f.name, err)
			ok = false
			continue
		}
		text := d.schema.text(&scratch, f.key)
		if slices.Contains(factor.Levels, text) {
			d.add(f.at, f.key, "level %s of matrix.%s is there twice: remove one", show(level), f.name)
			ok = false
			continue
		}
		factor.Levels = append(factor.Levels, text)
	}
	return factor, ok
}

// locate returns where the value of key comes from: its factor, else its table,
// else the first line.
func (d *draft) locate(key string) origin {
	for _, f := range d.factors {
		if f.key == key {
			return f.at
		}
	}
	for _, e := range d.entries {
		if e.key == key {
			return e.at
		}
	}
	return origin{d.file, 1}
}

// checkCells checks what only several keys together show, each kind of mistake
// at the first cell that has it.
func (d *draft) checkCells(measure string, cells []Cell) {
	var leaseDone, rateDone, anyOpen bool
	d.checkModes(measure, cells)
	for _, c := range cells {
		lease, heartbeat := c.Raft.LeaderLeaseTimeout, c.Raft.HeartbeatTimeout
		if !leaseDone && lease > 0 && heartbeat > 0 && lease > heartbeat {
			leaseDone = true
			const key = "raft.leader_lease_timeout"
			d.add(d.locate(key), key, "%s = %s exceeds raft.heartbeat_timeout = %s%s: a leader would outlive its lease; lower the one or raise the other",
				key, lease, heartbeat, c.describe())
		}
		if rate := c.Load.Rate; rate > 0 {
			anyOpen = true
			if operations := rate * time.Duration(c.Load.Duration).Seconds(); !rateDone && operations < 1 {
				rateDone = true
				d.add(d.locate("load.rate"), "load.rate", "load.rate = %v for load.duration = %s%s is less than one operation: raise the one or the other",
					rate, c.Load.Duration, c.describe())
			}
		}
	}
	const key = "load.arrival"
	if at := d.locate(key); !anyOpen && (d.isSet(key) || d.isFactor(key)) {
		d.add(at, key, "%s is for an open loop, and there is no rate: set load.rate to operations per second, or remove %s", key, key)
	}
}

// checkModes complains of the first cell in one process that needs several.
func (d *draft) checkModes(measure string, cells []Cell) {
	for _, c := range cells {
		if c.Cluster.Mode == ModeProcess {
			continue
		}
		switch {
		case measure == MeasureFormation:
			d.add(d.locate("measure"), "measure", "measure = %q needs processes that start, and cluster.mode is %q%s: set mode = %q in [cluster]",
				measure, c.Cluster.Mode, c.describe(), ModeProcess)
			return
		case c.Cluster.Discovery == DiscoveryGossip:
			const key = "cluster.discovery"
			d.add(d.locate(key), key, "%s = %q needs processes that find each other, and cluster.mode is %q%s: set mode = %q in [cluster]",
				key, c.Cluster.Discovery, c.Cluster.Mode, c.describe(), ModeProcess)
			return
		}
	}
}

func (d *draft) isFactor(key string) bool {
	return slices.ContainsFunc(d.factors, func(f rawFactor) bool { return f.key == key })
}

// describe names a cell by its levels, for a message; one without is silent.
func (c *Cell) describe() string {
	if len(c.Levels) == 0 {
		return ""
	}
	parts := make([]string, len(c.Levels))
	for i, l := range c.Levels {
		parts[i] = l.Factor + " = " + l.Value
	}
	return " (cell " + c.ID + ": " + strings.Join(parts, ", ") + ")"
}
