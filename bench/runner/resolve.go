package runner

import (
	"errors"
	"fmt"
	"slices"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/transports"
)

// When a client's write returns, for every engine there is: the contract of
// core.Replica.Propose, and what the way to the client adds.
const (
	acknowledgedByCall = "committed by a majority, applied on the leader"
	acknowledgedByHTTP = acknowledgedByCall + ", answered over HTTP"
)

// parts are the plug-ins of one cell, looked up.
type parts struct {
	info      record.CellInfo
	engine    core.Engine
	backend   backends.Backend
	transport transports.Transport
	defaults  engines.Entry // of the engine
	engOpts   core.Options  // of the engine
	options   core.Options  // of the backend
	netOpts   core.Options  // of the transport
}

// resolve looks up the parts of all cells and checks their options. All that is
// wrong comes in one error.
func resolve(cells []experiment.Cell, c Catalogs) ([]parts, error) {
	var resolved []parts
	var errs []error
	said := map[string]bool{} // cells share parts: say each thing once
	for _, cell := range cells {
		p, err := resolveCell(cell, c)
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			errs = append(errs, err)
		}
		resolved = append(resolved, p)
	}
	return resolved, errors.Join(errs...)
}

func resolveCell(cell experiment.Cell, c Catalogs) (parts, error) {
	var p parts
	var err error
	if p.defaults, err = c.Engines.Lookup(cell.Cluster.Engine); err != nil {
		return p, err
	}
	p.engOpts = cell.Options.Of(experiment.KindEngine, cell.Cluster.Engine, p.defaults.Schema().Keys())
	if p.engine, err = p.defaults.New(p.engOpts); err != nil {
		return p, err
	}
	if p.backend, err = c.Backends.Lookup(cell.Cluster.Backend); err != nil {
		return p, err
	}
	if p.backend.Available != nil {
		if err := p.backend.Available(); err != nil {
			return p, err
		}
	}
	p.options = cell.Options.Of(experiment.KindBackend, cell.Cluster.Backend, p.backend.Options)
	if p.transport, err = c.Transports.Lookup(cell.Cluster.Transport); err != nil {
		return p, err
	}
	p.netOpts = cell.Options.Of(experiment.KindTransport, cell.Cluster.Transport, p.transport.Options)
	p.setInFlight(cell.Raft.MaxInFlight)
	store, err := p.backend.Info(p.options)
	if err != nil {
		return p, err
	}
	network, err := p.transport.Info(p.netOpts)
	if err != nil {
		return p, err
	}
	if cell.Cluster.Mode == experiment.ModeProcess && !network.Remote {
		return p, fmt.Errorf("transport %q cannot connect processes: with mode = %q use one that does, such as \"tcp\"",
			cell.Cluster.Transport, experiment.ModeProcess)
	}
	p.info = cellInfo(cell, p.engine.Describe(), store, network)
	return p, nil
}

// setInFlight gives a transport that makes pipelines itself the experiment's
// raft.max_in_flight, which the engine knows only for those that it frames: two
// transports must not be compared at different depths.
func (p *parts) setInFlight(n int) {
	const key = "max_in_flight"
	if n == 0 || !slices.Contains(p.transport.Options, key) {
		return
	}
	if _, set := p.netOpts[key]; !set {
		p.netOpts[key] = n
	}
}

func cellInfo(cell experiment.Cell, e core.EngineInfo, s core.StoreInfo, n core.NetworkInfo) record.CellInfo {
	info := record.CellInfo{
		Cell:            cell,
		Engine:          record.Part(e),
		Backend:         record.Part{Name: s.Name, Library: s.Library, Version: s.Version},
		Transport:       record.Part{Name: n.Name, Library: n.Library, Version: n.Version},
		Durability:      string(s.Durability),
		Acknowledgement: acknowledgedByCall,
		Wire:            n.Wire,
	}
	if cell.Cluster.Mode == experiment.ModeProcess {
		info.Acknowledgement = acknowledgedByHTTP
	}
	if cell.Load.ReadRatio > 0 {
		info.ReadLevel = cell.Load.ReadLevel
	}
	return info
}

// modules lists the libraries behind the cells' parts with their versions.
func modules(cells []parts) map[string]string {
	m := map[string]string{}
	for _, p := range cells {
		for _, part := range []record.Part{p.info.Engine, p.info.Backend, p.info.Transport} {
			if part.Library != "" {
				m[part.Library] = part.Version
			}
		}
	}
	return m
}
