// Command kvnode is a node of the key-value store with the plug-ins of this module.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/kv/kvnode"

	"github.com/themilchenko/raftlab/examples/plugins"
)

func main() {
	known := cluster.Builtin()
	if err := plugins.Register(known); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(kvnode.Main(context.Background(), known, os.Args[1:], os.Stdout, os.Stderr))
}
