// Command raftlab runs experiments on Raft and reports what they measured.
package main

import (
	"context"
	"os"

	"github.com/themilchenko/raftlab/bench/raftlab"
)

func main() {
	os.Exit(raftlab.Main(context.Background(), raftlab.Builtin(), os.Args[1:], os.Stdout, os.Stderr))
}
