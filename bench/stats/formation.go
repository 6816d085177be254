package stats

import (
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// Formation is how a group came into being in one trial, in numbers.
type Formation struct {
	Leader, LeaderError time.Duration // until the first leader, and how much too late that may be
	Voters, VotersError time.Duration // until all voters had caught up, likewise

	// What all members together sent per second at rest, where HasTraffic.
	Messages, Bytes float64
	HasTraffic      bool
}

// Whole reports that the trial got as far as a whole group.
func (f *Formation) Whole() bool { return f != nil && f.Voters > 0 }

// newFormation returns nil where the trial measured none.
func newFormation(f *record.Formation) *Formation {
	if f == nil {
		return nil
	}
	out := &Formation{
		Leader: time.Duration(f.LeaderNS), LeaderError: time.Duration(f.LeaderErrorNS),
		Voters: time.Duration(f.VotersNS), VotersError: time.Duration(f.VotersErrorNS),
		HasTraffic: len(f.Traffic) > 0,
	}
	for _, x := range f.Traffic {
		out.Messages += float64(x.Messages) / time.Duration(x.NS).Seconds()
		out.Bytes += float64(x.Bytes) / time.Duration(x.NS).Seconds()
	}
	return out
}
