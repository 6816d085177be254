package etcd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
)

// driver is the goroutine that has the library's RawNode: it hands it messages, ticks and
// proposals, and does what it asks for. The library panics where something cannot be, on that
// goroutine alone, so its panics become the replica's error.
//
// The library runs with storage messages (AsyncStorageWrites): it goes on while entries are
// written or applied, and is told when they are. That bounds the entries that wait to be applied,
// also while a snapshot is restored.
//
// What a leader sends does not wait for its own disk (Raft dissertation, §10.2.1), unless
// persistence is serial: it counts itself in for an entry only once that is written, and
// applies it only then, and answers of others for it wait until then (ahead), so what is
// committed is on a majority that includes the leader.
// What others send waits for all that they had written before: votes and answers are
// promises, and who stands for election must not, after a crash, be elected in the same term
// for a log that it has lost.
type driver struct {
	r       *replica
	set     settings
	node    *raft.RawNode
	log     *log
	applier *applier
	writer  *writer

	inbox chan *received
	wake  chan struct{} // holds one once there is a task
	mu    sync.Mutex
	tasks []func(*driver)
	over  bool
	done  []*pb.Message // of the applier, for the library

	// The goroutine's own.
	role        core.Role
	term        uint64
	lead        uint64
	leads       time.Time // since when, where it does
	members     *configuration
	writing     int           // writes that the writer has
	held        []*pb.Message // answers that wait for these
	savedTerm   uint64
	savedVote   uint64 // as of the last of them
	ticks       int
	transferred bool // leadership of this term was to be given away
	expelled    bool // it led, and is no member any more
	arrived     *incoming

	pending       pending
	reads         map[uint64]*reading
	lastRead      uint64
	transfer      *transfer
	summons       *received // a leader's MsgTimeoutNow that waits for changes to be applied
	echo          echo
	loyal         time.Time // until then no vote is given unasked for by the leader: see LeaseBarrier
	sendings      sendings
	nextLook      int // tick at which it is looked whether to snapshot
	askedSnapshot int // tick before which none is asked for again
}

// echo is what a follower says to its leader of when that one was heard: the newest time that it has
// sent in its term. Times of an earlier term may be those of another process, whose clock began
// at another moment.
type echo struct {
	to, term uint64
	sent     int64
}

// heard notes a message of the leader.
func (e *echo) heard(m *received) {
	if m.GetTerm() != e.term {
		*e = echo{to: m.GetFrom(), term: m.GetTerm()}
	}
	e.sent = max(e.sent, m.sent)
}

// received is a message of another member.
type received struct {
	frame
	peer     *core.Identity // who has sent it
	snapshot *incoming      // with a MsgSnap
}

// maxGathered is how many messages are taken in before the library is asked what is to be done.
const maxGathered = 256

func newDriver(r *replica, l *log) *driver {
	return &driver{
		r: r, set: r.set, log: l, members: l.members, role: core.Follower, term: l.term, savedTerm: l.term, savedVote: l.vote,
		writer: newWriter(r), inbox: make(chan *received, 64), wake: make(chan struct{}, 1),
		reads: map[uint64]*reading{}, sendings: sendings{}, loyal: r.votesFrom,
	}
}

// start makes the library's node. Its panics are errors.
func (d *driver) start(applied uint64) (err error) {
	defer caught(&err)
	d.node, err = raft.NewRawNode(&raft.Config{
		ID:                        d.r.number,
		ElectionTick:              ticksPerTimeout,
		HeartbeatTick:             1,
		Storage:                   d.log,
		Applied:                   applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             uint64(d.set.MaxAppendEntries) * bytesPerEntry,
		MaxCommittedSizePerReady:  maxUnappliedBytes,
		MaxInflightMsgs:           d.set.MaxInFlight,
		MaxInflightBytes:          max(maxInflightBytes, uint64(d.set.MaxAppendEntries)*bytesPerEntry),
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		DisableProposalForwarding: true,
		Logger:                    libraryLogger{d.r.logger},
	})
	return err
}

const (
	// maxUnappliedBytes bounds the entries that were handed to the applier and are not applied.
	maxUnappliedBytes = 8 << 20
	// maxInflightBytes bounds those on the way to a member: many messages may be large ones.
	maxInflightBytes = 64 << 20
)

// caught makes an error of a panic.
func caught(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("etcd/raft gave up: %w\n%s", p, debug.Stack())
	case error:
		*err = fmt.Errorf("etcd/raft gave up: %w", p)
	default:
		*err = fmt.Errorf("etcd/raft gave up: %v", p)
	}
}

// post queues a task for the goroutine; false: it is gone, and the task will not be run.
func (d *driver) post(task func(*driver)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false
	}
	d.tasks = append(d.tasks, task)
	d.awake()
	return true
}

func (d *driver) awake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// finished tells the library that entries are applied: at once, or with what comes next.
func (d *driver) finished(applied *pb.Message, atOnce bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, applied)
	if atOnce || len(d.done) > maxGathered {
		d.awake()
	}
}

// run is the goroutine. It ends when quit is closed, or with an error.
func (d *driver) run(quit <-chan struct{}) (err error) {
	defer caught(&err)
	ticker := time.NewTicker(d.set.tick)
	defer ticker.Stop()
	d.publish()
	for {
		var proposals <-chan struct{}
		if d.hasRoom() {
			proposals = d.r.proposals.wake
		}
		select {
		case <-ticker.C:
			d.tick()
		case m := <-d.inbox:
			d.step(m)
		case done := <-d.writer.done:
			d.written(done)
		case <-d.wake:
		case <-proposals:
		case <-quit:
			return nil
		}
		d.gather()
		d.heed()
		if d.hasRoom() {
			d.take()
		}
		for d.node.HasReady() {
			if err := d.ready(); err != nil {
				return err
			}
			d.askWaiting()
		}
		if d.arrived != nil { // the library has nothing to say to it
			d.arrived.discard()
			d.arrived = nil
		}
	}
}

// leave has the driver take nothing more, once its goroutine has ended or hangs.
func (d *driver) leave() {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.pending.giveUp(d.r.stopped("driver"))
}

// gather takes in what else has come. Nothing is appended by it, so that what the proposals
// append is the last of the next Ready.
func (d *driver) gather() {
	d.mu.Lock()
	tasks, done := d.tasks, d.done
	d.tasks, d.done = nil, nil
	d.mu.Unlock()
	for _, m := range done {
		_ = d.node.Step(m)
	}
	for range maxGathered {
		if d.arrived != nil { // the library is to say first what becomes of it
			break
		}
		select {
		case m := <-d.inbox:
			d.step(m)
			continue
		default:
		}
		break
	}
	for _, task := range tasks {
		task(d)
	}
}

// tick is the library's clock, and that of what is to be tried again.
func (d *driver) tick() {
	d.ticks++
	d.node.Tick()
	for read, asked := range d.reads {
		if d.ticks-asked.asked >= readRetry {
			d.askAgain(read)
		}
	}
	d.tickTransfer()
	if d.ticks >= d.nextLook {
		d.lookAtSnapshot()
	}
}

// step hands a message of another member to the library.
func (d *driver) step(m *received) {
	t := m.GetType()
	if err := d.follow(m); err != nil {
		m.refuse(err)
		return
	}
	vote := t == pb.MsgVote || t == pb.MsgPreVote
	if vote && time.Now().Before(d.loyal) && len(m.GetContext()) == 0 {
		return // also where the library has forgotten, in a new term, that there was a leader
	}
	if m.snapshot != nil {
		d.arrived = m.snapshot
	}
	d.r.trace.received(m.Message, d.r.lastIndex.Load())
	if d.role == core.Leader && m.GetTerm() == d.term && raft.IsResponseMsg(t) {
		d.heard(m)
	}
	if d.ahead(m.Message) {
		d.held = append(d.held, m.Message)
		return
	}
	_ = d.node.Step(m.Message) // what it does not want, it drops
	switch {
	case carries(t):
		if s := d.node.BasicStatus(); s.GetTerm() == m.GetTerm() && s.Lead == m.GetFrom() { // it follows that one
			now := time.Now()
			d.echo.heard(m)
			d.loyal = now.Add(d.set.loyalty)
			d.r.lastContact.Store(now.UnixNano())
		}
	case t == pb.MsgTimeoutNow:
		d.summons = m
		d.heed()
	}
}

// ahead says whether a member has answered for an entry that is not durable here yet. A majority
// of followers would do for the library; that the leader has the entry too is what
// core.Tuning.Persistence promises.
func (d *driver) ahead(m *pb.Message) bool {
	if d.writing == 0 || d.role != core.Leader || m.GetType() != pb.MsgAppResp || m.GetReject() || m.GetTerm() != d.term {
		return false
	}
	last, _ := d.log.LastIndex() // never fails
	return m.GetIndex() > last
}

// heed has the replica stand for election that its leader gives leadership to. The library
// does not do so, without a word, while a change of the configuration is committed and not applied
// here; and the leader does not ask twice.
func (d *driver) heed() {
	m := d.summons
	if m == nil {
		return
	}
	s := d.node.BasicStatus()
	if s.RaftState != raft.StateFollower || s.GetTerm() != m.GetTerm() || s.Lead != m.GetFrom() {
		d.summons = nil
		return
	}
	if s.Applied == s.GetCommit() {
		d.summons = nil
		_ = d.node.Step(m.Message)
	}
}

// heard notes an answer to this replica as the leader.
func (d *driver) heard(m *received) {
	var index uint64
	if m.GetType() == pb.MsgAppResp && !m.GetReject() {
		index = m.GetIndex()
	}
	var sent time.Time
	if at := d.r.peers.epoch.Add(time.Duration(m.echo)); m.echo != 0 && !at.Before(d.leads) {
		sent = at
	}
	d.r.contacts.heard(m.GetFrom(), m.GetTerm(), index, sent)
	if d.r.trace != nil {
		if peer, ok := d.members.numbered(m.GetFrom()); ok {
			d.sendings.answered(d.r.trace, m.Message, peer.ID)
		}
	}
}

// refuse tells who has brought a snapshot that it was not taken.
func (m *received) refuse(err error) {
	if m.snapshot != nil {
		m.snapshot.settle(errors.Join(err, m.snapshot.sink.Cancel()))
	}
}

// follow has a replica without a group enter that of the leader that replicates to it.
func (d *driver) follow(m *received) error {
	if !carries(m.GetType()) || *d.r.self.Group() != "" {
		return nil
	}
	return d.log.exclusive(func() error { return d.r.self.Enter(m.peer.Group, m.peer.Former) })
}

// note takes in the state of the library.
func (d *driver) note(rd raft.Ready) {
	if n := len(rd.Entries); n > 0 {
		d.r.lastIndex.Store(rd.Entries[n-1].GetIndex())
	} else if !raft.IsEmptySnap(rd.Snapshot) {
		d.r.lastIndex.Store(rd.Snapshot.GetMetadata().GetIndex())
	}
	if rd.HardState != nil {
		d.term = rd.GetTerm()
		d.r.committed.Store(rd.GetCommit())
	}
	if rd.SoftState == nil && rd.HardState == nil {
		return
	}
	led := d.role == core.Leader
	if s := rd.SoftState; s != nil {
		d.lead = s.Lead
		switch s.RaftState {
		case raft.StateLeader:
			d.role = core.Leader
		case raft.StateFollower:
			d.role = core.Follower
		default:
			d.role = core.Candidate
		}
	}
	switch {
	case !led && d.role == core.Leader:
		d.leads, d.transferred = time.Now(), false
		clear(d.sendings)
	case led && d.role != core.Leader:
		d.deposed()
	}
	d.settleTransfer()
	d.publish()
}

// deposed tells those who wait for this replica's leadership.
func (d *driver) deposed() {
	d.pending.abandon(errors.New("leadership was lost"))
	for read, asked := range d.reads {
		delete(d.reads, read)
		asked.done <- readIndex{err: d.r.notLeader("read index")}
	}
}

// publish makes the state known to other goroutines.
func (d *driver) publish() {
	old := d.r.view.Load()
	if old != nil && old.role == d.role && old.term == d.term && old.lead == d.lead && old.members == d.members &&
		old.transferred == d.transferred && old.expelled == d.expelled {
		return
	}
	v := &view{role: d.role, term: d.term, lead: d.lead, members: d.members, transferred: d.transferred, expelled: d.expelled}
	v.voters = d.members.voters()
	d.r.view.Store(v)
}

// commit hands committed entries to the applier. Changes of the configuration take effect here,
// before anything that the library says because of them is sent. They are durable first, with
// the commit index: see stored.
func (d *driver) commit(m *pb.Message) error {
	j := job{entries: m.GetEntries(), applied: m.GetResponses()[0]}
	for _, e := range j.entries {
		if e.GetType() != pb.EntryConfChangeV2 || e.GetIndex() <= d.members.index { // that has taken effect before the start
			continue
		}
		next, steps, err := d.members.next(e)
		if err != nil {
			return d.r.store.Fail(err)
		}
		if err := d.log.saveMembers(e.GetIndex(), next); err != nil {
			return err
		}
		for _, s := range steps {
			d.node.ApplyConfChange(s)
		}
		d.configure(next)
	}
	j.waiting = d.pending.committed(j.entries) // last: who stops a driver that hangs tells those that are pending
	d.applier.add(j)
	return nil
}

// configure takes in a configuration.
func (d *driver) configure(members *configuration) {
	_, stays := members.numbered(d.r.number)
	d.expelled = !stays && (d.role == core.Leader || d.expelled)
	d.members = members
	d.r.peers.configure(members)
	d.r.contacts.keep(members)
	d.publish()
}

// send sends a message to another member. While the log store has stalled nothing is sent that
// keeps followers from electing another leader.
func (d *driver) send(m *pb.Message) {
	t := m.GetType()
	if carries(t) && d.r.store.Watch.Stalled() > 0 {
		if t == pb.MsgSnap {
			d.node.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
		}
		return
	}
	f := frame{Message: m}
	switch {
	case t == pb.MsgReadIndex || t == pb.MsgTransferLeader:
		return // it was asked as a leader, and is none: nobody is to be asked in its place
	case t == pb.MsgSnap:
		d.r.sendSnapshot(m, d.stamp())
		return
	case carries(t):
		f.sent = d.stamp()
		d.sendings.sent(d.r.trace, m)
	case t == pb.MsgTimeoutNow:
		d.transferred = true
		d.publish()
	default:
		if m.GetTo() == d.echo.to && m.GetTerm() == d.echo.term {
			f.echo = d.echo.sent
		}
	}
	d.r.peers.send(f)
}

// stamp is now, for whoever answers.
func (d *driver) stamp() int64 { return max(1, int64(time.Since(d.r.peers.epoch))) }

// lookAtSnapshot asks for a snapshot if enough has been applied since the last.
func (d *driver) lookAtSnapshot() {
	interval := max(1, int(d.set.SnapshotInterval/d.set.tick))
	d.nextLook = d.ticks + interval + rand.IntN(interval)
	if d.r.applied.Load() < d.applier.saved.Load()+d.set.SnapshotThreshold {
		return
	}
	d.save()
}

// save asks for a snapshot that nobody waits for.
func (d *driver) save() {
	d.applier.add(job{save: func(err error) {
		if err != nil && !errors.Is(err, core.ErrClosed) {
			d.r.logger.Error("write a snapshot", "error", err)
		}
	}})
}

// outdated says whether a snapshot is from before the present configuration, and asks for a
// newer one then.
func (d *driver) outdated(s *hraft.SnapshotMeta) bool {
	if s != nil && s.ConfigurationIndex >= d.members.index {
		return false
	}
	if d.ticks >= d.askedSnapshot {
		d.askedSnapshot = d.ticks + ticksPerTimeout
		d.save()
	}
	return true
}

// compacted takes in a snapshot of this replica's own.
func (d *driver) compacted(meta *hraft.SnapshotMeta) error {
	to := meta.Index - min(meta.Index, d.r.options.TrailingLogs)
	return d.log.compacted(meta, to)
}

// campaign has the replica stand for election at once, and says whether it does.
func (d *driver) campaign() bool {
	_ = d.node.Step(&pb.Message{Type: pb.MsgTimeoutNow.Enum(), From: proto.Uint64(d.r.number)})
	s := d.node.BasicStatus()
	return s.RaftState != raft.StateFollower
}
