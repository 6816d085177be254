package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// Beginning is the map that a new group begins with.
type Beginning struct {
	Index uint64      // of the last entry that the map has applied
	Term  uint64      // of that entry, or a later one; 0: not known
	Image io.WriterTo // writes the map once, as kv.Image does
}

// Seed makes, in a folder that holds no data yet, what the first member of a new group
// begins with. Start with the same cfg goes on from there. It returns the group's id. The
// map is written as it comes, and never held in memory.
//
// Whenever it is ended by a crash, the folder has the whole state or none, once it was
// opened again; so it is where ctx ends. A core.ErrInvalid says what of cfg or the folder does
// not fit.
func Seed(ctx context.Context, cfg Config, with Beginning) (group string, err error) {
	return seed(ctx, cfg, with, nil)
}

func seed(ctx context.Context, cfg Config, with Beginning, step steps) (group string, err error) {
	engine, ok := cfg.Engine.(core.Offline)
	switch {
	case !ok:
		return "", fmt.Errorf("%w: engine %s cannot begin with a state", core.ErrUnsupported, cfg.Engine.Describe().Name)
	case cfg.InMemory:
		return "", fmt.Errorf("%w: store %s keeps nothing: a new group would begin with nothing", core.ErrInvalid, cfg.Backend)
	}
	n := &Node{cfg: cfg}
	if n.dir, err = openDataDir(cfg.Data); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, n.dir.Close()) }()
	if err := n.mayBeSeeded(); err != nil {
		return "", err
	}
	link, err := cfg.Network.Listen(cfg.RaftBind) // it knows what others are to dial
	if err != nil {
		return "", fmt.Errorf("--raddr %s: %w", cfg.RaftBind, err)
	}
	if n.id = cfg.ID; n.id == "" {
		n.id = cfg.RaftBind
	}
	n.raft = link.Address()
	me := core.Member{ID: n.id, Incarnation: core.NewIncarnation(), Address: n.raft, Voter: true}
	if err := errors.Join(link.Close(), n.checkName(ctx)); err != nil {
		return "", err
	}
	group = core.GroupID([]core.Member{me})
	begin := identity{ID: n.id, Backend: cfg.Backend, Engine: cfg.Engine.Describe().Name, Created: time.Now().UTC(), Gossip: cfg.Gossip != nil}
	begin.Discard = statePrefix + group // as long as it is not whole
	if err := n.dir.claimAt(step, "note the state", begin); err != nil {
		return "", err
	}
	b := foundation{path: filepath.Join(n.dir.path, begin.Discard), engine: engine, open: cfg.OpenStore, step: step}
	f := core.Founding{ID: n.id, Members: []core.Member{me}, Index: max(with.Index, 1), Term: max(with.Term, 1), State: with.Image}
	err = b.lay(ctx, f)
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return "", errors.Join(err, n.dir.settle(step))
	}
	begin.State, begin.Discard, begin.Incarnation = begin.Discard, "", me.Incarnation
	if err := n.dir.claimAt(step, "switch over", begin); err != nil {
		return "", err
	}
	return group, n.dir.remember(map[string]string{})
}

// mayBeSeeded refuses a folder with data. One that was given an identity has none as long
// as it has no log, such as after a Seed that was ended.
func (n *Node) mayBeSeeded() error {
	i := n.dir.identity
	if i == nil {
		return nil
	}
	if i.Incarnation != "" || i.State != "" || n.dir.nodes != nil {
		return fmt.Errorf("%w: %s holds the data of %s already: give another directory", core.ErrInvalid, n.dir.path, i.ID)
	}
	return errors.Join(n.dir.settle(nil), n.dir.mustBeNew())
}
