package audit

import (
	"crypto/rand"
	"fmt"
	"time"

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
	Client *client.Client

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
	OnSecond func(Second)
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
	if c.Prefix == "" {
		c.Prefix = "audit-" + rand.Text() + "/"
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Workers, 8}, {&c.KeysPerWorker, 16}, {&c.ValueBytes, 128}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = api.DefaultTimeout
	}
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
