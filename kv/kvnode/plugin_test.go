package kvnode

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
)

// mystore is the backend of somebody else.
func mystore() backends.Backend {
	return backends.Backend{
		Summary: "a log store of my own",
		Info: func(o core.Options) (core.StoreInfo, error) {
			return bolt.Info(bolt.Options{}), o.Read("mystore").Err()
		},
		OpenBare: func(dir string, _ core.Options) (core.LogStore, error) {
			return bolt.Open(dir, bolt.Options{})
		},
	}
}

// This is the main of a kvnode with a log store that raftlab does not have: with
// --backend mystore it runs on it, and clusterctl, raftlab and the scripts that start
// kvnode start it as any other.
func ExampleMain() {
	known := cluster.Builtin()
	if err := known.Backends.Register("mystore", mystore()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(Main(context.Background(), known, os.Args[1:], os.Stdout, os.Stderr))
}

// TestOwnBackend: a log store that somebody registers is named in the help, runs a node,
// and its folder is no other store's.
func TestOwnBackend(t *testing.T) {
	known := cluster.Builtin()
	if err := known.Backends.Register("mystore", mystore()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	log := &trigger{text: "leader is node1", fire: cancel}
	args := []string{"--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", dir}
	if code := runWith(ctx, known, append(args, "--backend", "mystore"), log); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, log.String())
	}
	if text, err := os.ReadFile(filepath.Join(dir, "node.json")); err != nil || !strings.Contains(string(text), `"backend": "mystore"`) {
		t.Errorf("%s %v", text, err)
	}
	var out bytes.Buffer
	if code := runHere(t.Context(), args, &out); code != exitUsage || !strings.Contains(out.String(), "--backend mystore") {
		t.Errorf("without it: exit code %d\n%s", code, out.String())
	}
	out.Reset()
	if code := runWith(t.Context(), known, append(args, "--backend", "mystor"), &out); code != exitUsage || !strings.Contains(out.String(), "mystore") {
		t.Errorf("misspelt: exit code %d\n%s", code, out.String())
	}
}
