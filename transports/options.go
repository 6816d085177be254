package transports

import (
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

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
