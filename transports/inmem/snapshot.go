package inmem

import (
	"fmt"
	"io"
	"sync"

	"github.com/themilchenko/raftlab/core"
)

// lentReader lets a peer read from the sender's snapshot until the sender takes
// it back: the sender goes on to close what is behind it.
type lentReader struct {
	mu   sync.Mutex
	from io.Reader // nil once taken back
}

func lend(from io.Reader) *lentReader { return &lentReader{from: from} }

// Read implements io.Reader.
func (l *lentReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		return 0, fmt.Errorf("inmem: read snapshot after its call has ended: %w", core.ErrClosed)
	}
	return l.from.Read(p)
}

// takeBack waits for a read under way and makes later ones fail.
func (l *lentReader) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = nil
}
