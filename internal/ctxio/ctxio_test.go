package ctxio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/internal/ctxio"
)

// TestEnds: what was read and written before the end is there, and nothing after it.
func TestEnds(t *testing.T) {
	cause := errors.New("given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	var to bytes.Buffer
	r, w := ctxio.Reader(ctx, strings.NewReader("abcd")), ctxio.Writer(ctx, &to)
	if n, err := io.CopyN(w, r, 2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	cancel(cause)
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, cause) {
		t.Errorf("read %d bytes: %v", n, err)
	}
	if n, err := w.Write([]byte("x")); n != 0 || !errors.Is(err, cause) || to.String() != "ab" {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
}
