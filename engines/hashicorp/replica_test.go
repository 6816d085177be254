package hashicorp_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is one replica with its parts.
type member struct {
	core.Replica
	engine hashicorp.Engine
	cfg    core.ReplicaConfig
	kv     *kv.Store
}

// options change how a group is made.
type options struct {
	nodes  int
	store  func(node int) core.LogStore // default: in memory
	tuning core.Tuning
	own    hashicorp.Options
	trace  func(id string) core.Trace // nil: off
}

// fast are timeouts for tests that wait for elections.
var fast = core.Tuning{
	HeartbeatTimeout: 150 * time.Millisecond, LeaderLeaseTimeout: 100 * time.Millisecond, StallTimeout: 150 * time.Millisecond,
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := deadline(t)
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func newMember(t *testing.T, network core.Network, id string, logs core.LogStore, tuning core.Tuning) *member {
	t.Helper()
	link, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{kv: kv.New()}
	m.cfg = core.ReplicaConfig{ID: id, FSM: m.kv, Logs: logs, Link: link, Tuning: tuning}
	return m
}

func (m *member) start(t *testing.T, bootstrap []core.Member) {
	t.Helper()
	m.cfg.Bootstrap = bootstrap
	var err error
	if m.Replica, err = m.engine.Start(m.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close %s: %v", m.cfg.ID, err)
		}
	})
}

// group starts nodes over TCP; the first one leads.
func group(t *testing.T, o options) []*member {
	t.Helper()
	network := tcp.New(tcp.Options{})
	var members []*member
	var configuration []core.Member
	for i := range o.nodes {
		var logs core.LogStore = inmem.New()
		if o.store != nil {
			logs = o.store(i)
		}
		m := newMember(t, network, fmt.Sprintf("n%d", i+1), logs, o.tuning)
		m.engine.Options = o.own
		if o.trace != nil {
			m.cfg.Trace = o.trace(m.cfg.ID)
		}
		members = append(members, m)
		configuration = append(configuration, core.Member{ID: m.cfg.ID, Address: m.cfg.Link.Address(), Voter: true})
	}
	for _, m := range members {
		m.start(t, configuration)
	}
	if err := members[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first member leads", func() bool { return members[0].Status().Role == core.Leader })
	return members
}

func put(t *testing.T, m *member, key, value string) core.Applied {
	t.Helper()
	applied, err := m.Propose(deadline(t), kv.EncodeSet(key, []byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	if r := applied.Result.(kv.Result); r.Err != nil {
		t.Fatal(r.Err)
	}
	return applied
}

func (m *member) has(key, value string) bool {
	v, _, ok := m.kv.Get(key)
	return ok && string(v) == value
}
