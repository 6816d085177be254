package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	// shortestWait and longestWait bound the time between two tries; it doubles.
	shortestWait = 20 * time.Millisecond
	longestWait  = time.Second
	// checkInterval is how often a node that is known looks whether it still is:
	// the directory can lose it, and looking costs no request.
	checkInterval = 250 * time.Millisecond
	// askTimeout bounds one question or change, joinTimeout a request to be added: it
	// takes until the node has caught up, and is made again if that takes longer.
	askTimeout  = time.Second
	joinTimeout = 5 * time.Second
)

// membership sees to it that the group knows the node: that its configuration has
// the node, with the data that it has, under its Raft address, and the replicated
// directory its HTTP address.
//
// It adds the node to a group only while joining is set, that is from a start with
// --join until the group is seen to have it, with the vote that it wants. A removal
// later is meant.
type membership struct {
	*Node
	joining    bool              // from a start with Config.Join until the group has the node
	admitted   bool              // the group has said so since
	remembered map[string]string // the members' HTTP addresses when the node last ended
	wait       time.Duration     // before the next try
}

// run goes on until ctx ends or the replica has stopped.
func (m *membership) run(ctx context.Context) {
	m.wait = shortestWait
	m.keep(ctx, "not settled in the group", func() (time.Duration, error) {
		known, err := m.step(ctx)
		if known {
			m.wait = shortestWait
			return checkInterval, err
		}
		wait := m.wait
		m.wait = min(2*m.wait, longestWait)
		return wait, err
	})
}

// keep calls step, again after the time that it returns or once gossip has news, until
// ctx ends or the replica has stopped. An error is logged as a failure when it is another
// than before. In the end it writes down where the members are.
func (n *Node) keep(ctx context.Context, failure string, step func() (time.Duration, error)) {
	said := ""
	say := func(err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			n.cfg.Logger.Warn(failure, "error", err)
		}
		said = text
	}
	for {
		var news <-chan struct{}
		if n.agent != nil {
			news = n.agent.Changes()
		}
		wait, err := step()
		if ctx.Err() == nil {
			say(err)
		}
		timer, over := time.NewTimer(wait), false
		select {
		case <-timer.C:
		case <-news:
		case <-n.replica.Done():
			over = true
		case <-ctx.Done():
			over = true
		}
		timer.Stop()
		if status := n.replica.Status(); over || status.Role == core.Stopped {
			say(n.note(status))
			return
		}
	}
}

// step does the next thing, if there is one, and says whether the group knows
// the node.
func (m *membership) step(ctx context.Context) (known bool, err error) {
	status := m.replica.Status()
	me, member := status.Member(m.id)
	located := member && me.Address == m.raft && me.Incarnation == m.incarnation
	address, _ := m.store.HTTPAddress(m.id)
	announced := address == m.http
	entitled := me.Voter || m.cfg.Nonvoter || !m.joining
	switch {
	case located && announced && entitled && inTouch(status):
		m.joining = false
		return true, m.dir.remember(m.store.Nodes())
	case status.Role == core.Leader:
		return false, m.tellSelf(ctx, me, located)
	case located && announced && !m.joining, member && len(status.Members) == 1:
		return false, nil // nothing to tell: there is no leader just now
	case !member && !m.joining:
		return false, errors.New("this node is no member of a group: it waits to be added, or was removed; " + asNew(m.id))
	default:
		return false, m.tellGroup(ctx)
	}
}

// inTouch says whether a leader counts the node in: it sends to members only. A
// node's own log can be behind, and name it where the group has removed it.
func inTouch(s core.Status) bool {
	return s.Role == core.Leader || s.LeaderID != "" && !s.LastContact.IsZero()
}

// tellSelf is for the leader, which changes what the group knows on its own.
func (m *membership) tellSelf(ctx context.Context, me core.Member, located bool) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if !located {
		for _, other := range m.replica.Status().Members {
			if other.ID == m.id || other.Address != m.raft {
				continue
			}
			// It cannot be where this node is. The configuration holds an address once.
			other.Address = discovery.Nowhere(other.Address)
			if err := m.replica.Add(ctx, other); err != nil {
				return err
			}
		}
		me.Address = m.raft
		if err := m.replica.Add(ctx, me); err != nil {
			return err
		}
	}
	return m.list(ctx, m.id, m.http)
}

// list puts a node's HTTP address into the replicated directory; an empty one takes the
// node out. For the leader.
func (n *Node) list(ctx context.Context, id, address string) error {
	command, err := kv.EncodeAnnounce(id, address)
	if err == nil {
		_, err = n.replica.Propose(ctx, command)
	}
	return err
}

// tellGroup asks the others to add the node, or to note its new addresses.
func (m *membership) tellGroup(ctx context.Context) error {
	others := m.others()
	if len(others) == 0 {
		return errors.New("this node does not know where the others are: give --join HOST:PORT of a member")
	}
	group, err := client.New(others, client.Options{})
	if err != nil {
		return err
	}
	defer group.Close()
	members, err := askMembers(ctx, group)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(members, func(other api.Member) bool { return other.ID == m.id })
	switch {
	case len(members) == 0:
		return fmt.Errorf("%v has no group yet", others)
	case i < 0 && (!m.joining || m.admitted):
		return errors.New("this node was removed from its group; " + asNew(m.id))
	case i < 0:
		return m.askToJoin(ctx, group, m.cfg.Nonvoter)
	case members[i].Incarnation == m.incarnation:
		m.admitted = true
		if members[i].Address == m.raft && members[i].HTTPAddress == m.http && (members[i].Voter || m.cfg.Nonvoter || !m.joining) {
			return nil // known: the leader will be in touch
		}
		// A vote is taken away by a removal only.
		return m.askToJoin(ctx, group, !members[i].Voter && (m.cfg.Nonvoter || !m.joining))
	case m.joining && !m.admitted && m.remembered == nil:
		return m.askToJoin(ctx, group, m.cfg.Nonvoter) // it has lost its data, or takes another node's id: the leader finds out
	default:
		return fmt.Errorf("the group has given the place of %s to a node with other data, at %s: this one's count no more; "+
			"stop that node; %s", m.id, members[i].Address, asNew(m.id))
	}
}

func (m *membership) askToJoin(ctx context.Context, group *client.Client, nonvoter bool) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	status := m.replica.Status()
	err := group.Join(ctx, api.Join{
		ID: m.id, Incarnation: m.incarnation, Group: status.Group, Address: m.raft, HTTPAddress: m.http, Nonvoter: nonvoter,
		// What it got since it was first started with --join is the group's own.
		HasState: m.hasState && (m.remembered != nil || m.incarnation == ""),
	})
	if err == nil {
		m.admitted = true
		m.cfg.Logger.Info("joined", "asked", group.Leader(), "raft", m.raft, "http", m.http)
	}
	return err
}

func askMembers(ctx context.Context, group *client.Client) ([]api.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return group.Members(ctx)
}

// others returns the HTTP addresses to ask, the given ones first.
func (m *membership) others() []string {
	all := slices.Clone(m.join)
	for _, nodes := range []map[string]string{m.store.Nodes(), m.remembered} {
		for _, id := range slices.Sorted(maps.Keys(nodes)) {
			if id != m.id && !slices.Contains(all, nodes[id]) {
				all = append(all, nodes[id])
			}
		}
	}
	return slices.DeleteFunc(all, func(address string) bool { return address == m.http })
}

// note writes the directory down while the group counts the node in: from then on
// it is known to have been a member.
func (n *Node) note(status core.Status) error {
	_, member := status.Member(n.id)
	if address, _ := n.store.HTTPAddress(n.id); !member || address != n.http || !inTouch(status) {
		return nil
	}
	return n.dir.remember(n.store.Nodes())
}

// keeper is for a node that gossips what membership is for one that does not. The
// steward keeps the group's configuration; what is left is to tell by gossip that
// the node has state, on the leader to keep the replicated directory of HTTP
// addresses in step with gossip, and to remember the directory on disk.
type keeper struct {
	*Node
	told discovery.Self // what the others are told of the node
}

// run goes on until ctx ends or the replica has stopped.
func (k *keeper) run(ctx context.Context) {
	k.keep(ctx, "cannot keep up with gossip; going on to try", func() (time.Duration, error) {
		return checkInterval, k.step(ctx)
	})
}

func (k *keeper) step(ctx context.Context) error {
	status := k.replica.Status()
	err := errors.Join(k.announce(status), k.direct(ctx, status), k.note(status))
	if errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrClosed) {
		return nil // another one leads now
	}
	return err
}

// announce tells by gossip that the node has state, once it has.
func (k *keeper) announce(status core.Status) error {
	if k.told.HasState || len(status.Members) == 0 {
		return nil
	}
	self := k.told
	self.HasState, self.Group = true, status.Group
	if err := k.agent.Announce(self); err != nil {
		return err
	}
	k.told = self
	return nil
}

// direct is for the leader: it brings the directory in step with what the members that
// answer Raft tell of themselves. What gossip says of a member may be another node's
// word. An entry of a node that was removed goes, but for one that gossip has never
// heard of: that one was announced by the leader that adds it.
func (k *keeper) direct(ctx context.Context, status core.Status) error {
	if status.Role != core.Leader {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	wanted := map[string]string{}
	for _, p := range k.agent.Peers() {
		wanted[p.ID] = ""
	}
	for _, m := range status.Members {
		wanted[m.ID], _ = k.store.HTTPAddress(m.ID)
		if a, known := acquaintance(k.replica, m.ID); known && a.Service != "" && answers(status, m.ID) {
			wanted[m.ID] = a.Service
		}
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if known, _ := k.store.HTTPAddress(id); wanted[id] != known {
			if err := k.list(ctx, id, wanted[id]); err != nil {
				return err
			}
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

// acquaintance returns the identity that the member id has proved.
func acquaintance(replica core.Replica, id string) (core.Identity, bool) {
	a, ok := replica.(core.Acquainted)
	if !ok {
		return core.Identity{}, false
	}
	return a.Acquaintance(id)
}
