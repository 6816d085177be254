package coretest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

func correctStore(t *testing.T, opts ...Option) {
	TestLogStore(t, opener(core.DurableDisk, correct), opts...)
}

// storeWith makes the broken entry of a store that wrap has put a defect into.
func storeWith(property, defect string, wrap func(*memStore) core.LogStore) broken {
	return broken{property, defect, func(t *testing.T, opts ...Option) {
		TestLogStore(t, opener(core.DurableDisk, wrap), opts...)
	}}
}

// hooked is a memStore with some of its methods replaced.
type hooked struct {
	*memStore
	get       func(index uint64, log *raft.Log) error
	store     func(logs []*raft.Log) error
	remove    func(low, high uint64) error
	first     func() (uint64, error)
	last      func() (uint64, error)
	setBytes  func(key, value []byte) error
	getBytes  func(key []byte) ([]byte, error)
	setNumber func(key []byte, value uint64) error
	syncs     func() uint64
	info      func() core.StoreInfo
	end       func() error
}

func hook(s *memStore, change func(*hooked)) core.LogStore {
	h := &hooked{
		memStore: s, get: s.GetLog, store: s.StoreLogs, remove: s.DeleteRange, first: s.FirstIndex, last: s.LastIndex,
		setBytes: s.Set, getBytes: s.Get, setNumber: s.SetUint64, syncs: s.SyncCount, info: s.Describe, end: s.Close,
	}
	change(h)
	return h
}

func (h *hooked) GetLog(i uint64, l *raft.Log) error       { return h.get(i, l) }
func (h *hooked) StoreLog(l *raft.Log) error               { return h.store([]*raft.Log{l}) }
func (h *hooked) StoreLogs(l []*raft.Log) error            { return h.store(l) }
func (h *hooked) DeleteRange(low, high uint64) error       { return h.remove(low, high) }
func (h *hooked) FirstIndex() (uint64, error)              { return h.first() }
func (h *hooked) LastIndex() (uint64, error)               { return h.last() }
func (h *hooked) Set(key, value []byte) error              { return h.setBytes(key, value) }
func (h *hooked) Get(key []byte) ([]byte, error)           { return h.getBytes(key) }
func (h *hooked) SetUint64(key []byte, value uint64) error { return h.setNumber(key, value) }
func (h *hooked) SyncCount() uint64                        { return h.syncs() }
func (h *hooked) Describe() core.StoreInfo                 { return h.info() }
func (h *hooked) Close() error                             { return h.end() }
func hookWith(change func(*hooked)) func(*memStore) core.LogStore {
	return func(s *memStore) core.LogStore { return hook(s, change) }
}

// whenRead changes what GetLog returns.
func whenRead(change func(*raft.Log)) func(*memStore) core.LogStore {
	return hookWith(func(h *hooked) {
		h.get = func(i uint64, l *raft.Log) error {
			err := h.memStore.GetLog(i, l)
			if err == nil {
				change(l)
			}
			return err
		}
	})
}

// panickingStore panics in DeleteRange.
func panickingStore(s *memStore) core.LogStore {
	return hook(s, func(h *hooked) { h.remove = func(uint64, uint64) error { panic("out of range") } })
}

// hangingClose hangs when it is closed again.
type hangingClose struct{ *memStore }

func (h hangingClose) Close() error {
	if _, err := h.LastIndex(); err != nil {
		select {}
	}
	return h.memStore.Close()
}

func brokenStores() []broken {
	return slices.Concat(brokenReads(), brokenWrites(), brokenDeletes(), brokenStables(), brokenLives())
}

func brokenReads() []broken {
	return []broken{
		storeWith("Describe", "no-name", hookWith(func(h *hooked) {
			h.info = func() core.StoreInfo { return core.StoreInfo{Durability: core.DurableDisk} }
		})),
		storeWith("Describe", "unknown-durability", hookWith(func(h *hooked) {
			h.info = func() core.StoreInfo { return core.StoreInfo{Name: "mem", Durability: "quite"} }
		})),
		storeWith("Missing", "wraps-not-found", hookWith(func(h *hooked) {
			h.get = func(i uint64, l *raft.Log) error {
				if err := h.memStore.GetLog(i, l); err != nil {
					return fmt.Errorf("get %d: %w", i, err)
				}
				return nil
			}
		})),
		storeWith("Empty", "empty-log-begins-at-1", hookWith(func(h *hooked) {
			h.first = func() (uint64, error) {
				first, err := h.memStore.FirstIndex()
				return max(first, 1), err
			}
		})),
		storeWith("Fields", "drops-extensions", whenRead(func(l *raft.Log) { l.Extensions = nil })),
		storeWith("Fields", "drops-type", whenRead(func(l *raft.Log) { l.Type = raft.LogCommand })),
		storeWith("Fields", "time-in-seconds", whenRead(func(l *raft.Log) { l.AppendedAt = l.AppendedAt.Truncate(time.Second) })),
		storeWith("DirtyEntry", "keeps-old-extensions", hookWith(func(h *hooked) {
			h.get = func(i uint64, l *raft.Log) error {
				old := l.Extensions
				err := h.memStore.GetLog(i, l)
				if len(l.Extensions) == 0 {
					l.Extensions = old
				}
				return err
			}
		})),
		storeWith("ReadBytesStay", "reads-into-old-bytes", hookWith(func(h *hooked) {
			h.get = func(i uint64, l *raft.Log) error {
				old := l.Data
				err := h.memStore.GetLog(i, l)
				l.Data = append(old[:0], l.Data...)
				return err
			}
		})),
		storeWith("Concurrent", "reads-a-neighbour", hookWith(func(h *hooked) {
			h.get = func(i uint64, l *raft.Log) error {
				var next raft.Log
				if i%7 == 0 && h.memStore.GetLog(i+1, &next) == nil {
					i++
				}
				return h.memStore.GetLog(i, l)
			}
		})),
	}
}

func brokenWrites() []broken {
	return []broken{
		storeWith("StoreOne", "last-is-a-count-from-0", hookWith(func(h *hooked) {
			h.last = func() (uint64, error) {
				last, err := h.memStore.LastIndex()
				return max(last, 1) - 1, err
			}
		})),
		storeWith("StoreBatch", "first-is-always-1", hookWith(func(h *hooked) {
			h.first = func() (uint64, error) {
				first, err := h.memStore.FirstIndex()
				return min(first, 1), err
			}
		})),
		storeWith("CopiesInput", "keeps-the-callers-bytes", hookWith(func(h *hooked) {
			h.store = func(logs []*raft.Log) error {
				return h.memStore.write("store", func(d *disk) {
					for _, l := range logs {
						d.logs[l.Index] = *l
					}
				})
			}
		})),
		storeWith("LargeEntries", "cuts-at-64KiB", whenRead(func(l *raft.Log) { l.Data = l.Data[:min(len(l.Data), 1<<16)] })),
		storeWith("LargeBatches", "loses-what-is-over-512", hookWith(func(h *hooked) {
			h.store = func(logs []*raft.Log) error { return h.memStore.StoreLogs(logs[:min(len(logs), 512)]) }
		})),
		storeWith("Overwrite", "first-write-wins", hookWith(func(h *hooked) {
			h.store = func(logs []*raft.Log) error {
				return h.memStore.StoreLogs(slices.DeleteFunc(slices.Clone(logs), func(l *raft.Log) bool {
					return h.memStore.GetLog(l.Index, new(raft.Log)) == nil
				}))
			}
		})),
		storeWith("Gaps", "refuses-gaps", hookWith(func(h *hooked) {
			h.store = func(logs []*raft.Log) error {
				if last, _ := h.memStore.LastIndex(); last != 0 && logs[0].Index > last+1 {
					return errors.New("gap")
				}
				return h.memStore.StoreLogs(logs)
			}
		})),
		storeWith("SyncCount", "counts-nothing", hookWith(func(h *hooked) { h.syncs = func() uint64 { return 5 } })),
	}
}

// whenRemoving changes the range that is deleted.
func whenRemoving(change func(low, high, first, last uint64) (uint64, uint64)) func(*memStore) core.LogStore {
	return hookWith(func(h *hooked) {
		h.remove = func(low, high uint64) error {
			first, _ := h.memStore.FirstIndex()
			last, _ := h.memStore.LastIndex()
			return h.memStore.DeleteRange(change(low, high, first, last))
		}
	})
}

func brokenDeletes() []broken {
	return []broken{
		storeWith("DeletePrefix", "range-ends-too-early", whenRemoving(func(low, high, _, _ uint64) (uint64, uint64) { return low, high - 1 })),
		storeWith("DeleteSuffix", "suffix-stays", whenRemoving(func(low, high, first, _ uint64) (uint64, uint64) {
			if low > first {
				return 0, 0
			}
			return low, high
		})),
		storeWith("DeleteEverything", "last-one-stays", whenRemoving(func(low, high, _, last uint64) (uint64, uint64) { return low, min(high, last-1) })),
		storeWith("DeleteOutside", "needs-an-entry-at-the-start", whenRemoving(func(low, high, first, last uint64) (uint64, uint64) {
			if low < first || low > last {
				return 0, 0
			}
			return low, high
		})),
		storeWith("Model", "middle-takes-the-rest", whenRemoving(func(low, high, first, last uint64) (uint64, uint64) {
			if low > first && high < last {
				return low, last
			}
			return low, high
		})),
	}
}

func brokenStables() []broken {
	return []broken{
		storeWith("StableUint64", "numbers-of-32-bits", hookWith(func(h *hooked) {
			h.setNumber = func(key []byte, v uint64) error { return h.memStore.SetUint64(key, uint64(uint32(v))) }
		})),
		storeWith("StableBytes", "values-end-at-a-zero", hookWith(func(h *hooked) {
			h.setBytes = func(key, v []byte) error {
				v, _, _ = bytes.Cut(v, []byte{0})
				return h.memStore.Set(key, v)
			}
		})),
		storeWith("StableMissing", "wraps-the-text", hookWith(func(h *hooked) {
			h.getBytes = func(key []byte) ([]byte, error) {
				v, err := h.memStore.Get(key)
				if err != nil {
					err = fmt.Errorf("get %s: %w", key, err)
				}
				return v, err
			}
		})),
		storeWith("StableEmptyValue", "ignores-empty-values", hookWith(func(h *hooked) {
			h.setBytes = func(key, v []byte) error {
				if len(v) == 0 {
					return nil
				}
				return h.memStore.Set(key, v)
			}
		})),
		storeWith("StableEmptyValue", "refuses-empty-values-in-its-own-words", hookWith(func(h *hooked) {
			h.setBytes = func(key, v []byte) error {
				if len(v) == 0 {
					return errors.New("empty")
				}
				return h.memStore.Set(key, v)
			}
		})),
		storeWith("StableCopiesInput", "keeps-the-callers-value", hookWith(func(h *hooked) {
			h.setBytes = func(key, v []byte) error {
				return h.memStore.write("set", func(d *disk) { d.values[string(key)] = v })
			}
		})),
		storeWith("StableApartFromLog", "empty-log-empties-all", hookWith(func(h *hooked) {
			h.remove = func(low, high uint64) error {
				return errors.Join(h.memStore.DeleteRange(low, high), h.memStore.write("delete", func(d *disk) {
					if len(d.logs) == 0 {
						clear(d.counts)
					}
				}))
			}
		})),
	}
}

// whenClosing changes the disk at Close: what is gone then was never written.
func whenClosing(change func(*disk)) func(*memStore) core.LogStore {
	return hookWith(func(h *hooked) {
		h.end = func() error {
			_ = h.memStore.write("close", change) // closed already: nothing to lose
			return h.memStore.Close()
		}
	})
}

func brokenLives() []broken {
	ended := errors.New("the store has ended")
	return []broken{
		storeWith("ReopenKeepsLog", "loses-the-last-entry", whenClosing(func(d *disk) { delete(d.logs, 25) })),
		storeWith("ReopenKeepsStable", "loses-stable-values", whenClosing(func(d *disk) { clear(d.values) })),
		storeWith("ReopenKeepsTruncation", "deleted-entries-come-back", whenClosing(func(d *disk) { d.logs[25] = *entry(25) })),
		storeWith("KilledWriter", "stores-entries-one-by-one", hookWith(func(h *hooked) {
			h.disk.flush = func(*os.File) error { return nil } // which only makes this slow
			h.store = func(logs []*raft.Log) error {
				for _, l := range logs {
					if err := h.memStore.StoreLog(l); err != nil {
						return err
					}
				}
				return nil
			}
		})),
		storeWith("KilledWriter", "writes-behind", hookWith(func(h *hooked) {
			file := h.disk.file
			h.disk.file = "" // until Close
			h.end = func() error {
				h.disk.file = file
				return errors.Join(h.disk.save(), h.memStore.Close())
			}
		})),
		storeWith("FailingFlush", "flushes-nothing", func(s *memStore) core.LogStore {
			s.disk.flush = func(*os.File) error { return nil }
			return s
		}),
		storeWith("FailingFlush", "ignores-a-failed-flush", func(s *memStore) core.LogStore {
			s.disk.flush = func(f *os.File) error { _ = f.Sync(); return nil }
			return s
		}),
		storeWith("CloseUnderLoad", "stays-open-under-load", hookWith(func(h *hooked) { h.end = func() error { return nil } })),
		storeWith("UseAfterClose", "another-error", hookWith(func(h *hooked) {
			h.get = func(i uint64, l *raft.Log) error {
				err := h.memStore.GetLog(i, l)
				if errors.Is(err, core.ErrClosed) {
					return ended
				}
				return err
			}
		})),
		storeWith("CloseUnderLoad", "another-error-under-load", hookWith(func(h *hooked) {
			h.store = func(logs []*raft.Log) error {
				if err := h.memStore.StoreLogs(logs); errors.Is(err, core.ErrClosed) {
					return ended
				}
				return nil
			}
		})),
		storeWith("CloseTwice", "close-works-once", hookWith(func(h *hooked) {
			h.end = func() error {
				if _, err := h.memStore.LastIndex(); err != nil {
					return err
				}
				return h.memStore.Close()
			}
		})),
		storeWith("CloseTwice", "close-hangs", func(s *memStore) core.LogStore { return hangingClose{s} }),
		{"Independent", "one-disk-for-all", func(t *testing.T, opts ...Option) {
			d := disks{}
			TestLogStore(t, func(*testing.T, string) core.LogStore { return d.open("", core.DurableDisk) }, opts...)
		}},
	}
}
