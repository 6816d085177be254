package hashicorp_test

import (
	"context"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestProbe: who is asked says that it is there, and changes nothing for it.
func TestProbe(t *testing.T) {
	members := group(t, options{nodes: 3})
	leader, follower := members[0], members[1]
	newcomer := newMember(t, tcp.New(tcp.Options{}), "n4", inmem.New(), core.Tuning{})
	newcomer.start(t, nil)
	gone, err := tcp.New(tcp.Options{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Address()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower knows its leader", func() bool { return follower.Status().LeaderID == leader.cfg.ID })
	before := follower.Status()
	prober := leader.Replica.(core.Prober)
	for _, c := range []struct{ id, address, want string }{
		{follower.cfg.ID, follower.cfg.Link.Address(), ""},
		{"n4", newcomer.cfg.Link.Address(), ""},
		{"n5", newcomer.cfg.Link.Address(), "here is n4, not n5"},
		{"n5", nobody, "refused"},
	} {
		_, err := prober.Probe(deadline(t), core.Member{ID: c.id, Address: c.address})
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s at %s: %v, want %q", c.id, c.address, err, c.want)
		}
	}
	after, fresh := follower.Status(), newcomer.Status()
	if after.Term != before.Term || after.LeaderID != leader.cfg.ID || leader.Status().Role != core.Leader {
		t.Errorf("it was term %d and is %d, under %q", before.Term, after.Term, after.LeaderID)
	}
	if fresh.Term != 0 || fresh.LeaderID != "" || fresh.Role != core.Follower {
		t.Errorf("the newcomer: %+v", fresh)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := prober.Probe(ctx, core.Member{ID: "n5", Address: "192.0.2.1:1"}); err == nil {
		t.Error("nobody is there")
	}
}
