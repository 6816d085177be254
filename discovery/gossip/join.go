package gossip

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/discovery"
)

// keepJoined tries for the agent's whole life to reach the nodes that it should: the
// addresses of Config.Join and those of an earlier life, each until it was reached
// once and all again while it is alone, and nodes that failed, which heals a split that
// lasted longer than memberlist remembers its dead.
func (a *Agent) keepJoined() {
	p := a.cfg.Profile
	pending := a.addresses()
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := p.Rejoin
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-a.wake:
			pause = p.Rejoin
		case <-timer.C:
			pending = a.reach(pending)
			pause = min(2*pause, p.RejoinMax)
		}
		switch {
		case a.founding.Load():
			pause = p.Rejoin
		case a.isDisputed():
			pause = min(pause, p.ProbeInterval)
		}
		timer.Reset(pause)
	}
}

// reach is one round of keepJoined. It returns those of pending that it has not
// reached.
func (a *Agent) reach(pending []string) []string {
	a.table.reap(a.cfg.ReapAfter)
	if a.left.Load() {
		return nil
	}
	a.push()
	alive := a.table.gossip(a.cfg.ID, discovery.Alive)
	if len(alive) == 0 {
		pending = a.addresses()
	}
	targets := slices.Concat(pending, a.table.gossip(a.cfg.ID, discovery.Failed))
	switch {
	case a.isDisputed(): // tell all, until the old address has failed
		targets = append(targets, alive...)
	case a.founding.Load() && len(alive) > 0: // packets can be lost, and all wait
		targets = append(targets, alive[rand.IntN(len(alive))])
	}
	reached := a.dial(targets)
	pending = slices.DeleteFunc(pending, func(address string) bool { return reached[address] })
	if len(pending) == 0 && len(a.cfg.Join) > 0 {
		a.contact()
	}
	return pending
}

// contact notes that those of Config.Join were asked which nodes there are.
func (a *Agent) contact() {
	if !a.contacted.Swap(true) {
		a.table.nudge()
	}
}

// keepPeers stores where the others are, so that the node finds them after a restart
// even if no node is left where Config.Join says. Many come at once, or go: it waits
// for the others of them.
func (a *Agent) keepPeers() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := a.table.changes()
		select {
		case <-a.ctx.Done():
			a.notePeers()
			return
		case <-timer.C:
			a.notePeers()
			select {
			case <-a.ctx.Done():
				return
			case <-changed:
				timer.Reset(a.cfg.Profile.ProbeInterval)
			}
		}
	}
}

// notePeers stores the addresses of those that are alive or may come back. A node
// that is alone knows nothing better than what it remembers.
func (a *Agent) notePeers() {
	alive := a.table.gossip(a.cfg.ID, discovery.Alive)
	if len(alive) == 0 {
		return
	}
	peers := append(alive, a.table.gossip(a.cfg.ID, discovery.Failed)...)
	slices.Sort(peers)
	if err := a.remember(func(m *Memory) { m.Peers = slices.Compact(peers) }); err != nil && a.once.first("peers") {
		a.logger.Warn("cannot store where the other nodes are; after a restart --gossip-join must name one that runs", "error", err)
	}
}

// addresses returns where others may be: where it was told, and where they were.
func (a *Agent) addresses() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Concat(a.cfg.Join, a.memory.Peers)
}

// dial compares all that is known with the nodes at addresses, all at once, and returns
// which of them it has reached.
func (a *Agent) dial(addresses []string) map[string]bool {
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	var running sync.WaitGroup
	errs := make([]error, len(addresses))
	for i, address := range addresses {
		running.Go(func() {
			_, errs[i] = a.list.Join([]string{address})
			a.joined(address, errs[i])
		})
	}
	running.Wait()
	reached := map[string]bool{}
	for i, address := range addresses {
		if errs[i] == nil {
			reached[address] = true
		}
	}
	return reached
}

// joined logs what came of an address: a failure once, until it is reached.
func (a *Agent) joined(address string, err error) {
	if a.ctx.Err() != nil {
		return
	}
	configured := slices.Contains(a.cfg.Join, address)
	silent, refused := "silent "+address, "refuses "+address
	switch {
	case err == nil:
		a.once.forget(silent)
		a.once.forget(refused)
		if configured && a.table.others(a.cfg.ID) { // it may be this node's own address
			a.contact()
		}
	case !configured:
		a.logger.Debug("cannot reach "+address, "error", err)
	case strings.Contains(err.Error(), "dial tcp"): // the library hands text on
		if a.once.first(silent) {
			a.logger.Info("nobody answers at "+address+" yet; going on to try", "error", err)
		}
	case a.once.first(refused):
		a.logger.Warn("cannot join "+address+"; going on to try. Its cluster name and key must be the same as here", "error", err)
	}
}

// dispute notes that somebody knows this node under another address. They take the
// new one once the old one has failed, if they hear of it then: from suspicion on
// nothing tells this node that it is still unknown. So it goes on telling for longer
// than that lasts.
func (a *Agent) dispute() {
	until := time.Now().Add(a.cfg.Profile.patience())
	if before := a.disputed.Swap(until.UnixNano()); before < time.Now().UnixNano() {
		a.prod()
	}
}

func (a *Agent) isDisputed() bool { return time.Now().UnixNano() < a.disputed.Load() }

// prod makes keepJoined start over with short pauses.
func (a *Agent) prod() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
