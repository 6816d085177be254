package kvnode

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
)

// TestReadingInterrupted: Ctrl-C ends what reads a folder as it ends any command.
func TestReadingInterrupted(t *testing.T) {
	data := seeded(t)
	for _, command := range []string{"inspect", "recover --dry-run", "dump"} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		known := cluster.Builtin()
		store, err := known.Backends.Lookup("wal")
		if err != nil {
			t.Fatal(err)
		}
		open := store.OpenBare
		store.OpenBare = func(dir string, o core.Options) (core.LogStore, error) {
			interrupt(errors.New("signal: interrupt"))
			return open(dir, o)
		}
		known.Backends = core.NewCatalog("backend", func(backends.Backend) error { return nil }, map[string]backends.Backend{"wal": store})
		var out bytes.Buffer
		if code := runWith(ctx, known, append(strings.Fields(command), data), &out); code != exitFailed || !strings.HasSuffix(out.String(), ": signal: interrupt\n") {
			t.Errorf("%s: exit code %d: %s", command, code, &out)
		}
	}
}
