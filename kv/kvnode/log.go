package kvnode

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxPendingBytes is what is kept for a reader of the log that does not keep up.
	maxPendingBytes = 256 << 10
	// lastLines is how long the end of the process waits for that reader.
	lastLines = time.Second
)

// logQueue takes all that the node logs. A reader of the log must not be able to stop the
// node: a terminal after Ctrl-S, or a pipe that nobody reads, takes no bytes,
// and a leader that waits for it neither leads nor ends. So to write is to queue. A
// goroutine empties the queue; lines that find it full are dropped and counted, and the
// count is told where they are missing, once the reader is back. A process that crashes
// takes the lines along that are still queued.
//
// It is safe for concurrent use. newLogQueue starts a goroutine, which close ends.
type logQueue struct {
	wake  chan struct{} // holds one
	ended chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	to      io.Writer // the goroutine's
	user    io.Writer // reads failures, where the log is elsewhere; nil: nobody
	pending []byte    // whole lines
	spare   []byte    // what pending is next; until then the goroutine's
	dropped int       // lines, after the pending ones
	failure []byte    // lines for the user
	stale   bool      // another file may be at the log's path
	closed  bool
	format  string // of the line that tells of dropped ones
}

func newLogQueue(to io.Writer) *logQueue {
	q := &logQueue{to: to, wake: make(chan struct{}, 1), ended: make(chan struct{}), format: "text"}
	go q.empty() // close waits for it
	return q
}

// redirect has all go to a file from now on. Where standard error is another one, its
// reader is still told of failures.
func (q *logQueue) redirect(to logSettings, stdout io.Writer) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	file, err := openLogFile(to.path, to.maxBytes, to.keep, stdout, q.to)
	if err != nil {
		return err
	}
	if len(file.shared) == 0 {
		q.user = q.to
	}
	q.to = file
	return nil
}

// reopen has a log file opened anew that somebody may have moved away.
func (q *logQueue) reopen() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stale = true
	q.nudge()
}

// fail writes a line for who started the program.
func (q *logQueue) fail(line string) {
	q.mu.Lock()
	if q.user != nil {
		q.failure = append(q.failure, line+"\n"...)
	}
	q.mu.Unlock()
	_, _ = io.WriteString(q, line+"\n") // a queue takes all
}

// logger returns a logger into the queue.
func (q *logQueue) logger(level slog.Level, format string) *slog.Logger {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.format = format
	return newLogger(q, level, format)
}

// Write implements io.Writer for whole lines. It neither blocks nor fails.
func (q *logQueue) Write(lines []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.dropped > 0 || len(q.pending)+len(lines) > maxPendingBytes {
		q.dropped += count(lines)
	} else {
		q.pending = append(q.pending, lines...)
	}
	q.nudge()
	return len(lines), nil
}

// close returns once all is written, or when the reader has had that long for it; a
// goroutine that still waits for the reader then ends with the process. What is written
// to the queue from now on is dropped. Idempotent.
func (q *logQueue) close(patience time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.nudge()
	q.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-q.ended:
	case <-timer.C:
	}
}

func (q *logQueue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default: // it will look
	}
}

// empty writes what is pending until the queue is closed.
func (q *logQueue) empty() {
	defer close(q.ended)
	for range q.wake {
		closed := false
		for more := true; more; {
			var b batch
			b, closed = q.take()
			more = b.any()
			if err := b.write(); err != nil {
				// Nobody is there to read, or the disk is full. The next line is another try.
				more = false
				q.unwritten(b)
			}
		}
		if closed {
			return
		}
	}
}

// batch is what is taken from the queue at once.
type batch struct {
	to, user io.Writer
	lines    []byte
	dropped  int // after the lines
	failure  []byte
	stale    bool
	format   string
}

func (q *logQueue) take() (b batch, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b = batch{q.to, q.user, q.pending, q.dropped, q.failure, q.stale, q.format}
	q.pending, q.spare, q.dropped, q.failure, q.stale = q.spare[:0], q.pending, 0, nil, false
	return b, q.closed
}

// unwritten counts what of a batch could not be written. What came since would be before the
// line that tells it, and goes too.
func (q *logQueue) unwritten(b batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += count(b.lines) + b.dropped + count(q.pending)
	q.pending, q.stale = q.pending[:0], q.stale || b.stale
}

func (b *batch) any() bool { return len(b.lines) > 0 || b.dropped > 0 }

// write writes the batch. On an error b is what is left of it.
func (b *batch) write() error {
	err := b.reopen()
	if err == nil {
		err = b.writeLines()
	}
	if b.user != nil && len(b.failure) > 0 { // last: who does not read them must not keep them from the log
		_, _ = b.user.Write(b.failure) // nobody is left to tell
	}
	return err
}

func (b *batch) reopen() error {
	file, ok := b.to.(*logFile)
	if !ok || !b.stale {
		return nil
	}
	err := file.reopen()
	b.stale = err != nil
	return err
}

func (b *batch) writeLines() error {
	if len(b.lines) > 0 {
		n, err := b.to.Write(b.lines)
		b.lines = b.lines[n:]
		if err != nil {
			return err
		}
	}
	if b.dropped == 0 {
		return nil
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped here: they were not read, or could not be written", 0)
	r.Add("lines", b.dropped)
	return newLogger(b.to, slog.LevelWarn, b.format).Handler().Handle(context.Background(), r)
}

func count(lines []byte) int { return bytes.Count(lines, []byte("\n")) }

// newLogger writes lines with the time to the millisecond.
func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 && a.Value.Kind() == slog.KindTime {
			a.Value = slog.StringValue(a.Value.Time().Format("2006-01-02T15:04:05.000Z07:00"))
		}
		return a
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
