package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv"
)

// keeper is for a node that gossips what membership is for one that does not. The
// steward keeps the group's configuration; what is left is to tell by gossip that
// the node has state, on the leader to keep the replicated directory of HTTP
// addresses in step with gossip, and to remember the directory on disk.
type keeper struct {
	self      discovery.Self // as announced
	discovery discovery.Discovery
	remember  func(nodes map[string]string) error

	id      string
	replica core.Replica
	store   *kv.Store
	logger  *slog.Logger
	said    string // last error in the log
}

// run goes on until ctx ends or the replica has stopped.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		changed := k.discovery.Changes()
		k.say(k.step(ctx))
		select {
		case <-tick.C:
		case <-changed:
		case <-k.replica.Done():
			return
		case <-ctx.Done():
			k.say(k.note(k.replica.Status()))
			return
		}
	}
}

// say logs an error when it is another than before.
func (k *keeper) say(err error) {
	text := ""
	switch {
	case errors.Is(err, core.ErrNotLeader), errors.Is(err, core.ErrClosed), errors.Is(err, context.Canceled):
		return
	case err != nil:
		text = err.Error()
	}
	if text != "" && text != k.said {
		k.logger.Warn("cannot keep up with gossip; going on to try", "error", err)
	}
	k.said = text
}

func (k *keeper) step(ctx context.Context) error {
	status := k.replica.Status()
	return errors.Join(k.announce(status), k.direct(ctx, status), k.note(status))
}

// announce tells by gossip that the node has state, once it has.
func (k *keeper) announce(status core.Status) error {
	if k.self.HasState || len(status.Members) == 0 {
		return nil
	}
	self := k.self
	self.HasState, self.Group = true, status.Group
	if err := k.discovery.Announce(self); err != nil {
		return err
	}
	k.self = self
	return nil
}

// direct is for the leader: it brings the directory in step with what the members that
// answer Raft tell of themselves. What gossip says of a member may be another node's
// word. An entry of a node that was removed goes, but for one that gossip has never
// heard of: that one was announced by whoever adds it.
func (k *keeper) direct(ctx context.Context, status core.Status) error {
	if status.Role != core.Leader {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	wanted := map[string]string{}
	for _, p := range k.discovery.Peers() {
		wanted[p.ID] = ""
	}
	for _, m := range status.Members {
		wanted[m.ID], _ = k.store.HTTPAddress(m.ID)
		if who, known := acquaintance(k.replica, m.ID); known && who.Service != "" && answers(status, m.ID) {
			wanted[m.ID] = who.Service
		}
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if known, _ := k.store.HTTPAddress(id); wanted[id] == known {
			continue
		}
		command, err := kv.EncodeAnnounce(id, wanted[id])
		if err != nil {
			return err
		}
		if _, err := k.replica.Propose(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// answers says whether the leader has heard from a member since it leads: what it knows
// of another may be of long ago.
func answers(leader core.Status, id string) bool {
	return id == leader.ID || slices.ContainsFunc(leader.Followers, func(f core.FollowerStatus) bool {
		return f.ID == id && !f.LastContact.IsZero()
	})
}

// acquaintance returns who the member id has proved to be.
func acquaintance(replica core.Replica, id string) (core.Identity, bool) {
	a, ok := replica.(core.Acquainted)
	if !ok {
		return core.Identity{}, false
	}
	return a.Acquaintance(id)
}

// note writes the directory down while the group counts the node in: from then on
// it is known to have been a member.
func (k *keeper) note(status core.Status) error {
	_, member := find(status.Members, k.id)
	if address, _ := k.store.HTTPAddress(k.id); !member || address != k.self.HTTPAddress || !inTouch(status) {
		return nil
	}
	return k.remember(k.store.Nodes())
}
