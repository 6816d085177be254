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
