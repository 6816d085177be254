package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func rendered(t testing.TB, f *record.Folder) map[string][]byte {
	t.Helper()
	files, err := render(t.Context(), f, catalog())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, x := range files {
		if _, twice := out[x.name]; twice {
			t.Errorf("%s is made twice", x.name)
		}
		out[x.name] = x.data
	}
	return out
}

func TestGoldenMarkdown(t *testing.T) {
	golden(t, "invalid.md", scenario(t, "invalid").files["report.md"])
	golden(t, "mixed.ru.md", scenario(t, "mixed").files["report.ru.md"])
}

func TestGoldenCSV(t *testing.T) {
	golden(t, "rate.csv", scenario(t, "rate").files[csvFile])
}

func TestGoldenTerminal(t *testing.T) {
	for _, lang := range []Lang{English, Russian} {
		var out bytes.Buffer
		for _, name := range names() {
			out.WriteString("=== " + name + "\n")
			if err := doc.Terminal(&out, newLanguage(lang).brief(scenario(t, name).model), 80); err != nil {
				t.Fatal(err)
			}
			out.WriteString("\n")
		}
		golden(t, "terminal."+string(lang)+".txt", out.Bytes())
	}
}

// names are the scenarios to go through.
func names() []string {
	return slices.Sorted(maps.Keys(scenarios()))
}

// TestTerminalKeepsToItsWidth: no line is wider than asked for, down to what
// the names of the cells need.
func TestTerminalKeepsToItsWidth(t *testing.T) {
	for _, name := range names() {
		for _, width := range []int{60, 80, 100, 200} {
			for _, lang := range []Lang{English, Russian} {
				var out bytes.Buffer
				if err := doc.Terminal(&out, newLanguage(lang).brief(scenario(t, name).model), width); err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(out.String()) {
					if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
						t.Errorf("%s in %s: %d columns, want at most %d: %q", name, lang, n, width, line)
					}
				}
			}
		}
	}
}

// TestReportIsTheSameAgain makes the report from the folder as the runner holds
// it, from the folder opened again, and from a copy elsewhere.
func TestReportIsTheSameAgain(t *testing.T) {
	f, want := scenario(t, "mixed").folder, scenario(t, "mixed").files
	elsewhere := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(elsewhere, os.DirFS(f.Dir())); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{f.Dir(), elsewhere} {
		again, err := record.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := rendered(t, again)
		if len(got) != len(want) {
			t.Errorf("%s: %d files, want %d", dir, len(got), len(want))
		}
		for name, data := range want {
			if !bytes.Equal(got[name], data) {
				t.Errorf("%s: %s differs: %v", dir, name, differencesOf(name, got[name], data))
			}
		}
	}
}

func TestWriteMakesAllFiles(t *testing.T) {
	f := scenarios()["rate"].folder(t)
	if err := Write(t.Context(), f, catalog()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"results.csv", "summary.csv", "report.json", "report.md", "report.html", "report.ru.md", "report.ru.html",
		"plots/latency.svg", "plots/throughput.svg", "plots/latency.ru.svg", "plots/throughput.ru.svg",
	} {
		if data, err := f.ReadFile(name); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

// TestHTMLAndSVG checks that tags nest, that nothing comes from outside and
// that the drawings are fit for any browser.
func TestHTMLAndSVG(t *testing.T) {
	outside := regexp.MustCompile(`(?:src|href|url\()\s*=?\s*["'(]?\s*(?:https?:)?//`)
	for _, name := range names() {
		for file, data := range scenario(t, name).files {
			html := strings.HasSuffix(file, ".html")
			if !html && !strings.HasSuffix(file, ".svg") {
				continue
			}
			if err := wellFormed(data, html); err != nil {
				t.Errorf("%s/%s: %v", name, file, err)
			}
			if where := outside.FindIndex(data); where != nil {
				t.Errorf("%s/%s: refers to the outside: %q", name, file, data[where[0]:where[1]])
			}
			if bytes.Contains(data, []byte("font-family:Liberation Sans;")) {
				t.Errorf("%s/%s: a font without a fallback", name, file)
			}
			if !html && !bytes.Contains(data, []byte("<title>")) {
				t.Errorf("%s/%s: no title", name, file)
			}
			if strings.Contains(file, ".ru.svg") && !regexp.MustCompile(`>[^<]*[а-я]+[^<]*</text>`).Match(data) {
				t.Errorf("%s/%s: no Russian label", name, file)
			}
		}
	}
}

func wellFormed(data []byte, html bool) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	if html {
		d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	}
	var open []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if len(open) > 0 {
				return errors.New("left open: " + strings.Join(open, " "))
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch x := token.(type) {
		case xml.StartElement:
			open = append(open, x.Name.Local)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != x.Name.Local {
				return errors.New("</" + x.Name.Local + "> closes nothing")
			}
			open = open[:len(open)-1]
		}
	}
}

// TestHostileNames: what an experiment file may say never becomes markup.
func TestHostileNames(t *testing.T) {
	s := scenarios()["one"]
	s.titleRu = `<script>alert("ы")</script> | *a*`
	s.question = "`x` <img src=x onerror=alert(1)> & [a](b)\n\n# head"
	files := rendered(t, s.folder(t))
	for _, name := range []string{"report.html", "report.ru.html"} {
		if bytes.Contains(files[name], []byte("<script>")) || bytes.Contains(files[name], []byte("<img")) {
			t.Errorf("%s: markup came through", name)
		}
		if err := wellFormed(files[name], true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := string(files["report.md"]); strings.Contains(text, "<img") || strings.Contains(text, "\n# head") || strings.Contains(text, "[a](b)") {
		t.Errorf("report.md: markup came through")
	}
}

// TestSentencesTakeTheSameArguments: what is said in one language is said in the other,
// and of the same things.
func TestSentencesTakeTheSameArguments(t *testing.T) {
	verbs := regexp.MustCompile(`%(?:\[\d\])?[a-z]`)
	count := func(s string) int { return len(verbs.FindAllString(strings.ReplaceAll(s, "%%", ""), -1)) }
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "fill" && f.Sel.Name != "say" {
				return true
			}
			en, ok1 := call.Args[0].(*ast.BasicLit)
			ru, ok2 := call.Args[1].(*ast.BasicLit)
			if !ok1 || !ok2 {
				return true
			}
			seen++
			if count(en.Value) != count(ru.Value) || f.Sel.Name == "fill" && !strings.HasPrefix(en.Value, `"%[`) && count(en.Value) != len(call.Args)-2 {
				t.Errorf("%s: %s and %s take other arguments", name, en.Value, ru.Value)
			}
			return true
		})
	}
	if seen < 100 {
		t.Errorf("only %d sentences: the test has lost its subject", seen)
	}
	for _, name := range names() {
		for file, data := range scenario(t, name).files {
			if bytes.Contains(data, []byte("%!")) {
				t.Errorf("%s/%s: a sentence was filled in wrongly", name, file)
			}
		}
	}
}
