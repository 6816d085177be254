package workload

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestPacerIsNeverEarly(t *testing.T) {
	p := newPacer(t.Context())
	defer p.close()
	for i := range 400 {
		at := time.Now().Add(time.Duration(i) * time.Microsecond)
		if err := p.sleepUntil(at); err != nil {
			t.Fatal(err)
		}
		if early := time.Until(at); early > 0 {
			t.Fatalf("woke %s before its time", early)
		}
	}
}

// TestPacerEndsWithItsContext: the context ends while the pacer waits for a time
// an hour off.
func TestPacerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p := newPacer(ctx)
	defer p.close()
	waiting := make(chan error, 1)
	go func() { waiting <- p.sleepUntil(time.Now().Add(time.Hour)) }()
	select {
	case err := <-waiting:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting 10 s after its context ended")
	}
}
