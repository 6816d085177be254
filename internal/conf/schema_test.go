package conf

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// words is a list with a syntax of its own.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Type() string { return "word,..." }

func (w *words) Set(s string) error {
	if s == "" {
		return errors.New("want a word")
	}
	*w = append(*w, strings.Split(s, ",")...)
	return nil
}

// sample has a field of each form.
type sample struct {
	Name  string        `key:"name" default:"me" doc:"a name"`
	Mode  string        `json:"mode,omitempty" oneof:"one two" doc:"a mode"`
	On    bool          `key:"on" doc:"a switch"`
	Count int           `key:"count" default:"2" min:"-1" max:"9" unit:"things" zero:"all of them" doc:"a number"`
	Large uint64        `key:"large"`
	Share float64       `key:"share" max:"1" doc:"a share"`
	Pause time.Duration `key:"pause" default:"90m" min:"1s" doc:"a pause"`
	Words words         `key:"words" example:"a" doc:"some words"`
	None  string        // no setting
	Inner struct {
		Pause Duration `key:"wait" doc:"another"`
	} `key:"inner"`
}

func TestApply(t *testing.T) {
	var got sample
	s := SchemaOf(got)
	if err := s.Defaults(&got); err != nil {
		t.Fatal(err)
	}
	root, m, err := Kind{MaxBytes: 1000}.Parse("f.toml", []byte("mode = \"two\"\non = true\nshare = 1\nlarge = 7\nwords = [\"a\", \"b,c\"]\ninner.wait = \"2s\""))
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(&got, s.Settings("", root, m, nil), m)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	want := sample{Name: "me", Mode: "two", On: true, Count: 2, Large: 7, Share: 1, Pause: 90 * time.Minute, Words: words{"a", "b", "c"}}
	want.Inner.Pause = Duration(2 * time.Second)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, f := range s.Fields() { // each form reads back what it writes
		var again sample
		if err := f.SetText(&again, f.Text(&got)); err != nil || f.Text(&again) != f.Text(&got) {
			t.Errorf("%s: %q, then %q, %v", f.Key(), f.Text(&got), f.Text(&again), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := SchemaOf(sample{})
	for key, values := range map[string]map[any]string{
		"name":  {int64(1): "want text in quotes", Foreign{"a date or time", "quote it"}: "quote it"},
		"mode":  {"twoo": `want one of "one", "two"; did you mean "two"?`},
		"on":    {"true": "want true or false, without quotes"},
		"count": {int64(10): "want a whole number from -1 to 9, without quotes", 1.0: "want a whole number from -1 to 9, without quotes"},
		"large": {int64(-1): "want a whole number of at least 0, without quotes"},
		"share": {math.NaN(): "want a number from 0 to 1, without quotes", int64(2): "want a number from 0 to 1, without quotes"},
		"pause": {"1ms": "want a duration from 1s to 24h", int64(5): `want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`},
		"words": {int64(5): `want a list such as ["a"]`, "": "want a word"},
	} {
		for value, want := range values {
			var target sample
			if err := s.Find(key).Set(&target, value); err == nil || err.Error() != want {
				t.Errorf("%s = %v: %v, want %s", key, value, err, want)
			}
			if diff := cmp.Diff(sample{}, target); diff != "" {
				t.Errorf("%s = %v was refused and set: %s", key, value, diff)
			}
		}
	}
	type odd struct {
		L []string `key:"l"`
		N int32    `key:"n"`
	}
	if err := SchemaOf(odd{}).Find("l").Set(&odd{}, "x"); err == nil {
		t.Error("text was put into a list")
	}
	if o := (odd{}); SchemaOf(o).Find("n").Set(&o, int64(7)) != nil || o.N != 7 {
		t.Errorf("%+v", o)
	}
	// A tag that nobody can read admits nothing.
	type bad struct {
		N int           `key:"n" min:"few"`
		D time.Duration `key:"d" max:"long" default:"1s"`
	}
	if err := SchemaOf(bad{}).Find("n").Set(&bad{}, int64(1)); err == nil {
		t.Error("min that is no number")
	}
	if err := SchemaOf(bad{}).Defaults(&bad{}); err == nil {
		t.Error("max that is no duration")
	}
}

// TestMisplaced: each unknown key and table is told where it belongs, or the nearest.
func TestMisplaced(t *testing.T) {
	type table struct {
		Words words    `key:"many_words"`
		Pause Duration `key:"pause"`
	}
	s := SchemaOf(struct {
		Name  string `key:"name"`
		Old   string `key:"old"`
		Inner table  `key:"inner"`
		Outer table  `key:"outer"`
	}{}).Without("old")
	s.Elsewhere("options.x", []string{"far_away"})
	for text, want := range map[string]string{
		"Name = 1":                `unknown key "Name" at the top level; did you mean "name"?`,
		"[inner]\nmany-words = 1": `unknown key "many-words" in [inner]; did you mean "many_words"?`,
		"[inner]\nPAUSE = 1":      `unknown key "PAUSE" in [inner]; did you mean "pause"?`,
		"pause = 1":               `unknown key "pause" at the top level; it belongs in [inner]`,
		"[inner]\nname = 1":       `unknown key "name" in [inner]; it belongs at the top of the file, above the first table`,
		"[inner]\nfar-away = 1":   `unknown key "far-away" in [inner]; it belongs in [options.x]`,
		"far_away = 1":            `unknown key "far_away" at the top level; it belongs in [options.x]`,
		"[inner]\nfar_awya = 1":   `unknown key "far_awya" in [inner]; did you mean "far_away"?`,
		"zzzzzz = 1":              `unknown key "zzzzzz" at the top level; known are name`,
		"[inner]\nzzzzzz = 1":     `unknown key "zzzzzz" in [inner]; known are many_words, pause`,
		"[zzzzzz]\nname = 1":      `unknown table [zzzzzz]; known are inner, outer, free`,
		"old = 1":                 `unknown key "old" at the top level; known are name`,
		"[fre]\nx = 1":            `unknown table [fre]; did you mean "free"?`,
	} {
		root, m, err := Kind{MaxBytes: 1000}.Parse("f.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		leave := func(Entry) {}
		s.Settings("", root, m, map[string]func(Entry){"free": leave, "outer": leave})
		if err := m.Err(); err == nil || !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestMapReadsBack(t *testing.T) {
	type flat struct {
		N int           `key:"n" min:"-5"`
		U uint64        `key:"u"`
		B bool          `key:"b"`
		F float64       `key:"f"`
		D time.Duration `key:"d"`
		S string        `key:"s"`
		O *int64        `key:"o"`
	}
	want := flat{-1, 1 << 40, true, 0.5, time.Second, "1", new(int64)}
	text, err := json.Marshal(Map(want))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	var got flat
	if err := FromMap(&got, m, "x"); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
	if err := SchemaOf(want).Find("o").Set(&got, int64(1)); err != nil || *got.O != 1 || *want.O != 0 {
		t.Errorf("an optional value is %d, %v, and %d in a copy", *got.O, err, *want.O)
	}
	if len(Map(flat{})) != 0 || len(Map(nil)) != 0 {
		t.Error("zero fields are in the map")
	}
	err = FromMap(&got, map[string]any{"n": "x", "bb": true, "d": []any{"1s"}}, "table")
	want2 := "table has no key \"bb\"; did you mean \"b\"?\ntable.d = […]: want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as \"500ms\" or \"1m30s\"\ntable.n = \"x\": want a whole number from -5 to 2147483647, without quotes"
	if err == nil || err.Error() != want2 {
		t.Errorf("%v, want %s", err, want2)
	}
}

func TestFlags(t *testing.T) {
	target := sample{Pause: 90 * time.Minute}
	s := SchemaOf(target)
	flags := s.Flags(&target)
	if err := flags.Parse([]string{"--on", "--count", "-1", "--words", "a,b", "--words", "c", "--pause=2m", "--mode", "one"}); err != nil {
		t.Fatal(err)
	}
	want := sample{Mode: "one", On: true, Count: -1, Pause: 2 * time.Minute, Words: words{"a", "b", "c"}}
	if diff := cmp.Diff(want, target); diff != "" {
		t.Error(diff)
	}
	if err := flags.Parse([]string{"--on=0", "--pause", "x"}); err == nil || target.On || !strings.HasSuffix(err.Error(), `want a duration: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`) {
		t.Errorf("on %v, %v", target.On, err)
	}
	if f := flags.Lookup("pause"); f.DefValue != "1h30m" || f.Value.Type() != "duration" {
		t.Errorf("%q, %s", f.DefValue, f.Value.Type())
	}
	if flags.Lookup("large") != nil || flags.Lookup("wait") != nil {
		t.Error("a flag for what has no doc, or stands in a table")
	}
	if usage := flags.Lookup("mode").Usage; usage != "a mode: one, two" {
		t.Error(usage)
	}
}

func TestReference(t *testing.T) {
	var b strings.Builder
	WriteMarkdown(&b, []Section{{Title: "[top]", Text: "Words.", Schema: SchemaOf(sample{})}})
	for _, want := range []string{
		"\n## [top]\n\nWords.\n",
		"| `name` | `\"me\"` | text | a name |\n",
		"| `mode` |  | \"one\", \"two\" | a mode |\n",
		"| `count` | `2` | a whole number from -1 to 9, things | a number; if not set: all of them |\n",
		"| `pause` | `90m` | a duration from 1s to 24h | a pause |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "large") || strings.Contains(b.String(), "wait") {
		t.Errorf("more than the documented settings of the table:\n%s", b.String())
	}
}

// TestUnitsAsText: sizes and shares are numbers, or text with their unit.
func TestUnitsAsText(t *testing.T) {
	type settings struct {
		Size  int     `key:"size" min:"1" max:"1048576" unit:"bytes"`
		Part  float64 `key:"part" max:"1" unit:"share"`
		Large int     `key:"large" min:"262144" max:"1048576" unit:"bytes"`
		Count int     `key:"count"`
	}
	s := SchemaOf(settings{})
	for _, x := range []struct {
		key  string
		data any
		want string // the value in its normal form, or what the error says
	}{
		{"size", int64(256), "256"}, {"size", "4KiB", "4096"}, {"size", "64B", "64"}, {"size", "1kB", "1000"},
		{"size", "2MiB", `want a size from 1B to 1MiB, such as 4096 or "4KiB"`},
		{"large", "4KiB", `want a size from 256KiB to 1MiB, such as 262144 or "256KiB"`},
		{"size", "4 kilobytes", "want a size"}, {"size", 1.5, "want a size"}, {"size", "99999999999999TiB", "want a size"},
		{"part", "95%", "0.95"}, {"part", "12.5 %", "0.125"}, {"part", 0.5, "0.5"},
		{"part", "195%", `want a share from 0 to 1, such as 0.95 or "95%"`}, {"part", "0.5", "want a share"}, {"part", "NaN%", "want a share"},
		{"count", "4KiB", "without quotes"},
	} {
		var got settings
		f := s.Find(x.key)
		text := ""
		if err := f.Set(&got, x.data); err != nil {
			text = err.Error()
		} else if text = f.Text(&got); f.SetText(&got, text) != nil || f.Text(&got) != text {
			t.Errorf("%s = %v: %s does not read back", x.key, x.data, text)
		}
		if !strings.HasPrefix(text, x.want) && !strings.HasSuffix(text, x.want) {
			t.Errorf("%s = %v: %q, want %q", x.key, x.data, text, x.want)
		}
	}
	var shell settings
	if err := s.Find("size").SetText(&shell, "64KiB"); err != nil || shell.Size != 64<<10 {
		t.Errorf("--set size=64KiB: %d, %v", shell.Size, err)
	}
}
