package etcd

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	hraft "github.com/hashicorp/raft"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// tape is a state machine that says what has become of it.
type tape struct {
	core.FSM
	seen []string
}

func (s *tape) Apply(index uint64, _ []byte) any {
	s.seen = append(s.seen, fmt.Sprint(index))
	return nil
}

func (s *tape) Restore(from io.Reader) error {
	text, err := io.ReadAll(from)
	s.seen = append(s.seen, string(text))
	return err
}

func commands(first, last uint64) job {
	j := job{applied: &pb.Message{}}
	for i := first; i <= last; i++ {
		j.entries = append(j.entries, &pb.Entry{Index: proto.Uint64(i), Term: proto.Uint64(1), Data: []byte("x")})
	}
	return j
}

// TestSnapshotsInARow: of snapshots that come while the state machine is busy the last counts; what
// lies between them is not applied to the state before the first.
func TestSnapshotsInARow(t *testing.T) {
	store, err := snapshots.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	installed := func(index uint64) job {
		sink, err := snapshots.Begin(store, index, 1, hraft.Configuration{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(sink, bytes.NewBufferString(fmt.Sprintf("snapshot %d", index))); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		return job{restore: &hraft.SnapshotMeta{ID: sink.ID(), Index: index, Term: 1, ConfigurationIndex: 1}}
	}
	for name, together := range map[string]bool{"all wait": true, "one comes while the others are done": false} {
		t.Run(name, func(t *testing.T) {
			fsm := &tape{}
			r := &replica{fsm: fsm, snapshots: store, Ending: failstop.NewEnding()}
			r.driver = &driver{wake: make(chan struct{}, 1)}
			a := newApplier(r, 0, 0, 0, &configuration{})
			first := []job{commands(1, 2), installed(10), commands(11, 12)}
			second := []job{installed(20), commands(21, 22)}
			if together {
				first, second = append(first, second...), nil
			} else {
				a.work = second
			}
			for _, work := range [][]job{first, second} {
				for i, j := range work {
					if err := a.do(j, work[i+1:]); err != nil {
						t.Fatal(err)
					}
				}
				a.work = nil
			}
			want := []string{"1", "2", "snapshot 20", "21", "22"}
			if !slices.Equal(fsm.seen, want) {
				t.Errorf("%v, want %v", fsm.seen, want)
			}
			if r.applied.Load() != 22 || len(r.driver.done) != 3 {
				t.Errorf("applied %d, and told of %d batches", r.applied.Load(), len(r.driver.done))
			}
		})
	}
}
