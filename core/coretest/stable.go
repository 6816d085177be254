package coretest

import (
	"bytes"
	"errors"
	"math"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// stableMissing is the text by which hashicorp/raft v1.7.3 tells a missing key
// from a failure (api.go, raft.go).
const stableMissing = "not found"

func mustSet(t *checker, s raft.StableStore, key, value string) {
	t.Helper()
	if err := s.Set([]byte(key), []byte(value)); err != nil {
		t.Fatalf("Set(%q): %v", key, err)
	}
}

func mustSetUint64(t *checker, s raft.StableStore, key string, value uint64) {
	t.Helper()
	if err := s.SetUint64([]byte(key), value); err != nil {
		t.Fatalf("SetUint64(%q, %d): %v", key, value, err)
	}
}

func wantBytes(t *checker, s raft.StableStore, key, want string) {
	t.Helper()
	if got, err := s.Get([]byte(key)); err != nil || string(got) != want {
		t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, want)
	}
}

func wantUint64(t *checker, s raft.StableStore, key string, want uint64) {
	t.Helper()
	if got, err := s.GetUint64([]byte(key)); err != nil || got != want {
		t.Errorf("GetUint64(%q) = %d, %v, want %d", key, got, err, want)
	}
}

// wantNoBytes also passes for a key that holds an empty value: hashicorp/raft
// cannot tell the two apart.
func wantNoBytes(t *checker, s raft.StableStore, key string) {
	t.Helper()
	got, err := s.Get([]byte(key))
	if len(got) != 0 || err != nil && err.Error() != stableMissing {
		t.Errorf("Get(%q) = %q, %v, want nothing with a nil error or the text %q", key, got, err, stableMissing)
	}
}

func wantNoUint64(t *checker, s raft.StableStore, key string) {
	t.Helper()
	got, err := s.GetUint64([]byte(key))
	if got != 0 || err != nil && err.Error() != stableMissing {
		t.Errorf("GetUint64(%q) = %d, %v, want 0 with a nil error or the text %q", key, got, err, stableMissing)
	}
}

func checkStableUint64(t *checker, h storeHarness) {
	s := h.fresh(t)
	for _, v := range []uint64{1, 0, 256, math.MaxUint64, 7} {
		mustSetUint64(t, s, "CurrentTerm", v)
		wantUint64(t, s, "CurrentTerm", v)
	}
	mustSetUint64(t, s, "LastVoteTerm", 3)
	wantUint64(t, s, "CurrentTerm", 7)
	wantUint64(t, s, "LastVoteTerm", 3)
}

func checkStableBytes(t *checker, h storeHarness) {
	s := h.fresh(t)
	for _, v := range []string{"n1", "a longer value than the one before", "n", "\x00\xff\x00"} {
		mustSet(t, s, "LastVoteCand", v)
		wantBytes(t, s, "LastVoteCand", v)
	}
	mustSet(t, s, "other", "value")
	wantBytes(t, s, "LastVoteCand", "\x00\xff\x00")
	wantBytes(t, s, "other", "value")
}

func checkStableMissing(t *checker, h storeHarness) {
	s := h.fresh(t)
	wantNoBytes(t, s, "LastVoteCand")
	wantNoUint64(t, s, "CurrentTerm")
	mustSet(t, s, "here", "value")
	mustSetUint64(t, s, "there", 1)
	wantNoBytes(t, s, "her")
	wantNoUint64(t, s, "theree")
}

// checkStableEmptyValue: an empty value is stored, or refused with
// core.ErrInvalid and no effect. hashicorp/raft never sets one.
func checkStableEmptyValue(t *checker, h storeHarness) {
	s := h.fresh(t)
	for _, empty := range [][]byte{{}, nil} {
		mustSet(t, s, "key", "something")
		switch err := s.Set([]byte("key"), empty); {
		case err == nil:
			wantNoBytes(t, s, "key")
		case errors.Is(err, core.ErrInvalid):
			wantBytes(t, s, "key", "something")
		default:
			t.Errorf("Set of an empty value: error is %v, want none or one that is core.ErrInvalid", err)
		}
	}
	mustSet(t, s, "key", "again")
	wantBytes(t, s, "key", "again")
}

// checkStableCopiesInput changes the key and value handed to Set, and looks
// whether what Get returned outlives a later Set.
func checkStableCopiesInput(t *checker, h storeHarness) {
	s := h.fresh(t)
	key, value := []byte("key"), []byte("value")
	if err := s.Set(key, value); err != nil {
		t.Fatalf("Set: %v", err)
	}
	scribble(key)
	scribble(value)
	wantBytes(t, s, "key", "value")

	got, err := s.Get([]byte("key"))
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	mustSet(t, s, "key", "VALUE")
	for range 50 {
		mustSet(t, s, "key", "other")
	}
	if !bytes.Equal(got, []byte("value")) {
		t.Errorf("the value that Get returned became %q after a later Set", got)
	}
}

// checkStableApartFromLog: deleting the log leaves the stable values, and the
// stable values do not show in the log.
func checkStableApartFromLog(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustSet(t, s, "\x00\x00\x00\x00\x00\x00\x00\x05", "not entry 5")
	mustSetUint64(t, s, "CurrentTerm", 8)
	wantBounds(t, s, 0, 0)
	wantMissing(t, s, 5)
	mustStore(t, s, entries(1, 9))
	mustDelete(t, s, 1, 9)
	wantBytes(t, s, "\x00\x00\x00\x00\x00\x00\x00\x05", "not entry 5")
	wantUint64(t, s, "CurrentTerm", 8)
}
