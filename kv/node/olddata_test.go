package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// Folders of nodes that older programs have written are in testdata/old, and every later one
// has to open them. testdata/old/README.md says how the next are added.

const oldData = "testdata/old"

var (
	recordName    = flag.String("old-data.record", "", "add the folders of this version, which is the program of -old-data.program")
	recordProgram = flag.String("old-data.program", "", "a kvnode")
)

// oldPairs is what the node of each folder was left with: see record.
func oldPairs() map[string]string {
	all := map[string]string{}
	for i := range 24 {
		all[fmt.Sprintf("key%02d", i)] = fmt.Sprintf("value %d", i)
	}
	for _, deleted := range []string{"key03", "key18", "key22"} {
		delete(all, deleted)
	}
	all["key05"], all["key20"] = "again", "once more"
	return all
}

// TestOldData opens the folders: they read the same, take writes, and do so after a restart;
// and they say which program has written to them.
func TestOldData(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(oldData, "*", "*.tar.gz"))
	if err != nil || len(archives) < 22 {
		t.Fatalf("%d archives, %v", len(archives), err)
	}
	for _, archive := range archives {
		version, name := filepath.Base(filepath.Dir(archive)), strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
		t.Run(version+" "+name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, archive, dir)
			engine, backend, _ := strings.Cut(name, "-")
			was, err := Inspect(t.Context(), dir, testParts())
			if err != nil || was.Damage != "" || was.ID != "n1" || was.Engine != engine || was.Store != backend || was.Raft.SnapshotIndex == 0 {
				t.Fatalf("%+v, %v", was, err)
			}
			want := oldPairs()
			for _, key := range []string{"", "later", "still later"} {
				n := startAlone(t, dir, bothEngines()[engine], backend)
				if key != "" {
					want[key] = "new"
					if _, err := n.replica.Propose(t.Context(), kv.EncodeSet(key, []byte("new"))); err != nil {
						t.Error(err)
					}
				}
				got := map[string]string{}
				for _, p := range n.store.Scan("", "", 0) {
					got[p.Key] = string(p.Value)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("it holds %v, want %v", got, want)
				}
				if err := n.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			now, err := Inspect(t.Context(), dir, testParts())
			if err != nil || now.WrittenBy != program() || now.CreatedBy != was.CreatedBy || now.Incarnation != was.Incarnation || now.Raft.Last < was.Raft.Last+2 {
				t.Errorf("%+v, %v", now, err)
			}
		})
	}
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(plain); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if !filepath.IsLocal(h.Name) {
			t.Fatalf("%s holds %s", archive, h.Name)
		}
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var data []byte
			data, err = io.ReadAll(files)
			err = errors.Join(err, os.WriteFile(path, data, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordOldData adds the folders of a version, of each engine and store that its program
// has.
func TestRecordOldData(t *testing.T) {
	if *recordName == "" {
		t.Skip("it is told what to record: make old-data NAME=v1.0.0")
	}
	to := filepath.Join(oldData, *recordName)
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(*recordProgram, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for engine := range bothEngines() {
		for backend, b := range backends.Builtin().All() {
			if info, err := b.Info(nil); err != nil || info.Durability != core.DurableDisk || !bytes.Contains(help, []byte(backend)) || !bytes.Contains(help, []byte(engine)) {
				continue
			}
			dir := t.TempDir()
			record(t, dir, engine, backend)
			pack(t, dir, filepath.Join(to, engine+"-"+backend+".tar.gz"))
		}
	}
}

// record runs the program on a folder and leaves it with oldPairs: some by a snapshot, and
// some changed or deleted after that. The log begins shortly before the snapshot's end.
func record(t *testing.T, dir, engine, backend string) {
	t.Helper()
	args := []string{"--id", "n1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "--backend", backend, "--engine", engine,
		"--raft-option", "trailing_logs=4"}
	if backend == "wal" {
		args = append(args, "--backend-option", "segment_size=64KiB")
	}
	cmd := exec.Command(*recordProgram, append(args, dir)...)
	log := new(trigger)
	log.fire = func() {}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	var address string
	eventually(t, "it listens", func() bool {
		found := regexp.MustCompile(`msg="HTTP listening" address=(\S+)`).FindStringSubmatch(log.String())
		if found == nil {
			return false
		}
		address = found[1]
		answer, err := http.Get("http://" + address + "/readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	do := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil || answer.Body.Close() != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %v %v\n%s", method, path, answer, err, log)
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	put := func(from, to int) {
		for i := from; i < to; i++ {
			do(http.MethodPut, fmt.Sprintf("/key/key%02d", i), fmt.Sprintf("value %d", i))
		}
	}
	put(0, 20)
	do(http.MethodDelete, "/key/key18", "")
	do(http.MethodPost, "/snapshot", "")
	put(20, 24)
	do(http.MethodPut, "/key/key05", "again")
	do(http.MethodPut, "/key/key20", "once more")
	do(http.MethodDelete, "/key/key03", "")
	do(http.MethodDelete, "/key/key22", "")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

func pack(t *testing.T, dir, archive string) {
	t.Helper()
	var packed bytes.Buffer
	plain, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewWriter(plain)
	if err := errors.Join(files.AddFS(os.DirFS(dir)), files.Close(), plain.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
