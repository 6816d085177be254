package raftlab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocsNameTests: each test that the documentation names is there, parts of
// one (TestEngine/PowerCut) too: properties of suites, subtests, scripts.
func TestDocsNameTests(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".txtar") {
			code.WriteString("/" + d.Name())
		}
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob("docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatal(docs, err)
	}
	named := regexp.MustCompile("`(Test[A-Z]\\w*)(?:/(\\w+))?")
	for _, path := range append(docs, "README.md", "CHANGELOG.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(code.String(), "func "+m[1]+"(") {
				t.Errorf("%s names %s, which is nowhere", path, m[1])
			}
			isPart := func(form string) bool { return strings.Contains(code.String(), fmt.Sprintf(form, m[2])) }
			if m[2] != "" && !slices.ContainsFunc([]string{`{"%s", check`, `.Run("%s"`, `/%s.txtar`}, isPart) {
				t.Errorf("%s names %s/%s, which is no part of it", path, m[1], m[2])
			}
		}
	}
}
