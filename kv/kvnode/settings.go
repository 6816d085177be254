package kvnode

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/node"
)

// settings is what a node is made by, and how it logs, checked.
type settings struct {
	node.Config
	store     core.StoreInfo
	network   core.NetworkInfo
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
	err = c.backendOptions.check(func(o core.Options) (err error) {
		s.store, err = backend.Info(o)
		return err
	})
	s.InMemory = s.store.Durability == core.DurableNothing
	return err
}

func (c *commandLine) chooseNetwork(s *settings) error {
	t, err := c.catalogs.Transports.Lookup(c.transport)
	if err != nil {
		return fmt.Errorf("--transport: %w", err)
	}
	if info, err := t.Info(nil); err == nil && !info.Remote {
		return fmt.Errorf("--transport %s: it stays within one process, and a kvnode is one: choose a network, such as tcp", c.transport)
	}
	err = c.transportOptions.check(func(o core.Options) (err error) {
		s.network, err = t.Info(o)
		return err
	})
	if err != nil {
		return err
	}
	s.Network, err = t.New(c.transportOptions.plain())
	return err
}

func (c *commandLine) chooseEngine(s *settings) (err error) {
	if s.Engine, err = c.catalogs.Engines.Lookup(c.engine); err != nil {
		return fmt.Errorf("--engine: %w", err)
	}
	err = c.raftOptions.check(func(o core.Options) error {
		_, err := tuning(o)
		return err
	})
	if err != nil {
		return err
	}
	s.Tuning, err = tuning(c.raftOptions.plain())
	return err
}

// parts says what a node with these settings runs.
func (s *settings) parts() api.Parts {
	return api.Parts{
		Engine:     api.Part(s.Engine.Describe()),
		Backend:    api.Part{Name: s.store.Name, Library: s.store.Library, Version: s.store.Version},
		Transport:  api.Part{Name: s.network.Name, Library: s.network.Library, Version: s.network.Version},
		Durability: string(s.store.Durability),
		Wire:       s.network.Wire,
	}
}
