package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/core"
)

const head = `{"format":"raftlab-audit-journal","version":1,"prefix":"a/","seed":1,"workers":2,"keys_per_worker":2,"value_bytes":9,"batch_share":0,"delete_share":0}` + "\n"

// TestCutJournal cuts a real journal at every place: it is read all the same, and
// what was under way counts as unknown.
func TestCutJournal(t *testing.T) {
	g := startFake(t, 1, func(number int, _ []string) deed { return []deed{apply, apply, refuse, applyUnknown}[number%4] })
	path := filepath.Join(t.TempDir(), "journal")
	_, err := Load(t.Context(), Config{Client: g.client, JournalPath: path, Parameters: mixed, Writes: 9})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for cut := first; cut <= len(whole); cut++ {
		j, err := readJournal(bytes.NewReader(whole[:cut]))
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
		begun := bytes.Count(whole[:bytes.LastIndexByte(whole[:cut], '\n')+1], []byte(`"op":`))
		if j.Torn != (whole[cut-1] != '\n') || j.Acknowledged+j.Refused+j.Unknown != begun {
			t.Fatalf("cut to %d bytes: %+v of %d writes", cut, j, begun)
		}
	}
	for cut := range first {
		if _, err := readJournal(bytes.NewReader(whole[:cut])); !errors.Is(err, core.ErrInvalid) {
			t.Fatalf("half a header: %v", err)
		}
	}
}

// TestKilledLoad: the end of the last write never got into the journal.
func TestKilledLoad(t *testing.T) {
	g := startFake(t, 2, nil)
	path := filepath.Join(t.TempDir(), "journal")
	p := Parameters{Prefix: "a/", Workers: 1, KeysPerWorker: 2}
	if _, err := Load(t.Context(), Config{Client: g.client, JournalPath: path, Parameters: p, Writes: 20}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-3); err != nil {
		t.Fatal(err)
	}
	j, err := ReadJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if j.Open != 1 || j.Unknown != 1 || !j.Torn || j.Acknowledged != 19 {
		t.Errorf("%+v", j)
	}
	if f := audit(t, g, j); !f.OK() || f.Unknown != 1 || f.UnknownTaken != 1 {
		t.Errorf("%+v", f)
	}
}

func TestBadJournals(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"empty":            {"", "line 1"},
		"not JSON":         {"hello\n", "line 1"},
		"another format":   {`{"format":"x"}` + "\n", "line 1"},
		"newer":            {strings.Replace(head, `"version":1`, `"version":2`, 1), "version 2"},
		"bad parameters":   {strings.Replace(head, `"workers":2`, `"workers":0`, 1), "workers"},
		"unknown field":    {head + `{"wat":1}` + "\n", "line 2"},
		"neither":          {head + `{"worker":0,"write":1}` + "\n", "neither"},
		"no such worker":   {head + `{"worker":2,"write":1,"op":"set","keys":["a/1"]}` + "\n", "worker 2"},
		"foreign key":      {head + `{"worker":0,"write":1,"op":"set","keys":["b"]}` + "\n", "begin with"},
		"no keys":          {head + `{"worker":0,"write":1,"op":"set"}` + "\n", "0 keys"},
		"key twice":        {head + `{"worker":0,"write":1,"op":"set","keys":["a/1","a/1"]}` + "\n", "twice"},
		"two at a time":    {head + begin(0, 1, "a/1") + begin(0, 2, "a/2"), "before the end"},
		"back in time":     {head + begin(0, 2, "a/1") + end(0, 2, "refused") + begin(0, 1, "a/1"), "after 2"},
		"end of nothing":   {head + end(0, 1, "refused"), "not under way"},
		"another's key":    {head + begin(0, 1, "a/1") + end(0, 1, "refused") + begin(1, 1, "a/1"), "belongs to worker 0"},
		"after unknown":    {head + begin(0, 1, "a/1") + end(0, 1, "unknown") + begin(0, 2, "a/1"), "after an unknown"},
		"unheard-of end":   {head + begin(0, 1, "a/1") + end(0, 1, "so so"), "so so"},
		"cut in the midst": {head + begin(0, 1, "a/1") + "{\"wor\n" + end(0, 1, "refused"), "line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readJournal(strings.NewReader(tt.text))
			if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if _, err := ReadJournal(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func begin(worker, seq int, key string) string {
	return strings.NewReplacer("W", string(rune('0'+worker)), "N", string(rune('0'+seq)), "K", key).
		Replace(`{"worker":W,"write":N,"op":"set","keys":["K"]}` + "\n")
}

func end(worker, seq int, how string) string {
	return strings.NewReplacer("W", string(rune('0'+worker)), "N", string(rune('0'+seq)), "HOW", how).
		Replace(`{"worker":W,"write":N,"end":"HOW"}` + "\n")
}

func FuzzReadJournal(f *testing.F) {
	f.Add([]byte(head))
	f.Add([]byte(head + begin(0, 1, "a/1") + end(0, 1, "acknowledged") + begin(1, 1, "a/2") + end(1, 1, "unknown")))
	f.Add([]byte(head + begin(0, 1, "a/1") + begin(1, 1, "a/2") + `{"worker":0,`))
	f.Add([]byte(head + `{"worker":0,"write":1,"op":"delete","keys":["a/1"]}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := readJournal(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		for key, fate := range j.fates {
			a, u := fate.acknowledged, fate.unknown
			if !strings.HasPrefix(key, j.Prefix) || a != nil && u != nil && a.seq >= u.seq {
				t.Fatalf("%q: %v", key, fate.wanted())
			}
			fate.judge(key, nil)
		}
	})
}
