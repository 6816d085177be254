package plugins

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports"
)

// unixSockets is a network of Unix domain sockets: an address is a path. Its links have
// a wire, so the engine frames messages.
type unixSockets struct{}

func (unixSockets) Describe() core.NetworkInfo {
	return core.NetworkInfo{Name: "unix", Wire: true, Remote: true}
}

func (unixSockets) Listen(bind string) (core.Link, error) {
	if bind == "" {
		bind = filepath.Join(os.TempDir(), "raft-"+rand.Text()) // Close removes it
	}
	listener, err := net.Listen("unix", bind)
	if err != nil {
		return core.Link{}, fmt.Errorf("unix: listen on %s: %w", bind, err)
	}
	return core.Link{Wire: unixWire{listener}}, nil
}

// unixWire is one member's end.
type unixWire struct{ net.Listener }

func (unixWire) Dial(path raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("unix", string(path), timeout)
}

// unixEntry is the catalogue's entry.
func unixEntry() transports.Transport {
	return transports.Transport{
		Summary: "Unix domain sockets of one machine",
		Info: func(o core.Options) (core.NetworkInfo, error) {
			return unixSockets{}.Describe(), o.Read("unix").Err() // it has no options
		},
		New: func(o core.Options) (core.Network, error) {
			return unixSockets{}, o.Read("unix").Err()
		},
	}
}
