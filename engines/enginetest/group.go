package enginetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/engines/program"
	"github.com/themilchenko/raftlab/internal/poll"
)

const (
	// healTime is how long a group may take to be whole once nothing is wrong with it, and a
	// member to serve once it was started.
	healTime  = time.Minute
	askTime   = 5 * time.Second
	pollPause = 20 * time.Millisecond
	// firstPort is that of the first member's messages; below the ports of calls, on an
	// address that nobody else has.
	firstPort = 7001
	respPorts = 100 // above those of messages
)

// group is three members on this machine.
type group struct {
	subject Subject
	dir     string
	release func()
	links   *links // nil: they cannot be cut
	members []*member
	loads   int    // that were put to it
	note    string // on the demand that was made last
}

// member is one of a group, running or not.
type member struct {
	spec    program.Spec
	process *program.Process // nil: it was not started, or has ended
	paused  bool
}

func newGroup(s Subject, dir string) (*group, error) {
	host, release, err := clustertest.Host()
	if err != nil {
		return nil, err
	}
	if s.Rounds == 0 {
		s.Rounds = defaultRounds
	}
	g := &group{subject: s, dir: dir, release: release}
	var raft, resp []program.Address
	for i := range 3 {
		id, port := fmt.Sprintf("n%d", i+1), firstPort+i
		raft = append(raft, program.Address{ID: id, At: net.JoinHostPort(host, fmt.Sprint(port))})
		resp = append(resp, program.Address{ID: id, At: net.JoinHostPort(host, fmt.Sprint(port+respPorts))})
	}
	behind := raft
	if s.has(program.Links) {
		if g.links, behind, err = newLinks(raft); err != nil {
			release()
			return nil, err
		}
	}
	for i, a := range raft {
		g.members = append(g.members, &member{spec: program.Spec{
			Path: s.Path, ID: a.ID, Raft: a.At, RESP: resp[i].At, Dir: filepath.Join(dir, "data", a.ID), Log: filepath.Join(dir, a.ID+".log"),
			Members: behind, RESPMembers: resp, Settings: s.settings(), Arguments: s.Arguments,
		}})
	}
	return g, nil
}

// close kills all members.
func (g *group) close() {
	_ = g.kill(g.members...)
	g.links.close()
	g.release()
}

// endpoints are where members serve clients.
func (g *group) endpoints() (all []string) {
	for _, m := range g.members {
		all = append(all, m.spec.RESP)
	}
	return all
}

func (g *group) others(m *member) []*member {
	return slices.DeleteFunc(slices.Clone(g.members), func(o *member) bool { return o == m })
}

// start starts members that do not run, and returns once they are ready. Of a group too few
// of which run none becomes so: start those together.
func (g *group) start(ctx context.Context, members ...*member) error {
	ctx, cancel := context.WithTimeoutCause(ctx, healTime, fmt.Errorf("waited %v", healTime))
	defer cancel()
	for _, m := range members {
		if m.process != nil {
			continue
		}
		if err := g.launch(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range members {
		if err := m.process.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) launch(ctx context.Context, m *member) (err error) {
	if m.process, err = program.Start(ctx, m.spec); err != nil {
		return err
	}
	return g.links.up(m)
}

// ended forgets a process.
func (g *group) ended(m *member) {
	m.process, m.paused = nil, false
	g.links.down(m)
}

// kill ends members by SIGKILL.
func (g *group) kill(members ...*member) error {
	var errs []error
	for _, m := range members {
		if m.process == nil {
			continue
		}
		select {
		case <-m.process.Done():
			errs = append(errs, fmt.Errorf("%s ended by itself: %v", m.spec.ID, m.process.Err()))
		default:
			errs = append(errs, m.process.Kill())
		}
		g.ended(m)
	}
	return errors.Join(errs...)
}

func (g *group) pause(ctx context.Context, members ...*member) error {
	for _, m := range members {
		m.paused = true
		if err := m.process.Pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) resume(members ...*member) error {
	var errs []error
	for _, m := range members {
		if m.paused {
			m.paused = false
			errs = append(errs, m.process.Resume())
		}
	}
	return errors.Join(errs...)
}

// whole brings up and on what is not, makes links good, and returns once all members agree on who leads, are
// voters, and have the same map.
func (g *group) whole(ctx context.Context) error {
	g.links.heal()
	if err := g.resume(g.members...); err != nil {
		return err
	}
	if err := g.start(ctx, g.members...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	var last error
	if err := poll.Until(ctx, pollPause, func() (bool, error) {
		last = g.agrees(ctx)
		return last == nil, nil
	}); err != nil {
		return fmt.Errorf("the group is not whole: %w", last)
	}
	return nil
}

// agrees is nil if all members are alike at this moment.
func (g *group) agrees(ctx context.Context) error {
	var first program.Status
	var map1 program.Digest
	for i, m := range g.members {
		var s program.Status
		var d program.Digest
		var voters []string
		err := m.ask(ctx, func(ctx context.Context, c *program.Control) (err error) {
			list, err := c.Members(ctx)
			for _, m := range list {
				if m.Voter {
					voters = append(voters, m.ID)
				}
			}
			if err == nil {
				s, err = c.Status(ctx)
			}
			if err == nil && s.Role == "leader" { // it may have to apply what was committed before it led
				_, err = c.Do(ctx, "GET", "whole")
			}
			if err == nil {
				d, err = c.Digest(ctx)
			}
			return err
		})
		if i == 0 {
			first, map1 = s, d
		}
		slices.Sort(voters)
		switch {
		case err != nil:
			return err
		case s.Leader == "", s.Leader != first.Leader:
			return fmt.Errorf("%s says that %q leads, and %s that %q does", m.spec.ID, s.Leader, first.ID, first.Leader)
		case (s.Role == "leader") != (s.ID == s.Leader):
			return fmt.Errorf("%s is a %s, and says that %s leads", s.ID, s.Role, s.Leader)
		case s.Group == "" || s.Group != first.Group:
			return fmt.Errorf("%s is of group %q, and %s of %q", s.ID, s.Group, first.ID, first.Group)
		case strings.Join(voters, " ") != "n1 n2 n3":
			return fmt.Errorf("%s says that the voters are %q", s.ID, voters)
		case d.SHA256 != map1.SHA256 || d.Keys != map1.Keys || d.Commands != map1.Commands:
			return fmt.Errorf("maps differ: %+v and %+v", map1, d)
		}
	}
	return nil
}

// ask asks a member on a connection for that.
func (m *member) ask(ctx context.Context, f func(context.Context, *program.Control) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("no answer in %v", askTime))
	defer cancel()
	c, err := program.Dial(ctx, m.spec.RESP)
	if err == nil {
		defer c.Close()
		err = f(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.spec.ID, err)
	}
	return nil
}

// leader waits until a member leads that another one, or all of them but those that do not
// run, follow.
func (g *group) leader(ctx context.Context) (leader *member, err error) {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	err = poll.Until(ctx, pollPause, func() (bool, error) {
		leader = nil
		votes := map[string]int{}
		for _, m := range g.members {
			if m.process == nil || m.paused {
				continue
			}
			_ = m.ask(ctx, func(ctx context.Context, c *program.Control) error {
				s, err := c.Status(ctx)
				votes[s.Leader]++
				if err == nil && s.Role == "leader" {
					leader = m
				}
				return err
			})
		}
		return leader != nil && votes[leader.spec.ID] >= 2, nil
	})
	if err != nil {
		return nil, fmt.Errorf("nobody leads after %v", healTime)
	}
	return leader, nil
}
