package enginetest

import (
	"fmt"
	"net/netip"

	"github.com/themilchenko/raftlab/bench/fault"
	"github.com/themilchenko/raftlab/engines/program"
)

// links are what members say to each other: each is told the others by the address of a
// proxy, behind which what goes one way between two of them can be held back. A nil one is
// of members that reach each other directly.
type links struct {
	network *fault.Network
	proxies map[string]*fault.Proxy // by the id of the member that each leads to
}

// newLinks opens a proxy for each member, and returns where the members are then.
func newLinks(members []program.Address) (l *links, behind []program.Address, err error) {
	l = &links{network: fault.NewNetwork(), proxies: map[string]*fault.Proxy{}}
	for _, m := range members {
		p, err := l.network.Open(false)
		if err != nil {
			l.close()
			return nil, nil, fmt.Errorf("a proxy for %s: %w", m.ID, err)
		}
		l.proxies[m.ID] = p
		behind = append(behind, program.Address{ID: m.ID, At: p.Address()})
	}
	return l, behind, nil
}

// up has others reach a member that was started, and knows what it says by its process.
func (l *links) up(m *member) error {
	if l == nil {
		return nil
	}
	at, err := netip.ParseAddrPort(m.spec.Raft)
	if err == nil {
		l.network.Process(m.spec.ID, m.process.PID())
		err = l.proxies[m.spec.ID].Forward(m.spec.ID, at)
	}
	return err
}

// down refuses connections to a member, as the system does where nobody listens.
func (l *links) down(m *member) {
	if l != nil {
		l.proxies[m.spec.ID].Refuse()
	}
}

// cut holds back what goes from a member to the others, what comes from them, or both.
func (l *links) cut(m *member, others []*member, to, from bool) {
	for _, o := range others {
		if to {
			l.network.Cut(m.spec.ID, o.spec.ID)
		}
		if from {
			l.network.Cut(o.spec.ID, m.spec.ID)
		}
	}
}

// heal delivers what was held back, however late that is.
func (l *links) heal() {
	if l != nil {
		l.network.Heal(false)
	}
}

func (l *links) close() {
	if l != nil {
		l.network.Close()
	}
}
