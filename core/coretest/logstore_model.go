package coretest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
)

// maxModelSteps bounds one run against the model, as each step may cost a flush.
const maxModelSteps = 12

// checkModel runs random operations against the store and against maps, and
// compares everything that can be read after each.
func checkModel(t *checker, h storeHarness) {
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		t.must("making a folder", err)
		defer os.RemoveAll(dir) // there are many runs, and some stores reserve much
		m := &storeModel{
			store:  h.open(t.T, dir),
			logs:   map[uint64]*raft.Log{},
			values: map[string][]byte{},
			counts: map[string]uint64{},
		}
		defer func() { m.store.Close() }()
		steps := m.steps(h, func() core.LogStore { return h.open(t.T, dir) })
		names := slices.Sorted(maps.Keys(steps))
		for range rapid.IntRange(1, maxModelSteps).Draw(rt, "steps") {
			steps[rapid.SampledFrom(names).Draw(rt, "step")](rt)
			m.compare(rt)
		}
	})
}

// storeModel is a store beside the naive version of what it should hold.
type storeModel struct {
	store  core.LogStore
	logs   map[uint64]*raft.Log
	values map[string][]byte
	counts map[string]uint64
	high   uint64 // highest index ever stored
}

// steps are the operations to choose from.
func (m *storeModel) steps(h storeHarness, reopen func() core.LogStore) map[string]func(*rapid.T) {
	steps := map[string]func(*rapid.T){
		"append":        func(rt *rapid.T) { m.storeFrom(rt, m.last()+1) },
		"delete prefix": func(rt *rapid.T) { m.remove(rt, 1, m.draw(rt, "to")) },
		"delete suffix": func(rt *rapid.T) { m.remove(rt, m.draw(rt, "from"), m.last()+2) },
		"set":           m.set,
	}
	if !h.monotonic {
		steps["store anywhere"] = func(rt *rapid.T) { m.storeFrom(rt, m.draw(rt, "first")) }
		steps["delete middle"] = func(rt *rapid.T) {
			from := m.draw(rt, "from")
			m.remove(rt, from, from+rapid.Uint64Range(0, 4).Draw(rt, "more"))
		}
	}
	if h.durable {
		steps["reopen"] = func(rt *rapid.T) {
			must(rt, "Close", m.store.Close())
			m.store = reopen()
		}
	}
	return steps
}

// draw chooses an index in the log or just outside it.
func (m *storeModel) draw(rt *rapid.T, label string) uint64 {
	first := m.first()
	return rapid.Uint64Range(max(first, 2)-1, m.last()+2).Draw(rt, label)
}

func (m *storeModel) first() uint64 {
	if len(m.logs) == 0 {
		return 0
	}
	return slices.Min(slices.Collect(maps.Keys(m.logs)))
}

func (m *storeModel) last() uint64 {
	if len(m.logs) == 0 {
		return 0
	}
	return slices.Max(slices.Collect(maps.Keys(m.logs)))
}

func (m *storeModel) storeFrom(rt *rapid.T, first uint64) {
	small := rapid.SliceOfN(rapid.Byte(), 0, 16)
	logs := make([]*raft.Log, rapid.IntRange(1, 5).Draw(rt, "entries"))
	for i := range logs {
		logs[i] = &raft.Log{
			Index:      first + uint64(i),
			Term:       rapid.Uint64Range(0, 9).Draw(rt, "term"),
			Type:       rapid.SampledFrom([]raft.LogType{raft.LogCommand, raft.LogNoop, raft.LogBarrier, raft.LogConfiguration}).Draw(rt, "type"),
			Data:       small.Draw(rt, "data"),
			Extensions: small.Draw(rt, "extensions"),
			AppendedAt: time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(rt, "nanoseconds")),
		}
		m.logs[logs[i].Index] = logs[i]
		m.high = max(m.high, logs[i].Index)
	}
	if len(logs) == 1 {
		must(rt, fmt.Sprintf("StoreLog(%d)", first), m.store.StoreLog(logs[0]))
		return
	}
	must(rt, fmt.Sprintf("StoreLogs of %d from %d", len(logs), first), m.store.StoreLogs(logs))
}

func (m *storeModel) remove(rt *rapid.T, low, high uint64) {
	must(rt, fmt.Sprintf("DeleteRange(%d, %d)", low, high), m.store.DeleteRange(low, high))
	maps.DeleteFunc(m.logs, func(i uint64, _ *raft.Log) bool { return low <= i && i <= high })
}

func (m *storeModel) set(rt *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(rt, "key")
	if rapid.Bool().Draw(rt, "as number") {
		// Number keys are kept apart: hashicorp/raft never reads one as bytes.
		v := rapid.Uint64().Draw(rt, "value")
		must(rt, "SetUint64", m.store.SetUint64([]byte("n"+key), v))
		m.counts["n"+key] = v
		return
	}
	v := rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(rt, "value")
	must(rt, "Set", m.store.Set([]byte(key), v))
	m.values[key] = v
}

// compare reads the whole store.
func (m *storeModel) compare(rt *rapid.T) {
	wantBounds(rt, m.store, m.first(), m.last())
	for i := range m.high + 3 {
		if want, ok := m.logs[i]; ok {
			wantEntry(rt, m.store, want)
		} else {
			wantMissing(rt, m.store, i)
		}
	}
	for key, want := range m.values {
		wantBytes(rt, m.store, key, string(want))
	}
	for key, want := range m.counts {
		wantUint64(rt, m.store, key, want)
	}
	if rt.Failed() {
		rt.FailNow()
	}
}
