package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/themilchenko/raftlab/internal/conf"
)

// MarshalJSON implements json.Marshaler: what is not zero, by the keys of [raft].
func (r Raft) MarshalJSON() ([]byte, error) { return json.Marshal(conf.Map(r)) }

// UnmarshalJSON implements json.Unmarshaler. Keys that [raft] had once are left to
// whoever reads the options.
func (r *Raft) UnmarshalJSON(data []byte) error {
	var table map[string]any
	if err := json.Unmarshal(data, &table); err != nil {
		return err
	}
	for _, key := range moved() {
		delete(table, key)
	}
	if err := conf.FromMap(r, table, "raft"); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// UnmarshalJSON reads what encoding/json wrote of an Experiment, also before some keys
// of [raft] became options. Numbers in options come back as TOML gave them, so that
// both forms are equal.
func (e *Experiment) UnmarshalJSON(data []byte) error {
	type plain Experiment // without this method
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*e = Experiment(p)
	for i, f := range e.Matrix {
		e.Matrix[i].Key = today(f.Key)
	}
	return e.Options.upgrade(data)
}

// Upgrade completes a cell that was read from data, as UnmarshalJSON does an
// experiment.
func (c *Cell) Upgrade(data []byte) error { return c.Options.upgrade(data) }

// upgrade gives the options of an experiment or cell the form that Parse gives them,
// and takes over old keys of its "raft".
func (o *Options) upgrade(data []byte) error {
	var old struct {
		Raft map[string]any `json:"raft"`
	}
	if err := json.Unmarshal(data, &old); err != nil {
		return err
	}
	for _, key := range moved() {
		if value, ok := old.Raft[key]; ok {
			*o = o.with("hashicorp", key, value)
		}
	}
	for owner, options := range *o {
		for key, value := range options {
			v, err := conf.Option(value)
			if err != nil {
				return fmt.Errorf("%w: %s = %s: %w", ErrInvalid, optionKey(owner, key), conf.Show(value), err)
			}
			options[key] = v
		}
	}
	return nil
}

// Hash identifies the experiment: SHA-256, in hex, of its JSON form, which is
// canonical (struct fields in order, map keys sorted). Every field counts, the
// title and the question too. Before and after a round trip through JSON it is
// the same.
func (e *Experiment) Hash() string {
	text, err := json.Marshal(e)
	if err != nil { // only for options that Parse refuses, such as a channel or infinity
		text = []byte(err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
