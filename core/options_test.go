package core_test

import (
	"errors"
	"strings"
	"testing"
	"time"

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
