package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
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

// journal is a journal being written; a nil one keeps nothing. Safe for
// concurrent use.
type journal struct {
	mu   sync.Mutex
	file *os.File
	err  error // of the first write that failed: nothing may follow a line that is cut off
}

func createJournal(path string, p Parameters) (*journal, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	j := &journal{file: f}
	if err := j.append(header{journalFormat, journalVersion, p}); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// append adds the lines, in one write.
func (j *journal) append(lines ...any) error {
	if j == nil {
		return nil
	}
	var text []byte
	for _, l := range lines {
		b, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		text = append(append(text, b...), '\n')
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		if _, err := j.file.Write(text); err != nil {
			j.err = fmt.Errorf("journal: %w", err)
		}
	}
	return j.err
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
