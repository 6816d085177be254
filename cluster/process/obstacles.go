package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// unobstructed returns an error for each of the nodes that has something in its way
// that can be seen before any is started.
func (s *situation) unobstructed(ctx context.Context, nodes *client.Client, wanted []clusterfile.Node) error {
	errs := make([]error, len(wanted))
	var group sync.WaitGroup
	for i, n := range wanted {
		group.Go(func() {
			if a := s.attempt(n.Alias); a != nil {
				errs[i] = s.cluster.usable(a)
			} else {
				errs[i] = s.cluster.vacant(ctx, nodes, n)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// vacant returns an error if somebody else's node answers where ours is to be started:
// it would be asked in its place, and ours fail only at its port.
func (c *Cluster) vacant(ctx context.Context, nodes *client.Client, n clusterfile.Node) error {
	other := occupant(ctx, nodes, n)
	if other == nil {
		return nil
	}
	return fmt.Errorf("start %s: %s is answered by another node: id %q, pid %d, which is none of %s: it is another cluster's, or was started from another folder: stop it there, or give %[1]s another http_address",
		n.Alias, n.HTTPAddress, other.ID, other.PID, c.Dir(n.Alias))
}

// occupant returns the node that answers at the address of n, nil if there is none.
func occupant(ctx context.Context, nodes *client.Client, n clusterfile.Node) *api.Node {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := nodes.Node(n.HTTPAddress).Status(ctx)
	if err != nil {
		return nil
	}
	return &s.Me
}

// usable returns an error if a node that runs already would never answer: it is
// paused, or serves another address.
func (c *Cluster) usable(a *attempt) error {
	obstacle := func(format string, args ...any) error {
		return &StartError{Alias: a.node.Alias, LogPath: c.LogPath(a.node.Alias), Err: fmt.Errorf(format, args...)} // the log tells nothing of it
	}
	now, err := look(a.process.id.pid)
	if err == nil && now.paused {
		return obstacle("it is paused: %s lets it go on", c.Command("resume "+a.node.Alias))
	}
	if serves := flag(a.process.id.pid, "haddr"); serves != "" && serves != a.node.HTTPAddress {
		return obstacle("process %d in %s serves %s, not %s: it was started from another cluster file, or this one has changed since: %s ends it; or give this cluster another data_dir",
			a.process.id.pid, c.Dir(a.node.Alias), serves, a.node.HTTPAddress, c.Command("stop "+a.node.Alias))
	}
	return nil
}

// flag returns the value of a flag on the command line of a process, "" if it cannot
// be seen.
func flag(pid int, name string) string {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return ""
	}
	args, err := p.CmdlineSlice()
	if err != nil {
		return ""
	}
	for i, arg := range args {
		given, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case given != name || !strings.HasPrefix(arg, "-"):
		case joined:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}
