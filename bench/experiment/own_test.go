package experiment

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// withProgram is the catalogue with an engine that brings its own log store and network, and
// how often it was asked for its options.
func withProgram(missing error) (Known, *int) {
	asked := new(int)
	return append(catalogue(), Plugin{Kind: KindEngine, Name: "ratis", Own: true, Ask: func() ([]string, error) {
		*asked++
		return []string{"pre_vote", "max_append_bytes"}, missing
	}}), asked
}

// TestOwn: where nothing is said of log store and transport, a library has the default and a
// program its own, however the engine was chosen.
func TestOwn(t *testing.T) {
	known, asked := withProgram(nil)
	for _, file := range []string{
		"[cluster]\nmode = \"process\"\n[matrix]\nengine = [\"hashicorp\", \"ratis\"]",
		"[cluster]\nmode = \"process\"\n[[matrix.system]]\nname = \"a\"\nengine = \"hashicorp\"\n[[matrix.system]]\nname = \"b\"\nengine = \"ratis\"",
		"[cluster]\nmode = \"process\"\nbackend = \"bolt\"\n[[matrix.system]]\nname = \"a\"\nengine = \"hashicorp\"\nbackend = \"wal\"\n[[matrix.system]]\nname = \"b\"\nengine = \"ratis\"\nbackend = \"own\"",
		"[cluster]\nmode = \"process\"\n[matrix]\nengine = [\"hashicorp\", \"ratis\"]\nbackend = [\"wal\", \"own\"]\n" +
			"[[exclude]]\nengine = \"hashicorp\"\nbackend = \"own\"\n[[exclude]]\nengine = \"ratis\"\nbackend = \"wal\"",
	} {
		e, err := Parse("x.toml", []byte("name = \"x\"\n"+file), known, nil)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		cells, err := e.Expand()
		if err != nil || len(cells) != 2 {
			t.Fatalf("%s: %d cells, %v", file, len(cells), err)
		}
		if a, b := cells[0].Cluster, cells[1].Cluster; a.Backend != "wal" || a.Transport != "tcp" || b.Backend != Own || b.Transport != Own {
			t.Errorf("%s: %+v and %+v", file, a, b)
		}
		if !slices.Equal(e.Own, []string{"ratis"}) {
			t.Errorf("%s: own is %v", file, e.Own)
		}
	}
	if *asked != 0 {
		t.Errorf("asked %d times for options that no file gives", *asked)
	}
}

func TestOwnMistakes(t *testing.T) {
	known, _ := withProgram(nil)
	for file, want := range map[string]string{
		"[cluster]\nengine = \"ratis\"": `engine = "ratis" is a program of its own, and cluster.mode is "inprocess": set mode = "process"`,
		"[cluster]\nmode = \"process\"\nbackend = \"bolt\"\n[matrix]\nengine = [\"hashicorp\", \"ratis\"]":            `x.toml:4: backend = "bolt", and the engine ratis brings its own (cell c02`,
		"[cluster]\nmode = \"process\"\n[matrix]\nengine = [\"hashicorp\", \"ratis\"]\nbackend = [\"bolt\", \"wal\"]": `x.toml:6: backend = "bolt", and the engine ratis brings its own (cell c03`,
		"[cluster]\nmode = \"process\"\nengine = \"ratis\"\ntransport = \"tcp\"":                                      `x.toml:5: transport = "tcp", and the engine ratis brings its own:`,
		"[cluster]\nbackend = \"own\"":             `x.toml:3: backend = "own" is for engines that bring theirs, and hashicorp does not: name one`,
		"[options.ratis]\npre_votes = true":        `x.toml:3: unknown key "pre_votes" in [options.ratis]; did you mean "pre_vote"?`,
		"[matrix]\noptions.ratis.nothing = [1, 2]": `x.toml:3: unknown key "options.ratis.nothing"`,
	} {
		_, err := Parse("x.toml", []byte("name = \"x\"\n"+file), known, nil)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", file, err, want)
		}
	}
}

// TestOwnOverrides: a plug-in is asked for what an override names, too.
func TestOwnOverrides(t *testing.T) {
	known, asked := withProgram(nil)
	file := []byte("name = \"x\"\n[cluster]\nmode = \"process\"\nengine = \"ratis\"")
	if _, err := Parse("x.toml", file, known, []Override{{Key: "options.ratis.pre_vot", Value: "true"}}); *asked != 1 || err == nil {
		t.Errorf("asked %d times, %v", *asked, err)
	}
	known, _ = withProgram(errors.New("it is not there"))
	e, err := Parse("x.toml", file, known, []Override{{Key: "options.ratis.anything", Value: "1"}})
	if err != nil || e.Options["ratis"]["anything"] != int64(1) {
		t.Errorf("options of a program that is not there are for whoever runs it: %v", err)
	}
}
