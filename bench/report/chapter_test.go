package report

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
)

// hostileRun has a question, levels and keys that LaTeX would stumble over.
func hostileRun(t *testing.T) *record.Folder {
	s := scenarios()["mixed"]
	s.name, s.trials, s.titleRu = "hostile", 6, `Чтения & записи: 50 % #1_{x} ~ ^ \ "a" <b> |c| $d$ «ё» №5`
	s.question = "100 % of `a`_b & ^c~ {d} \\e \"f\" <g> | “h” ‘i’ … ≤ ≥ ≈ → µ × ± † ‡ § ° ² ³ − [j] -- ,, '' \x1b[31m 漢 ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿ ЁёЄєІіЇїҐґЎў?"
	s.matrix = []experiment.Factor{factorOf(keyTransport, "inmem", "tcp"), factorOf("options.tcp.a_b", "x%1", "y&2")}
	return s.folder(t)
}

// TestGoldenChapter: the text, the tables and a figure of a small chapter.
func TestGoldenChapter(t *testing.T) {
	files, err := Chapter(t.Context(), []*record.Folder{hostileRun(t)}, catalog(), Russian)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, x := range files {
		if x.Name == "chapter.tex" || strings.HasPrefix(x.Name, "tables/") || strings.HasSuffix(x.Name, "throughput.tex") {
			all.WriteString("=== " + x.Name + "\n" + string(x.Data))
		}
	}
	golden(t, "chapter.ru.tex", []byte(all.String()))
}

var latex = flag.Bool("latex", false, "compile chapters with latexmk (make check-tex)")

// TestLaTeX compiles chapters of many sorts of runs with pdfTeX and LuaTeX, and each
// figure of one by itself. Nothing may be wider than its page, and no character missing.
func TestLaTeX(t *testing.T) {
	if !*latex {
		t.Skip("make check-tex runs it")
	}
	compile := func(t *testing.T, engine, file string) {
		t.Helper()
		run := exec.CommandContext(t.Context(), "latexmk", "-cd", engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", file)
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, out[max(0, len(out)-3000):])
		}
		log, err := os.ReadFile(strings.TrimSuffix(file, ".tex") + ".log")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^(Overfull \\hbox \((?:[5-9]|\d\d+)\.\d+pt.*|Missing character.*|.*undefined references.*)$`).FindAllString(string(log), -1) {
			t.Errorf("%s with %s: %s", file, engine, line)
		}
	}
	for _, runs := range [][]string{{"hostile"}, {"backends", "invalid", "formation", "rate"}, {"ramp", "kinds"}} {
		var folders []*record.Folder
		for _, name := range runs {
			if name == "hostile" {
				folders = append(folders, hostileRun(t))
				continue
			}
			folders = append(folders, scenario(t, name).folder)
		}
		for _, lang := range []Lang{English, Russian} {
			t.Run(runs[0]+" "+string(lang), func(t *testing.T) {
				files, err := Chapter(t.Context(), folders, catalog(), lang)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				for _, x := range files {
					path := filepath.Join(dir, filepath.FromSlash(x.Name))
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, x.Data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				compile(t, "-pdf", filepath.Join(dir, "main.tex"))
				if runs[0] != "hostile" {
					return
				}
				for _, x := range files {
					if strings.HasPrefix(x.Name, "figures/") {
						compile(t, "-pdf", filepath.Join(dir, filepath.FromSlash(x.Name)))
					}
				}
				compile(t, "-lualatex", filepath.Join(dir, "main.tex"))
			})
		}
	}
}

// TestChapter: what a chapter of several runs is made of.
func TestChapter(t *testing.T) {
	runs := []*record.Folder{scenario(t, "mixed").folder, scenario(t, "backends").folder}
	for _, lang := range []Lang{English, Russian} {
		files, err := Chapter(t.Context(), runs, catalog(), lang)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, x := range files {
			if all[x.Name] != "" || !filepath.IsLocal(x.Name) {
				t.Errorf("%s is made twice, or elsewhere", x.Name)
			}
			all[x.Name] = string(x.Data)
		}
		chapter := all["chapter.tex"]
		for name, text := range all {
			inFolder := strings.Contains(name, "/")
			if inFolder && !strings.Contains(chapter, `\input{\RaftlabDir `+strings.TrimSuffix(name, ".tex")+"}") {
				t.Errorf("%s: %s is not in the chapter", lang, name)
			}
			if inFolder && !strings.Contains(text, record.ShortID(scenario(t, "mixed").model.provenance)) {
				t.Errorf("%s: %s does not say of which data it is", lang, name)
			}
		}
		for name, text := range all {
			for _, label := range regexp.MustCompile(`\\label\{(.*?)\}`).FindAllStringSubmatch(text, -1) {
				if !strings.Contains(chapter, `\ref{`+label[1]+`}`) {
					t.Errorf("%s: nothing refers to %s of %s", lang, label[1], name)
				}
			}
		}
		if strings.Contains(chapter, "ecdf") {
			t.Errorf("%s: a figure that a page shows only when asked to", lang)
		}
		if n := strings.Count(chapter, `\section{`); n != 5 { // two runs, methods, threats, sources
			t.Errorf("%s: %d sections:\n%s", lang, n, chapter)
		}
		for _, m := range []*model{scenario(t, "mixed").model, scenario(t, "backends").model} {
			if id := record.ShortID(m.provenance); !strings.Contains(all["tables/provenance.tex"], id) {
				t.Errorf("%s: no word of the run %s", lang, id)
			}
		}
		same := newLanguage(lang).say("A trial that fails a gate", "не прошедшее хотя бы одну проверку")
		legend := newLanguage(lang).say("The percentile axis stretches the tail", "Ось перцентилей растягивает хвост")
		for _, said := range []string{same, legend} {
			if n := strings.Count(chapter, said); n != 1 {
				t.Errorf("%s: what holds for both runs is said %d times: %s", lang, n, said)
			}
		}
		if lang == Russian && strings.Contains(strings.Join(slices.Collect(maps.Values(all)), ""), " 0.05") {
			t.Error("a decimal point in Russian")
		}
	}
}

// TestMethodsAndThreats: what is said follows from the run.
func TestMethodsAndThreats(t *testing.T) {
	say := func(name string) string {
		l, m := newLanguage(English), scenario(t, name).model
		var b strings.Builder
		for _, x := range slices.Concat(l.methods(m), l.threats(m)) {
			b.WriteString(x.Term + ". " + x.Text + "\n")
		}
		return b.String()
	}
	for _, c := range []struct {
		name       string
		want, lack []string
	}{
		{"backends", []string{"backend (mdb, bolt, inmem)", "12 in all", "7 trials of each cell", "(seed 1)", "Example CPU @ 3.00GHz, usable cores: 8", "nvme0n1",
			"Unequal durability", "closed loop", "loopback", "github.com/hashicorp/raft v1.7.3", "SHA-256"}, []string{"sessions", "in memory:"}},
		{"rate", []string{"rate (50, 800, 3200)"}, []string{"In a closed loop a slower"}},
		{"invalid", []string{"8 were invalid and left out"}, nil},
		{"partial", []string{"made in 2 sessions"}, nil},
		{"one", []string{"One configuration is measured: bolt over tcp", "probability of only 75.0 % where"}, []string{"Comparisons."}},
		{"mixed", []string{"The data directory is in memory"}, nil},
	} {
		text := say(c.name)
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, text)
			}
		}
		for _, lack := range c.lack {
			if strings.Contains(text, lack) {
				t.Errorf("%s: %q in\n%s", c.name, lack, text)
			}
		}
	}
}
