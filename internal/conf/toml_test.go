package conf

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTreeLines writes documents in which every key carries the number of its
// line, as in k7, and reads the lines back.
func TestTreeLines(t *testing.T) {
	values := []string{"1", `"a # = [b]"`, "[1, 2]", "{ p = 1, q.r = 2 }", "[\n 1, # one\n 2,\n]", "\"\"\"a\n[x]\nb = 1\"\"\"", "'''\n'''", "[[1],\n[2]]"}
	keys := []string{"k%d", `"k%d"`, "'k%d'", `"k%d # ="`, "k%d.sub", `k%d . "s u b"`}
	rapid.Check(t, func(t *rapid.T) {
		var doc strings.Builder
		line, written := 1, 0
		for range rapid.IntRange(0, 20).Draw(t, "statements") {
			key := fmt.Sprintf(rapid.SampledFrom(keys).Draw(t, "key"), line)
			text := rapid.SampledFrom([]string{"", "# a = 1", "  # [t]", "[" + key + "]", key + " = "}).Draw(t, "statement")
			if strings.HasSuffix(text, "= ") {
				text += rapid.SampledFrom(values).Draw(t, "value")
			}
			if strings.Contains(text, key) {
				written++
			}
			doc.WriteString(text + "\n")
			line += 1 + strings.Count(text, "\n")
		}
		nodes, err := parseTOML([]byte(doc.String()))
		if err != nil {
			t.Fatalf("%+v in\n%s", err, doc.String())
		}
		if read := checkLines(t, nodes); read != written {
			t.Errorf("%d keys read, %d written", read, written)
		}
		if t.Failed() {
			t.Log(doc.String())
		}
	})
}

// checkLines compares the lines of keys named k7 and counts such keys.
func checkLines(t *rapid.T, table Table) int {
	count, last := 0, 0
	for _, n := range table {
		var want int
		if _, err := fmt.Sscanf(n.Key, "k%d", &want); err == nil {
			count++
			if n.Line != want {
				t.Errorf("%q on line %d", n.Key, n.Line)
			}
		}
		if n.Line < last {
			t.Errorf("%q is not in the order of the file", n.Key)
		}
		last = n.Line
		below, _ := n.Data.(Table)
		count += checkLines(t, below)
	}
	return count
}

// TestGivenTwice: the library that decodes takes the last of these, or a part of each.
func TestGivenTwice(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\n\na = 2":                        "f.toml:3: a is given twice, first on line 1: remove one",
		"a.b = 1\na = 2":                        "f.toml:2: a is given twice, first on line 1: remove one",
		"a = [1]\na.b = 2":                      "f.toml:2: a is given twice, first on line 1: remove one",
		"a = {b = 1}\na.c = 2":                  "f.toml:2: a is given twice, first on line 1: remove one",
		"a = [1]\n[a.b]\nc = 1":                 "f.toml:2: a is given twice, first on line 1: remove one",
		"[x.a.b]\n[x]\na = [\n[1, 2], 3]":       "f.toml:3: a is given twice, first on line 1: remove one",
		"[[x]]\na.b = 1\n[[x]]\na = 1\na.b = 1": "f.toml:5: a is given twice, first on line 4: remove one",
	} {
		if root, _, err := (Kind{MaxBytes: 1000}).Parse("f.toml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, %v, want %s", text, root, err, want)
		}
	}
}

// TestEmptyKey: below one the library that decodes drops a part, which is not silent.
func TestEmptyKey(t *testing.T) {
	for _, text := range []string{"[a]\n'' = ['x', [{}, 5.0]]", "b = 1\na = [1, {'' = 1}, 2]", "a.'' = [[{b = 1}], 2]"} {
		root, m, err := Kind{MaxBytes: 1000}.Parse("f.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		Value{Data: root}.Plain("", m)
		if err := m.Err(); err == nil || !strings.Contains(err.Error(), "a value below an empty key: name the key") {
			t.Errorf("%q: %v, %v", text, root, err)
		}
	}
}
