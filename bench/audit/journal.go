package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core"
)

const (
	journalFormat  = "raftlab-audit-journal"
	journalVersion = 1
)

// header is the first line of a journal.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Parameters
}

// line is any other: the begin of a write, with Op and Keys, or its end.
type line struct {
	Worker int      `json:"worker"`
	Seq    uint64   `json:"write"` // of this worker: 1, 2, 3, …
	Op     string   `json:"op,omitempty"`
	Keys   []string `json:"keys,omitempty"`
	End    string   `json:"end,omitempty"`
	Index  uint64   `json:"index,omitempty"` // of the entry, if acknowledged
	Error  string   `json:"error,omitempty"`
}

// Values of line.Op and line.End.
const (
	opSet    = "set"
	opDelete = "delete"

	endAcknowledged = "acknowledged"
	endRefused      = "refused"
	endUnknown      = "unknown"
)

// endOf is what a write comes to that is answered with err.
func endOf(err error) string {
	switch {
	case err == nil:
		return endAcknowledged
	case errors.Is(err, core.ErrOutcomeUnknown):
		return endUnknown
	}
	return endRefused
}

// journalFile is a journal being written; a nil one keeps nothing. Safe for
// concurrent use.
type journalFile struct {
	mu   sync.Mutex
	file *os.File
	err  error // of the first write that failed: nothing may follow a line that is cut off
}

func createJournal(path string, p Parameters) (*journalFile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	j := &journalFile{file: f}
	if err := j.append(header{journalFormat, journalVersion, p}); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// append adds a line, in one write.
func (j *journalFile) append(line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		if _, err := j.file.Write(append(text, '\n')); err != nil {
			j.err = fmt.Errorf("journal: %w", err)
		}
	}
	return j.err
}

func (j *journalFile) close() error {
	if j == nil {
		return nil
	}
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// recorders returns those that keep the journal for a worker: none of a nil one.
func (j *journalFile) recorders(worker int) []workload.Recorder {
	if j == nil {
		return nil
	}
	return []workload.Recorder{&journalRecorder{journal: j, worker: worker}}
}

// journalRecorder keeps the journal of one worker's writes.
type journalRecorder struct {
	journal *journalFile
	worker  int
	seq     uint64
}

// Begin implements workload.Recorder.
func (r *journalRecorder) Begin(op *workload.Op) error {
	r.seq++
	begin := line{Worker: r.worker, Seq: r.seq, Op: opSet, Keys: []string{op.Key}}
	switch op.Kind {
	case workload.Delete:
		begin.Op = opDelete
	case workload.WriteBatch:
		begin.Keys = slices.Sorted(maps.Keys(op.Batch))
	}
	return r.journal.append(begin)
}

// End implements workload.Recorder.
func (r *journalRecorder) End(op *workload.Op, _ workload.Times, err error) error {
	end := line{Worker: r.worker, Seq: r.seq, End: endOf(err), Index: op.Index}
	if err != nil {
		end.Error = err.Error()
	}
	return r.journal.append(end)
}

// Journal is what a load did, as its journal tells. It is read only and safe for
// concurrent use.
type Journal struct {
	Parameters

	// Acknowledged, Refused and Unknown count writes; a batch is one. Unknown
	// includes Open, the writes whose end is not in the journal because the load
	// was killed or is still running.
	Acknowledged, Refused, Unknown, Open int

	// Torn says that the last line was cut off, and ignored.
	Torn bool

	fates map[string]*fate
	doubt []write // the batches among the unknown writes
}

// write is one write to one key, or to all keys of a batch.
type write struct {
	seq     uint64
	deletes bool
	index   uint64 // of its entry; 0: not known
	keys    []string
}

// fate is what is known of a key.
type fate struct {
	acknowledged *write // the last one; nil: none
	unknown      *write // nil: none. It is newer than the acknowledged one
	refused      []uint64
}

// Keys returns how many keys the load wrote to.
func (j *Journal) Keys() int { return len(j.fates) }

// ReadJournal reads the journal at path. A last line without its end is ignored;
// an error about any other is a core.ErrInvalid and has its number.
func ReadJournal(path string) (*Journal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer f.Close()
	j, err := readJournal(f)
	if err != nil {
		return nil, fmt.Errorf("read journal %s: %w", path, err)
	}
	return j, nil
}

func readJournal(r io.Reader) (*Journal, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	reader := &reader{
		journal: &Journal{fates: make(map[string]*fate)},
		last:    make(map[int]uint64),
		open:    make(map[int]line),
		owner:   make(map[string]int),
	}
	for number := 1; ; number++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			reader.journal.Torn = len(text) > 0
			return reader.finish(number)
		}
		if err != nil {
			return nil, err
		}
		if number == 1 {
			err = reader.header(text)
		} else {
			err = reader.line(text)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", number, core.ErrInvalid, err)
		}
	}
}

// reader builds a Journal line by line, and refuses what no load writes: a check
// against a wrong journal would say wrong things.
type reader struct {
	journal *Journal
	last    map[int]uint64 // each worker's newest write
	open    map[int]line   // each worker's write under way
	owner   map[string]int
}

func (r *reader) header(text []byte) error {
	var h header
	if err := decodeStrictly(text, &h); err != nil {
		return err
	}
	if h.Format != journalFormat || h.Version != journalVersion {
		return fmt.Errorf("format %q, version %d: this program reads %q, version %d",
			h.Format, h.Version, journalFormat, journalVersion)
	}
	r.journal.Parameters = h.Parameters
	return h.Parameters.validate()
}

func (r *reader) line(text []byte) error {
	var l line
	if err := decodeStrictly(text, &l); err != nil {
		return err
	}
	switch {
	case l.Worker < 0 || l.Worker >= r.journal.Workers:
		return fmt.Errorf("there is no worker %d", l.Worker)
	case (l.Op == "") == (l.End == ""):
		return errors.New("it is neither the begin of a write nor its end")
	case l.Op != "":
		return r.begin(l)
	}
	return r.end(l)
}

func (r *reader) begin(l line) error {
	if o, ok := r.open[l.Worker]; ok {
		return fmt.Errorf("worker %d begins write %d before the end of %d", l.Worker, l.Seq, o.Seq)
	}
	if l.Seq <= r.last[l.Worker] {
		return fmt.Errorf("worker %d begins write %d after %d", l.Worker, l.Seq, r.last[l.Worker])
	}
	if len(l.Keys) == 0 || l.Op != opSet && (l.Op != opDelete || len(l.Keys) > 1) {
		return fmt.Errorf("operation %q on %d keys", l.Op, len(l.Keys))
	}
	for i, key := range l.Keys {
		owner, known := r.owner[key]
		switch {
		case !strings.HasPrefix(key, r.journal.Prefix):
			return fmt.Errorf("key %q does not begin with %q", key, r.journal.Prefix)
		case slices.Contains(l.Keys[:i], key):
			return fmt.Errorf("key %q is there twice", key)
		case known && owner != l.Worker:
			return fmt.Errorf("key %q belongs to worker %d", key, owner)
		case known && r.journal.fates[key].unknown != nil:
			return fmt.Errorf("key %q is written to after an unknown outcome", key)
		}
	}
	for _, key := range l.Keys {
		r.owner[key] = l.Worker
		if r.journal.fates[key] == nil {
			r.journal.fates[key] = &fate{}
		}
	}
	r.last[l.Worker] = l.Seq
	r.open[l.Worker] = l
	return nil
}

func (r *reader) end(l line) error {
	o, ok := r.open[l.Worker]
	if !ok || o.Seq != l.Seq {
		return fmt.Errorf("worker %d ends write %d, which is not under way", l.Worker, l.Seq)
	}
	delete(r.open, l.Worker)
	w := write{seq: o.Seq, deletes: o.Op == opDelete, index: l.Index, keys: o.Keys}
	switch l.End {
	case endAcknowledged:
		r.journal.Acknowledged++
		for _, key := range w.keys {
			r.journal.fates[key].acknowledged = &w
		}
	case endRefused:
		r.journal.Refused++
		for _, key := range w.keys {
			f := r.journal.fates[key]
			f.refused = append(f.refused, w.seq)
		}
	case endUnknown:
		r.journal.unknown(w)
	default:
		return fmt.Errorf("end %q", l.End)
	}
	return nil
}

func (j *Journal) unknown(w write) {
	j.Unknown++
	for _, key := range w.keys {
		j.fates[key].unknown = &w
	}
	if len(w.keys) > 1 {
		j.doubt = append(j.doubt, w)
	}
}

// finish takes the writes that were under way as unknown.
func (r *reader) finish(number int) (*Journal, error) {
	if number == 1 {
		return nil, fmt.Errorf("line 1: %w: there is no whole header", core.ErrInvalid)
	}
	r.journal.Open = len(r.open)
	for _, o := range r.open {
		r.journal.unknown(write{seq: o.Seq, deletes: o.Op == opDelete, keys: o.Keys})
	}
	return r.journal, nil
}

func decodeStrictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}
