package system

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDiskWritten: what was flushed to a disk, it has taken; a folder without a disk is told
// as such.
func TestDiskWritten(t *testing.T) {
	if got := diskWritten("/proc"); got != Uncounted {
		t.Errorf("/proc is on no disk, and has taken %d B", got)
	}
	dir := t.TempDir()
	before := diskWritten(dir)
	if before == Uncounted {
		t.Skip("the temporary directory is on no disk of its own: there is nothing to count")
	}
	f, err := os.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 20
	if _, err := f.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if after := diskWritten(dir); after-before < size {
		t.Errorf("%d B were flushed, and the disk has taken %d", size, after-before)
	}
}

// TestUsedBy: what this process has used goes up with it, and one that there is not has used
// nothing that could be told.
func TestUsedBy(t *testing.T) {
	const size = 8 << 20
	before, err := UsedBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, before.PeakBytes+size)
	for i := range held {
		held[i] = byte(i)
	}
	after, err := UsedBy(os.Getpid())
	if err != nil || after.CPU <= before.CPU || after.PeakBytes < before.PeakBytes+size/2 || after.Threads < 1 {
		t.Errorf("%+v, then with %d B more %+v, %v", before, len(held), after, err)
	}
	if got, err := UsedBy(1 << 30); err == nil {
		t.Errorf("a process that there is not: %+v", got)
	}
}
