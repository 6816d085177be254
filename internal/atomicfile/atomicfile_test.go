package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for i, want := range []string{"first", "the second", ""} {
		write := []func(string, []byte) error{Write, WriteUnflushed}[i%2]
		if err := write(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info, err)
	}
	onlyFile(t, dir, "file")
}

// TestWriteFrom: the file is its owner's, whatever was there, and an error leaves that.
func TestWriteFrom(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	if err := WriteFrom(path, func(to io.Writer) error { _, _ = io.WriteString(to, "half"); return failed }); !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
		t.Errorf("%q %v", got, err)
	}
	if err := WriteFrom(path, content([]byte("whole"))); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	info, errStat := os.Stat(path)
	if err := errors.Join(err, errStat); err != nil || string(got) != "whole" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q %v %v", got, info.Mode(), err)
	}
	onlyFile(t, dir, "file")
}

// TestWriteFails: what was there stays, and nothing else is left.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(path, "in it"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("data")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	onlyFile(t, dir, "folder")
	if err := Write(filepath.Join(dir, "none", "file"), nil); err == nil {
		t.Error("written into a folder that is not there")
	}
}

// TestErrorsNameTheFile that was asked for, not the one that is written first.
func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "in it"), 0o755); err != nil {
		t.Fatal(err)
	}
	closed := func(to io.Writer) error {
		_ = to.(*paced).to.(beside).file.Close()
		_, err := to.Write([]byte("x"))
		return err
	}
	for path, write := range map[string]func(io.Writer) error{
		filepath.Join(dir, "none", "file"): content(nil),
		folder:                             content(nil),
		filepath.Join(dir, "file"):         closed,
	} {
		var e *fs.PathError
		if err := WriteFrom(path, write); !errors.As(err, &e) || e.Path != path || strings.Contains(err.Error(), "/.") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != name {
		t.Errorf("in the folder: %v %v", list, err)
	}
}

// TestPaced: what is long is flushed on the way, and the error of that ends it.
func TestPaced(t *testing.T) {
	var to strings.Builder
	flushes, failed := 0, error(nil)
	w := Paced(&to, func() error { flushes++; return failed })
	part := strings.Repeat("x", pace/2)
	for i, want := range []int{0, 1, 1} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil || flushes != want {
			t.Errorf("part %d: %d bytes, %v, after %d flushes", i, n, err, flushes)
		}
	}
	failed = errors.New("the disk is full")
	if _, err := io.WriteString(w, part); err != failed || to.Len() != 4*len(part) {
		t.Errorf("a flush that fails: %v, after %d bytes", err, to.Len())
	}
}
