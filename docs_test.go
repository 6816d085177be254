package raftlab

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsNameTests: each test that the documentation names is there, those of conformance
// suites (TestEngine/PowerCut) by the property.
func TestDocsNameTests(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
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
			if m[2] != "" && !strings.Contains(code.String(), `{"`+m[2]+`", check`) {
				t.Errorf("%s names %s/%s, which is no property of a suite", path, m[1], m[2])
			}
		}
	}
}
