package snapshots_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
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

type text string

// WriteTo implements io.WriterTo.
func (s text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

// TestNewest: the newest that is whole is found, and nothing is written.
func TestNewest(t *testing.T) {
	dir := t.TempDir()
	want := func(index uint64, text string, damage error) {
		t.Helper()
		s, err := snapshots.Newest(t.Context(), dir)
		if err != nil || s == nil || s.Index != index || s.ConfigurationIndex != index || len(s.Configuration.Servers) != 1 {
			t.Fatalf("%+v, %v, want that of entry %d", s, err, index)
		}
		data, err := s.Open(t.Context())
		if !errors.Is(err, damage) {
			t.Fatalf("opened with %v, want %v", err, damage)
		}
		if damage != nil {
			return
		}
		got, err := io.ReadAll(data)
		if err := errors.Join(err, data.Close()); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	if s, err := snapshots.Newest(t.Context(), dir); s != nil || err != nil {
		t.Errorf("in an empty folder: %+v, %v", s, err)
	}
	voter := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a:1", Suffrage: raft.Voter}}}
	for index, state := range map[uint64]text{9: "older", 10: "newer"} {
		if err := snapshots.Found(dir, index, 2, voter, state); err != nil {
			t.Fatal(err)
		}
	}
	in := func(pattern string) string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(dir, "snapshots", pattern))
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	rewrite := func(path, data string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "snapshots", "3-11-0.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	want(10, "newer", nil)
	rewrite(in("2-10-*/state.bin"), "other")
	want(9, "older", nil)
	if err := os.Remove(in("2-9-*/state.bin")); err != nil {
		t.Fatal(err)
	}
	want(10, "", core.ErrDamaged)
	rewrite(in("2-10-*/meta.json"), "{}")
	want(9, "", core.ErrDamaged)
	rewrite(in("2-9-*/meta.json"), "{")
	if s, err := snapshots.Newest(t.Context(), dir); s != nil || !errors.Is(err, core.ErrDamaged) {
		t.Errorf("where none says what it covers: %+v, %v", s, err)
	}
	in("3-11-0.tmp") // it is there still
}

// failing is a state that cannot be written.
type failing struct{}

// WriteTo implements io.WriterTo.
func (failing) WriteTo(io.Writer) (int64, error) { return 0, io.ErrClosedPipe }

// TestFinishFails: a state that cannot be written leaves no snapshot.
func TestFinishFails(t *testing.T) {
	dir := t.TempDir()
	if err := snapshots.Found(dir, 1, 1, raft.Configuration{}, failing{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if s, err := snapshots.Newest(t.Context(), dir); s != nil || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestPaced: a snapshot is flushed as it grows, so that a file which is lost is found before
// its end; and what was flushed in between is whole.
func TestPaced(t *testing.T) {
	dir := t.TempDir()
	s, err := snapshots.Open(dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	part := strings.Repeat("0123456789abcdef", 12<<20/16) // two are more than is left unflushed
	sink := write(t, s, 5, part)
	if _, err := io.WriteString(sink, part); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	_, from, err := s.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(from); err != nil || string(data) != part+part {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := from.Close(); err != nil {
		t.Error(err)
	}

	sink = write(t, s, 6, part)
	if err := os.Remove(filepath.Join(dir, "snapshots", sink.ID()+".tmp", "state.bin")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(sink, part); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is gone: %v", err)
	}
	if err := sink.Cancel(); err != nil {
		t.Error(err)
	}
}
