package flushes

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// built is the library, and a program that flushes; without a C compiler the test is skipped.
func built(t *testing.T) (library, flusher string) {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("./build.sh", dir).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	flusher = filepath.Join(dir, "flusher")
	out, err = exec.Command("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", flusher, "testdata/flusher.c").CombinedOutput()
	if err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return filepath.Join(dir, "libraftlab-flushes.so"), flusher
}

// run runs a program with the library and returns what it prints.
func run(t *testing.T, library, counters, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), "LD_PRELOAD="+library, "RAFTLAB_FLUSHES="+counters)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func TestCounts(t *testing.T) {
	library, flusher := built(t)
	for _, c := range []struct {
		actions string
		want    Counts
	}{
		{"fsync fsync fdatasync", Counts{Fsync: 2, Fdatasync: 1}},
		{"syscall", Counts{Fsync: 1, Fdatasync: 1}},
		{"syncfs", Counts{Fsync: 1}},
		{"msync msync-async", Counts{Msync: 1}},
		{"range", Counts{SyncFileRange: 1}},
		{"threads", Counts{Fdatasync: 400}},
		{"child fsync", Counts{Fsync: 2}},
		{"osync", Counts{SyncWrites: 4}},
		{"plain odsync plain rwf", Counts{SyncWrites: 5}},
		{"no-file", Counts{}},
		{"unmapped bad-range too-large fdatasync", Counts{Fdatasync: 1, Failed: 3}},
	} {
		t.Run(c.actions, func(t *testing.T) {
			dir := t.TempDir()
			counters := filepath.Join(dir, "flushes")
			args := append([]string{filepath.Join(dir, "data")}, strings.Fields(c.actions)...)
			for starts := uint64(1); starts <= 2; starts++ { // the second adds to what the first has left
				before, _ := Read(counters)
				run(t, library, counters, flusher, args...)
				got, err := Read(counters)
				if err != nil {
					t.Fatal(err)
				}
				if got := got.Since(before); got != c.want {
					t.Errorf("start %d: counted %+v, want %+v", starts, got, c.want)
				}
			}
		})
	}
}

// A shell and what it starts: dd is built by others, as the programs are.
func TestCountsOfChildren(t *testing.T) {
	library, _ := built(t)
	dir := t.TempDir()
	counters := filepath.Join(dir, "flushes")
	run(t, library, counters, "sh", "-c",
		`cd "$0" && dd if=/dev/zero of=a bs=1k count=3 conv=fdatasync && dd if=/dev/zero of=b bs=1k count=3 oflag=dsync`, dir)
	got, err := Read(counters)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Counts{Fdatasync: 1, SyncWrites: 3}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestNothingWithoutTheVariable(t *testing.T) {
	library, flusher := built(t)
	dir := t.TempDir()
	if out := run(t, library, "", flusher, filepath.Join(dir, "data"), "fsync", "osync"); out != "" {
		t.Errorf("printed %q", out)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left %v, %v; want the data alone", left, err)
	}
}

// A file that is none of counters stays as it is, and the program goes on and says so.
func TestNoFileOfCounters(t *testing.T) {
	library, flusher := built(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "letter")
	if err := os.WriteFile(file, []byte("dear reader"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(dir, "none", "flushes")} {
		out := run(t, library, bad, flusher, filepath.Join(dir, "data"), "fsync")
		if !strings.Contains(out, bad) || !strings.Contains(out, "flushes are not counted") {
			t.Errorf("printed %q", out)
		}
		if _, err := Read(bad); err == nil {
			t.Errorf("read counters of %s", bad)
		}
	}
	if text, _ := os.ReadFile(file); string(text) != "dear reader" {
		t.Errorf("the file has become %q", text)
	}
	if _, err := Read(filepath.Join(dir, "flushes")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
