// Command raftlab-peers is raftlab with one more system under test: the official etcd.
// It also is the program of etcd's members, which it starts from itself.
package main

import (
	"context"
	"os"

	"github.com/themilchenko/raftlab/bench/raftlab"
	"github.com/themilchenko/raftlab/bench/system"

	"github.com/themilchenko/raftlab/peers/etcd"
)

func main() {
	if etcd.IsMember(os.Args) {
		etcd.RunMember(os.Args)
		return
	}
	lab := raftlab.Builtin()
	lab.Program = "raftlab-peers"
	builtin := lab.Systems
	lab.Systems = func(kvnode string) system.Catalog { return builtin(kvnode).With(etcd.New()) }
	os.Exit(raftlab.Main(context.Background(), lab, os.Args[1:], os.Stdout, os.Stderr))
}
