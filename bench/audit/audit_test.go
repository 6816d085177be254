package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/client"
)

// run runs a load on the group and reads its journal.
func run(t testing.TB, g *fakeGroup, p Parameters, writes uint64) (Result, *Journal) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "journal")
	r, err := Load(t.Context(), Config{Client: g.client, JournalPath: path, Parameters: p, Writes: writes})
	if err != nil {
		t.Fatal(err)
	}
	j, err := ReadJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	return r, j
}

func audit(t testing.TB, g *fakeGroup, j *Journal, o ...CheckOptions) Findings {
	t.Helper()
	c := g.client
	f, err := Check(t.Context(), c, j, c.Nodes(), append(o, CheckOptions{})[0])
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var mixed = Parameters{Prefix: "a/", Seed: 1, Workers: 4, KeysPerWorker: 5, BatchShare: 0.2, DeleteShare: 0.1}

func TestHealthyGroup(t *testing.T) {
	g := startFake(t, 3, nil)
	r, j := run(t, g, mixed, 300)
	f := audit(t, g, j)
	if !f.OK() || f.Keys != j.Keys() || f.Keys != 20 || len(f.Nodes) != 4 {
		t.Errorf("%+v", f)
	}
	if r.Acknowledged != 300 || j.Acknowledged != 300 || r.Unknown+r.Refused != 0 || r.Latency.TotalCount() != 300 {
		t.Errorf("%+v", r)
	}
	if r.LongestStall <= 0 || int64(r.LongestWrite) < r.Latency.Min() || r.Elapsed <= 0 {
		t.Errorf("%+v", r)
	}
}

// TestFindings breaks one thing after a load that went well and wants it found
// on the very node and key.
func TestFindings(t *testing.T) {
	sets := Parameters{Prefix: "a/", Seed: 1, Workers: 1, KeysPerWorker: 3}
	const key, other = "a/0/1/0", "a/0/2/0"
	for name, tt := range map[string]struct {
		kind Kind
		key  string
		do   func(held map[string]string)
	}{
		"lost":        {Lost, key, func(held map[string]string) { delete(held, key) }},
		"stale":       {Stale, key, func(held map[string]string) { held[key] = string(encodeValue(key, 1, 1, 128)) }},
		"from future": {Foreign, key, func(held map[string]string) { held[key] = string(encodeValue(key, 999, 1, 128)) }},
		"mixed up":    {Foreign, key, func(held map[string]string) { held[key] = held[other] }},
		"unknown key": {Foreign, "a/9", func(held map[string]string) { held["a/9"] = string(encodeValue("a/9", 1, 1, 128)) }},
		"cut":         {Corrupt, key, func(held map[string]string) { held[key] = held[key][:100] }},
		"empty":       {Corrupt, key, func(held map[string]string) { held[key] = "" }},
		"changed":     {Corrupt, key, func(held map[string]string) { held[key] = strings.Replace(held[key], "a", "b", 1) }},
		"other data":  {Corrupt, key, func(held map[string]string) { held[key] = "something that nobody wrote" }},
	} {
		t.Run(name, func(t *testing.T) {
			g := startFake(t, 3, nil)
			g.pretty = true
			_, j := run(t, g, sets, 60)
			g.tamper(1, tt.do)
			found := map[string]bool{}
			for _, x := range audit(t, g, j).List {
				found[x.Node] = true
				if x.Kind != tt.kind || x.Key != tt.key || x.Wanted == "" || x.Got == "" {
					t.Errorf("%+v, want %s of %s", x, tt.kind, tt.key)
				}
			}
			// The linearizable read goes to any of the nodes in this group.
			delete(found, "group")
			if len(found) != 1 || !found[g.endpoints[1]] {
				t.Errorf("found on %v, want %s", found, g.endpoints[1])
			}
		})
	}
}

func TestMapsThatDiffer(t *testing.T) {
	g := startFake(t, 3, nil)
	_, j := run(t, g, mixed, 20)
	g.tamper(2, func(held map[string]string) { held["not of the load"] = "x" })
	f := audit(t, g, j, CheckOptions{Patience: time.Second}) // which it takes
	if f.Total != 1 || f.List[0].Kind != Diverged || f.List[0].Node != g.endpoints[2] {
		t.Errorf("%+v", f)
	}
}

// TestDroppedWrites: the group acknowledges and does nothing.
func TestDroppedWrites(t *testing.T) {
	g := startFake(t, 3, func(number int, _ []string) deed {
		if number > 8 {
			return drop
		}
		return apply
	})
	_, j := run(t, g, mixed, 80)
	kinds := map[Kind]int{}
	for _, f := range audit(t, g, j).List {
		kinds[f.Kind]++
	}
	if kinds[Stale] == 0 || kinds[Lost] == 0 || kinds[Diverged] != 0 {
		t.Errorf("%v", kinds)
	}
}

func TestTornBatch(t *testing.T) {
	g := startFake(t, 2, func(number int, keys []string) deed {
		if len(keys) > 1 && number > 20 {
			return tearUnknown
		}
		return apply
	})
	_, j := run(t, g, mixed, 60)
	f := audit(t, g, j)
	if f.OK() || j.Unknown == 0 || f.Unknown == 0 {
		t.Fatalf("%+v", f)
	}
	for _, x := range f.List {
		if x.Kind != Torn {
			t.Errorf("%v", x)
		}
	}
}

// TestEveryOutcome: whatever a right group does with writes is no finding,
// however late the unknown ones take effect; one acknowledged write less is one.
func TestEveryOutcome(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { testEveryOutcome(t, seed) })
	}
}

func testEveryOutcome(t *testing.T, seed uint64) {
	p := mixed
	p.Seed = seed
	rng := rand.New(rand.NewPCG(seed, 0))
	deeds := []deed{apply, apply, apply, applyUnknown, applyLater, forgetUnknown, refuse}
	var g *fakeGroup
	g = startFake(t, 2, func(int, []string) deed {
		if rng.IntN(10) == 0 && len(g.late) > 0 { // the lock is held
			g.apply(g.late[0])
			g.late = g.late[1:]
		}
		return deeds[rng.IntN(len(deeds))]
	})
	_, j := run(t, g, p, 30)
	if f := audit(t, g, j); !f.OK() {
		t.Fatalf("before the late writes: %v", f.List)
	}
	g.flush()
	if f := audit(t, g, j); !f.OK() {
		t.Fatalf("after the late writes: %v", f.List)
	}
	for _, key := range slices.Sorted(maps.Keys(j.fates)) {
		f := j.fates[key]
		if f.acknowledged == nil || f.acknowledged.deletes || f.unknown != nil && f.unknown.deletes {
			continue
		}
		g.tamper(0, func(held map[string]string) { delete(held, key) })
		g.tamper(1, func(held map[string]string) { delete(held, key) })
		if f := audit(t, g, j); f.Total < 3 || f.List[0].Kind != Lost || f.List[0].Key != key {
			t.Fatalf("%s deleted everywhere: %v", key, f.List)
		}
		return
	}
	t.Fatal("the load has left no key to take away")
}

// TestUnknownWritesLeaveTheKey looks at the journal: no key is written to again
// after its outcome was unknown. ReadJournal would refuse it.
func TestUnknownWritesLeaveTheKey(t *testing.T) {
	g := startFake(t, 1, func(number int, _ []string) deed {
		if number%3 == 0 {
			return forgetUnknown
		}
		return apply
	})
	r, j := run(t, g, Parameters{Workers: 1, KeysPerWorker: 1}, 30)
	if r.Unknown != 10 || j.Unknown != 10 || j.Keys() != 10 || j.Open != 0 {
		t.Errorf("%d unknown, %d in the journal, %d keys", r.Unknown, j.Unknown, j.Keys())
	}
	if f := audit(t, g, j); !f.OK() || f.Unknown != 10 || f.UnknownTaken != 0 {
		t.Errorf("%+v", f)
	}
}

func TestLoadEnds(t *testing.T) {
	t.Run("duration", func(t *testing.T) {
		g := startFake(t, 1, nil)
		r, err := Load(t.Context(), Config{Client: g.client, JournalPath: filepath.Join(t.TempDir(), "j"), Duration: 50 * time.Millisecond})
		if err != nil || r.Acknowledged == 0 || r.Unknown+r.Refused != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := startFake(t, 1, func(number int, _ []string) deed {
			if number == 100 {
				cancel()
			}
			return apply
		})
		r, err := Load(ctx, Config{Client: g.client, JournalPath: filepath.Join(t.TempDir(), "j")})
		if err != nil || r.Acknowledged < 100 || r.Unknown+r.Refused != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestInvalidWriteEndsTheLoad: there is no use in going on.
func TestInvalidWriteEndsTheLoad(t *testing.T) {
	g := startFake(t, 1, func(number int, _ []string) deed {
		if number == 10 {
			return blame
		}
		return apply
	})
	path := filepath.Join(t.TempDir(), "j")
	r, err := Load(t.Context(), Config{Client: g.client, JournalPath: path, Parameters: mixed})
	if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "malformed") || r.Refused != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	j, err := ReadJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if f := audit(t, g, j); !f.OK() || j.Open != 0 {
		t.Errorf("%+v", f)
	}
}

// TestWithoutJournal also counts what OnSecond is told.
func TestWithoutJournal(t *testing.T) {
	g := startFake(t, 1, nil)
	var told []Counts
	r, err := Load(t.Context(), Config{
		Client:   g.client,
		Duration: 1100 * time.Millisecond,
		OnSecond: func(s Counts) { told = append(told, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	// The last second is not over when the load ends.
	sum := uint64(0)
	for _, second := range told {
		sum += second.Acknowledged
	}
	if len(told) == 0 || told[0].Acknowledged == 0 || sum > r.Acknowledged {
		t.Errorf("told %+v of %+v", told, r)
	}
}

func TestBadConfig(t *testing.T) {
	g := startFake(t, 1, nil)
	c := g.client
	path := filepath.Join(t.TempDir(), "j")
	for name, cfg := range map[string]Config{
		"no client": {JournalPath: path},
		"prefix":    {Client: c, JournalPath: path, Parameters: Parameters{Prefix: "a b"}},
		"workers":   {Client: c, JournalPath: path, Parameters: Parameters{Workers: -1}},
		"shares":    {Client: c, JournalPath: path, Parameters: Parameters{BatchShare: 0.6, DeleteShare: 0.6}},
		"timeout":   {Client: c, JournalPath: path, WriteTimeout: time.Hour},
		"batch":     {Client: c, JournalPath: path, Parameters: Parameters{BatchShare: 0.6, KeysPerWorker: 1}},
	} {
		if _, err := Load(t.Context(), cfg); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), Config{Client: c, JournalPath: path}); !errors.Is(err, os.ErrExist) {
		t.Errorf("journal that is there: %v", err)
	}
}

func TestCheckNeedsEveryNode(t *testing.T) {
	g := startFake(t, 2, nil)
	_, j := run(t, g, mixed, 10)
	c := g.client
	gone := c.Node("127.0.0.1:1")
	_, err := Check(t.Context(), c, j, append(c.Nodes(), gone), CheckOptions{Patience: 50 * time.Millisecond})
	if !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), gone.Endpoint()) {
		t.Error(err)
	}
}

func TestManyPages(t *testing.T) {
	g := startFake(t, 1, nil)
	p := Parameters{Prefix: "a/", Workers: 2, KeysPerWorker: 20, ValueBytes: maxPageBytes / 16}
	_, j := run(t, g, p, 40) // 16 values to a page
	if f := audit(t, g, j); !f.OK() {
		t.Errorf("%v", f.List)
	}
	keys := slices.Sorted(maps.Keys(j.fates))
	g.tamper(0, func(held map[string]string) { delete(held, keys[0]); delete(held, keys[len(keys)-1]) })
	if f := audit(t, g, j); f.Total != 4 {
		t.Errorf("%v", f.List)
	}
}

func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[!-~]{1,60}`).Draw(t, "key")
		seq, seed := rapid.Uint64().Draw(t, "seq"), rapid.Uint64().Draw(t, "seed")
		size := rapid.IntRange(1, 400).Draw(t, "size")
		v := encodeValue(key, seq, seed, size)
		if k, s, err := decodeValue(v); k != key || s != seq || err != nil {
			t.Fatalf("%q, %d, %v from %q", k, s, err, v)
		}
		if len(v) != size && size > 130 {
			t.Fatalf("%d bytes, want %d", len(v), size)
		}
		bad := bytes.Clone(v)
		bad[rapid.IntRange(0, len(v)-1).Draw(t, "at")] ^= 1
		if _, _, err := decodeValue(bad); !errors.Is(err, errCorrupt) {
			t.Fatalf("%q: %v", bad, err)
		}
		if _, _, err := decodeValue(v[:rapid.IntRange(0, len(v)-1).Draw(t, "cut")]); !errors.Is(err, errCorrupt) {
			t.Fatalf("cut: %v", err)
		}
	})
}

func TestJudge(t *testing.T) {
	const absent, fine = 0, ""
	set, gone := &write{seq: 5}, &write{seq: 5, deletes: true}
	unknownSet, unknownGone := &write{seq: 9}, &write{seq: 9, deletes: true}
	for name, tt := range map[string]struct {
		fate fate
		want map[uint64]Kind // by the write that is there
	}{
		"never written": {fate{}, map[uint64]Kind{absent: fine, 1: Foreign}},
		"refused":       {fate{refused: []uint64{3}}, map[uint64]Kind{absent: fine, 3: Refused, 1: Foreign}},
		"acknowledged": {fate{acknowledged: set, refused: []uint64{3, 7}},
			map[uint64]Kind{absent: Lost, 3: Refused, 4: Stale, 5: fine, 7: Refused, 8: Foreign}},
		"deleted":              {fate{acknowledged: gone}, map[uint64]Kind{absent: fine, 4: Stale, 5: Foreign, 6: Foreign}},
		"unknown":              {fate{unknown: unknownSet}, map[uint64]Kind{absent: fine, 8: Foreign, 9: fine}},
		"unknown after set":    {fate{acknowledged: set, unknown: unknownSet}, map[uint64]Kind{absent: Lost, 4: Stale, 5: fine, 6: Foreign, 9: fine}},
		"unknown after delete": {fate{acknowledged: gone, unknown: unknownSet}, map[uint64]Kind{absent: fine, 4: Stale, 9: fine}},
		"unknown delete":       {fate{acknowledged: set, unknown: unknownGone}, map[uint64]Kind{absent: fine, 4: Stale, 5: fine, 9: Foreign}},
	} {
		for there, want := range tt.want {
			var value []byte
			if there != absent {
				value = encodeValue("k", there, 0, 0)
			}
			got := Kind(fine)
			if _, f := tt.fate.judge("k", value); f != nil {
				got = f.Kind
			}
			if got != want {
				t.Errorf("%s, write %d is there: %q, want %q", name, there, got, want)
			}
		}
	}
}
