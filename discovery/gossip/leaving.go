package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// A node that leaves says so in its metadata, and then says goodbye as memberlist has it:
// a word that carries no metadata, and after which memberlist takes in none of the node
// any more. Where that comes first, as to a node that could not be dialed or was slow to
// read, the node has failed and not left. So nodes that compare all they know also tell
// each other which have left.

// Leave tells the others that this node goes for good: each one that is alive over TCP,
// and then by gossip. It fails if there are others and none could be told. The node should
// have been removed from the group before, or be removed by the leader's steward because
// of it. Close is still needed.
func (a *Agent) Leave(ctx context.Context) error {
	a.life.Lock()
	defer a.life.Unlock()
	if a.closed {
		return fmt.Errorf("leave: gossip is %w", core.ErrClosed)
	}
	if a.left.Load() {
		return nil
	}
	if err := a.publish(func(m *meta) error { m.leaving = true; return nil }); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	a.left.Store(true)
	others := a.table.gossip(a.cfg.ID, discovery.Alive)
	told := len(a.dial(others))
	timeout := 2 * a.cfg.Profile.StreamTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Nanosecond))
	}
	err := a.list.Leave(timeout)
	if told > 0 || len(others) == 0 {
		return nil // the rest hear of it from those
	}
	return fmt.Errorf("leave: none of %s could be told: %w", strings.Join(others, ", "), errors.Join(err, ctx.Err()))
}

// farewells encodes the last words of those that have left: each a metadata after its
// length (2 bytes, big-endian).
func (t *table) farewells() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b []byte
	for _, e := range t.peers {
		if e.state == discovery.Left {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(e.encoded))), e.encoded...)
		}
	}
	return b
}

// readFarewells calls heard with each of what farewells wrote. It ends where b is something else.
func readFarewells(b []byte, heard func(m meta, encoded string)) {
	for len(b) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(b))
		if len(b) < end {
			return
		}
		m, err := decodeMeta(b[2:end])
		if err != nil || !m.leaving {
			return
		}
		heard(m, string(b[2:end]))
		b = b[end:]
	}
}

// farewell takes in the last word of a node, as another one has heard it, and says whether
// it is news. Who has not met the node believes it of members: a node that was away
// meanwhile may come to lead them.
func (t *table) farewell(m meta, encoded string) bool {
	isMember := slices.ContainsFunc(t.configuration(), func(c core.Member) bool { return m.peer().Is(c, "") })
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.peers[m.id]
	switch {
	case known && (e.meta.life != m.life || e.state == discovery.Left): // of another run nobody knows which was later
		return false
	case !known && !isMember:
		return false
	case !known:
		e = &entry{}
		t.peers[m.id] = e
	}
	e.meta, e.encoded, e.state, e.since = m, encoded, discovery.Left, t.now()
	t.touch()
	return true
}
