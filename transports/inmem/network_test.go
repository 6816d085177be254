package inmem_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/transports/inmem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient makes calls wait longer than any test does: what ends them is Close.
func patient(maxInFlight int) inmem.Options {
	return inmem.Options{MaxInFlight: maxInFlight, Timeout: time.Hour}
}

func listen(t *testing.T, n *inmem.Network, bind string) core.Transport {
	t.Helper()
	link, err := n.Listen(bind)
	if err != nil {
		t.Fatalf("Listen(%q): %v", bind, err)
	}
	return link.Transport
}

func TestConformance(t *testing.T) {
	for name, maxInFlight := range map[string]int{"InFlight1": 1, "InFlight2": 0, "InFlight16": 16} {
		t.Run(name, func(t *testing.T) {
			var n *inmem.Network
			coretest.TestTransport(t, func(t *testing.T) (a, b core.Transport) {
				n = inmem.New(patient(maxInFlight))
				return listen(t, n, ""), listen(t, n, "")
			}, coretest.WithRebind(func(t *testing.T, closed core.Transport) core.Transport {
				return listen(t, n, string(closed.LocalAddr()))
			}))
		})
	}
}

func TestNetwork(t *testing.T) {
	coretest.TestNetwork(t, func() core.Network { return inmem.New(inmem.Options{}) })
}
