package report

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLook writes all scenarios to a folder to be looked at.
func TestLook(t *testing.T) {
	out := os.Getenv("LOOK")
	if out == "" {
		t.Skip()
	}
	for name, s := range scenarios() {
		f := s.folder(t)
		if err := Write(f); err != nil {
			t.Fatal(name, err)
		}
		to := filepath.Join(out, name)
		os.RemoveAll(to)
		if err := os.CopyFS(to, os.DirFS(f.Dir())); err != nil {
			t.Fatal(err)
		}
		w, _ := os.Create(filepath.Join(to, "terminal.txt"))
		Terminal(w, f, English, 80)
		Terminal(w, f, Russian, 80)
		w.Close()
	}
}
