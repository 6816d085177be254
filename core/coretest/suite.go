// Package coretest holds the conformance suites and shared benchmarks of the
// contracts in package core: whoever writes a log store, a transport, a wire, a
// network or an engine calls one function per contract from a test of their own.
//
//	func TestStore(t *testing.T) {
//		coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
//			s, err := mystore.Open(dir)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// Every property of a contract is a subtest with an instance of its own and a
// deadline. One that hangs fails with the stacks of all goroutines, and one whose
// subject panics with that stack; the other properties run all the same. (What a
// panic ends that is on a goroutine of the subject's own is the test binary.) A
// property that a subject does not promise (keeping data where it declares that it
// keeps none, say) is not run at all, so that a suite never reports a skip.
//
// The package is for tests only: no program imports it, and it never looks
// behind the contract's interface, asserts a timing or mocks a part.
package coretest

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
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
	deadline time.Duration
	rebind   func(t *testing.T, closed core.Transport) core.Transport
	only     string // the one property to run; empty: all
}

func configOf(opts []Option) config {
	cfg := config{deadline: defaultDeadline}
	for _, set := range opts {
		set(&cfg)
	}
	return cfg
}

// WithDeadline sets how long one property may take (default one minute, for engines three).
func WithDeadline(limit time.Duration) Option {
	return func(cfg *config) { cfg.deadline = limit }
}

// WithRebind makes TestTransport check that an address is free again after
// Close. rebind gets a closed transport and returns another one that listens on
// the same address of the same network.
func WithRebind(rebind func(t *testing.T, closed core.Transport) core.Transport) Option {
	return func(cfg *config) { cfg.rebind = rebind }
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
			within(t, cfg.deadline, func(c *checker) { p.check(c, h) })
		})
	}
}

// within runs check in a goroutine of its own and fails the test if it panics or has
// not ended within limit. A check that ends by t.FailNow ends that goroutine, and so
// the subtest. One that hangs is left behind, as nothing can end it.
func within(t *testing.T, limit time.Duration, check func(*checker)) {
	t.Helper()
	c := &checker{T: t, patience: limit / 3}
	t.Cleanup(func() { // the first one registered runs last
		c.mu.Lock()
		defer c.mu.Unlock()
		c.over = true
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.should("the property", guarded(func() error { check(c); return nil }))
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("the property has not ended within %v; all goroutines:\n\n%s", limit, allStacks())
	}
}

// panicError is what a call of a subject that panicked comes to.
type panicError struct {
	value any
	stack []byte
}

// Error implements error.
func (p *panicError) Error() string { return fmt.Sprintf("panicked: %v\n%s", p.value, p.stack) }

// guarded makes an error of a panic.
func guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return call()
}

// checker is what a property reports to: the subtest's testing.T, but one that
// takes reports which come too late. A property that hung may go on once its
// subject is closed, and testing panics on a report after the end of a test.
type checker struct {
	*testing.T

	// patience is how long to wait for one thing to happen. It is below the
	// deadline of the property, so that the failure names what was waited for.
	patience time.Duration

	mu   sync.RWMutex
	over bool
}

// inTime calls do and returns true, or returns false if the test is over.
func (c *checker) inTime(do func()) bool {
	c.Helper()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.over {
		do()
	}
	return !c.over
}

// The methods below are those of testing.TB that properties call. After the end
// of the test a report is dropped, and what a property cannot go on without ends
// its goroutine.

func (c *checker) Errorf(format string, args ...any) {
	c.Helper()
	c.inTime(func() { c.Helper(); c.T.Errorf(format, args...) })
}

func (c *checker) Error(args ...any) {
	c.Helper()
	c.Errorf("%s", fmt.Sprint(args...))
}

func (c *checker) Logf(format string, args ...any) {
	c.Helper()
	c.inTime(func() { c.Helper(); c.T.Logf(format, args...) })
}

func (c *checker) Fatalf(format string, args ...any) {
	c.Helper()
	c.Errorf(format, args...)
	c.FailNow()
}

func (c *checker) Fatal(args ...any) {
	c.Helper()
	c.Fatalf("%s", fmt.Sprint(args...))
}

func (c *checker) FailNow() {
	c.inTime(c.Fail)
	runtime.Goexit() // of the property's goroutine, which is not the test's
}

func (c *checker) TempDir() (dir string) {
	if !c.inTime(func() { dir = c.T.TempDir() }) {
		runtime.Goexit()
	}
	return dir
}

func (c *checker) Cleanup(f func()) {
	if !c.inTime(func() { c.T.Cleanup(f) }) {
		runtime.Goexit()
	}
}

// reporter is a checker, or a run of a property of rapid.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// must ends a run in which something does not work.
func must(t reporter, what string, err error) {
	if err != nil {
		t.Helper() // only here: benchmarks call this in their loops
		t.Fatalf("%s: %v", what, err)
	}
}

// should reports an error; must also ends the property.
func (c *checker) should(what string, err error) {
	c.Helper()
	if err != nil {
		c.Errorf("%s: %v", what, err)
	}
}

func (c *checker) must(what string, err error) { c.Helper(); must(c, what, err) }

// start runs call in a goroutine and returns the channel that its error comes
// through.
func start(call func() error) <-chan error {
	out := make(chan error, 1)
	go func() { out <- guarded(call) }()
	return out
}

// each calls do with what comes through ch, in a goroutine. stop ends that; an error comes
// through its channel once it has ended, nil but for a panic.
func each[V any](ch <-chan V, do func(V)) (stop func() <-chan error) {
	end := make(chan struct{})
	ended := start(func() error {
		for {
			select {
			case v := <-ch:
				do(v)
			case <-end:
				return nil
			}
		}
	})
	return func() <-chan error { close(end); return ended }
}

// ended returns the error of a call that was started, once it has ended.
func (c *checker) ended(what string, done <-chan error) error {
	c.Helper()
	err := mustReceive(c, done, "the end of "+what)
	if p := (*panicError)(nil); errors.As(err, &p) {
		c.Fatalf("%s: %v", what, err)
	}
	return err
}

// succeeds and fails run a call, wait for its end and want it without or with an
// error; succeeded and failed do so with one that was started.

func (c *checker) succeeds(what string, call func() error) {
	c.Helper()
	c.succeeded(what, start(call))
}
func (c *checker) fails(what string, call func() error) { c.Helper(); c.failed(what, start(call)) }

func (c *checker) succeeded(what string, done <-chan error) {
	c.Helper()
	c.should(what, c.ended(what, done))
}

func (c *checker) failed(what string, done <-chan error) {
	c.Helper()
	if err := c.ended(what, done); err == nil {
		c.Errorf("%s: no error", what)
	}
}

// failedSaying is failed where the error must tell why.
func (c *checker) failedSaying(what string, done <-chan error, why string) {
	c.Helper()
	if err := c.ended(what, done); err == nil || !strings.Contains(err.Error(), why) {
		c.Errorf("%s: error is %v, want one that says %q", what, err, why)
	}
}

// group runs parts of a property beside each other.
type group struct {
	t *checker
	sync.WaitGroup
}

// do runs part in a goroutine that Wait waits for.
func (g *group) do(part func()) {
	g.Go(func() { g.t.should("beside other calls", guarded(func() error { part(); return nil })) })
}

// closeAtEnd closes c when the subtest ends, and fails the test if that hangs or
// fails. The subjects' Close is idempotent, so a property may close c itself.
func closeAtEnd(t *checker, what string, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		what := "closing " + what + " after the subtest"
		if err, ok := receive(t, start(c.Close), "the end of "+what); ok {
			t.should(what, err)
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

// allStacks returns the stacks of all goroutines, as far as 1 MiB holds them.
func allStacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}
