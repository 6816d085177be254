package etcd

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	hraft "github.com/hashicorp/raft"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// Where the log store keeps what is no entry.
var (
	// voteKey: term and vote, 8 bytes each, big endian. One value, so one flush.
	voteKey = []byte("etcd.vote")
	// membersKey: a commit index and the configuration as of it (stored).
	membersKey = []byte("etcd.members")
)

// stored is the value of membersKey. The library applies a change of the configuration when
// it is committed, and does not ask for the commit index to be durable. A replica that forgot
// it would, after a restart, elect a leader by the votes of a configuration that is over
// (etcd-io/raft #300); so both are, before the change is applied.
type stored struct {
	Commit  uint64   `json:"commit"`
	Index   uint64   `json:"index"` // of the entry that made the configuration
	Members []record `json:"members"`
}

// maxCachedBytes bounds the entries that are kept in memory.
const maxCachedBytes = 16 << 20

var _ raft.Storage = (*log)(nil)

// log is the library's view of a log store and of the newest snapshot. The library reads it
// on one goroutine; one goroutine writes, which may be another; a third one deletes what a
// snapshot covers.
//
// The entry before the first that the library may ask for stays in the store, for its term,
// unless a snapshot has that: a log store knows nothing of entries that it does not hold.
type log struct {
	store    *failstop.Store
	max      int                            // entries in recent
	outdated func(*hraft.SnapshotMeta) bool // asked for the newest snapshot: a newer one is needed, and will be made

	writing  sync.Mutex // one write at a time,
	deleting sync.Mutex // and one deletion

	mu        sync.Mutex
	term      uint64
	vote      uint64
	commit    uint64         // at the start
	members   *configuration // at the start
	first     uint64         // that is there; last+1: none
	firstTerm uint64         // of the entry before first
	last      uint64
	recent    []*pb.Entry         // up to last
	bytes     int                 // of recent
	snapshot  *hraft.SnapshotMeta // newest; nil: none
}

// readVote returns the term and the vote in a log store; both 0: there are none.
func readVote(store core.LogStore) (term, vote uint64, err error) {
	raw, err := store.Get(voteKey)
	switch {
	case err != nil && err.Error() != "not found":
		return 0, 0, fmt.Errorf("read term and vote: %w", err)
	case len(raw) == 0:
		return 0, 0, nil
	case len(raw) != 16:
		return 0, 0, fmt.Errorf("read term and vote: %w: %d bytes, not 16", core.ErrDamaged, len(raw))
	}
	return binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:]), nil
}

func encodeVote(term, vote uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, term), vote)
}

// began returns the term in a log store. void: there is none, and what the engine has written
// into the log does not count, since a founding ends with the term and nothing else begins
// before it.
func began(store core.LogStore) (term uint64, void bool, err error) {
	if term, _, err = readVote(store); err != nil || term > 0 {
		return term, false, err
	}
	marked, err := identity.Engine(store)
	return 0, marked == Name, err
}

// openLog reads what is there. snapshot is the newest, nil if there is none. What a crash
// has left between a snapshot of the leader's and the log that it replaces is tidied up.
func openLog(store *failstop.Store, snapshot *hraft.SnapshotMeta, cache int) (*log, error) {
	l := &log{store: store, max: max(cache, 0), members: &configuration{}, snapshot: snapshot}
	var err error
	if l.term, l.vote, err = readVote(store); err != nil {
		return nil, err
	}
	if l.commit, l.members, err = readMembers(store); err != nil {
		return nil, err
	}
	if l.term == 0 && snapshot == nil { // nothing has happened, or a founding was not finished
		l.first, l.commit, l.members = 1, 0, &configuration{}
		return l, l.empty()
	}
	low, err := store.FirstIndex()
	if err != nil {
		return nil, err
	}
	if l.last, err = store.LastIndex(); err != nil {
		return nil, err
	}
	if err := l.align(low); err != nil {
		return nil, err
	}
	if snapshot != nil {
		l.commit = max(l.commit, snapshot.Index)
		if c := configurationOf(snapshot); c.index >= l.members.index {
			l.members = c
		}
	}
	lastTerm, err := l.Term(l.last)
	if err != nil {
		return nil, err
	}
	if l.commit > l.last || lastTerm > l.term {
		return nil, fmt.Errorf("%w: the log ends with entry %d of term %d, but the replica has seen entry %d committed, and term %d",
			core.ErrDamaged, l.last, lastTerm, l.commit, l.term)
	}
	return l, nil
}

// readMembers returns the commit index and the configuration in a log store.
func readMembers(store core.LogStore) (commit uint64, c *configuration, err error) {
	raw, err := store.Get(membersKey)
	if err != nil && err.Error() != "not found" {
		return 0, &configuration{}, fmt.Errorf("read the configuration: %w", err)
	}
	if len(raw) == 0 {
		return 0, &configuration{}, nil
	}
	var s stored
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, &configuration{}, fmt.Errorf("read the configuration: %w: %w", core.ErrDamaged, err)
	}
	return s.Commit, &configuration{s.Index, membersOf(s.Members)}, nil
}

func encodeMembers(commit uint64, c *configuration) ([]byte, error) {
	return json.Marshal(stored{commit, c.index, recordsOf(c.members)})
}

// align finds out where the log begins. low is the first entry in the store.
func (l *log) align(low uint64) (err error) {
	s := l.snapshot
	if s == nil {
		l.first = 1
		if l.last > 0 && low != 1 {
			return fmt.Errorf("%w: the log begins with entry %d, and there is no snapshot of those before", core.ErrDamaged, low)
		}
		return nil
	}
	if l.last > 0 && low > s.Index+1 {
		return fmt.Errorf("%w: the log begins with entry %d, and the newest snapshot ends with %d", core.ErrDamaged, low, s.Index)
	}
	matches := l.last >= s.Index
	if matches && low <= s.Index && l.last > 0 {
		entry, err := l.read(s.Index)
		if err != nil {
			return err
		}
		matches = entry.GetTerm() == s.Term
	}
	if !matches || l.last == 0 { // a snapshot of the leader's has taken the log's place
		return l.restart(s)
	}
	switch {
	case low == s.Index+1:
		l.first, l.firstTerm = low, s.Term
	case low == 1:
		l.first = 1
	default:
		entry, err := l.read(low)
		if err != nil {
			return err
		}
		l.first, l.firstTerm = low+1, entry.GetTerm()
	}
	return nil
}

// restart has the log begin behind a snapshot, with nothing in it. What is read meanwhile is
// compacted, and not missing: a snapshot of the replica's own may be finished just now.
func (l *log) restart(s *hraft.SnapshotMeta) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.deleting.Lock()
	defer l.deleting.Unlock()
	l.mu.Lock()
	l.first, l.firstTerm, l.last, l.recent, l.bytes = s.Index+1, s.Term, s.Index, nil, 0
	l.snapshot = s
	l.mu.Unlock()
	return l.empty()
}

// empty deletes all entries of the store.
func (l *log) empty() error {
	low, err := l.store.FirstIndex()
	if err != nil {
		return err
	}
	high, err := l.store.LastIndex()
	if err != nil || high == 0 {
		return err
	}
	return l.store.DeleteRange(low, high)
}

// InitialState implements raft.Storage.
func (l *log) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hs := &pb.HardState{Term: proto.Uint64(l.term), Vote: proto.Uint64(l.vote), Commit: proto.Uint64(l.commit)}
	return hs, l.members.state(), nil
}

// FirstIndex implements raft.Storage.
func (l *log) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, nil
}

// LastIndex implements raft.Storage.
func (l *log) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, nil
}

// Term implements raft.Storage.
func (l *log) Term(index uint64) (uint64, error) {
	l.mu.Lock()
	switch {
	case index+1 == l.first:
		defer l.mu.Unlock()
		return l.firstTerm, nil
	case index < l.first:
		l.mu.Unlock()
		return 0, raft.ErrCompacted
	case index > l.last:
		l.mu.Unlock()
		return 0, raft.ErrUnavailable
	}
	entry := l.cached(index)
	l.mu.Unlock()
	if entry != nil {
		return entry.GetTerm(), nil
	}
	entry, err := l.read(index)
	return entry.GetTerm(), err
}

// Entries implements raft.Storage.
func (l *log) Entries(low, high, maxSize uint64) ([]*pb.Entry, error) {
	l.mu.Lock()
	first, last := l.first, l.last
	l.mu.Unlock()
	switch {
	case low < first:
		return nil, raft.ErrCompacted
	case high > last+1:
		return nil, raft.ErrUnavailable
	}
	var entries []*pb.Entry
	size := uint64(0)
	for index := low; index < high; index++ {
		l.mu.Lock()
		entry := l.cached(index)
		l.mu.Unlock()
		if entry == nil {
			var err error
			if entry, err = l.read(index); err != nil {
				return nil, err
			}
		}
		size += uint64(proto.Size(entry))
		if len(entries) > 0 && size > maxSize {
			break
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Snapshot implements raft.Storage. A snapshot from before the present configuration would
// not name who was added since: that one would not take it.
func (l *log) Snapshot() (*pb.Snapshot, error) {
	l.mu.Lock()
	s := l.snapshot
	l.mu.Unlock()
	if l.outdated(s) {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return metadata(s), nil
}

// metadata returns a snapshot as the library knows it.
func metadata(s *hraft.SnapshotMeta) *pb.Snapshot {
	return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: proto.Uint64(s.Index), Term: proto.Uint64(s.Term), ConfState: configurationOf(s).state(),
	}}
}

// cached returns an entry that is in memory, or nil. The lock is held.
func (l *log) cached(index uint64) *pb.Entry {
	if n := uint64(len(l.recent)); index+n > l.last && index <= l.last {
		return l.recent[index+n-l.last-1]
	}
	return nil
}

// read returns an entry from the store. That it is not there is damage, unless it was deleted meanwhile.
func (l *log) read(index uint64) (*pb.Entry, error) {
	var entry hraft.Log
	err := l.store.GetLog(index, &entry)
	if err == hraft.ErrLogNotFound {
		if first, _ := l.FirstIndex(); index < first {
			return nil, raft.ErrCompacted
		}
		err = l.store.Fail(fmt.Errorf("the log store is %w: log entry %d is missing", core.ErrDamaged, index))
	}
	if err != nil {
		return nil, err
	}
	return fromStore(&entry), nil
}

// exclusive runs what else writes to the store.
func (l *log) exclusive(write func() error) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return write()
}

// save makes term, vote and entries durable, in this order: no log may be of a term that
// the replica does not know of. term 0: it and the vote have not changed.
func (l *log) save(term, vote uint64, entries []*pb.Entry) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if term > 0 && (term != l.term || vote != l.vote) {
		if err := l.store.Set(voteKey, encodeVote(term, vote)); err != nil {
			return err
		}
		l.term, l.vote = term, vote
	}
	if len(entries) == 0 {
		return nil
	}
	if from := entries[0].GetIndex(); from <= l.last {
		if err := l.truncate(from); err != nil {
			return err
		}
	} else if from != l.last+1 {
		return l.store.Fail(fmt.Errorf("entry %d does not follow the log, which ends with %d", from, l.last))
	}
	logs, refs := make([]hraft.Log, len(entries)), make([]*hraft.Log, len(entries))
	for i, e := range entries {
		logs[i] = toStore(e)
		refs[i] = &logs[i]
	}
	if err := l.store.StoreLogs(refs); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = entries[len(entries)-1].GetIndex()
	if l.max > 0 {
		l.remember(entries)
	}
	return nil
}

// remember keeps entries in memory. The lock is held.
func (l *log) remember(entries []*pb.Entry) {
	for _, e := range entries {
		l.recent = append(l.recent, e)
		l.bytes += len(e.GetData())
	}
	drop := 0
	for len(l.recent)-drop > l.max || l.bytes > maxCachedBytes {
		l.bytes -= len(l.recent[drop].GetData())
		drop++
	}
	if drop > 0 {
		clear(l.recent[:drop]) // for the garbage collector
		l.recent = l.recent[drop:]
	}
}

// truncate deletes the entries from index on.
func (l *log) truncate(from uint64) error {
	l.deleting.Lock()
	err := l.store.DeleteRange(from, l.last)
	l.deleting.Unlock()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.last >= from {
		if n := len(l.recent); n > 0 {
			l.bytes -= len(l.recent[n-1].GetData())
			l.recent[n-1] = nil
			l.recent = l.recent[:n-1]
		}
		l.last--
	}
	return nil
}

// saveMembers makes a configuration durable, and that it is committed.
func (l *log) saveMembers(commit uint64, c *configuration) error {
	raw, err := encodeMembers(commit, c)
	if err != nil {
		return err
	}
	return l.exclusive(func() error { return l.store.Set(membersKey, raw) })
}

// found writes the first configuration into an empty log, as its first entry.
func (l *log) found(c *configuration) error {
	// Voters first: the library takes members in one by one, and no group without a voter.
	members := slices.SortedStableFunc(slices.Values(c.members), func(a, b core.Member) int {
		switch {
		case a.Voter == b.Voter:
			return 0
		case a.Voter:
			return -1
		}
		return 1
	})
	data, err := (&configuration{}).encode(changeFound, members...)
	if err != nil {
		return err
	}
	founding := &pb.Entry{Term: proto.Uint64(1), Index: proto.Uint64(1), Type: pb.EntryConfChangeV2.Enum(), Data: data}
	// The term last: without it, nothing has happened.
	err = errors.Join(l.saveMembers(1, c), l.save(0, 0, []*pb.Entry{founding}), l.save(1, 0, nil))
	l.commit, l.members = 1, c
	return err
}

// founding returns the first configuration, which the first entry holds.
func (l *log) founding() (*configuration, error) {
	entry, err := l.read(1)
	if err != nil {
		return nil, err
	}
	c, _, err := (&configuration{}).next(entry)
	return c, err
}

// snapshotIndex returns what the newest snapshot covers.
func (l *log) snapshotIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot == nil {
		return 0
	}
	return l.snapshot.Index
}

// compacted notes a snapshot of the replica's own and has the log begin after to, if it
// reaches that far. What is before is to be deleted by drop. It is called where the library is.
func (l *log) compacted(s *hraft.SnapshotMeta, to uint64) error {
	term, err := l.Term(to)
	if err == raft.ErrCompacted || to == 0 {
		term, err = 0, nil
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot == nil || s.Index > l.snapshot.Index {
		l.snapshot = s
	}
	if term > 0 && to >= l.first {
		l.first, l.firstTerm = to+1, term
	}
	return nil
}

// drop deletes the entries before the one that stays for its term.
func (l *log) drop() error {
	l.deleting.Lock()
	defer l.deleting.Unlock()
	l.mu.Lock()
	first := l.first
	l.mu.Unlock()
	low, err := l.store.FirstIndex()
	if err != nil || low == 0 || low+1 >= first {
		return err
	}
	return l.store.DeleteRange(low, first-2)
}

// toStore returns an entry as log stores have it. Its data are shared.
func toStore(e *pb.Entry) hraft.Log {
	t := hraft.LogCommand
	switch {
	case e.GetType() != pb.EntryNormal:
		t = hraft.LogConfiguration
	case len(e.GetData()) == 0:
		t = hraft.LogNoop
	}
	return hraft.Log{Index: e.GetIndex(), Term: e.GetTerm(), Type: t, Data: e.GetData()}
}

// fromStore is the way back.
func fromStore(entry *hraft.Log) *pb.Entry {
	t := pb.EntryNormal
	if entry.Type == hraft.LogConfiguration {
		t = pb.EntryConfChangeV2
	}
	return &pb.Entry{Index: proto.Uint64(entry.Index), Term: proto.Uint64(entry.Term), Type: t.Enum(), Data: entry.Data}
}
