package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/conf"
)

// ErrInvalid is what every complaint about the content of an experiment is,
// under [errors.Is]. A file that cannot be read is not one.
var ErrInvalid = errors.New("invalid experiment")

// Error is one mistake in an experiment file or override, with the way to mend
// it. [Parse] joins all that it found, sorted by line.
type Error = conf.Mistake

// maxFileBytes is far above any experiment.
const maxFileBytes = 64 << 10

// Parse reads an experiment file that the caller holds in data; file is its
// name in errors. Overrides are applied in their order, then everything is
// checked and defaults are filled in. What Parse returns also expands.
//
// The error joins an *[Error] for every mistake found, sorted by line; each is
// [ErrInvalid]. A syntax error is alone, and mistakes that only a cell shows
// come out once the rest is mended.
func Parse(file string, data []byte, known Known, overrides []Override) (*Experiment, error) {
	d, err := newDraft(file, data, known, overrides)
	if err != nil {
		return nil, err
	}
	e := d.resolveAll()
	d.exclude(e, len(overrides) > 0)
	e.Question = question(data)
	if err := d.Err(); err != nil {
		return nil, err
	}
	cells, err := e.Expand()
	if err != nil {
		d.Add(d.matrixLine, "matrix", "%s", strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
		return nil, d.Err()
	}
	d.checkOwn(e, cells)
	d.checkCells(e.Measure, cells)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return e, nil
}

// newDraft reads a file and lays the overrides over it.
func newDraft(file string, data []byte, known Known, overrides []Override) (*draft, error) {
	kind := conf.Kind{Name: "experiment file", Invalid: ErrInvalid, Help: "raftlab help experiment", MaxBytes: maxFileBytes}
	root, mistakes, err := kind.Parse(file, data)
	if err != nil {
		return nil, err
	}
	known = known.asked(root, overrides)
	d := &draft{Mistakes: mistakes, known: known, schema: Schema(known)}
	d.read(root)
	for _, o := range overrides {
		d.override(o)
	}
	return d, nil
}

// Given lists the keys that a file and its overrides give a value outside the matrix. Any
// other key has a default.
func Given(data []byte, known Known, overrides []Override) []string {
	d, err := newDraft("", data, known, overrides)
	if err != nil {
		return nil
	}
	var keys []string
	for _, s := range d.settings {
		keys = append(keys, s.Key)
	}
	return keys
}

// question returns the comment that the file begins with, as one paragraph.
func question(data []byte) string {
	var words []string
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		text, isComment := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !isComment {
			break
		}
		words = append(words, strings.Fields(strings.TrimLeft(text, "#"))...)
	}
	return strings.Join(words, " ")
}

// maxValueBytes is the bound of load.value_size.
const maxValueBytes = 64 << 20

// checkSizes looks at a distribution of sizes.
func checkSizes(text string, most int) error {
	sizes, err := workload.ParseSizes(text)
	if err == nil && sizes.Max() > most {
		err = fmt.Errorf("at most %d", most)
	}
	return err
}

func checkName(name string) error {
	if len(name) <= 64 && regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(name) {
		return nil
	}
	return errors.New(`want the name of a folder, of a-z, 0-9 and "-" only, such as "backends"`)
}

// resolveAll turns the draft into an experiment, noting what is wrong.
func (d *draft) resolveAll() *Experiment {
	e := &Experiment{}
	d.spreadPresets()
	d.spreadFamily()
	if err := d.schema.Defaults(e); err != nil {
		d.Add(1, "", "%v", err)
	}
	if s := d.setting("measure"); s != nil {
		_ = d.apply(e, s.Key, s.Data) // first, since others are settings of it; what is wrong is noted below
	}
	for _, s := range d.settings {
		if err := d.apply(e, s.Key, s.Data); err != nil {
			d.AddAt(s.At, s.Key, "%s = %s: %v", s.Key, conf.Show(s.Data), err)
		}
	}
	if d.setting("name") == nil {
		d.Add(1, "name", `the key "name" is missing: add a line such as name = "backends" above the first table`)
	}
	e.Title = cmp.Or(strings.Join(strings.Fields(e.Title), " "), e.Name)
	d.checkOverlap()
	for _, f := range d.factors {
		levels := d.levels
		if f.coupled != nil {
			levels = d.coupledLevels
		}
		if factor, ok := levels(e, f); ok {
			e.Matrix = append(e.Matrix, factor)
		}
	}
	d.findOwn(e)
	d.checkBaseline(e)
	d.checkUntil(e)
	d.checkMeasure(e)
	return e
}

// Compared returns the factor whose levels a report compares: the first that has several.
func (e *Experiment) Compared() (Factor, bool) {
	i := slices.IndexFunc(e.Matrix, func(f Factor) bool { return len(f.Levels) > 1 })
	if i < 0 {
		return Factor{}, false
	}
	return e.Matrix[i], true
}

// checkBaseline sees that the baseline is a level of the compared factor, and gives it that
// level's normal form.
func (d *draft) checkBaseline(e *Experiment) {
	s := d.setting("baseline")
	if s == nil || e.Baseline == "" || len(e.Matrix) < len(d.factors) { // which is complained of already
		return
	}
	f, ok := e.Compared()
	if !ok {
		d.AddAt(s.At, "baseline", "baseline = %s: no factor of the matrix has several levels, so nothing is compared: remove baseline, or add levels", conf.Show(s.Data))
		return
	}
	if f.Sets == nil {
		scratch := *e
		if d.apply(&scratch, f.Key, conf.Literal(e.Baseline)) == nil {
			e.Baseline = d.text(&scratch, f.Key)
		}
	}
	if !slices.Contains(f.Levels, e.Baseline) {
		d.AddAt(s.At, "baseline", "baseline = %s is no level of matrix.%s, the factor that is compared; %s", conf.Show(s.Data), f.Name, d.Hint(e.Baseline, f.Levels))
	}
}

// apply sets a key, or an option, of e to a value of a document. The error says only
// what is wanted. It never writes into a map that e shares with a copy.
func (d *draft) apply(e *Experiment, key string, data any) error {
	if p, _, ok := d.known.measures(key); ok && p.Name != e.Measure {
		return nil // checkMeasure complains
	}
	if text, ok := data.(string); ok && key == "load.rate" && strings.HasSuffix(text, "%") {
		return fmt.Errorf("want operations per second, without quotes; for a share of the peak, which is measured first, give peak_share = %q", text)
	}
	if p, option := d.known.owner(key); p.Check != nil {
		value, err := conf.Option(data)
		if err != nil {
			value = data // the plug-in knows better what is wanted
		}
		if err := p.Check(option, value); err != nil {
			return err
		}
	}
	return apply(d.schema, e, key, data)
}

func apply(schema *conf.Schema, e *Experiment, key string, data any) error {
	if owner, option, ok := splitOption(today(key)); ok {
		v, err := conf.Option(data)
		if err == nil {
			e.Options = e.Options.with(owner, option, v)
		}
		return err
	}
	if f := schema.Find(key); f != nil {
		return f.Set(e, data)
	}
	option, ok := strings.CutPrefix(key, e.Measure+".")
	if !ok {
		return errors.New("no such key")
	}
	v, err := conf.Option(data)
	if err == nil {
		e.Settings = with(e.Settings, option, v)
	}
	return err
}

// levels checks the levels of one factor on copies of e.
func (d *draft) levels(e *Experiment, f rawFactor) (Factor, bool) {
	factor := Factor{Key: f.key, Name: f.name}
	ok := true
	for _, level := range f.levels {
		scratch := *e
		if err := d.apply(&scratch, f.key, level.Data); err != nil {
			ok = false
			if s := d.setting(f.key); s == nil || s.At != f.at { // an override that pins the factor was complained of already
				d.AddAt(f.at, f.key, "level %s of matrix.%s: %v", conf.Show(level.Data), f.name, err)
			}
			continue
		}
		text := d.text(&scratch, f.key)
		if slices.Contains(factor.Levels, text) {
			d.AddAt(f.at, f.key, "level %s of matrix.%s is there twice: remove one", conf.Show(level.Data), f.name)
			ok = false
			continue
		}
		factor.Levels = append(factor.Levels, text)
	}
	return factor, ok
}

// text returns the value of a key of e in its normal form: applyText takes it back, and
// equal values have equal texts.
func (d *draft) text(e *Experiment, key string) string {
	if owner, option, ok := splitOption(key); ok {
		return conf.LiteralText(e.Options[owner][option])
	}
	if _, option, ok := d.known.measures(key); ok {
		return conf.LiteralText(e.Settings[option])
	}
	return d.schema.Find(key).Text(e)
}

// checkMeasure sees that the file says nothing of what is not measured, and takes
// the defaults of that out.
func (d *draft) checkMeasure(e *Experiment) {
	if !d.known.loads(e.Measure, "") {
		e.Load = Load{Client: e.Load.Client, Connections: e.Load.Connections} // refused below where nobody connects
	}
	if e.Measure != MeasureFormation {
		e.Formation = Formation{}
	}
	for _, m := range d.known.named(KindMeasure, e.Measure) {
		settings := maps.Clone(m.Defaults)
		maps.Copy(settings, e.Settings)
		if len(settings) > 0 {
			e.Settings = settings
		}
	}
	refuse := func(key string, at conf.Origin) {
		measure, bare := d.measureOf(key)
		if measure != "" && measure != e.Measure && !(measure == MeasureLoad && d.known.loads(e.Measure, key)) {
			d.AddAt(at, key, "%s is for measure = %q, and this experiment has measure = %q: remove %s, or set measure at the top of the file",
				key, measure, e.Measure, bare)
		}
	}
	for _, s := range d.settings {
		refuse(s.Key, s.At)
	}
	for _, f := range d.factors {
		for _, s := range f.settings() {
			refuse(s.Key, s.At)
		}
	}
}

// measureOf returns the measure that a key is a setting of, or "".
func (d *draft) measureOf(key string) (measure, bare string) {
	if f := d.schema.Find(key); f != nil {
		if f.Table == MeasureLoad || f.Table == MeasureFormation {
			return f.Table, f.Name
		}
		return "", ""
	}
	p, option, _ := d.known.measures(key)
	return p.Name, option
}

// locate returns where the value of key comes from: its factor, else its table,
// else the first line, as one that is not given.
func (d *draft) locate(key string) (at conf.Origin, given bool) {
	for _, f := range d.factors {
		if s := f.setting(key); s != nil {
			return s.At, true
		}
	}
	if s := d.setting(key); s != nil {
		return s.At, true
	}
	return conf.Origin{File: d.File, Line: 1}, false
}

// complain notes a mistake where the value of key comes from.
func (d *draft) complain(key, format string, args ...any) {
	at, _ := d.locate(key)
	d.AddAt(at, key, format, args...)
}

// checkCells checks what only several keys together show, each kind of mistake
// at the first cell that has it.
func (d *draft) checkCells(measure string, cells []Cell) {
	var leaseDone, rateDone bool
	d.checkModes(measure, cells)
	d.checkFamily(cells)
	if d.known.loads(measure, "") {
		d.checkLoads(cells)
	}
	for _, c := range cells {
		lease, heartbeat := c.Raft.LeaderLeaseTimeout, c.Raft.HeartbeatTimeout
		if !leaseDone && lease > 0 && heartbeat > 0 && lease > heartbeat {
			leaseDone = true
			const key = "raft.leader_lease_timeout"
			d.complain(key, "%s = %s exceeds raft.heartbeat_timeout = %s%s: a leader would outlive its lease; lower the one or raise the other",
				key, lease, heartbeat, c.describe())
		}
		if rate := c.Load.Rate; rate > 0 {
			if operations := c.Load.TopRate() * time.Duration(c.Load.Duration).Seconds(); !rateDone && c.Load.Operations == 0 && operations < 1 {
				rateDone = true
				d.complain("load.rate", "load.rate = %v for load.duration = %s%s is less than one operation: raise the one or the other",
					rate, c.Load.Duration, c.describe())
			}
		}
	}
}

// checkModes complains of the first cell in one process that needs several.
func (d *draft) checkModes(measure string, cells []Cell) {
	for _, c := range cells {
		if c.Cluster.Mode == ModeProcess {
			continue
		}
		switch {
		case c.Cluster.Profile != "":
			const key = "cluster.profile"
			d.complain(key, "%s = %q is for kvnode, and cluster.mode is %q%s: set mode = %q in [cluster], or set heartbeat_timeout in [raft]",
				key, c.Cluster.Profile, c.Cluster.Mode, c.describe(), ModeProcess)
			return
		case measure == MeasureFormation:
			d.complain("measure", "measure = %q needs processes that start, and cluster.mode is %q%s: set mode = %q in [cluster]",
				measure, c.Cluster.Mode, c.describe(), ModeProcess)
			return
		case c.Cluster.Discovery == DiscoveryGossip:
			const key = "cluster.discovery"
			d.complain(key, "%s = %q needs processes that find each other, and cluster.mode is %q%s: set mode = %q in [cluster]",
				key, c.Cluster.Discovery, c.Cluster.Mode, c.describe(), ModeProcess)
			return
		}
	}
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
