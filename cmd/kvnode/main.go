// Command kvnode is one node of the replicated key-value store, with the plug-ins that
// come with raftlab: see package kvnode.
package main

import (
	"context"
	"os"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/kv/kvnode"
)

func main() {
	os.Exit(kvnode.Main(context.Background(), cluster.Builtin(), os.Args[1:], os.Stdout, os.Stderr))
}
