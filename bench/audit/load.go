// Package audit finds out whether a group of kvnodes has kept what it
// acknowledged. [Load] writes and keeps a journal of what became of each write;
// [Check], at once or much later and in another process, reads the journal and
// compares it with what every node holds. It starts and stops no nodes.
//
// # The model
//
// The fate of a write is one of three. An acknowledged write has taken effect and
// must be found. A refused one must not be found. One whose outcome is unknown may
// be found, or not, and it may take effect at any later time: a request can lie in
// a socket or with a node that forwards it while later writes are acknowledged.
// In the terms of linearizability such a write has no end.
//
// So an unknown write could rightly replace a later one to the same key. To keep
// the check exact, nobody ever writes to such a key again: a key belongs to one
// worker, which has one write under way at a time and leaves the key for a fresh
// one once an outcome is unknown. Each key then has at most one unknown write,
// its last, and what a node that has caught up may hold is
//
//   - the last acknowledged write of the key, or
//   - its unknown write, if it has one.
//
// Anything else is a [Finding]. The same holds for deletes, after which a key must
// be gone, and for batches: an unknown batch has to be there as a whole or not
// at all.
//
// Every value says which write it is, and ends in a checksum, so that a mix-up or
// a cut is told from an old value.
//
// # The journal
//
// One JSON object a line: a header; then for each write one line before it is sent
// and one when its fate is known. The first has left the process before the
// write does, so what is missing at the end, however the load died, makes the
// check milder by what was under way and never wrong. A last line that was cut off
// is ignored. The journal is not flushed to the disk: it outlives the process, not
// the machine.
package audit

import (
	"bytes"
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// Limits of a load.
const (
	maxWorkers       = 1 << 16
	maxKeysPerWorker = 1 << 16
	maxValueBytes    = 1 << 20
	maxPrefixBytes   = 1 << 10
	maxBatchKeys     = 8
)

// Config says what a load does. Client must be set; the rest has defaults.
type Config struct {
	Client client.Map

	// JournalPath is the file that the journal is written to. It must not exist.
	// Empty: no journal is kept, and the load cannot be checked.
	JournalPath string

	Parameters

	// Duration and Writes end the load, whichever comes first; 0: not by this.
	Duration time.Duration
	Writes   uint64

	// WriteTimeout bounds one write, tries and waits included; 0: api.DefaultTimeout.
	WriteTimeout time.Duration

	// OnSecond, if set, is called after every full second of the load with what
	// became known in it, never twice at a time and not after Load has returned.
	OnSecond func(Counts)
}

// Parameters are the part of a load's configuration that its journal records.
// Zero fields but Seed and the shares have defaults.
type Parameters struct {
	// Prefix begins every key of this load and of nothing else: printable ASCII
	// without blanks. Empty: one that has not been used before.
	Prefix string `json:"prefix"`
	Seed   uint64 `json:"seed"`
	// Workers is how many writes may be under way at once; default 8.
	Workers int `json:"workers"`
	// KeysPerWorker is how many keys each worker writes to; default 16.
	KeysPerWorker int `json:"keys_per_worker"`
	// ValueBytes is the size of a value; default 128. One that cannot hold the
	// name of its key is longer.
	ValueBytes int `json:"value_bytes"`
	// BatchShare and DeleteShare are how many of the writes, from 0 to 1, are
	// batches of 2 to 8 keys and deletes. The others set one key.
	BatchShare  float64 `json:"batch_share"`
	DeleteShare float64 `json:"delete_share"`
}

func (c Config) withDefaults() (Config, error) {
	if c.Client == nil {
		return c, fmt.Errorf("%w: a load needs a client", core.ErrInvalid)
	}
	c.Prefix = cmp.Or(c.Prefix, "audit-"+crand.Text()+"/")
	c.Workers = cmp.Or(c.Workers, 8)
	c.KeysPerWorker = cmp.Or(c.KeysPerWorker, 16)
	c.ValueBytes = cmp.Or(c.ValueBytes, 128)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, api.DefaultTimeout)
	if c.Duration < 0 || c.WriteTimeout < 0 || c.WriteTimeout > api.MaxTimeout {
		return c, fmt.Errorf("%w: duration %v or write timeout %v; the latter may be up to %v",
			core.ErrInvalid, c.Duration, c.WriteTimeout, api.MaxTimeout)
	}
	return c, c.Parameters.validate()
}

func (p Parameters) validate() error {
	for _, f := range []struct {
		name     string
		value    int
		min, max int
	}{
		{"workers", p.Workers, 1, maxWorkers},
		{"keys_per_worker", p.KeysPerWorker, 1, maxKeysPerWorker},
		{"value_bytes", p.ValueBytes, 1, maxValueBytes},
		{"length of prefix", len(p.Prefix), 1, maxPrefixBytes},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("%w %s %d: from %d to %d are allowed", core.ErrInvalid, f.name, f.value, f.min, f.max)
		}
	}
	for _, c := range []byte(p.Prefix) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("%w prefix %q: printable ASCII without blanks is allowed", core.ErrInvalid, p.Prefix)
		}
	}
	// Written so that NaN fails, too.
	if !(p.BatchShare >= 0 && p.DeleteShare >= 0 && p.BatchShare+p.DeleteShare <= 1) {
		return fmt.Errorf("%w shares: batch %v, delete %v; they go from 0 to 1 together", core.ErrInvalid, p.BatchShare, p.DeleteShare)
	}
	if p.BatchShare > 0 && p.KeysPerWorker < 2 {
		return fmt.Errorf("%w: batches need at least 2 keys per worker", core.ErrInvalid)
	}
	return nil
}

// Load writes until the duration is over, the count is reached or ctx ends; the
// writes under way then are waited for. That writes are refused or their outcome
// unknown is no error: the Result has their numbers. An error means that the load
// could not do its work: the journal could not be written, or a node called a
// write invalid. The journal is good for a check all the same.
func Load(ctx context.Context, cfg Config) (Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{}, fmt.Errorf("load: %w", err)
	}
	j, err := createJournal(cfg.JournalPath, cfg.Parameters)
	if err != nil {
		return Result{}, fmt.Errorf("load: %w", err)
	}
	if cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Duration)
		defer cancel()
	}
	var begun atomic.Uint64
	m := newMeter()
	loop := workload.Loop{OpTimeout: cfg.WriteTimeout, Finish: true}
	for id := range cfg.Workers {
		loop.Clients = append(loop.Clients, workload.Client{
			Source:    newSource(cfg, id, &begun),
			Target:    target{cfg.Client},
			Recorders: append(j.recorders(id), m),
		})
	}
	stopReports := m.report(cfg.OnSecond)
	err = loop.Run(ctx)
	stopReports()
	if err := errors.Join(err, j.close()); err != nil {
		return m.result(), fmt.Errorf("load: %w", err)
	}
	return m.result(), nil
}

// target writes through a client.
type target struct{ client client.Map }

// Do implements workload.Target.
func (t target) Do(ctx context.Context, op *workload.Op) (err error) {
	switch op.Kind {
	case workload.Delete:
		op.Index, err = t.client.Delete(ctx, op.Key)
	case workload.WriteBatch:
		op.Index, err = t.client.SetAll(ctx, op.Batch)
	default:
		op.Index, err = t.client.Set(ctx, op.Key, op.Value)
	}
	return err
}

// refusedPause keeps a worker from spinning where writes are refused at once.
const refusedPause = 10 * time.Millisecond

// source makes the writes of one worker. They are to its own keys: a slot is one of
// them at a time.
type source struct {
	cfg   Config
	id    int
	rng   *rand.Rand
	begun *atomic.Uint64 // writes of all workers
	seq   uint64
	slots []int // of the last write
	left  []int // for each slot, how many of its keys were left because of an unknown outcome
}

func newSource(cfg Config, id int, begun *atomic.Uint64) *source {
	return &source{
		cfg:   cfg,
		id:    id,
		rng:   rand.New(rand.NewPCG(cfg.Seed, uint64(id))),
		begun: begun,
		left:  make([]int, cfg.KeysPerWorker),
	}
}

// Next implements workload.Source.
func (s *source) Next(op *workload.Op, last error) (wait time.Duration, ok bool) {
	switch {
	case errors.Is(last, core.ErrOutcomeUnknown):
		for _, slot := range s.slots {
			s.left[slot]++
		}
	case last != nil:
		wait = refusedPause
	}
	if s.cfg.Writes > 0 && s.begun.Add(1) > s.cfg.Writes {
		return 0, false
	}
	s.seq++
	*op = workload.Op{Kind: workload.Write}
	count := 1
	switch draw := s.rng.Float64(); {
	case draw < s.cfg.DeleteShare:
		op.Kind = workload.Delete
	case draw < s.cfg.DeleteShare+s.cfg.BatchShare:
		op.Kind = workload.WriteBatch
		count = 2 + s.rng.IntN(min(s.cfg.KeysPerWorker, maxBatchKeys)-1)
	}
	first := s.rng.IntN(s.cfg.KeysPerWorker)
	if s.seq <= uint64(s.cfg.KeysPerWorker) { // once round, so that every key is written
		first = int(s.seq - 1)
	}
	s.slots = s.slots[:0]
	batch := make(map[string][]byte, count)
	for i := range count {
		slot := (first + i) % s.cfg.KeysPerWorker
		s.slots = append(s.slots, slot)
		op.Key = fmt.Sprintf("%s%d/%d/%d", s.cfg.Prefix, s.id, slot, s.left[slot])
		op.Value = encodeValue(op.Key, s.seq, s.cfg.Seed, s.cfg.ValueBytes)
		batch[op.Key] = op.Value
	}
	if op.Kind == workload.WriteBatch {
		op.Key, op.Value, op.Batch = "", nil, batch
	}
	return wait, true
}

// Counts are of writes, by what became of them; a batch is one.
type Counts struct{ Acknowledged, Unknown, Refused uint64 }

func (c *Counts) add(end string) {
	switch end {
	case endAcknowledged:
		c.Acknowledged++
	case endUnknown:
		c.Unknown++
	case endRefused:
		c.Refused++
	}
}

// Result is what a load has seen.
type Result struct {
	Counts
	Elapsed time.Duration

	// LongestStall is the longest time without an acknowledgement to any worker,
	// from the begin of the load to its end; it began StallBegan after the begin.
	LongestStall, StallBegan time.Duration

	// Of acknowledged writes: the longest, and a histogram of all in nanoseconds,
	// with three significant digits.
	LongestWrite time.Duration
	Latency      *hdrhistogram.Histogram
}

// meter is the recorder of all workers that gathers a Result. Safe for concurrent use.
type meter struct {
	mu      sync.Mutex
	started time.Time
	lastAck time.Time // or the begin
	seen    Result
	second  Counts // since the last report
}

func newMeter() *meter {
	now := time.Now()
	return &meter{started: now, lastAck: now, seen: Result{Latency: workload.NewHistogram()}}
}

// Begin implements workload.Recorder.
func (m *meter) Begin(*workload.Op) error { return nil }

// End implements workload.Recorder. There is no use in going on where a node calls
// a write invalid.
func (m *meter) End(_ *workload.Op, at workload.Times, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now() // under the lock, so that acknowledgements come in order
	end := endOf(err)
	m.seen.add(end)
	m.second.add(end)
	if end == endAcknowledged {
		took := at.End.Sub(at.Start)
		m.stall(now)
		m.lastAck = now
		m.seen.LongestWrite = max(m.seen.LongestWrite, took)
		workload.Record(m.seen.Latency, took)
	}
	if errors.Is(err, core.ErrInvalid) {
		return err
	}
	return nil
}

// stall notes the time since the last acknowledgement if it is the longest.
func (m *meter) stall(now time.Time) {
	if gap := now.Sub(m.lastAck); gap > m.seen.LongestStall {
		m.seen.LongestStall, m.seen.StallBegan = gap, m.lastAck.Sub(m.started)
	}
}

// report tells every second once it is over, until stop is called, which waits.
func (m *meter) report(tell func(Counts)) (stop func()) {
	if tell == nil {
		return func() {}
	}
	over := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				tell(m.takeSecond())
			}
		}
	})
	return func() {
		close(over)
		reporter.Wait()
	}
}

// takeSecond returns what has become known since the last call.
func (m *meter) takeSecond() (second Counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	second, m.second = m.second, second
	return second
}

// result ends the measurement.
func (m *meter) result() Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.stall(now)
	m.seen.Elapsed = now.Sub(m.started)
	return m.seen
}

// A value is text, so that a batch can carry it:
//
//	raftlab-audit <key> <write> <padding> <checksum>
const (
	valueMark     = "raftlab-audit"
	checksumBytes = 16 // in hex
)

var errCorrupt = errors.New("corrupt value")

// encodeValue returns the value of write seq to key, padded to size bytes. It is
// longer if the rest of it takes more.
func encodeValue(key string, seq, seed uint64, size int) []byte {
	v := make([]byte, 0, max(size, len(valueMark)+len(key)+checksumBytes+32))
	v = fmt.Appendf(v, "%s %s %d ", valueMark, key, seq)
	rng := rand.NewPCG(seed, seq)
	for pad := size - len(v) - 1 - checksumBytes; pad > 0; {
		var letters [8]byte
		binary.LittleEndian.PutUint64(letters[:], rng.Uint64())
		for i := range letters {
			letters[i] = 'a' + letters[i]&15
		}
		n := min(pad, len(letters))
		v = append(v, letters[:n]...)
		pad -= n
	}
	v = append(v, ' ')
	return fmt.Appendf(v, "%016x", checksum(v))
}

// decodeValue returns which write to which key the value is.
func decodeValue(v []byte) (key string, seq uint64, err error) {
	if len(v) < checksumBytes {
		return "", 0, fmt.Errorf("%w of %d bytes", errCorrupt, len(v))
	}
	body, sum := v[:len(v)-checksumBytes], v[len(v)-checksumBytes:]
	if string(sum) != fmt.Sprintf("%016x", checksum(body)) {
		return "", 0, fmt.Errorf("%w of %d bytes: its checksum is wrong", errCorrupt, len(v))
	}
	fields := bytes.SplitN(body, []byte(" "), 4)
	if len(fields) < 4 || string(fields[0]) != valueMark {
		return "", 0, fmt.Errorf("%w of %d bytes: it was not written by a load", errCorrupt, len(v))
	}
	seq, err = strconv.ParseUint(string(fields[2]), 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("%w: write %q", errCorrupt, fields[2])
	}
	return string(fields[1]), seq, nil
}

func checksum(b []byte) uint64 { return crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)) }
