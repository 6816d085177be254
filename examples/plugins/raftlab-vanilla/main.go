// Command raftlab-vanilla is an engine as a program (docs/engine-programs.md): hashicorp/raft
// with the log store and the TCP transport that its documentation names, and the map of
// package kv. Nothing else of raftlab is in it, so it also tells what the library costs
// without what the engine hashicorp adds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/core"
)

const usage = `raftlab-vanilla describe [--settings FILE]
raftlab-vanilla --id n1 --raft H:P --resp H:P --data DIR --members n1=H:P,n2=H:P,n3=H:P [--resp-members n1=H:P,…] [--settings FILE]
docs/engine-programs.md says what it means.`

// errUsage is the kind of what is wrong with flags and settings.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	switch err := run(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Println(usage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "raftlab-vanilla:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) > 0 && args[0] == "describe" {
		o, err := parse(args[1:], true)
		if err != nil {
			return err
		}
		return describe(stdout, o.settings)
	}
	o, err := parse(args, false)
	if err != nil {
		return err
	}
	return serve(ctx, o)
}

// options are what a member is started with.
type options struct {
	id, raft, resp, data string
	members              []peer
	clients              map[string]string // where each member serves clients
	settings             settings
}

// peer is a member of the group.
type peer struct{ id, address string }

func parse(args []string, describing bool) (o options, err error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it all
	file := flags.String("settings", "", "")
	var members, clients string
	if !describing {
		flags.StringVar(&o.id, "id", "", "")
		flags.StringVar(&o.raft, "raft", "", "")
		flags.StringVar(&o.resp, "resp", "", "")
		flags.StringVar(&o.data, "data", "", "")
		flags.StringVar(&members, "members", "", "")
		flags.StringVar(&clients, "resp-members", "", "")
	}
	if err := flags.Parse(args); err != nil {
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%w: what is %q?", errUsage, flags.Arg(0))
	}
	if o.settings, err = readSettings(*file); err != nil || describing {
		return o, err
	}
	if o.id == "" || o.data == "" {
		return o, fmt.Errorf("%w: --id, --raft, --resp, --data and --members are needed; --help tells more", errUsage)
	}
	if err := errors.Join(checkAddress("--raft", o.raft), checkAddress("--resp", o.resp)); err != nil {
		return o, err
	}
	return o, o.group(members, clients)
}

// group takes in who the members are.
func (o *options) group(members, clients string) (err error) {
	if o.members, err = parsePeers("--members", members); err != nil {
		return err
	}
	o.clients = map[string]string{}
	if clients != "" {
		list, err := parsePeers("--resp-members", clients)
		if err != nil {
			return err
		}
		for _, p := range list {
			o.clients[p.id] = p.address
		}
	}
	if o.address(o.id) == "" {
		return fmt.Errorf("%w: --members does not have --id %s", errUsage, o.id)
	}
	return nil
}

// address returns where the member is reached by the others.
func (o *options) address(id string) string {
	for _, p := range o.members {
		if p.id == id {
			return p.address
		}
	}
	return ""
}

func parsePeers(name, text string) (list []peer, err error) {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		id, address, ok := strings.Cut(part, "=")
		if !ok || id == "" || seen[id] {
			return nil, fmt.Errorf("%w: %s %q: want n1=HOST:PORT,n2=HOST:PORT, each id once", errUsage, name, text)
		}
		if err := checkAddress(name, address); err != nil {
			return nil, err
		}
		seen[id] = true
		list = append(list, peer{id, address})
	}
	return list, nil
}

func checkAddress(name, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.ResolveTCPAddr("tcp", address)
	}
	if err != nil || host == "" {
		return fmt.Errorf("%w: %s %q is no HOST:PORT", errUsage, name, address)
	}
	return nil
}

type part struct {
	Name    string `json:"name"`
	Library string `json:"library"`
	Version string `json:"version"`
}

// describe prints what this program is.
func describe(to io.Writer, s settings) error {
	const library, store = "github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb/v2"
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	return out.Encode(map[string]any{
		"protocol":    1,
		"engine":      "vanilla",
		"library":     library,
		"version":     core.ModuleVersion(library),
		"language":    "Go " + strings.TrimPrefix(runtime.Version(), "go"),
		"storage":     part{"raft-boltdb", store, core.ModuleVersion(store)},
		"transport":   part{"TCP of hashicorp/raft", library, core.ModuleVersion(library)},
		"durability":  core.DurableDisk,
		"read_levels": []string{linearizable, stale},
		"reads":       "log entry",
		"ours":        "reads, state machine, server",
		"features":    []string{"transfer", "snapshot", "links"},
		"settings":    documented(),
		"runs":        s.runs(),
	})
}

// serve runs a member until ctx ends or it cannot go on.
func serve(ctx context.Context, o options) error {
	listener, err := net.Listen("tcp", o.resp)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	defer listener.Close()
	m, err := start(o)
	if err != nil {
		return fmt.Errorf("member %s: %w", o.id, err)
	}
	s := newServer(m, listener)
	select {
	case err := <-m.failed: // what is written now is not known: end, as a crash would
		return fmt.Errorf("member %s: %w", o.id, err)
	case <-ctx.Done():
	}
	stopped := make(chan error, 1)
	go func() {
		s.close() // answers what has come
		stopped <- m.close()
	}()
	select {
	case err := <-stopped:
		return err
	case err := <-m.failed:
		return fmt.Errorf("member %s: %w", o.id, err)
	case <-time.After(9 * time.Second):
		return errors.New("the member does not stop: its disk hangs?")
	}
}
