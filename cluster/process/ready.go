package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	askTimeout  = time.Second           // of one request while a node starts
	askInterval = 25 * time.Millisecond // between two
)

// strangerPatience is how long a node may make no progress before a start looks
// whether it is a member at all. A leader adds a member before it sends it any entry, so
// one with entries that is in no configuration was removed, or its data are of another
// group; what one leader answers can be behind, though, for the time of an election.
const strangerPatience = 2 * time.Second

// attempt is a node that is to become ready: one just started, or one that ran
// before.
type attempt struct {
	node     clusterfile.Node
	process  *handle
	ours     bool  // started by this call
	logBegin int64 // size of the log before the start; 0: it ran before

	missing error // for what is awaited now
	seen    progress
	moved   time.Time // when it last made progress, or was started
	looked  time.Time // when it was last asked for whether it is a member
}

// progress is how far a node has got that is not ready yet. Entries in its log are
// left out: those that an election adds, over and over, lead nowhere, and all
// others it applies.
type progress struct {
	applied  uint64 // index
	snapshot uint64 // index
	received int64  // bytes of the snapshots in its folder, unfinished ones included
}

func (a *attempt) note(now progress) {
	if now != a.seen {
		a.seen, a.moved = now, time.Now()
	}
}

// size returns the bytes of all files below dir, as far as they can be read.
func size(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile, or never there
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// condition says what is still missing for a node that answers to count as started.
type condition func(context.Context, *client.Node, api.Status) error

// ready: it says so itself.
func ready(ctx context.Context, n *client.Node, _ api.Status) error { return n.Ready(ctx) }

// leads: it is ready and led by itself.
func leads(ctx context.Context, n *client.Node, s api.Status) error {
	if err := n.Ready(ctx); err != nil {
		return err
	}
	if s.Leader == nil || s.Leader.ID != s.Me.ID {
		return errors.New("it does not lead yet")
	}
	return nil
}

// serves: it answers, which is all that it can while most others do not run.
func serves(context.Context, *client.Node, api.Status) error { return nil }

// awaitAll waits until all attempts meet the condition.
func (c *Cluster) awaitAll(ctx context.Context, nodes *client.Client, attempts []*attempt, met condition) error {
	waiting := slices.Clone(attempts)
	return c.await(ctx, attempts, "not ready after %v without progress", func() {
		var group sync.WaitGroup
		for _, a := range waiting {
			group.Go(func() { a.missing = c.ask(ctx, nodes, a, met) })
		}
		group.Wait()
		waiting = slices.DeleteFunc(waiting, func(a *attempt) bool {
			if a.missing == nil {
				c.tell(c.startEvent(Ready, a))
			}
			return a.missing == nil
		})
	})
}

// ask returns nil if the node meets the condition. It notes how far the node has got:
// one that loads a snapshot does not serve HTTP yet, so the files count as well.
func (c *Cluster) ask(ctx context.Context, nodes *client.Client, a *attempt, met condition) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	node := nodes.Node(a.node.HTTPAddress)
	status, err := node.Status(ctx)
	now := a.seen
	// Another program may have the port while the node is about to fail for it.
	if err == nil && (status.Me.ID != a.node.Alias || status.Me.PID != a.process.pid) {
		err = fmt.Errorf("%s is answered by another node: id %q, pid %d", a.node.HTTPAddress, status.Me.ID, status.Me.PID)
	}
	if err == nil {
		now.applied, now.snapshot = status.Me.AppliedIndex, status.Me.SnapshotIndex
		err = met(ctx, node, status)
	}
	if err != nil {
		now.received = c.received(a.node.Alias)
	}
	a.note(now)
	return err
}

// received returns the bytes of a node's snapshots; those of a recovered one are one folder
// further down.
func (c *Cluster) received(alias string) (bytes int64) {
	for _, pattern := range []string{"snapshots", "data-*/snapshots"} {
		found, _ := filepath.Glob(filepath.Join(c.Dir(alias), pattern)) // an error is one of the pattern's
		for _, dir := range found {
			bytes += size(dir)
		}
	}
	return bytes
}

// awaitAgreement waits until the nodes name one leader and every node of the
// file as a member.
func (c *Cluster) awaitAgreement(ctx context.Context, nodes *client.Client, attempts []*attempt) error {
	for _, a := range attempts {
		a.moved = time.Now()
	}
	return c.await(ctx, attempts, "the nodes are no cluster after %v", func() {
		alias, missing := c.disagreement(c.status(ctx, nodes))
		for _, a := range attempts {
			a.missing = nil
			if a.node.Alias == alias {
				a.missing = missing
			}
		}
	})
}

// await calls ask, which notes what is missing for each attempt, until that is nothing.
// It gives up, with an error for each node that is to blame, if a process ends, if a
// node does not get on for ReadyTimeout, or if one turns out to be no member.
func (c *Cluster) await(ctx context.Context, attempts []*attempt, tooLong string, ask func()) error {
	var failed []error
	err := poll.Until(ctx, askInterval, func() (bool, error) {
		begun, met := time.Now(), true
		if ask(); ctx.Err() != nil {
			return false, nil
		}
		for _, a := range attempts {
			met = met && a.missing == nil
			if err := c.hopeless(ctx, a, begun, tooLong); err != nil && ctx.Err() == nil {
				failed = append(failed, c.startError(a, err))
			}
		}
		return met || len(failed) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return errors.Join(failed...)
}

// hopeless returns why a node, asked last at the time begun, need not be waited for.
func (c *Cluster) hopeless(ctx context.Context, a *attempt, begun time.Time, tooLong string) error {
	ended, err := a.process.ended()
	switch {
	case err != nil:
		return err
	case ended:
		return c.ending(a.node.Alias, a.process.pid)
	case a.missing == nil:
		return nil
	case begun.Sub(a.moved) > c.opts.ReadyTimeout:
		return fmt.Errorf(tooLong+": %w", c.opts.ReadyTimeout, a.missing)
	case begun.Sub(a.moved) > strangerPatience && begun.Sub(a.looked) > strangerPatience:
		a.looked = time.Now()
		return c.stranger(ctx, a.node.Alias)
	}
	return nil
}

// stranger returns a [*NotMemberError] if the node has entries and the leader does
// not count it.
func (c *Cluster) stranger(ctx context.Context, alias string) error {
	all := c.Status(ctx)
	leader := Leading(all)
	i := slices.IndexFunc(all, func(n NodeStatus) bool { return n.Node.Alias == alias })
	s := all[i].Status
	if leader == nil || s == nil || s.Me.LastIndex == 0 || Counts(leader, alias) && s.Me.Group == leader.Me.Group {
		return nil
	}
	return &NotMemberError{Alias: alias, Leader: leader.Me.ID}
}

// disagreement returns nil if all nodes tell the same story, or else which node is in
// the way, and how. The configuration of one can be ahead of what is committed, so
// each has to count every node of the file, and those as voters that are to be some.
func (c *Cluster) disagreement(all []NodeStatus) (alias string, missing error) {
	leader := ""
	for _, n := range all {
		s, alias := n.Status, n.Node.Alias
		switch {
		case s == nil:
			return alias, n.Err
		case s.Leader == nil:
			return alias, fmt.Errorf("%s knows no leader", alias)
		case leader != "" && s.Leader.ID != leader:
			return alias, fmt.Errorf("%s follows %s, others follow %s", alias, s.Leader.ID, leader)
		case !s.Me.Voter && votes(c.file, n.Node):
			return alias, fmt.Errorf("%s has no vote yet", alias)
		}
		leader = s.Leader.ID
		var voteless, absent []string
		for _, member := range c.file.Nodes {
			i := slices.IndexFunc(s.Followers, func(f api.Follower) bool { return f.ID == member.Alias })
			switch {
			case member.Alias == leader:
			case i < 0:
				absent = append(absent, member.Alias)
			case !s.Followers[i].Voter && votes(c.file, member):
				voteless = append(voteless, member.Alias)
			}
		}
		if len(voteless) > 0 {
			return voteless[0], fmt.Errorf("%s does not count the votes of %s yet", alias, strings.Join(voteless, ", "))
		}
		if len(absent) > 0 {
			return absent[0], fmt.Errorf("%s does not count %s as members", alias, strings.Join(absent, ", "))
		}
	}
	return "", nil
}
