package kvnode

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// flipBit turns over one bit wherever a file has a text, as a disk might: flip FILE
// TEXT. A store keeps old copies in pages that are free.
func flipBit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("%s: %q", args[0], found)
	}
	data := []byte(ts.ReadFile(found[0]))
	at := bytes.Index(data, []byte(args[1]))
	if at < 0 {
		ts.Fatalf("%s has no %s", args[0], args[1])
	}
	for ; at >= 0; at = bytes.Index(data, []byte(args[1])) {
		data[at] ^= 1
	}
	ts.Check(os.WriteFile(found[0], data, 0o600))
}

// cutShort leaves so many bytes of a file: cut FILE BYTES.
func cutShort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE BYTES")
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}
