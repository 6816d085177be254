package coretest

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// defaultDeadline is how long one property may take. It is generous, since a
// slow disk or the race detector must not fail a correct subject: it bounds a
// hang, nothing else.
const defaultDeadline = time.Minute

// Option changes how a suite runs.
type Option func(*config)

type config struct {
	deadline     time.Duration
	rebind       func(t *testing.T, closed core.Transport) core.Transport
	looseFutures bool
	only         string // the one property to run; empty: all
}

func configOf(opts []Option) config {
	cfg := config{deadline: defaultDeadline}
	for _, set := range opts {
		set(&cfg)
	}
	return cfg
}

// WithDeadline sets how long one property may take (default one minute).
func WithDeadline(limit time.Duration) Option {
	return func(cfg *config) { cfg.deadline = limit }
}

// WithRebind makes TestTransport check that an address is free again after
// Close. rebind gets a closed transport and returns another one that listens on
// the same address of the same network.
func WithRebind(rebind func(t *testing.T, closed core.Transport) core.Transport) Option {
	return func(cfg *config) { cfg.rebind = rebind }
}

// WithLooseFutures makes TestTransport not ask that requests which are under way
// when their pipeline closes end with an error. The network pipeline of
// hashicorp/raft v1.7.3 forgets those that its buffer holds, so it promises this
// only with two requests in flight; the engine itself never waits for them.
func WithLooseFutures() Option {
	return func(cfg *config) { cfg.looseFutures = true }
}

// property is one promise of a contract and the code that checks it against a
// subject that it takes from the harness.
type property[H any] struct {
	name  string
	check func(t *checker, h H)
}

// runAll runs every property as a subtest.
func runAll[H any](t *testing.T, cfg config, h H, properties []property[H]) {
	t.Helper()
	for _, p := range properties {
		if cfg.only != "" && cfg.only != p.name {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			c := newChecker(t, cfg.deadline/3)
			within(t, cfg.deadline, func() { p.check(c, h) })
		})
	}
}

// within runs check in a goroutine of its own and fails the test if it has not
// ended within limit. A check that ends by t.FailNow ends that goroutine, and so
// the subtest. One that hangs is left behind, as nothing can end it.
func within(t *testing.T, limit time.Duration, check func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		check()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("the property has not ended within %v; all goroutines:\n\n%s", limit, allStacks())
	}
}

// closeAtEnd closes c when the subtest ends, and fails the test if that hangs or
// fails. The subjects' Close is idempotent, so a property may close c itself.
func closeAtEnd(t *checker, what string, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		if err, ok := receive(t, closed, "the end of closing "+what+" after the subtest"); ok && err != nil {
			t.Errorf("closing %s after the subtest: %v", what, err)
		}
	})
}

// receive takes a value from ch. It fails the test, without ending it, and
// returns false if none comes within t.patience.
func receive[V any](t *checker, ch <-chan V, what string) (V, bool) {
	t.Helper()
	timer := time.NewTimer(t.patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v, true
	case <-timer.C:
		t.Errorf("waited %v in vain for %s; all goroutines:\n\n%s", t.patience, what, allStacks())
		var none V
		return none, false
	}
}

// mustReceive is receive that ends the subtest where nothing comes.
func mustReceive[V any](t *checker, ch <-chan V, what string) V {
	t.Helper()
	v, ok := receive(t, ch, what)
	if !ok {
		t.FailNow()
	}
	return v
}

// start runs call in a goroutine and returns the channel that its error comes
// through.
func start(call func() error) <-chan error {
	out := make(chan error, 1)
	go func() { out <- call() }()
	return out
}

// allStacks returns the stacks of all goroutines, as far as 1 MiB holds them.
func allStacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}
