package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLastLines(t *testing.T) {
	long := strings.Repeat("x", 100<<10) // longer than the blocks that are read
	tests := []struct {
		name, text string
		n          int
		want       string
	}{
		{"fewer than asked for", "a\nb\n", 5, "a\nb\n"},
		{"the last two", "a\nb\nc\n", 2, "b\nc\n"},
		{"an unfinished line", "a\nb\nc", 2, "b\nc"},
		{"empty lines count", "a\n\n\n", 2, "\n\n"},
		{"none", "a\nb\n", 0, ""},
		{"empty file", "", 3, ""},
		{"longer than a block", "a\n" + long + "\n" + long + "\nb\n", 3, long + "\n" + long + "\nb\n"},
		{"exactly all", "a\nb\n", 2, "a\nb\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.log")
			write(t, path, test.text)
			var out strings.Builder
			if err := showLog(t.Context(), &out, path, test.n, false); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != test.want {
				t.Errorf("%d bytes %.40q, want %d bytes %.40q", len(got), got, len(test.want), test.want)
			}
		})
	}
}

// TestLastLinesRotated: the end of a log may begin in files before it.
func TestLastLinesRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.log")
	write(t, path, "e\nf\n")
	write(t, path+".1", "c\nd\n")
	write(t, path+".2", "")
	write(t, path+".3", "a\nb\n")
	write(t, path+".5", "of another\n")
	for lines, want := range []string{"", "f\n", "e\nf\n", "d\ne\nf\n", "c\nd\ne\nf\n", "b\nc\nd\ne\nf\n", "a\nb\nc\nd\ne\nf\n", "a\nb\nc\nd\ne\nf\n"} {
		var out strings.Builder
		if err := showLog(t.Context(), &out, path, lines, false); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("%d lines: %q, want %q", lines, got, want)
		}
	}
	write(t, path, "") // just rotated
	var out strings.Builder
	if err := showLog(t.Context(), &out, path, 1, false); err != nil || out.String() != "d\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestFollowRotations: a log that was rotated several times since the last look is followed
// without a gap.
func TestFollowRotations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.log")
	write(t, path, "seen\n")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out strings.Builder
	follow := func(want string) {
		t.Helper()
		if f, err = copyAdded(&out, f, path); err != nil || out.String() != want {
			t.Fatalf("%q, want %q; %v", out.String(), want, err)
		}
	}
	follow("seen\n")
	write(t, path, "seen\nmore\n")
	for n, from := range []string{path, path + ".1", path + ".2"} {
		if err := os.Rename(from, rotated(path, n+1)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path+".2", "second\n")
	write(t, path+".1", "third\n")
	write(t, path, "fourth\n")
	follow("seen\nmore\nsecond\nthird\nfourth\n")
	follow("seen\nmore\nsecond\nthird\nfourth\n")
}

// TestFollow writes, cuts and replaces a log that is being followed.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.log")
	write(t, path, "before\nlast\n")
	ctx, cancel := context.WithCancel(t.Context())
	var out syncBuffer
	ended := make(chan error, 1)
	go func() { ended <- showLog(ctx, &out, path, 1, true) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Ctrl-C is the end, not a failure: %v", err)
		}
	}()

	out.await(t, "last\n")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprint(f, "added\n")
	out.await(t, "last\nadded\n")
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "cut\n")
	out.await(t, "last\nadded\ncut\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "moved\n")
	out.await(t, "last\nadded\ncut\nmoved\n")
	write(t, path, "replaced\n")
	out.await(t, "last\nadded\ncut\nmoved\nreplaced\n")
	g, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	fmt.Fprint(g, "and more\n")
	out.await(t, "last\nadded\ncut\nmoved\nreplaced\nand more\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// syncBuffer is written by one goroutine and read by another.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *syncBuffer) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); b.String() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q, want %q", b.String(), want)
		}
	}
}
