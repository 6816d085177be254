package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSetAsideMounted: the folder that a disk is mounted at cannot be moved. Once its data are
// gone from there it need not be. To mount takes the right to.
func TestSetAsideMounted(t *testing.T) {
	c := standIns(t, 1, Options{}, nil).Cluster
	dir := c.Dir("node1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	data := filepath.Join(dir, "node.json")
	if err := os.WriteFile(data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := c.BeginReplacing("node1")
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := c.SetAside(t.Context(), "node1", r); err == nil || !strings.Contains(err.Error(), "move all that is in it elsewhere, and give the command again") {
		t.Errorf("kept %q: %v", kept, err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.SetAside(t.Context(), "node1", r); err != nil || kept != "" {
		t.Errorf("kept %q: %v", kept, err)
	}
	if r, underWay, err := c.Replacing("node1"); err != nil || !underWay || !r.Aside {
		t.Errorf("%+v %v: %v", r, underWay, err)
	}
}
