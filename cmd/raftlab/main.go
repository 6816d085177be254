// Command raftlab runs experiments on Raft and reports what they measured.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/themilchenko/raftlab/backends/mdb"
)

func main() {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, "raftlab:", err)
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
