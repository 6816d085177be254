// Package size reads and writes numbers of bytes as people do: "64MiB". It is the one
// home of that: experiment files, flags and options of plug-ins all take such text. It
// imports nothing of ours but the error kinds.
package size

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/core/errkind"
)

// ErrInvalid is what Parse returns of text that is no size: core.ErrInvalid.
var ErrInvalid = errkind.ErrInvalid

// Parse reads a size: a whole number followed by B, KiB, MiB, GiB or TiB
// (powers of 1024), kB, MB, GB or TB (powers of 1000), or by nothing for bytes.
func Parse(text string) (uint64, error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "BKMGTkib ")
	unit := strings.TrimSpace(text[len(digits):])
	scale, ok := units()[unit]
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%w: size %q: want a whole number and a unit, such as 64MiB", ErrInvalid, text)
	}
	if n > math.MaxInt64/scale {
		return 0, fmt.Errorf("%w: size %q is too large", ErrInvalid, text)
	}
	return n * scale, nil
}

func units() map[string]uint64 {
	return map[string]uint64{
		"": 1, "B": 1,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}
}

// Format writes a size as Parse reads it: in the largest binary unit that divides it.
func Format(n uint64) string {
	binary := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for i < len(binary)-1 && n != 0 && n%1024 == 0 {
		n /= 1024
		i++
	}
	return strconv.FormatUint(n, 10) + binary[i]
}
