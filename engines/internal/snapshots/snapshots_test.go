package snapshots_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

func write(t *testing.T, s raft.SnapshotStore, index uint64, text string) raft.SnapshotSink {
	t.Helper()
	voter := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a:1", Suffrage: raft.Voter}}}
	sink, err := snapshots.Begin(s, index, 1, voter, 1)
	if err == nil {
		_, err = io.WriteString(sink, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// TestWholeOnly: a snapshot counts once it is whole, and the one before is there until then.
func TestWholeOnly(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			s, err := snapshots.Open(dir, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			if err := write(t, s, 5, "first").Close(); err != nil {
				t.Fatal(err)
			}
			unfinished, refused := write(t, s, 9, "unfinished"), write(t, s, 8, "refused")
			if err := refused.Cancel(); err != nil {
				t.Fatal(err)
			}
			if dir != "" { // as a crash leaves it
				if s, err = snapshots.Open(dir, hclog.NewNullLogger()); err != nil {
					t.Fatal(err)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "snapshots", "*.tmp")); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
			}
			all, err := s.List()
			if err != nil || len(all) != 1 || all[0].Index != 5 || len(all[0].Configuration.Servers) != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
			_, data, err := s.Open(all[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(data)
			if err := errors.Join(err, data.Close()); err != nil || string(text) != "first" {
				t.Errorf("%q, %v", text, err)
			}
			if err := unfinished.Close(); dir == "" && err != nil || dir != "" && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		})
	}
}
