// Package system says what a system under test is: something that starts groups of a
// replicated store, tells what it claims of them, and lets a measurement drive and
// observe them. Its folders hold the systems that there are: groups inside this
// process, and groups of kvnode processes.
//
// The package holds the contract and a few answers that all systems share; it never
// measures and never judges.
package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	psutil "github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/kv"
)

// Ability is something that not every system can do and some measurements need.
type Ability string

// The abilities.
const (
	// Processes: the members are processes, whose start can be watched.
	Processes Ability = "processes that start"
	// Kills: the members are [Mortal].
	Kills Ability = "members that can be killed"
	// Traces: the groups are [Traced].
	Traces Ability = "members that trace entries"
	// Keeps: the members are [Keeper].
	Keeps Ability = "members whose state can be measured and replaced"
)

// System starts groups.
type System struct {
	Name      string // of `cluster.mode = "NAME"` in an experiment
	Abilities []Ability
	// Takes tells of systems with one name which runs a cell; nil: it does.
	Takes func(experiment.Cell) bool

	// Describe says what the system would run for a cell: the parts, with the
	// versions of their libraries, and what they guarantee. It comes from the program
	// that runs the members, and is all that a report says of them. What the system
	// does not know, or cannot do, is an error here, before the first trial.
	Describe func(ctx context.Context, cell experiment.Cell) (record.CellInfo, error)

	// New describes a new group; nothing runs yet.
	New func(Spec) (Group, error)
}

// Spec is what a group is made by.
type Spec struct {
	Cell   *record.CellInfo
	Dir    string // empty, and the group's own
	Logger *slog.Logger
	Options
}

// Options are what a measurement decides.
type Options struct {
	Timeout  time.Duration // of Start; 0: 30 s
	Starting func()        // called once, just before the first member starts; nil: not
	Trace    bool          // the members take down where the time of each entry goes
}

// StartTimeout bounds the start of a group: the leader is told to stand for election,
// so only a machine in trouble needs longer than the 30 s that it has by default.
func (o Options) StartTimeout() time.Duration { return cmp.Or(o.Timeout, 30*time.Second) }

// Group is one group of members that hold the same map. The first leads after Lead, until
// something happens to it. Methods other than Start and Close are for a group that has
// started, but for Members, whose own methods may be called while it starts.
type Group interface {
	// Start starts all members and returns once they serve.
	Start(ctx context.Context) error
	// Lead makes the first member the leader, should another have been elected.
	Lead(ctx context.Context) error
	Members() []Member
	// Target drives the members that load.target of the cell says; level is the read
	// level (experiment.ReadStale, …). It takes the operations of all mixes that Describe
	// did not refuse, and answers a condition that does not hold with a
	// workload.ErrCondition.
	Target(level string) workload.Target
	// Set writes all keys of ops in one entry.
	Set(ctx context.Context, ops []kv.Op) error
	// Observe looks at the group as it is now.
	Observe(ctx context.Context) (Observation, error)
	// Usage tells what the group has used so far, so cheaply that it can be asked many times
	// a second while the load is measured: no member is asked anything. An error that is
	// errors.ErrUnsupported says that this cannot be had here.
	Usage() (Usage, error)
	// Disagreeing counts the members whose state is not that of the first.
	Disagreeing(ctx context.Context) (int, error)
	// Check returns an error if a member has stopped on its own.
	Check() error
	// Explain adds to an error of any of these what the members say of its cause: that of
	// a full disk is an ENOSPC then. A kind calls it once, before Close.
	Explain(err error) error
	// Close stops all members. The data stays.
	Close() error
}

// Traced is a group whose members can take down where the time of each entry goes.
type Traced interface {
	Group
	// Traces returns what the members recorded, with the ids that Members has. It is
	// for a group that was started with Options.Trace and has been closed.
	Traces() ([]trace.Log, error)
}

// Leadership is who led in which term.
type Leadership struct {
	ID   string // empty: nobody
	Term uint64
}

// String implements fmt.Stringer.
func (l Leadership) String() string { return cmp.Or(l.ID, "nobody") }

// Observation is the state of a group and what it has used, at one moment.
type Observation struct {
	At         time.Time
	Leadership Leadership
	Commands   uint64        // applied by the first member so far
	Syncs      []uint64      // flushes of each member, of its log store at least; empty where they are not counted
	CPU        time.Duration // of all members and clients
	ClientsCPU time.Duration // of the clients, where they share no process with members; 0: they do
	Used       []Used        // by each member, in their order; empty: members share this process, or it is not told
}

// Used is what the process of a member has used so far, and holds.
type Used struct {
	CPU       time.Duration
	PeakBytes int64 // the most of its memory that was resident at once, since it started
	Threads   int   // now
}

// AddMember adds what the process of a member has used, told by its id.
func (o *Observation) AddMember(ctx context.Context, pid int) error {
	p, err := psutil.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return err
	}
	times, err := p.TimesWithContext(ctx)
	if err != nil {
		return err
	}
	o.CPU += time.Duration((times.User + times.System) * float64(time.Second))
	used, err := UsedBy(pid)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	o.Used = append(o.Used, used)
	return err
}

// Usage is what a group has used until one moment. A counter that the system does not have
// is [Uncounted].
type Usage struct {
	At      time.Time
	CPU     time.Duration // of the members; of the clients too where they share a process
	Written int64         // bytes that the disk of the members' data has taken, from whoever
	Syncs   int64         // flushes of the members' log stores
	Opened  int64         // connections that the clients have opened
}

// Uncounted is what is not counted.
const Uncounted = -1

// NewUsage is the usage now of a group whose data are in a folder, as far as the disk tells.
func NewUsage(dir string) Usage {
	return Usage{At: time.Now(), Written: diskWritten(dir), Syncs: Uncounted, Opened: Uncounted}
}

// Member is one member of a group. What else it can do it says by further interfaces.
type Member interface{ ID() string }

// Witness is a member that can be asked while its group comes into being.
type Witness interface {
	Member
	Status(ctx context.Context) (Status, error)
	// Ready returns nil once the member has caught up with the leader.
	Ready(ctx context.Context) error
	// Sent counts what the member has sent to find others.
	Sent(ctx context.Context) (Traffic, error)
}

// Mortal is a member that can be killed and started again with the data that it left.
type Mortal interface {
	Member
	// Kill ends the member at once, as kill -9 does, and returns once it has ended. The
	// group's Check takes it for no failure.
	Kill(ctx context.Context) error
	// Restart starts a killed member again and returns once it serves.
	Restart(ctx context.Context) error
}

// Snapshotter is a member that can be told to write a snapshot and cut its log.
type Snapshotter interface {
	Member
	Snapshot(ctx context.Context) error
}

// Keeper is a member whose state can be weighed, put aside and begun anew.
type Keeper interface {
	Mortal
	Snapshotter
	Size(ctx context.Context) (Size, error)
	// Replace takes the member out of the group, with all its data, and has an empty one
	// join in its place. It returns once that has caught up.
	Replace(ctx context.Context) error
}

// Size is how much a member holds.
type Size struct {
	Keys        int
	MemoryBytes int64 // of its process: the resident set
}

// Status is what a member says of itself.
type Status struct {
	ID          string
	Leads       bool
	Term        uint64
	Leader      string // that it follows; empty: it knows none
	CommitIndex uint64
	Voters      int // in its configuration
}

// Traffic is what a member has sent so far.
type Traffic struct {
	At              time.Time
	Messages, Bytes int64
}

// ProcessCPU returns the CPU time that this process has used; 0: not known.
func ProcessCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ErrMissing: a key that was written is not there.
var ErrMissing = errors.New("a key that was written is not there")

// Missing tells for which of the needs the system has no ability.
func (s *System) Missing(needs []Ability) []Ability {
	return slices.DeleteFunc(slices.Clone(needs), func(a Ability) bool { return slices.Contains(s.Abilities, a) })
}

// Answered is when a write returns to a client of processes. Over which protocol is no
// part of the promise: record.CellInfo.Protocol has that.
const Answered = "committed by a majority, applied on the leader, answered to the client"

// ReadLevel is what a read may see where the cell's clients read; empty: they do not.
func ReadLevel(c experiment.Cell) string {
	if c.Load.Shares().Looks() == 0 {
		return ""
	}
	return c.Load.ReadLevel
}

// Catalog is the systems that a program knows.
type Catalog []*System

// With returns the catalogue with a system more, in the place of one of its name.
func (c Catalog) With(s *System) Catalog {
	others := slices.DeleteFunc(slices.Clone(c), func(other *System) bool { return other.Name == s.Name })
	return append(others, s)
}

// Elsewhere returns a system that only another program of this repository has: experiments
// may name it, and are told who runs them.
func Elsewhere(name, program string) *System {
	err := fmt.Errorf("mode = %q is in the program %s, not in this one: make peers builds and runs it; then bin/%s takes the same commands as raftlab", name, program, program)
	return &System{
		Name: name,
		Describe: func(context.Context, experiment.Cell) (record.CellInfo, error) {
			return record.CellInfo{}, err
		},
		New: func(Spec) (Group, error) { return nil, err },
	}
}

// For returns the system that runs a cell.
func (c Catalog) For(cell experiment.Cell) (*System, error) {
	var names []string
	for _, s := range c {
		if s.Name == cell.Cluster.Mode && (s.Takes == nil || s.Takes(cell)) {
			return s, nil
		}
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return nil, fmt.Errorf("there is no system %q; there are %s", cell.Cluster.Mode, strings.Join(names, ", "))
}
