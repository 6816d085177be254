package kvnode

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/internal/hostport"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/node"
)

// Where kvnode differs from the engine's defaults. A short tail keeps the log
// small and lets a member that comes late begin with a snapshot.
const (
	defaultSnapshotThreshold = 8192
	// As many as that many clients that wait have under way. More would cost memory: the
	// library reads so many entries for a follower that lags before it is known that they
	// do not fit into one message.
	defaultMaxAppendEntries = 256
	trailingLogs            = "trailing_logs"
	defaultTrailingLogs     = 1024
	// What one connection has under way goes into one write of the log, not one by one.
	batchApply = "batch_apply"
)

// tuning is what kvnode takes where nothing is said. Memory is not worth being written to
// while the followers are.
func tuning(durability core.Durability) core.Tuning {
	t := core.Tuning{SnapshotThreshold: defaultSnapshotThreshold, MaxAppendEntries: defaultMaxAppendEntries, Persistence: core.Serial}
	if durability == core.DurableDisk {
		t.Persistence = core.Overlapped
	}
	return t
}

// settings is what a node is made by, and how it logs, checked.
type settings struct {
	node.Config
	store     core.StoreInfo
	network   core.NetworkInfo
	described map[string]string // the settings of Raft and of the engine, defaults included
	log       logSettings
}

// logSettings is how a node logs.
type logSettings struct {
	level    slog.Level
	format   string
	path     string // empty: to standard error
	maxBytes int64  // of one file
	keep     int    // files beside it
}

// settings checks what more than one value, or a plug-in, decides.
func (c *commandLine) settings() (settings, error) {
	s := settings{log: logSettings{format: c.LogFormat, path: c.LogFile, maxBytes: int64(c.LogMaxSize), keep: c.LogKeep}, Config: node.Config{
		Data: c.Data, ID: c.ID, HTTPBind: c.HTTPBind, RaftBind: c.RaftBind,
		RESPBind: c.RESPBind, RESPAdvertise: c.RESPAdvertise, HTTPAdvertise: c.HTTPAdvertise, Join: c.Join, Peers: c.Peers, Nonvoter: c.Nonvoter,
		RequestTimeout: c.RequestTimeout, Trace: c.Trace,
	}}
	if err := s.log.level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return s, err
	}
	return s, errors.Join(c.checkAddresses(), c.checkLog(), c.chooseProfile(&s), c.chooseBackend(&s), c.chooseEngine(&s), c.chooseNetwork(&s), c.chooseGossip(&s))
}

func (c *commandLine) checkAddresses() error {
	host, _, err := hostport.Split(c.HTTPBind)
	if err != nil {
		return err
	}
	if hostport.Everywhere(host) && c.HTTPAdvertise == "" {
		return fmt.Errorf("--haddr %s listens on every interface, which others cannot dial: give --advertise-http HOST:PORT too", c.HTTPBind)
	}
	if err := c.checkRESP(); err != nil {
		return err
	}
	host, port, err := hostport.Split(c.RaftBind)
	if err != nil {
		return err
	}
	if hostport.Everywhere(host) && c.ID == "" {
		return fmt.Errorf("--raddr %s is the same on every machine, so it cannot be the node's ID: give --id too", c.RaftBind)
	}
	if port == 0 && c.ID == "" {
		return fmt.Errorf("--raddr %s changes with every start, so it cannot be the node's ID: give --id too", c.RaftBind)
	}
	return nil
}

// checkRESP checks what is said of the Redis protocol.
func (c *commandLine) checkRESP() error {
	if c.RESPBind == "" {
		if c.RESPAdvertise != "" {
			return errors.New("--resp-advertise: means nothing without the Redis protocol: give --resp HOST:PORT too")
		}
		return nil
	}
	host, _, err := hostport.Split(c.RESPBind)
	if err == nil && hostport.Everywhere(host) && c.RESPAdvertise == "" {
		return fmt.Errorf("--resp %s listens on every interface, which others cannot dial: give --resp-advertise HOST:PORT too", c.RESPBind)
	}
	return err
}

// checkLog refuses what means nothing without a log file.
func (c *commandLine) checkLog() error {
	for _, key := range []string{"log-max-size", "log-keep"} {
		if c.LogFile == "" && c.rank(key) > 0 {
			return fmt.Errorf("--%s: means nothing for standard error: give --log-file FILE too", key)
		}
	}
	return nil
}

// chooseProfile also takes the name that the profile had when it was of gossip only.
func (c *commandLine) chooseProfile(s *settings) error {
	name := c.Profile
	if old := c.GossipProfile; old != "" && old != name {
		if c.rank("profile") > 0 {
			return fmt.Errorf("--profile %s and --gossip-profile %s contradict each other: leave the second out, it is the old name of the first", name, old)
		}
		name = old
	}
	s.Profile, _ = node.ProfileOf(name) // the flag takes no other name
	return nil
}

func (c *commandLine) chooseBackend(s *settings) error {
	name := c.Backend
	if c.InMemory && name != inmem.Name {
		switch byFlag, byName := c.rank("inmem"), c.rank("backend"); {
		case byFlag == byName:
			return fmt.Errorf("--inmem and --backend %s contradict each other: leave one out", name)
		case byFlag > byName:
			name = inmem.Name
		}
	}
	var kept string
	if c.rank("backend") == 0 && name != inmem.Name {
		kept = node.KeptIn(c.Data)
		name = cmp.Or(kept, name)
	}
	backend, err := c.catalogs.Backends.Lookup(name)
	switch {
	case err != nil && kept != "":
		return fmt.Errorf("%s holds the data of a node that was run with --backend %s, which this program does not have: start it with the program that has it, or give an empty folder: %w", c.Data, kept, err)
	case err != nil:
		return fmt.Errorf("--backend: %w", err)
	}
	if backend.Available != nil {
		if err := backend.Available(); err != nil {
			return fmt.Errorf("--backend %s: %w", name, err)
		}
	}
	options := c.BackendOptions.plain()
	s.Backend = name
	s.OpenStore = func(dir string) (core.LogStore, error) { return backend.Open(dir, options) }
	err = c.BackendOptions.check("--backend-option", func(o core.Options) (err error) {
		s.store, err = backend.Info(o)
		return err
	})
	s.InMemory = s.store.Durability == core.DurableNothing
	return err
}

func (c *commandLine) chooseNetwork(s *settings) error {
	t, err := c.catalogs.Transports.Lookup(c.Transport)
	if err != nil {
		return fmt.Errorf("--transport: %w", err)
	}
	err = c.TransportOptions.check("--transport-option", func(o core.Options) (err error) {
		s.network, err = t.Info(o)
		return err
	})
	if err != nil {
		return err
	}
	if entry, err := c.catalogs.Engines.Lookup(c.Engine); err == nil { // otherwise chooseEngine tells
		if err := entry.Takes(c.Engine, s.network); err != nil {
			return fmt.Errorf("--transport: %w", err)
		}
	}
	s.Network, err = t.New(t.Tuned(c.TransportOptions.plain(), s.Tuning.MaxInFlight))
	return err
}

// chooseEngine also takes options of the engine that stand among the settings of Raft,
// where they once belonged. 0 means the default.
func (c *commandLine) chooseEngine(s *settings) error {
	entry, err := c.catalogs.Engines.Lookup(c.Engine)
	if err != nil {
		return fmt.Errorf("--engine: %w", err)
	}
	own := c.engineOptions(c.Engine)
	c.EngineOptions.take(c.RaftOptions, "--raft-option", own)
	err = errors.Join(
		c.RaftOptions.check("--raft-option", func(o core.Options) error {
			var given core.Tuning
			err := conf.FromMap(&given, o, "raft", own...)
			s.Tuning = s.Profile.Tuned(given.Over(tuning(s.store.Durability)))
			return err
		}),
		c.EngineOptions.check("--engine-option", func(o core.Options) error {
			_, err := entry.New(o)
			return err
		}))
	if err != nil {
		return err
	}
	options := c.EngineOptions.plain()
	if n, set := options[trailingLogs]; (!set || n == int64(0)) && slices.Contains(own, trailingLogs) {
		options[trailingLogs] = defaultTrailingLogs
	}
	if _, set := options[batchApply]; !set && slices.Contains(own, batchApply) {
		options[batchApply] = true
	}
	s.described = entry.Settings(c.Engine, s.Tuning, options)
	s.Engine, err = entry.New(options)
	return err
}

// chooseGossip checks what is said about gossip as a whole.
func (c *commandLine) chooseGossip(s *settings) error {
	if c.Bind == "" {
		return c.noGossip()
	}
	s.Gossip = &node.Gossip{
		Bind: c.Bind, Advertise: c.Advertise, Join: c.GossipJoin, Expect: c.Expect, Cluster: c.Cluster,
		KeyFile: c.KeyFile, RemoveFailedAfter: c.RemoveFailedAfter, LeaveOnStop: c.LeaveOnStop,
	}
	switch {
	case len(c.Join) > 0:
		return errors.New("--join and --gossip contradict each other: with gossip a node does not ask to be added, " +
			"the leader adds whom it hears of. Give --gossip-join HOST:PORT, a gossip address, in place of --join")
	case len(c.Peers) > 0:
		return errors.New("--peers and --gossip contradict each other: gossip finds members that have moved by itself; leave --peers out")
	case c.Nonvoter && c.Expect > 0:
		return errors.New("--nonvoter and --bootstrap-expect contradict each other: who founds a group needs its vote")
	case c.KeyFile == "":
		return nil
	}
	if _, err := gossip.ReadKeys(c.KeyFile); err != nil {
		return fmt.Errorf("--gossip-key: %w", err)
	}
	return nil
}

// noGossip refuses flags that mean nothing without --gossip.
func (c *commandLine) noGossip() error {
	var idle []string
	for _, key := range conf.SchemaOf(gossipGiven{}).Keys() {
		if c.rank(key) > 0 {
			idle = append(idle, "--"+key)
		}
	}
	if len(idle) == 0 {
		return nil
	}
	return fmt.Errorf("%s: means nothing without gossip: give --gossip HOST:PORT too", strings.Join(idle, ", "))
}

// parts says what a node with these settings runs.
func (s *settings) parts() api.Parts {
	return api.Parts{
		Engine:     api.Part(s.Engine.Describe()),
		Backend:    api.Part{Name: s.store.Name, Library: s.store.Library, Version: s.store.Version},
		Transport:  api.Part{Name: s.network.Name, Library: s.network.Library, Version: s.network.Version},
		Durability: string(s.store.Durability),
		Wire:       s.network.Wire,
		Settings:   s.described,
	}
}
