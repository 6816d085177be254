package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// member is a replica of the map.
type member struct {
	options
	group     string
	state     *kv.Store
	raft      *raft.Raft
	transport *raft.NetworkTransport
	store     failStop
	failed    chan error // what the log store could not do
}

// start makes the member of what is in its folder, or founds the group.
func start(o options) (*member, error) {
	config := o.settings.config(o.id)
	config.Logger = hclog.New(&hclog.LoggerOptions{Name: o.id, Output: os.Stderr, Level: hclog.Info})
	if err := raft.ValidateConfig(config); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return nil, err
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(o.data, "raft.db"),
		BoltOptions: &bbolt.Options{Timeout: time.Second}, // for the lock of another process on it
	})
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	m := &member{options: o, state: kv.New(), failed: make(chan error, 1)}
	m.store = failStop{bolt, m.failed}
	if err := m.run(config); err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return m, nil
}

// run follows the library's documentation.
func (m *member) run(config *raft.Config) error {
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(m.data, 2, config.Logger)
	if err != nil {
		return err
	}
	logs, err := raft.NewLogCache(512, m.store)
	if err != nil {
		return err
	}
	if err := errors.Join(syncFolder(m.data), syncFolder(filepath.Dir(filepath.Clean(m.data)))); err != nil {
		return err
	}
	self, err := net.ResolveTCPAddr("tcp", m.address(m.id))
	if err != nil {
		return err
	}
	m.transport, err = raft.NewTCPTransportWithConfig(m.options.raft, self, &raft.NetworkTransportConfig{
		MaxPool: 3, MaxRPCsInFlight: int(m.settings.number("max_in_flight")), Timeout: 10 * time.Second, Logger: config.Logger,
	})
	if err != nil {
		return err
	}
	if err := m.found(config, logs, snapshots); err != nil {
		return errors.Join(err, m.transport.Close())
	}
	m.raft, err = raft.NewRaft(config, machine{m.state}, logs, m.store, snapshots, m.transport)
	if err != nil {
		return errors.Join(err, m.transport.Close())
	}
	return nil
}

// found writes the first configuration, the same on each member, where there is nothing yet.
func (m *member) found(config *raft.Config, logs raft.LogStore, snapshots raft.SnapshotStore) error {
	const groupKey = "raftlab-vanilla group"
	stored, err := m.store.Get([]byte(groupKey))
	if err == nil {
		m.group = string(stored)
	} else if !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return fmt.Errorf("read the group: %w", err)
	}
	known, err := raft.HasExistingState(logs, m.store, snapshots)
	switch {
	case err != nil:
		return err
	case known && m.group == "":
		return fmt.Errorf("%s has the log of something else", m.data)
	case known:
		return nil
	}
	m.group = groupOf(m.members)
	if err := m.store.Set([]byte(groupKey), []byte(m.group)); err != nil {
		return err
	}
	var first raft.Configuration
	for _, p := range m.members {
		first.Servers = append(first.Servers, raft.Server{ID: raft.ServerID(p.id), Address: raft.ServerAddress(p.address)})
	}
	return raft.BootstrapCluster(config, logs, m.store, snapshots, m.transport, first)
}

// groupOf is the same on all members, which are given the same list.
func groupOf(members []peer) string {
	h := sha256.New()
	for _, p := range slices.SortedFunc(slices.Values(members), func(a, b peer) int { return cmp.Compare(a.id, b.id) }) {
		fmt.Fprintf(h, "%s=%s\n", p.id, p.address)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (m *member) close() error {
	return errors.Join(m.raft.Shutdown().Error(), m.transport.Close(), m.store.Close())
}

// transfer has another member lead: the one called id, or any.
func (m *member) transfer(id string, by time.Time) error {
	future := m.raft.LeadershipTransfer
	if id != "" {
		future = func() raft.Future {
			return m.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(m.address(id)))
		}
	}
	if err := future().Error(); err != nil {
		return err
	}
	for time.Now().Before(by) {
		if _, leader := m.raft.LeaderWithID(); leader != "" && string(leader) != m.id {
			return nil
		}
		time.Sleep(5 * time.Millisecond) // the library tells nobody
	}
	return errors.New("no other member leads")
}

// failStop is a log store that the member does not outlive: after a write that failed
// nobody knows what is on disk, and the library would go on.
type failStop struct {
	*raftboltdb.BoltStore
	failed chan<- error
}

func (s failStop) check(operation string, err error) error {
	if err == nil {
		return nil
	}
	select {
	case s.failed <- fmt.Errorf("%s: %w", operation, err):
	default: // it ends already
	}
	select {} // nobody is told anything any more; main ends the process
}

// StoreLog implements raft.LogStore.
func (s failStop) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (s failStop) StoreLogs(entries []*raft.Log) error {
	return s.check("write to the log", s.BoltStore.StoreLogs(entries))
}

// DeleteRange implements raft.LogStore.
func (s failStop) DeleteRange(low, high uint64) error {
	return s.check("cut the log", s.BoltStore.DeleteRange(low, high))
}

// Set implements raft.StableStore.
func (s failStop) Set(key, value []byte) error {
	return s.check("write a vote", s.BoltStore.Set(key, value))
}

// SetUint64 implements raft.StableStore.
func (s failStop) SetUint64(key []byte, value uint64) error {
	return s.check("write a term", s.BoltStore.SetUint64(key, value))
}

// machine is the map as the library's state machine.
type machine struct{ state *kv.Store }

// Apply implements raft.FSM.
func (m machine) Apply(entry *raft.Log) any { return m.state.Apply(entry.Index, entry.Data) }

// Restore implements raft.FSM.
func (m machine) Restore(from io.ReadCloser) error {
	return errors.Join(m.state.Restore(from), from.Close())
}

// Snapshot implements raft.FSM.
func (m machine) Snapshot() (raft.FSMSnapshot, error) {
	s, err := m.state.Snapshot()
	return captured{s}, err
}

type captured struct{ core.Snapshot }

// Persist implements raft.FSMSnapshot.
func (c captured) Persist(to raft.SnapshotSink) error {
	if _, err := c.WriteTo(to); err != nil {
		return errors.Join(err, to.Cancel())
	}
	return to.Close()
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
