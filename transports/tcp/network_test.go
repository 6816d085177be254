package tcp_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, opts tcp.Options, bind string) core.Wire {
	t.Helper()
	link, err := tcp.New(opts).Listen(bind)
	if err != nil {
		t.Fatalf("Listen(%q): %v", bind, err)
	}
	return link.Wire
}

func TestNetwork(t *testing.T) {
	coretest.TestNetwork(t, func() core.Network { return tcp.New(tcp.Options{}) })
}

func TestWire(t *testing.T) {
	for name, opts := range map[string]tcp.Options{
		"Default": {},
		"Tuned":   {Advertise: "localhost", Nagle: true, KeepAlive: -1},
	} {
		t.Run(name, func(t *testing.T) {
			coretest.TestWire(t, func(t *testing.T) (a, b core.Wire) {
				return listen(t, opts, ""), listen(t, opts, "")
			})
		})
	}
}

// TestFramed runs the transport suite over TCP with the default engine's framing.
// Calls wait longer than any test does: what ends them is Close.
func TestFramed(t *testing.T) {
	frame := func(t *testing.T, bind string) core.Transport {
		return hashicorp.Frame(listen(t, tcp.Options{}, bind), hashicorp.FrameOptions{Timeout: time.Hour})
	}
	coretest.TestTransport(t, func(t *testing.T) (a, b core.Transport) {
		return frame(t, ""), frame(t, "")
	}, coretest.WithRebind(func(t *testing.T, closed core.Transport) core.Transport {
		return frame(t, string(closed.LocalAddr()))
	}))
}

func TestUnspecifiedAddressNeedsAdvertise(t *testing.T) {
	for _, bind := range []string{"0.0.0.0:0", ":0"} {
		_, err := tcp.New(tcp.Options{}).Listen(bind)
		if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "advertise") {
			t.Errorf("Listen(%q): %v, want core.ErrInvalid that mentions advertise", bind, err)
		}
		w := listen(t, tcp.Options{Advertise: "127.0.0.1"}, bind)
		defer w.Close()
		conn, err := w.Dial(raft.ServerAddress(w.Addr().String()), time.Second)
		if err != nil {
			t.Fatalf("dialling the advertised address %s: %v", w.Addr(), err)
		}
		conn.Close()
	}
}

func TestAdvertise(t *testing.T) {
	for _, step := range []struct{ advertise, want string }{
		{"node.example:4000", "node.example:4000"},
		{"node.example", "node.example:PORT"},
		{"node.example:0", "node.example:PORT"},
		{"[2001:db8::1]:4000", "[2001:db8::1]:4000"},
		{"2001:db8::1", "[2001:db8::1]:PORT"},
		{"0.0.0.0:4000", ""},
		{"::", ""},
		{":4000", ""},
		{"node.example:port", ""},
		{"node.example:70000", ""},
	} {
		link, err := tcp.New(tcp.Options{Advertise: step.advertise}).Listen("127.0.0.1:0")
		if step.want == "" {
			if !errors.Is(err, core.ErrInvalid) {
				t.Errorf("advertise %q: %v, want core.ErrInvalid", step.advertise, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("advertise %q: %v", step.advertise, err)
			continue
		}
		defer link.Close()
		_, port, err := net.SplitHostPort(link.Address())
		if want := strings.Replace(step.want, "PORT", port, 1); err != nil || port == "0" || link.Address() != want {
			t.Errorf("advertise %q: address %q, want %q", step.advertise, link.Address(), want)
		}
	}
}

func TestUseAfterClose(t *testing.T) {
	w, peer := listen(t, tcp.Options{}, ""), listen(t, tcp.Options{}, "")
	defer peer.Close()
	for range 2 {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := w.Accept(); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Accept after Close: %v, want core.ErrClosed", err)
	}
	if _, err := w.Dial(raft.ServerAddress(peer.Addr().String()), time.Second); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Dial after Close: %v, want core.ErrClosed", err)
	}
}
