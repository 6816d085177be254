package record

import (
	"fmt"
	"math"
)

// Formation is how a group came into being in one trial. Times count from just
// before the first process was started until the answer of a node that tells
// the event, so an event is never recorded too early. Each error is how much
// too late it may be recorded at most: back to when the question before, which
// did not tell it yet, was sent to the same node.
type Formation struct {
	PollNS int64 `json:"poll_ns"` // pause between an answer of a node and the next question to it

	LeaderNS      int64 `json:"leader_ns"` // until a node said that it leads
	LeaderErrorNS int64 `json:"leader_error_ns"`

	// Until the leader had all nodes as voters in its configuration and each had
	// caught up with it: was ready.
	VotersNS      int64 `json:"voters_ns"`
	VotersErrorNS int64 `json:"voters_error_ns"`

	// Traffic is what the discovery layers sent at rest, after the group was whole,
	// by node in the order of their names; zero where members do not look for each
	// other. Empty where a process had ended.
	Traffic []Traffic `json:"traffic"`
}

// Traffic is what one node sent between two looks at its counters.
type Traffic struct {
	NS       int64 `json:"ns"` // between the looks
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// checkFormation checks what a trial says of a formation, if it does.
func (t *Trial) checkFormation() error {
	f := t.Formation
	if f == nil {
		return nil
	}
	if t.WindowNS != 0 || t.Writes != (Kind{}) || t.Reads != (Kind{}) {
		return fmt.Errorf("%w: both a formation and a load", ErrInvalid)
	}
	for _, event := range []struct {
		name      string
		at, error int64
	}{{"leader", f.LeaderNS, f.LeaderErrorNS}, {"voters", f.VotersNS, f.VotersErrorNS}} {
		if event.error < 0 || event.error > event.at {
			return fmt.Errorf("%w: formation: %s after %d ns, at most %d too late", ErrInvalid, event.name, event.at, event.error)
		}
		if t.Failure == "" && event.at == 0 {
			return fmt.Errorf("%w: formation: no %s and no failure", ErrInvalid, event.name)
		}
	}
	if f.PollNS < 0 || t.Failure == "" && f.VotersNS < f.LeaderNS {
		return fmt.Errorf("%w: formation: all voters after %d ns, a leader after %d", ErrInvalid, f.VotersNS, f.LeaderNS)
	}
	for i, x := range f.Traffic {
		if x.NS <= 0 || min(x.Messages, x.Bytes) < 0 || max(x.Messages, x.Bytes) > math.MaxInt64/maxTrials {
			return fmt.Errorf("%w: formation: traffic of node %d: %d messages, %d bytes in %d ns", ErrInvalid, i+1, x.Messages, x.Bytes, x.NS)
		}
	}
	return nil
}
