// Package enginetest holds an engine that is a program to docs/engine-programs.md, from
// outside: it starts groups of three members as processes on this machine, asks them as
// clients do, kills, pauses, restarts and cuts them off, and judges what they said. It knows nothing of
// what is inside one, and measures nothing. It needs Linux to be sure of ports and pauses;
// elsewhere it is as good as luck has it.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/engines/program"
)

// Subject is what is tested.
type Subject struct {
	Name string
	Path string // of the program
	// Arguments makes the command line of a member, where it is not that of the page; such
	// a program is not asked what it is, and has every feature.
	Arguments func(s *program.Spec, settings string) []string
	// Description is what the program is; [Of] asks it.
	Description program.Description
	// Settings go over those that the suite gives to every member.
	Settings map[string]string
	// Rounds is how often members are killed under load, and a leader is cut off; 0: 3.
	Rounds int
}

const defaultRounds = 3

// settings are what members are started with: elections that are soon over, snapshots only
// when they are asked for, and hardly anything kept behind one.
func (s *Subject) settings() map[string]string {
	all := map[string]string{"heartbeat_timeout": program.Duration(500 * time.Millisecond), "snapshot_threshold": "0", "trailing_logs": "8"}
	maps.Copy(all, s.Settings)
	return all
}

// Of returns the program at path as a subject.
func Of(ctx context.Context, path string) (Subject, error) {
	d, err := program.Describe(ctx, path, nil)
	return Subject{Name: d.Engine, Path: path, Description: d}, err
}

// demand is one thing that is asked of an engine. It leaves the group as it may; the next
// begins with all members up and alike.
type demand struct {
	name string
	run  func(context.Context, *group) error
	// needs is a feature without which it is left out.
	needs string
}

// demands are in the order in which one group goes through them.
func demands() []demand {
	return []demand{
		{name: "usage", run: usage},
		{name: "answers", run: answers},
		{name: "pipeline", run: pipeline},
		{name: "status", run: statuses},
		{name: "not the leader", run: notLeader},
		{name: "strangers", run: strangers},
		{name: "large values", run: large},
		{name: "transfer", run: transfer, needs: program.Transfer},
		{name: "no majority", run: noMajority},
		{name: "a leader that is cut off", run: cutOff, needs: program.Links},
		{name: "a member that was away", run: away, needs: program.Snapshot},
		{name: "restart behind a snapshot", run: behindSnapshot, needs: program.Snapshot},
		{name: "kills, pauses, transfers and cuts under load", run: faults},
		{name: "restart of all", run: restartAll},
		{name: "sigterm", run: sigterm},
		{name: "damaged log", run: damaged, needs: program.Checksums},
	}
}

// checkTime bounds one demand, but for the rounds of kills.
const checkTime = 3 * time.Minute

// Run makes all demands of one group of the subject. Logs of members and the history of the
// load are in the test's [testing.T.ArtifactDir].
func Run(t *testing.T, s Subject) {
	g, err := newGroup(s, t.ArtifactDir())
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	for _, c := range demands() {
		t.Run(c.name, func(t *testing.T) {
			if c.needs != "" && !s.has(c.needs) {
				t.Skipf("%s has no %s", s.Name, c.needs)
			}
			if err := g.meets(t.Context(), c); errors.Is(err, errNotTested) {
				t.Skip(err)
			} else if err != nil {
				t.Error(err)
			} else if g.note != "" {
				t.Log(g.note)
			}
		})
	}
}

// has reports whether the subject has a feature; one that is not asked has all.
func (s *Subject) has(feature string) bool { return s.Arguments != nil || s.Description.Has(feature) }

// reads reports whether the subject has reads of that level.
func (s *Subject) reads(level string) bool {
	return s.Arguments != nil || slices.Contains(s.Description.ReadLevels, level)
}

// errNotTested is the kind of the error of what could not be tested.
var errNotTested = errors.New("not tested")

// meets makes one demand of a group that is whole.
func (g *group) meets(ctx context.Context, c demand) error {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTime+time.Duration(g.subject.Rounds)*roundTime, fmt.Errorf("%s: it takes too long", c.name))
	defer cancel()
	if err := g.whole(ctx); err != nil {
		return fmt.Errorf("before %s: %w", c.name, err)
	}
	g.note = ""
	return c.run(ctx, g)
}
