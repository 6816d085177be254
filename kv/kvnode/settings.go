package kvnode

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/node"
)

// settings is what a node is made by, and how it logs, checked.
type settings struct {
	node.Config
	logLevel  slog.Level
	logFormat string
}

// settings checks what more than one value, or a plug-in, decides.
func (c *commandLine) settings() (settings, error) {
	s := settings{logFormat: c.logFormat, Config: node.Config{
		Data: c.data, ID: c.id, HTTPBind: c.haddr, RaftBind: c.raddr,
		HTTPAdvertise: c.advertiseHTTP, Join: c.join, Peers: c.peers, Nonvoter: c.nonvoter,
		RequestTimeout: c.requestTimeout,
	}}
	if err := s.logLevel.UnmarshalText([]byte(c.logLevel)); err != nil {
		return s, err
	}
	return s, errors.Join(c.checkAddresses(), c.chooseBackend(&s), c.chooseNetwork(&s), c.chooseEngine(&s), c.chooseGossip(&s))
}

func (c *commandLine) checkAddresses() error {
	host, _, err := splitAddress(c.haddr)
	if err != nil {
		return err
	}
	if isWildcard(host) && c.advertiseHTTP == "" {
		return fmt.Errorf("--haddr %s listens on every interface, which others cannot dial: give --advertise-http HOST:PORT too", c.haddr)
	}
	host, port, err := splitAddress(c.raddr)
	if err != nil {
		return err
	}
	if isWildcard(host) && c.id == "" {
		return fmt.Errorf("--raddr %s is the same on every machine, so it cannot be the node's ID: give --id too", c.raddr)
	}
	if port == 0 && c.id == "" {
		return fmt.Errorf("--raddr %s changes with every start, so it cannot be the node's ID: give --id too", c.raddr)
	}
	return nil
}

func (c *commandLine) chooseBackend(s *settings) error {
	name := c.backend
	if c.inmem && name != inmem.Name {
		switch byFlag, byName := c.rank("inmem"), c.rank("backend"); {
		case byFlag == byName:
			return fmt.Errorf("--inmem and --backend %s contradict each other: leave one out", name)
		case byFlag > byName:
			name = inmem.Name
		}
	}
	backend, err := c.catalogs.Backends.Lookup(name)
	if err != nil {
		return fmt.Errorf("--backend: %w", err)
	}
	if backend.Available != nil {
		if err := backend.Available(); err != nil {
			return fmt.Errorf("--backend %s: %w", name, err)
		}
	}
	options := c.backendOptions.plain()
	s.Backend = name
	s.OpenStore = func(dir string) (core.LogStore, error) { return backend.Open(dir, options) }
	return c.backendOptions.check(func(o core.Options) error {
		info, err := backend.Info(o)
		s.InMemory = info.Durability == core.DurableNothing
		return err
	})
}

func (c *commandLine) chooseNetwork(s *settings) error {
	t, err := c.catalogs.Transports.Lookup(c.transport)
	if err != nil {
		return fmt.Errorf("--transport: %w", err)
	}
	if info, err := t.Info(nil); err == nil && !info.Remote {
		return fmt.Errorf("--transport %s: it stays within one process, and a kvnode is one: choose a network, such as tcp", c.transport)
	}
	err = c.transportOptions.check(func(o core.Options) error {
		_, err := t.Info(o)
		return err
	})
	if err != nil {
		return err
	}
	s.Network, err = t.New(c.transportOptions.plain())
	return err
}

func (c *commandLine) chooseEngine(s *settings) (err error) {
	entry, err := c.catalogs.Engines.Lookup(c.engine)
	if err != nil {
		return fmt.Errorf("--engine: %w", err)
	}
	err = c.raftOptions.check(func(o core.Options) error {
		_, _, err := tune(entry, o)
		return err
	})
	if err != nil {
		return err
	}
	s.Tuning, s.Engine, err = tune(entry, c.raftOptions.plain())
	return err
}
