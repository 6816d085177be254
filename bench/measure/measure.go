// Package measure says what a measurement is: a Kind puts something to a group and
// records it, and yields Quantities. All that follows (the table of trials, the
// report, comparisons, plots and the checks of verify) knows quantities and no kind,
// so what a new kind needs lives in its own folder and one line of the catalogue.
//
// The package holds the contract and never measures, sums up or prints.
package measure

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// Text is something that a report says, in each of its languages.
type Text struct{ En, Ru string }

// Unit is what a quantity is counted in. Values are kept in the base unit that the
// name says; a report chooses a readable multiple.
type Unit string

// The units.
const (
	Seconds        Unit = "s"
	PerSecond      Unit = "1/s"
	OpsPerSecond   Unit = "op/s"
	BytesPerSecond Unit = "B/s"
	Bytes          Unit = "B"
	Cores          Unit = "cores"
	Percent        Unit = "%"
	Count          Unit = "" // a number of things, or a ratio of two
)

// Role is what a quantity is for.
type Role int

// The roles, the least first.
const (
	Detail   Role = iota // in results.csv, and in the tables that name it
	Shown                // in the main table too, and compared between runs
	Compared             // against the base cell of the same run too
)

// Quantity is something that a trial has one value of.
type Quantity struct {
	Key  string // "latency.p99": unique within its kind
	Name Text   // at the head of a column
	Long Text   // in a sentence; empty: as Name
	Unit Unit
	Role Role
	More bool // the more of it, the better, as throughput; of others, such as times, the less

	// Apart: it answers another question than the first quantity of its kind's answer does.
	Apart bool

	// Imposed: the load sets it where that comes at a rate, and does not wait for answers.
	// It is compared with nothing then.
	Imposed bool

	// Column is its column of results.csv, where values are divided by Scale (0: 1)
	// and have so many Decimals; empty: it has none.
	Column   string
	Scale    float64
	Decimals int

	// Of names the distribution whose percentile PerMille (500 is the median) the
	// quantity is; such a value is computed from the distribution. Empty: the kind
	// gives the value itself.
	Of       string
	PerMille int

	// Some: only some loads have it, and where no trial of a run does, nothing says so.
	Some bool
}

// Values are what one trial gave. A key that is not there was not measured.
type Values struct {
	Scalars       map[string]float64                 // by the key of the quantity, in its unit
	Distributions map[string]*hdrhistogram.Histogram // by Quantity.Of, in nanoseconds; empty ones are not there
	Timeline      *Timeline                          // what happened when; nil: it was not recorded

	// Ramp is the same in few long steps, for a load whose rate changes, with the line [Samples];
	// nil: it does not. Nothing about such a trial is level by design.
	Ramp *Timeline

	// Failed is how many samples of a distribution, by Quantity.Of, are operations that failed:
	// they are there as the slowest of all.
	Failed map[string]int64
	// AtLeast are the scalars that are at least what they say: what was measured reaches no
	// farther. Such a value is compared with none.
	AtLeast map[string]bool
	// Unsure are the scalars that stand on too few samples.
	Unsure map[string]bool

	Failures []Failure // of operations, the most frequent first
}

// Failure is a way in which operations failed.
type Failure struct {
	Text  string
	Times int64
	First time.Duration // after the window had opened, if it was the first of all; below zero: it was not
}

// Timeline is how something went on, in equal steps of the load: the warm-up, if there was
// one, and the window.
type Timeline struct {
	Begin time.Duration // of the first step, counted from when the window opened: below zero where there was a warm-up
	Step  time.Duration
	// Lines are by Line.Key, in its unit, all of one length; NaN where a step has no value,
	// such as the latency of no operation. What was not measured is not there.
	Lines map[string][]float64
}

// Samples is the key of the line that says how many operations the percentiles of a step are of.
const Samples = "samples"

// Window returns a line's part within the window; nil where there is no such line.
func (t *Timeline) Window(key string) []float64 { return t.part(key, false) }

// Warmup returns a line's part before the window.
func (t *Timeline) Warmup(key string) []float64 { return t.part(key, true) }

func (t *Timeline) part(key string, warmup bool) []float64 {
	if t == nil || t.Step <= 0 {
		return nil
	}
	line := t.Lines[key]
	opens := min(max(0, int(-t.Begin/t.Step)), len(line))
	if warmup {
		return line[:opens]
	}
	return line[opens:]
}

// Line is something that a trial has a value of in each step of its Timeline.
type Line struct {
	Key   string // "throughput": unique within its kind
	Name  Text   // at an axis
	Unit  Unit
	Level bool // it should be level all the time: a warning tells where it is not

	PerMille int // of a percentile, as of a Quantity
}

// Of returns the value of a quantity, if the trial has one.
func (v Values) Of(q Quantity) (value float64, there bool) {
	if q.Of == "" {
		value, there = v.Scalars[q.Key]
		return value, there
	}
	h := v.Distributions[q.Of]
	if h == nil {
		return 0, false
	}
	return float64(h.ValueAtPercentile(float64(q.PerMille)/10)) / 1e9, true
}

// AmongFailed reports whether a percentile falls among operations that failed. Its value says
// at least how long they took then.
func (v Values) AmongFailed(q Quantity) bool {
	h, failed := v.Distributions[q.Of], v.Failed[q.Of]
	if h == nil || failed == 0 {
		return false
	}
	rank := int64(float64(q.PerMille)/1000*float64(h.TotalCount()) + 0.5) // as the histogram has it
	return min(rank, h.TotalCount()) > h.TotalCount()-failed
}

// Independent returns how many samples of a distribution, by Quantity.Of, count as
// independent where its tail is concerned: the scalar NAME.effective, where the kind gives it,
// or all of them.
func (v Values) Independent(of string) int64 {
	if n, there := v.Scalars[of+".effective"]; there {
		return int64(n)
	}
	if h := v.Distributions[of]; h != nil {
		return h.TotalCount()
	}
	return 0
}

// Distribution keeps a distribution, with its mean and the number of its samples as the
// scalars NAME.mean and NAME.samples. An empty one is not kept.
func (v *Values) Distribution(name string, h *hdrhistogram.Histogram) {
	if h == nil || h.TotalCount() == 0 {
		return
	}
	v.Distributions[name] = h
	v.Scalars[name+".mean"] = h.Mean() / 1e9
	v.Scalars[name+".samples"] = float64(h.TotalCount())
}

// Measured is a trial with the values that were read of it, and where it was measured.
type Measured struct {
	Cell    *record.CellInfo
	Session *record.Session
	Probe   record.Probe
	Values  *Values
	Valid   bool
}

// Kind is a kind of measurement.
type Kind struct {
	Name  string // of `measure = "NAME"` in an experiment, and of its data in the record of a trial
	Needs []system.Ability
	// Settings is a struct of the kind's own settings with their defaults, with the tags
	// that core.Tuning has too; they stand in a table of the kind's name, and a cell's
	// ReadSettings reads them. Nil: none, or fields of an experiment (load, formation).
	Settings any
	Load     bool // the load of the [load] table is put to the group
	Connects bool // the kind has clients of its own, and they connect as the [load] table says

	// Quick is at most what settings are in a trial run (run --quick): whole numbers, or
	// durations in nanoseconds.
	Quick map[string]int64

	// Planned says how long the kind's own settings make a trial of the cell last at least,
	// beside what the cell itself says; nil: no longer.
	Planned func(cell experiment.Cell) time.Duration

	// Accept refuses a cell that cannot be measured, before the first trial; nil: none is.
	Accept func(cell experiment.Cell) error

	// Room says what memory and disk a trial of the cell needs: what is not there is
	// refused before the first trial. Nil: next to nothing, as members that hold no keys.
	Room func(cell *record.CellInfo) []Need

	// Run carries one trial out: it starts the group that t gives, and records into
	// t.Record what was measured, also where it returns an error.
	Run func(ctx context.Context, t *Trial) error
	// Read decodes and checks what a trial recorded; a trial that recorded nothing has
	// no values. The error is a record.ErrDamaged or record.ErrNewer.
	Read func(cell *record.CellInfo, t *record.Trial) (Values, error)
	// Derive adds to the values of the trials what follows from them together with the
	// machine and the other trials of the run; nil: nothing does.
	Derive func(trials []Measured)
	// Check looks for contradictions between the data of a trial and its cell; nil:
	// there is nothing that Read does not check.
	Check func(cell *record.CellInfo, t *record.Trial, v Values) []Contradiction

	// Histograms is how many of the distributions that Quantities name a trial of the cell has
	// of its own; nil: all.
	Histograms func(cell *record.CellInfo) int

	Gates      []string // that each trial has which was carried through
	Quantities []Quantity
	Lines      []Line // of the Timeline
	// Answer lists what the answer of a report is about, the most important first: cells are
	// compared by that.
	Answer  []string
	Main    string    // the distribution that the percentiles are mainly of; empty: none
	Columns []Setting // of results.csv, beside those that all kinds have
	Parts   *Parts    // what a quantity is made up of; nil: there is none such
	Tables  []Table   // beside the main one
	Figures []Figure
	// Method says how the figures came about. The report itself adds what holds for
	// every kind: the number of trials and the seed, durability, intervals, comparisons
	// and validity.
	Method func(cells []*record.CellInfo, w Words) []Item
	// Cautions says what limits an answer about such cells; nil: nothing of the kind's
	// own.
	Cautions func(cells []*record.CellInfo) []Text
}

// Setting is a property of a cell that has a column in results.csv.
type Setting struct {
	Column string
	Of     func(*record.CellInfo) string
}

// Table is a table of details. A column without any value is left out.
type Table struct {
	Title      Text
	Quantities []string
	Note       Text
	Method     Text   // how its figures came about, told where the report tells that of all
	Sparse     bool   // without the rows of cells that have no value
	OverTime   string // with a small picture of that Line over the window; empty: without
	Result     bool   // stands with the results, before the plots
	Greatest   Greatest

	// Rows, instead of Quantities, give a cell several rows: one for each of them that it has
	// values of. RowsOf heads the column of their names.
	RowsOf Text
	Rows   []Row
	// Along, instead of Quantities, are Lines: a cell has a row for each step of its Ramp.
	Along []string
}

// Row is one of the rows of a cell. The names of its quantities, which are the heads of the
// table, are the same in all rows.
type Row struct {
	Name       Text
	Quantities []string
}

// Greatest is a last column, which says the greatest of some quantities and which it is;
// without any, there is no such column.
type Greatest struct {
	Name       Text
	Quantities []string
}

// Parts are what one quantity is made up of. They are means, so they add up to it.
type Parts struct {
	Title Text
	Whole string // key of the quantity
	List  []Part
	Note  Text
	Leads bool // the answer begins with them
}

// Part is one of them.
type Part struct {
	Name           Text
	Mean, P50, P99 string // keys of quantities; P50 and P99 may be empty
}

// Form is what a figure draws.
type Form int

// The forms.
const (
	Percentiles Form = iota // the distribution that Quantities[0] names, by percentile
	Against                 // the other Quantities, of one unit, against Quantities[0]
	ByLevel                 // each of the Quantities over the levels of a factor
	Stacked                 // the Kind's Parts of each cell, end to end
	Waterfall               // a panel for each cell: its Parts, each in a row of its own
	OverRamp                // the other Lines that Quantities names over Quantities[0], along a Ramp
	OverTime                // the Lines that Quantities names, along the load
	Cumulative              // as Percentiles, by value; for the few who ask for it
)

// Figure is a figure of the report.
type Figure struct {
	Name       string // of its file
	Title      Text
	Caption    Text
	Form       Form
	Quantities []string
	Axis       Text // of the values
}

// Item is a term with its explanation.
type Item struct{ Term, Text string }

// Words writes in the language of a report.
type Words interface {
	Say(Text) string
	Number(v float64) string
	Duration(experiment.Duration) string
	Bytes(n uint64) string
	Term(word string) string // a word of the raw data, such as "linearizable"
}

// Contradiction is a field of a trial that cannot be as it is.
type Contradiction struct{ Field, Printed, Computed string }

// Trial is what a kind is given to carry one trial out.
type Trial struct {
	Cell   *record.CellInfo
	Seed   uint64 // differs from trial to trial
	Logger *slog.Logger
	// New describes a new group of the cell's system in an empty folder. The kind
	// starts and closes it.
	New func(system.Options) (system.Group, error)
	// Record is where the kind puts what it measured: Leader, Gates, and its data by
	// record.Trial.Put.
	Record *record.Trial
}

// Quantity returns the quantity of a key; the kind must have it.
func (k *Kind) Quantity(key string) Quantity {
	i := slices.IndexFunc(k.Quantities, func(q Quantity) bool { return q.Key == key })
	return k.Quantities[i]
}

// validate finds a key that names no quantity before anything is measured.
func (k *Kind) validate() error {
	keys, lines := slices.Clone(k.Answer), []string(nil)
	for _, t := range k.Tables {
		keys = append(append(keys, t.Quantities...), t.Greatest.Quantities...)
		for _, r := range t.Rows {
			keys = append(keys, r.Quantities...)
		}
		lines = append(lines, t.Along...)
		if t.OverTime != "" {
			lines = append(lines, t.OverTime)
		}
	}
	for _, f := range k.Figures {
		switch f.Form {
		case Percentiles, Cumulative: // which name a distribution
		case OverTime, OverRamp:
			lines = append(lines, f.Quantities...)
		default:
			keys = append(keys, f.Quantities...)
		}
	}
	if k.Parts != nil {
		keys = append(keys, k.Parts.Whole)
		for _, p := range k.Parts.List {
			keys = append(keys, slices.DeleteFunc([]string{p.Mean, p.P50, p.P99}, func(key string) bool { return key == "" })...)
		}
	}
	for _, key := range keys {
		if !slices.ContainsFunc(k.Quantities, func(q Quantity) bool { return q.Key == key }) {
			return fmt.Errorf("the kind of measurement %q names a quantity %q and has none", k.Name, key)
		}
	}
	for _, key := range lines {
		if !slices.ContainsFunc(k.Lines, func(l Line) bool { return l.Key == key }) {
			return fmt.Errorf("the kind of measurement %q names a line %q and has none", k.Name, key)
		}
	}
	if len(k.Answer) == 0 {
		return fmt.Errorf("the kind of measurement %q has no Answer", k.Name)
	}
	return nil
}

// Lasts returns how long a trial of the cell lasts at least.
func (k *Kind) Lasts(cell experiment.Cell) time.Duration {
	planned := cell.Planned()
	if k.Planned != nil {
		planned += k.Planned(cell)
	}
	return planned
}

// SettleWarmup gives all cells of a run their WarmupOperations: where the experiment does not
// say how many, the same for all, so that logs and maps are equally full. Nobody looks at the
// figures of a quick run, and none come before those.
func (k *Kind) SettleWarmup(cells []record.CellInfo, quick bool) {
	most := int64(0)
	for i := range cells {
		if k.Load && !quick {
			most = max(most, cells[i].WarmAfter)
		}
	}
	for i := range cells {
		c := &cells[i]
		c.WarmupOperations = most
		if given := c.Load.WarmupOperations; given != nil {
			c.WarmupOperations = *given
		}
	}
}

// Headline is the quantity that cells are compared by in the answer.
func (k *Kind) Headline() Quantity { return k.Quantity(k.Answer[0]) }

// Line returns the line of a key; the kind must have it.
func (k *Kind) Line(key string) Line {
	return k.Lines[slices.IndexFunc(k.Lines, func(l Line) bool { return l.Key == key })]
}

// With returns the quantities of at least that role.
func (k *Kind) With(role Role) []Quantity {
	return slices.DeleteFunc(slices.Clone(k.Quantities), func(q Quantity) bool { return q.Role < role })
}

// Catalog is the kinds that a program knows.
type Catalog []*Kind

// Lookup returns the kind of a name, whose declaration must agree with itself.
func (c Catalog) Lookup(name string) (*Kind, error) {
	for _, k := range c {
		if k.Name == name {
			return k, k.validate()
		}
	}
	return nil, fmt.Errorf("there is no kind of measurement %q; there are %s", name, strings.Join(c.Names(), ", "))
}

// Quick cuts an experiment down to a trial run, as far as its kind says how.
func (c Catalog) Quick(e *experiment.Experiment) {
	e.Quick()
	for _, k := range c {
		for option, most := range k.Quick {
			if k.Name == e.Measure {
				e.Cap(option, most)
			}
		}
	}
}

// Names lists the kinds.
func (c Catalog) Names() []string {
	names := make([]string, len(c))
	for i, k := range c {
		names[i] = k.Name
	}
	return names
}
