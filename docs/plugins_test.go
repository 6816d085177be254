package docs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginExamples: the Go code of the guides is in the example module, whose own tests
// compile and try it.
func TestPluginExamples(t *testing.T) {
	for _, guide := range []string{"writing-a-backend.md", "writing-an-engine.md"} {
		t.Run(guide, func(t *testing.T) { checkExamples(t, guide) })
	}
}

func checkExamples(t *testing.T, guide string) {
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../examples/plugins/*.go")
	programs, errPrograms := filepath.Glob("../examples/plugins/*/*.go")
	if err := errors.Join(err, errPrograms); err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, f := range append(files, programs...) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the page has no code")
	}
	for _, b := range blocks {
		block, _, _ := strings.Cut(b, "```")
		if !strings.Contains(code.String(), block) {
			t.Errorf("this is in %s, and not in examples/plugins:\n%s", guide, block)
		}
	}
}
