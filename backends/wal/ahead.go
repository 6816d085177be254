package wal

import (
	"sync"
	"sync/atomic"
)

// Room that was only reserved is turned into written room by each flush that reaches it,
// and the file system has to write that down too. Where zeros have been written there
// before, a flush writes the entries and nothing else. Readers see no difference: reserved
// room reads as zeros.
const (
	aheadBytes = 1 << 20  // are zeroed at once, in front of the writer
	pieceBytes = 64 << 10 // of these with one write, which the writer may wait for
)

// zeroer is a file that zeros are written to.
type zeroer interface {
	Zero(at, bytes int64) error
	// WriteOut writes what was zeroed to the disk, without a flush: the writer's would
	// have to do it.
	WriteOut(at, bytes int64) error
	Close() error
}

// ahead zeroes a segment in front of its writer, in a goroutine. It has a descriptor of its
// own: the system reports an error of writing to the disk once to each, and one that it
// told WriteOut would be missed by the writer's flush. What goes wrong with zeros only ends
// the zeroing.
type ahead struct {
	file zeroer
	size int64 // of the segment

	mu     sync.Mutex   // held to zero a piece, and to pass zeroed
	zeroed atomic.Int64 // behind it the writer writes freely
	writer atomic.Int64 // where it has got to

	wake, stop chan struct{}
	ended      chan struct{}
	stopping   sync.Once
}

// zeroAhead starts to zero a segment with the first write to it. Call close at last.
func zeroAhead(file zeroer, size int64) *ahead {
	a := &ahead{file: file, size: size, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go a.run()
	return a
}

// pass is called by the writer before it writes up to end.
func (a *ahead) pass(end int64) {
	a.writer.Store(end)
	if a.zeroed.Load() < end {
		a.mu.Lock()
		a.zeroed.Store(max(a.zeroed.Load(), end))
		a.mu.Unlock()
	}
	if left := a.zeroed.Load() - end; left < aheadBytes/2 {
		select {
		case a.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// close ends the zeroing and waits for that.
func (a *ahead) close() {
	a.stopping.Do(func() { close(a.stop) })
	<-a.ended
}

func (a *ahead) run() {
	defer close(a.ended)
	defer a.file.Close() // it holds nothing that was to be kept
	for a.zeroed.Load() < a.size {
		select {
		case <-a.stop:
			return
		case <-a.wake:
		}
		begin := a.zeroed.Load()
		for goal := min(a.writer.Load()+aheadBytes, a.size); a.zeroed.Load() < goal; {
			if err := a.piece(); err != nil {
				return
			}
		}
		if err := a.file.WriteOut(begin, a.zeroed.Load()-begin); err != nil {
			return
		}
	}
}

// piece zeroes up to the next multiple of pieceBytes.
func (a *ahead) piece() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.zeroed.Load()
	end := min(at-at%pieceBytes+pieceBytes, a.size)
	if at >= end {
		return nil
	}
	if err := a.file.Zero(at, end-at); err != nil {
		return err
	}
	a.zeroed.Store(end)
	return nil
}
