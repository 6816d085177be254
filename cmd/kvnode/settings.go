package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
)

// settings is all that a node is made by, checked.
type settings struct {
	data     string
	id       string // empty: what the data path holds, or else raddr
	haddr    string
	raddr    string
	httpAddr string // to advertise; empty: where haddr turns out to listen
	join     []string
	peers    peerList // where members may be, if they have moved
	nonvoter bool
	gossip   *gossipSettings // nil: the node is told where the others are

	backendName    string
	backend        backends.Backend
	backendOptions core.Options
	inMemory       bool // log and snapshots
	network        core.Network
	engine         core.Engine
	tuning         core.Tuning

	requestTimeout time.Duration
	logLevel       slog.Level
	logFormat      string
}

// settings checks what more than one value, or a plug-in, decides.
func (c *commandLine) settings() (settings, error) {
	s := settings{
		data: c.data, id: c.id, haddr: c.haddr, raddr: c.raddr,
		httpAddr: c.advertiseHTTP, join: c.join, peers: c.peers, nonvoter: c.nonvoter,
		requestTimeout: c.requestTimeout, logFormat: c.logFormat,
	}
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

func (c *commandLine) chooseBackend(s *settings) (err error) {
	name := c.backend
	if c.inmem && name != inmem.Name {
		switch byFlag, byName := c.rank("inmem"), c.rank("backend"); {
		case byFlag == byName:
			return fmt.Errorf("--inmem and --backend %s contradict each other: leave one out", name)
		case byFlag > byName:
			name = inmem.Name
		}
	}
	s.backendName = name
	s.inMemory = name == inmem.Name
	s.backendOptions = c.backendOptions.plain()
	if s.backend, err = c.catalogs.backends.Lookup(name); err != nil {
		return fmt.Errorf("--backend: %w", err)
	}
	if s.backend.Available != nil {
		if err := s.backend.Available(); err != nil {
			return fmt.Errorf("--backend %s: %w", name, err)
		}
	}
	return c.backendOptions.check(func(o core.Options) error {
		_, err := s.backend.Info(o)
		return err
	})
}

func (c *commandLine) chooseNetwork(s *settings) error {
	t, err := c.catalogs.transports.Lookup(c.transport)
	if err != nil {
		return fmt.Errorf("--transport: %w", err)
	}
	if !crossesProcesses(t) {
		return fmt.Errorf("--transport %s: it stays within one process, and a kvnode is one: choose a network, such as tcp", c.transport)
	}
	err = c.transportOptions.check(func(o core.Options) error {
		_, err := t.Info(o)
		return err
	})
	if err != nil {
		return err
	}
	s.network, err = t.New(c.transportOptions.plain())
	return err
}

func (c *commandLine) chooseEngine(s *settings) (err error) {
	entry, err := c.catalogs.engines.Lookup(c.engine)
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
	s.tuning, s.engine, err = tune(entry, c.raftOptions.plain())
	return err
}
