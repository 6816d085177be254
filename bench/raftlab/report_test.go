package raftlab

import (
	"strings"
	"testing"
)

// TestPDFNeedsLaTeX: where it is missing, what to install is said.
func TestPDFNeedsLaTeX(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := compile(newReport(Builtin()), []string{"main.tex"})
	if err == nil || !strings.Contains(err.Error(), "apt install latexmk") {
		t.Errorf("%v", err)
	}
}
