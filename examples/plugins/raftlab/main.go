// Command raftlab measures the plug-ins of this module beside those of raftlab.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/themilchenko/raftlab/bench/raftlab"

	"github.com/themilchenko/raftlab/examples/plugins"
)

func main() {
	lab := raftlab.Builtin()
	if err := plugins.Register(lab.Parts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(raftlab.Main(context.Background(), lab, os.Args[1:], os.Stdout, os.Stderr))
}
