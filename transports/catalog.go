// Package transports is the table of networks: which names an experiment or a
// node may ask for and how each is made. It holds no network itself and never
// makes one on its own account.
package transports

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// Transport is one entry of the catalogue.
type Transport struct {
	// Summary says in a line what it is.
	Summary string
	// Options are the keys that New understands.
	Options []string
	// Info checks the options and describes the network that New would make of
	// them, without making one.
	Info func(core.Options) (core.NetworkInfo, error)
	// New makes a network. An option that is unknown or has a wrong value is an
	// error that is core.ErrInvalid.
	New func(core.Options) (core.Network, error)
}

// Tuned returns the options with the engine's limit of requests in flight, for a
// transport that makes pipelines itself and was not given one: the engine knows only
// those that it frames, and two transports must not be compared at different depths.
func (t Transport) Tuned(o core.Options, maxInFlight int) core.Options {
	const key = "max_in_flight"
	if maxInFlight == 0 || o[key] != nil || !slices.Contains(t.Options, key) {
		return o
	}
	tuned := core.Options{key: maxInFlight}
	maps.Copy(tuned, o)
	return tuned
}

// Catalog maps names to transports.
type Catalog = core.Catalog[Transport]

// Builtin returns a new catalogue of the transports that come with raftlab.
func Builtin() *Catalog {
	return core.NewCatalog("transport", check, map[string]Transport{
		inmem.Name: {
			Summary: "memory of the process; the base line, nothing is encoded",
			Options: []string{"max_in_flight", "timeout"},
			Info: func(o core.Options) (core.NetworkInfo, error) {
				_, err := inmemOptions(o)
				return inmem.Info(), err
			},
			New: func(o core.Options) (core.Network, error) {
				opts, err := inmemOptions(o)
				if err != nil {
					return nil, err
				}
				return inmem.New(opts), nil
			},
		},
		tcp.Name: {
			Summary: "TCP, without encryption",
			Options: []string{"advertise", "no_delay", "keep_alive"},
			Info: func(o core.Options) (core.NetworkInfo, error) {
				_, err := tcpOptions(o)
				return tcp.Info(), err
			},
			New: func(o core.Options) (core.Network, error) {
				opts, err := tcpOptions(o)
				if err != nil {
					return nil, err
				}
				return tcp.New(opts), nil
			},
		},
	})
}

func check(t Transport) error {
	if t.Info == nil || t.New == nil {
		return errors.New("it needs Info and New")
	}
	return nil
}

func inmemOptions(o core.Options) (inmem.Options, error) {
	r := o.Read(inmem.Name)
	opts := inmem.Options{
		MaxInFlight: r.Int("max_in_flight", inmem.DefaultMaxInFlight),
		Timeout:     r.Duration("timeout", inmem.DefaultTimeout),
	}
	return opts, errors.Join(r.Err(),
		positive(inmem.Name, "max_in_flight", opts.MaxInFlight),
		positive(inmem.Name, "timeout", opts.Timeout))
}

func tcpOptions(o core.Options) (tcp.Options, error) {
	r := o.Read(tcp.Name)
	opts := tcp.Options{
		Advertise: r.String("advertise", ""),
		Nagle:     !r.Bool("no_delay", true),
		KeepAlive: r.Duration("keep_alive", 0),
	}
	return opts, r.Err()
}

func positive[N int | time.Duration](owner, key string, value N) error {
	if value > 0 {
		return nil
	}
	return fmt.Errorf("%w: options.%s.%s = %v: want more than 0", core.ErrInvalid, owner, key, value)
}
