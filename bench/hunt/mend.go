package hunt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/client"
)

// bringBack starts a node that does not run. One whose data were damaged may be refused:
// then it gets a new folder, as the text says.
func (g *group) bringBack(ctx context.Context, n *node) {
	g.noteEnd(n)
	if g.start(ctx, n) == nil || ctx.Err() != nil {
		return
	}
	g.noteEnd(n)
	if n.suspect == "" {
		return
	}
	g.replace(ctx, n)
}

// noteEnd notes how a node has ended by itself, once.
func (g *group) noteEnd(n *node) {
	p := n.process
	if p == nil || !p.hasEnded() || p.killed {
		return
	}
	p.killed = true
	text := p.lastWords()
	g.log("%s ended by itself: %s", n.id, text)
	if n.suspect != "" {
		g.report.refusal(n, text)
		return
	}
	g.report.violate(Crashed, "%s, exit code %d, see %s:\n%s", n.id, p.cmd.ProcessState.ExitCode(), p.log, text)
}

// replace moves the folder of a node away and starts it in a new one.
func (g *group) replace(ctx context.Context, n *node) {
	g.stop(n)
	moved := fmt.Sprintf("%s.moved.%d", n.dir, n.runs)
	if err := moveFolder(n.dir, moved); err != nil {
		g.report.violate(Beyond, "%s: %v", n.id, err)
		return
	}
	n.suspect += ", its folder moved away"
	g.log("%s is started in a new folder", n.id)
	if err := g.start(ctx, n); err != nil && ctx.Err() == nil {
		g.noteEnd(n)
	}
}

// mend makes a node whose data are gone or damaged a voter of the group again.
func (g *group) mend(ctx context.Context, n *node) {
	if n.suspect == "" {
		return
	}
	back := func() error {
		err := g.await(ctx, comeBack, func(ctx context.Context) error { return g.isVoter(ctx, n) })
		g.noteEnd(n)
		return err
	}
	for _, step := range []func(){
		func() {},
		func() { g.replace(ctx, n) },
		func() { g.remove(ctx, n); g.replace(ctx, n) },
	} {
		step()
		err := back()
		if err == nil {
			g.log("%s is a voter again", n.id)
			n.suspect = ""
			return
		}
		if ctx.Err() != nil {
			return
		}
		g.log("%s is not a voter again: %v", n.id, err)
		if n.up() {
			g.stranger(n, false)
		}
	}
	g.report.violate(Beyond, "%s, %s: it is not a voter again, also in a new folder and after it was removed; see %s", n.id, n.suspect, n.process.log)
	n.suspect = ""
}

// stranger notes what a node that runs and stays out of the group says about that. One
// of its complaints has to be clear. That it has none means that it is slow, but for a
// node that can never belong to the group.
func (g *group) stranger(n *node, never bool) {
	words := n.process.complaints()
	for _, w := range words {
		g.report.Refusals["(runs) "+withoutNames(w)]++
	}
	if len(words) == 0 && !never || slices.ContainsFunc(words, func(w string) bool { return unclear(w) == "" }) {
		return
	}
	g.report.violate(Unclear, "%s, %s, stays out of the group, and no complaint of it names a command:\n%s",
		n.name, n.suspect, strings.Join(words, "\n"))
}

// remove takes a node that does not run out of the configuration.
func (g *group) remove(ctx context.Context, n *node) {
	g.stop(n)
	others := slices.DeleteFunc(slices.Clone(g.nodes), func(o *node) bool { return o == n })
	err := g.await(ctx, comeBack, func(ctx context.Context) error {
		return g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) error {
			err := c.Remove(ctx, n.id)
			if errors.Is(err, core.ErrNotFound) {
				return nil
			}
			return err
		}, others...)
	})
	g.log("remove %s: %v", n.id, err)
}
