package size_test

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core/size"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "17": 17, "1B": 1, "1KiB": 1024, " 64 MiB ": 64 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40,
		"3kB": 3000, "1MB": 1e6, "5GB": 5e9, "1TB": 1e12,
	} {
		if got, err := size.Parse(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "1 mib", "1KiBB", "99999999999TiB", "18446744073709551616"} {
		if got, err := size.Parse(text); !errors.Is(err, size.ErrInvalid) {
			t.Errorf("%q: %d, %v; want an error", text, got, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, math.MaxInt64).Draw(t, "n")
		if got, err := size.Parse(size.Format(n)); err != nil || got != n {
			t.Fatalf("%d as %s reads back as %d, %v", n, size.Format(n), got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"1GiB", "0", "-1", "12 kB", "KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := size.Parse(text)
		if err != nil {
			return
		}
		if again, err := size.Parse(size.Format(n)); err != nil || again != n {
			t.Fatalf("%q is %d, which reads back as %d, %v", text, n, again, err)
		}
	})
}
