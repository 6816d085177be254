package backends_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
)

// spoiling, in the environment, makes this program a child that opens damaged copies
// of a store: "backend folder seed". A C library may die of what it reads.
const spoiling = "BACKENDS_TEST_SPOIL"

// storeFiles are the files below a store's folder that its backend keeps its data in.
func storeFiles(backend, dir string) ([]string, error) {
	pattern := map[string]string{"bolt": "raft.db", "mdb": "mdb/data.mdb", "wal": "wal-meta.json|*.wal", "pebble": "*.sst|*.log|MANIFEST-*"}[backend]
	var found []string
	for one := range strings.SplitSeq(pattern, "|") {
		files, err := filepath.Glob(filepath.Join(dir, one))
		if err != nil {
			return nil, err
		}
		found = append(found, files...)
	}
	return found, nil
}

// smallFiles are the options that the tests open a backend with: there are many tries.
func smallFiles(backend string) core.Options {
	switch backend {
	case "bolt":
		return core.Options{"no_sync": true}
	case "wal":
		return core.Options{"segment_size": "64KiB"}
	}
	return nil
}

const (
	firstKept = 4
	lastKept  = 40
)

func kept(index uint64) *raft.Log {
	size := 30
	if index%10 == 0 {
		size = 9000 // pages of its own
	}
	return &raft.Log{Index: index, Term: 2, Type: raft.LogCommand, AppendedAt: time.Unix(1_700_000_000, 5),
		Data: bytes.Repeat([]byte{byte(index)}, size)}
}

// fill writes what the tests damage: entries, some of them gone again, so that there
// are free pages, and at last behind those, and stable values.
func fill(s core.LogStore) error {
	const cut = lastKept - 5
	store := func(low, high uint64) (err error) {
		for index := low; index <= high && err == nil; index++ {
			err = s.StoreLog(kept(index))
		}
		return err
	}
	return errors.Join(store(1, lastKept+5), s.DeleteRange(1, firstKept-1), s.DeleteRange(cut+1, lastKept+5), store(cut+1, lastKept),
		s.SetUint64([]byte("CurrentTerm"), 7), s.SetUint64([]byte("LastVoteTerm"), 7), s.Set([]byte("LastVoteCand"), []byte("n1")))
}

// readBack reads all that fill has left. It returns an error where the store gives
// one, and panics where it gives anything else than what was written.
func readBack(s core.LogStore) error {
	first, errFirst := s.FirstIndex()
	last, errLast := s.LastIndex()
	if err := errors.Join(errFirst, errLast); err != nil {
		return err
	}
	for _, index := range []uint64{first, last} { // what an engine reads as it starts
		if err := s.GetLog(index, new(raft.Log)); err != nil {
			return err
		}
	}
	if first != firstKept || last != lastKept {
		panic(fmt.Sprintf("the log is %d to %d, not %d to %d", first, last, firstKept, lastKept))
	}
	for index := first; index <= last; index++ {
		var got raft.Log
		if err := s.GetLog(index, &got); err != nil {
			return err
		}
		want := kept(index)
		if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) ||
			!got.AppendedAt.Equal(want.AppendedAt) || len(got.Extensions) != 0 {
			panic(fmt.Sprintf("entry %d was read as another", index))
		}
	}
	for key, want := range map[string]uint64{"CurrentTerm": 7, "LastVoteTerm": 7} {
		if got, err := s.GetUint64([]byte(key)); err != nil {
			return err
		} else if got != want {
			panic(fmt.Sprintf("%s was read as %d", key, got))
		}
	}
	if got, err := s.Get([]byte("LastVoteCand")); err != nil {
		return err
	} else if string(got) != "n1" {
		panic(fmt.Sprintf("the vote was read as %q", got))
	}
	return nil
}

// try opens the store in dir and reads it, writes to it, and reads it again.
func try(name string, backend backends.Backend, dir string) (err error) {
	s, err := backend.Open(dir, smallFiles(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := readBack(s); err != nil {
		return err
	}
	var more []*raft.Log
	for index := uint64(lastKept + 1); index < lastKept+20; index++ {
		more = append(more, kept(index))
	}
	if err := s.StoreLogs(more); err != nil {
		return err
	}
	if err := s.DeleteRange(lastKept+1, lastKept+20); err != nil {
		return err
	}
	return readBack(s)
}

// filled returns the folder of a store after fill.
func filled(t *testing.T, name string, backend backends.Backend) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "whole")
	s, err := backend.Open(dir, smallFiles(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fill(s), readBack(s), s.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFlippedBits: whatever bit of its files has turned over, a store gives what was
// written or an error, and lives.
func TestFlippedBits(t *testing.T) {
	for name, backend := range onDisk(t, "bolt", "mdb", "wal", "pebble") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spoil(t, name, filled(t, name, backend), "flip")
		})
	}
}

// TestTruncated: so does one of whose files one has been cut short.
func TestTruncated(t *testing.T) {
	for name, backend := range onDisk(t, "bolt", "mdb", "wal") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spoil(t, name, filled(t, name, backend), "cut")
		})
	}
}

// TestEmptied: a file without a byte is that of a new store, and no crash.
func TestEmptied(t *testing.T) {
	for name, backend := range onDisk(t, "bolt", "mdb") {
		dir := t.TempDir()
		path := filepath.Join(dir, map[string]string{"bolt": "raft.db", "mdb": "mdb/data.mdb"}[name])
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		s, err := backend.Open(dir, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := errors.Join(fill(s), readBack(s), s.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func onDisk(t *testing.T, names ...string) map[string]backends.Backend {
	found := map[string]backends.Backend{}
	for _, name := range names {
		b, err := backends.Builtin().Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if b.Available == nil || b.Available() == nil {
			found[name] = b
		}
	}
	return found
}

// spoil runs a child on damaged copies of the store in dir.
func spoil(t *testing.T, name, dir, how string) {
	t.Helper()
	seed := rand.Uint64()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d", spoiling, name, how, dir, seed))
	out, err := child.CombinedOutput()
	if err != nil {
		const most = 3000
		t.Fatalf("seed %d: %v\n%s", seed, err, out[max(0, len(out)-most):])
	}
	last := ""
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		last = s.Text()
	}
	t.Log(last)
}

// spoilChild is the child: it says what it tries, and dies of what must not be.
func spoilChild(task string) error {
	args := strings.Fields(task)
	name, how, dir := args[0], args[1], args[2]
	seed, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return err
	}
	backend, err := backends.Builtin().Lookup(name)
	if err != nil {
		return err
	}
	files, err := storeFiles(name, dir)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 1))
	found, right := 0, 0
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		within, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		for i, d := range damages(random, whole, how, len(files)) {
			fmt.Println(within, d.what)
			copied := filepath.Join(filepath.Dir(dir), fmt.Sprint(i))
			if err := errors.Join(os.CopyFS(copied, os.DirFS(dir)), os.WriteFile(filepath.Join(copied, within), d.file, 0o600)); err != nil {
				return err
			}
			err := try(name, backend, copied)
			switch {
			case err == nil:
				right++
			case errors.Is(err, core.ErrDamaged) && strings.Contains(err.Error(), copied):
				found++
			default:
				return fmt.Errorf("%s, %s: the error does not say that something in %s is damaged: %w", within, d.what, copied, err)
			}
			if err := os.RemoveAll(copied); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%d found, %d without effect\n", found, right)
	return nil
}

type damage struct {
	what string
	file []byte
}

// damages are those of one file of so many.
func damages(random *rand.Rand, whole []byte, how string, files int) (all []damage) {
	if len(whole) < 2 {
		return nil
	}
	if how == "cut" {
		for range 80 / files {
			size := 1 + random.IntN(len(whole)-1) // an empty file is a new one
			all = append(all, damage{fmt.Sprintf("cut at %d of %d", size, len(whole)), whole[:size]})
		}
		return all
	}
	flip := func(at int) {
		bit := random.IntN(8)
		file := bytes.Clone(whole)
		file[at] ^= 1 << bit
		all = append(all, damage{fmt.Sprintf("bit %d of byte %d of %d", bit, at, len(whole)), file})
	}
	for range 60 / files { // meta pages
		flip(random.IntN(min(200, len(whole))))
		flip(min(4096+random.IntN(200), len(whole)-1))
	}
	for range 200 / files {
		at := random.IntN(len(whole))
		for whole[at] == 0 && random.IntN(10) > 0 { // mostly where something is
			at = random.IntN(len(whole))
		}
		flip(at)
	}
	return all
}
