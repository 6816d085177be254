package kvnode

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/kv/node"
)

// TestMigrateKilled kills migrations, at any moment, of one folder: it always names a
// store that holds all, and the migration that is let go on moves all.
func TestMigrateKilled(t *testing.T) {
	const last = 4000
	dir := filepath.Join(t.TempDir(), "n1")
	identity := `{"format": 1, "id": "n1", "backend": "bolt", "engine": "hashicorp"}`
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "node.json"), []byte(identity), 0o644)); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(cluster.Builtin(), "bolt", filepath.Join(dir, "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var entries []*raft.Log
	for i := range uint64(last) {
		entries = append(entries, &raft.Log{Index: i + 1, Term: 1, Data: fmt.Appendf(nil, "entry %d", i+1)})
	}
	if err := errors.Join(s.StoreLogs(entries), s.SetUint64([]byte("CurrentTerm"), 5), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"wal", "bolt", "wal"} {
		for _, kill := range []bool{true, true, false} {
			p, err := launch(".", filepath.Join(t.TempDir(), "log"), "migrate", "--to", to, dir)
			if err != nil {
				t.Fatal(err)
			}
			if kill {
				time.Sleep(rand.N(400 * time.Millisecond))
				p.kill()
			} else if code, err := p.exit(); err != nil || code != exitOK && code != exitUsage { // moved before it was killed
				t.Fatalf("exit code %d, %v\n%s", code, err, p.output())
			}
		}
		if now := node.KeptIn(dir); now != to {
			t.Fatalf("it is in %s, not in %s", now, to)
		}
		s, err := openStore(cluster.Builtin(), to, filepath.Join(dir, "log-"+to), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(last) {
			var e raft.Log
			if err := s.GetLog(i+1, &e); err != nil || string(e.Data) != fmt.Sprintf("entry %d", i+1) {
				t.Fatalf("entry %d: %q, %v", i+1, e.Data, err)
			}
		}
		if term, err := s.GetUint64([]byte("CurrentTerm")); err != nil || term != 5 {
			t.Fatalf("term %d, %v", term, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
