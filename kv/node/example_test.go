package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv/client"
	"github.com/themilchenko/raftlab/kv/node"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// A node in this process, which founds a group of its own and serves HTTP on a free port.
func ExampleStart() {
	if err := demonstrate(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: hello
}

func demonstrate(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n, err := node.Start(ctx, node.Config{
		Data: dir, ID: "node1", HTTPBind: "127.0.0.1:0", RaftBind: "127.0.0.1:0",
		Backend: inmem.Name, InMemory: true,
		OpenStore: func(string) (core.LogStore, error) { return inmem.New(), nil },
		Network:   tcp.New(tcp.Options{}),
		Engine:    hashicorp.Engine{},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer n.Stop()
	group, err := client.New([]string{n.HTTPAddress()}, client.Options{})
	if err != nil {
		return err
	}
	defer group.Close()
	if _, err := group.Set(ctx, "greeting", []byte("hello")); err != nil {
		return err
	}
	value, err := group.Get(ctx, "greeting", client.Linearizable)
	fmt.Printf("%s\n", value.Data)
	return err
}
