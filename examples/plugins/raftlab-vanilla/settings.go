package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// settings are the values of all keys that this program knows.
type settings map[string]string

// setting is one key.
type setting struct {
	Default  string `json:"default"`
	Doc      string `json:"doc"`
	Honoured bool   `json:"honoured"`
	check    func(text string) error
}

// documented returns the keys, with the defaults of hashicorp/raft.
func documented() map[string]setting {
	d := raft.DefaultConfig()
	return map[string]setting{
		"heartbeat_timeout":  {duration(d.HeartbeatTimeout), "also how long a candidate waits for votes; a leader that a majority has not answered for half of it steps down", true, checkDuration},
		"max_append_entries": {strconv.Itoa(d.MaxAppendEntries), "entries in one message, and in one write to the log", true, between(1, 1024)},
		"max_append_bytes":   {"0", "the library does not bound it", false, between(0, math.MaxInt)},
		"max_in_flight":      {strconv.Itoa(raft.DefaultMaxRPCsInFlight), "1 turns pipelining off", true, between(1, 1<<16)},
		"pre_vote":           {strconv.FormatBool(!d.PreVoteDisabled), "a candidate asks before it raises the term", true, checkBool},
		"snapshot_threshold": {strconv.FormatUint(d.SnapshotThreshold, 10), "0: none but those that are asked for", true, between(0, math.MaxInt)},
		"trailing_logs":      {strconv.FormatUint(d.TrailingLogs, 10), "entries that stay in the log behind a snapshot", true, between(0, math.MaxInt)},
		"batch_apply":        {strconv.FormatBool(d.BatchApplyCh), "a buffer in front of the leader, so that it writes more entries at once", true, checkBool},
	}
}

// readSettings reads a file of settings; without one the defaults hold.
func readSettings(file string) (settings, error) {
	known, s := documented(), settings{}
	for key, k := range known {
		s[key] = k.Default
	}
	if file == "" {
		return s, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: --settings: %w", errUsage, err)
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, assigned := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		k, ok := known[key]
		if !assigned || !ok {
			return nil, fmt.Errorf("%w: %s:%d: %q: no such setting; describe has them all", errUsage, file, number, key)
		}
		if err := k.check(value); err != nil {
			return nil, fmt.Errorf("%w: %s:%d: %s: %w", errUsage, file, number, key, err)
		}
		s[key] = value
	}
	return s, nil
}

// runs says what a member runs with.
func (s settings) runs() map[string]string {
	out := map[string]string{}
	for key, k := range documented() {
		out[key] = s[key]
		if !k.Honoured {
			out[key] = "not honoured"
		}
	}
	return out
}

// config is what the library is given.
func (s settings) config(id string) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout = s.duration("heartbeat_timeout")
	c.ElectionTimeout = c.HeartbeatTimeout
	c.LeaderLeaseTimeout = c.HeartbeatTimeout / 2
	c.MaxAppendEntries = int(s.number("max_append_entries"))
	c.PreVoteDisabled = s["pre_vote"] == "false"
	c.SnapshotThreshold = s.number("snapshot_threshold")
	if c.SnapshotThreshold == 0 {
		c.SnapshotThreshold = math.MaxUint64
	}
	c.TrailingLogs = s.number("trailing_logs")
	c.BatchApplyCh = s["batch_apply"] == "true"
	return c
}

// number and duration return values that were checked when they were read.
func (s settings) number(key string) uint64 {
	n, _ := strconv.ParseUint(s[key], 10, 64)
	return n
}

func (s settings) duration(key string) time.Duration {
	d, _ := time.ParseDuration(s[key])
	return d
}

func duration(d time.Duration) string { return fmt.Sprintf("%dus", d.Microseconds()) }

func checkDuration(text string) error {
	digits, ok := strings.CutSuffix(text, "us")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n < 10_000 {
		return fmt.Errorf("%q: want microseconds, at least 10000us", text)
	}
	return nil
}

func checkBool(text string) error {
	if text != "true" && text != "false" {
		return fmt.Errorf("%q: want true or false", text)
	}
	return nil
}

func between(low, high uint64) func(string) error {
	return func(text string) error {
		if n, err := strconv.ParseUint(text, 10, 64); err != nil || n < low || n > high {
			return fmt.Errorf("%q: want a whole number from %d to %d", text, low, high)
		}
		return nil
	}
}
