//go:build !linux

package workload

import (
	"context"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
)

// pacer sleeps until a point in time, as exactly as the runtime's timers do.
type pacer struct{ ctx context.Context }

func newPacer(ctx context.Context) *pacer { return &pacer{ctx} }

func (*pacer) close() {}

// sleepUntil returns at t, or at once if t is past, or when the context ends.
func (p *pacer) sleepUntil(t time.Time) error { return poll.Sleep(p.ctx, time.Until(t)) }
