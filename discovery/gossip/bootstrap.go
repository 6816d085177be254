package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// remindEvery is how often it is logged again what a node that does not get on
// waits for.
const remindEvery = 30 * time.Second

// Bootstrap returns the configuration with which this node founds a group together with
// all members named in it, sorted by id. It is nil where the node must not: it has state,
// or there is a group that it waits to be added to. It blocks until one or the other is
// known, or ctx ends; package founding tells how that comes about.
func (a *Agent) Bootstrap(ctx context.Context) ([]core.Member, error) {
	self, founds := a.founder()
	if !founds {
		return nil, ctx.Err()
	}
	a.founding.Store(true)
	defer a.founding.Store(false)
	defer a.waiting.Store("")
	a.prod()
	w := waiter{logger: a.logger}
	for {
		changed := a.Changes()
		d := a.decide(self)
		switch d.Action {
		case founding.Found:
			return a.found(d.Members)
		case founding.Join:
			a.logger.Info("there is a group already: waiting to be added")
			group, err := a.choose()
			if err != nil {
				return nil, fmt.Errorf("bootstrap: %w", err)
			}
			return nil, a.publish(func(m *meta) error {
				m.expect, m.Group = 0, group
				if !m.promised {
					m.proposal = nil
				}
				return nil
			})
		case founding.Propose:
			self.Proposal = founding.SetOf(d.Members)
			if err := a.publish(func(m *meta) error { m.proposal = self.Proposal; return nil }); err != nil {
				return nil, fmt.Errorf("bootstrap: %w", err)
			}
			continue
		case founding.Promise:
			self.Promise, self.Proposal = d.Members, nil
			if err := a.promise(d.Members); err != nil {
				return nil, fmt.Errorf("bootstrap: %w", err)
			}
			continue
		}
		a.waiting.Store(d.Reason)
		if err := w.wait(ctx, a.ctx, changed, d); err != nil {
			return nil, err
		}
	}
}

// founder returns the node as the founding protocol sees it, unless it founds
// nothing.
func (a *Agent) founder() (founding.Self, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return founding.Self{
		ID:          a.cfg.ID,
		Incarnation: a.local.Incarnation,
		Address:     a.local.RaftAddress,
		Expect:      a.cfg.Expect,
		Promise:     a.memory.Promise,
		Founded:     a.memory.Founded,
	}, !a.local.HasState && a.cfg.Expect > 0
}

// Waiting returns what Bootstrap waits for, in words for an operator; empty: for
// nothing.
func (a *Agent) Waiting() string {
	reason, _ := a.waiting.Load().(string)
	return reason
}

func (a *Agent) decide(self founding.Self) founding.Decision {
	if len(a.cfg.Join) > 0 && !a.contacted.Load() && self.Promise == nil {
		// A node that was told of others asks them before it founds anything.
		return founding.Decision{Action: founding.Wait, Reason: "none of the addresses to join was reached yet"}
	}
	return founding.Step(self, a.table.records(a.cfg.ID))
}

// promise stores the promise, then publishes it.
func (a *Agent) promise(members []core.Member) error {
	if err := a.remember(func(m *Memory) { m.Promise = members }); err != nil {
		return err
	}
	return a.publish(func(m *meta) error { return m.promise(members) })
}

func (a *Agent) found(members []core.Member) ([]core.Member, error) {
	group := core.GroupID(members)
	if err := a.remember(func(m *Memory) { m.Founded, m.Group = true, group }); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	a.logger.Info("founding a group", "members", memberIDs(members), "group", group)
	return slices.Clone(members), nil
}

// group returns the group that the node belongs to, or waits for; empty: not known.
func (a *Agent) group() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.local.HasState {
		return a.local.Group
	}
	return a.memory.Group
}

// choose settles which group a node without state waits to be added to: the one in
// sight. It is stored before the others are told, and kept: of two groups that both
// hear of the node, only one may add it.
func (a *Agent) choose() (string, error) {
	if group := a.group(); group != "" {
		return group, nil
	}
	group := a.table.onlyGroup(a.cfg.ID)
	if group == "" {
		return "", nil
	}
	return group, a.remember(func(m *Memory) { m.Group = group })
}

// chooseGroup does that as soon as there is one, for a node that founds nothing.
func (a *Agent) chooseGroup() {
	for {
		changed := a.table.changes()
		a.mu.Lock()
		founds, settled := a.local.expect > 0, a.local.HasState || a.local.Group != ""
		a.mu.Unlock()
		if settled {
			return
		}
		if !founds {
			group, err := a.choose()
			switch {
			case err != nil && a.once.first("choose"):
				a.logger.Error("cannot store which group this node waits for, so it is added to none", "error", err)
			case err == nil && group != "":
				err = a.publish(func(m *meta) error {
					if m.Group == "" {
						m.Group = group
					}
					return nil
				})
			case err == nil && a.table.divided(a.cfg.ID) && a.once.first("divided"):
				a.logger.Error("nodes of two groups gossip under this cluster name: this node is added to neither. " +
					"Stop those of one, and start this node again")
			}
			if err == nil && group != "" {
				continue // it is settled
			}
		}
		select {
		case <-changed:
		case <-a.ctx.Done():
			return
		}
	}
}

// promise makes m tell of a promise; members is nil if there is none.
func (m *meta) promise(members []core.Member) error {
	if members == nil {
		return nil
	}
	i := slices.IndexFunc(members, func(o core.Member) bool { return o.ID == m.id && o.Incarnation == m.Incarnation })
	if i < 0 {
		return fmt.Errorf("%w: the stored promise is to found a group of %v, without %s of incarnation %s: it is another node's. "+
			"Start this one in a new directory", core.ErrInvalid, memberIDs(members), m.id, m.Incarnation)
	}
	m.promised, m.proposal, m.founder = true, founding.SetOf(members), ""
	if address := members[i].Address; address != m.RaftAddress {
		m.founder = address
	}
	return nil
}

// fits says whether m still can be encoded with all that founding may add.
func (m meta) fits(expect int) error {
	m.proposal = make(founding.Set, max(expect, len(m.proposal)))
	_, err := m.encode()
	return err
}

func memberIDs(members []core.Member) []string {
	var ids []string
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

// waiter waits for changes, and logs now and then for what.
type waiter struct {
	logger *slog.Logger
	reason string
	said   time.Time
}

func (w *waiter) wait(ctx, closed context.Context, changed <-chan struct{}, d founding.Decision) error {
	if d.Reason != w.reason || time.Since(w.said) >= remindEvery {
		w.reason, w.said = d.Reason, time.Now()
		level := slog.LevelInfo
		if d.Blocked {
			level = slog.LevelWarn
		}
		w.logger.Log(ctx, level, "no group yet: "+d.Reason)
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return fmt.Errorf("bootstrap: %w; %s", ctx.Err(), d.Reason)
	case <-closed.Done():
		return fmt.Errorf("bootstrap: gossip is %w", core.ErrClosed)
	}
	return nil
}
