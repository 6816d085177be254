// Package ctxio has reading and writing end with a context, with its cause. It looks at the
// context before each call, and interrupts none.
package ctxio

import (
	"context"
	"io"
)

// Reader returns what reads from until ctx ends.
func Reader(ctx context.Context, from io.Reader) io.Reader { return reader{ctx, from} }

type reader struct {
	ctx  context.Context
	from io.Reader
}

// Read implements io.Reader.
func (r reader) Read(b []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.from.Read(b)
}

// Writer returns what writes to until ctx ends.
func Writer(ctx context.Context, to io.Writer) io.Writer { return writer{ctx, to} }

type writer struct {
	ctx context.Context
	to  io.Writer
}

// Write implements io.Writer.
func (w writer) Write(b []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	return w.to.Write(b)
}
