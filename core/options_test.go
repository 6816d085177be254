package core_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
)

func TestOptions(t *testing.T) {
	r := core.Options{"on": true, "n": int64(3), "j": 4.0, "size": "2KiB", "raw": int64(7), "wait": "150ms", "who": "me"}.Read("x")
	if !r.Bool("on", false) || r.Int("n", 0) != 3 || r.Int("j", 0) != 4 || r.Bytes("size", 0) != 2048 ||
		r.Bytes("raw", 0) != 7 || r.Duration("wait", 0) != 150*time.Millisecond || r.String("who", "") != "me" {
		t.Error("a value is not what was given")
	}
	if r.Int("missing", 9) != 9 || r.Err() != nil {
		t.Errorf("a missing option: %v", r.Err())
	}
}

func TestOptionsTellAllThatIsWrong(t *testing.T) {
	r := core.Options{"on": "yes", "n": 1.5, "size": "-1MiB", "wait": "soon", "who": 1, "extra": 1}.Read("x")
	r.Bool("on", true)
	r.Int("n", 1)
	r.Bytes("size", 1)
	r.Duration("wait", 1)
	r.String("who", "")
	err := r.Err()
	if !errors.Is(err, core.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"options.x.on", "options.x.n", "options.x.size", "options.x.wait", "options.x.who", `no option "extra"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "17": 17, "1B": 1, "1KiB": 1024, " 64 MiB ": 64 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40,
		"3kB": 3000, "1MB": 1e6, "5GB": 5e9, "1TB": 1e12,
	} {
		if got, err := core.ParseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "1 mib", "1KiBB", "99999999999TiB", "18446744073709551616"} {
		if got, err := core.ParseBytes(text); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%q: %d, %v; want an error", text, got, err)
		}
	}
}

func TestBytesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, math.MaxInt64).Draw(t, "n")
		if got, err := core.ParseBytes(core.FormatBytes(n)); err != nil || got != n {
			t.Fatalf("%d as %s reads back as %d, %v", n, core.FormatBytes(n), got, err)
		}
	})
}

func FuzzParseBytes(f *testing.F) {
	for _, seed := range []string{"1GiB", "0", "-1", "12 kB", "KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := core.ParseBytes(text)
		if err != nil {
			return
		}
		if again, err := core.ParseBytes(core.FormatBytes(n)); err != nil || again != n {
			t.Fatalf("%q is %d, which reads back as %d, %v", text, n, again, err)
		}
	})
}
