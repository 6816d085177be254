package poll_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
)

func TestUntil(t *testing.T) {
	calls := 0
	third := func() (bool, error) { calls++; return calls == 3, nil }
	if err := poll.Until(t.Context(), time.Nanosecond, third); err != nil || calls != 3 {
		t.Error(calls, err)
	}
	failed := errors.New("failed")
	if err := poll.Until(t.Context(), time.Hour, func() (bool, error) { return false, failed }); err != failed {
		t.Error(err)
	}
}

func TestUntilTheContextEnds(t *testing.T) {
	enough := errors.New("enough")
	for name, end := range map[string]error{"not done": nil, "failed for it": context.Canceled} {
		ctx, cancel := context.WithCancelCause(t.Context())
		err := poll.Until(ctx, time.Hour, func() (bool, error) { cancel(enough); return false, end })
		if err != enough {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := poll.Until(ctx, time.Hour, func() (bool, error) { return true, nil }); err != nil {
		t.Error("done, and yet:", err)
	}
}

func TestSleep(t *testing.T) {
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, d := range []time.Duration{-1, 0, 1} {
		if err := poll.Sleep(ctx, d); err != nil {
			t.Error(d, err)
		}
	}
	cancel(enough)
	for _, d := range []time.Duration{0, time.Hour} {
		if err := poll.Sleep(ctx, d); err != enough {
			t.Errorf("%v: %v", d, err)
		}
	}
}
