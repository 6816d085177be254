package core_test

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// counting is a store that counts flushes, over any other.
type counting struct{ core.LogStore }

func (counting) SyncCount() uint64 { return 7 }

// openDecorator makes what is below it known; closedDecorator does not.
type openDecorator struct{ core.LogStore }

func (d openDecorator) Unwrap() core.LogStore { return d.LogStore }

type closedDecorator struct{ core.LogStore }

type interceptor struct{ core.Transport }

func (interceptor) Intercept(func(*raft.RPC) bool) {}

type transportDecorator struct{ core.Transport }

func (d transportDecorator) Unwrap() core.Transport { return d.Transport }

func TestAsLooksThroughDecorators(t *testing.T) {
	if c, ok := core.As[core.SyncCounter](openDecorator{openDecorator{counting{}}}); !ok || c.SyncCount() != 7 {
		t.Errorf("a counter below two decorators: %v, %v", c, ok)
	}
	if _, ok := core.As[core.SyncCounter](openDecorator{closedDecorator{counting{}}}); ok {
		t.Error("a decorator without Unwrap gives away what is below it")
	}
	if _, ok := core.As[core.Interceptor](transportDecorator{interceptor{}}); !ok {
		t.Error("an interceptor below a decorator is not found")
	}
	if _, ok := core.As[core.Interceptor](transportDecorator{}); ok {
		t.Error("an interceptor is found where there is none")
	}
}

// TestAdaptedStoreEnds: what the library's store does not know, the adapter adds.
func TestAdaptedStoreEnds(t *testing.T) {
	closed := 0
	m := raft.NewInmemStore()
	s := core.Adapted{Logs: m, Stable: m, Info: core.StoreInfo{Name: "library"}, Close: func() error { closed++; return nil }}.Store()
	if err := s.StoreLog(&raft.Log{Index: 1}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil || closed != 1 {
		t.Errorf("closed %d times: %v", closed, err)
	}
	if err := s.GetLog(1, new(raft.Log)); !errors.Is(err, core.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, ok := core.As[core.SyncCounter](s); ok {
		t.Error("flushes are counted that nobody has counted")
	}
}
