//! The thread that owns raft: it gives it proposals, reads, messages and the time, and
//! does what each Ready asks for. What raft-rs does is elections, replication, commit and
//! the read index; what stands here is who is answered what, and when.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::{Duration, Instant};
use std::{fs, io, mem, thread};

use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Progress, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use raft_engine::LogBatch;
use tokio::sync::oneshot;

use crate::disk::{self, die};
use crate::kv::{Outcome, State};
use crate::log::{At, Job, Log};
use crate::member::Member;
use crate::settings::Settings;
use crate::snapshot;
use crate::wire::{Ends, Peers};

const TICKS: u32 = 20; // of a heartbeat timeout
const HEARTBEAT_TICKS: u32 = 2;
const EVENTS: usize = 4096; // taken before what raft made of them is done
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_UNCOMMITTED: u64 = 512 << 20; // bytes of proposals

/// Why a request was not done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failure {
    NotLeader,
    NoRoom,
    Timeout,
    /// Of a write only: it may have been, or be done yet.
    Unknown(&'static str),
    Refused(&'static str),
}

pub type Reply<T> = oneshot::Sender<Result<T, Failure>>;

pub enum Event {
    Propose(Vec<u8>, Reply<Outcome>),
    /// Answered when the map holds all that was acknowledged before.
    Read {
        lease: bool,
        reply: Reply<()>,
    },
    Transfer(Option<u64>, Reply<()>),
    TakeSnapshot(Reply<()>),
    Message {
        incarnation: u64,
        message: Message,
    },
    Snapshot {
        incarnation: u64,
        message: Message,
        arrival: Arrival,
    },
    Met {
        from: u64,
        incarnation: u64,
        known: u64,
    },
    Unreachable(u64),
    SnapshotSent(u64, bool),
    SnapshotWritten(At, io::Result<()>),
    Flushed(u64, At),
}

/// A snapshot that another member sent: its file lies in the folder, flushed.
pub struct Arrival {
    pub at: At,
    pub state: State,
    pub done: oneshot::Sender<()>,
}

#[derive(Clone, Default)]
pub struct Status {
    pub role: &'static str,
    pub leader: u64, // 0: none is known
    pub term: u64,
    pub last: u64,
    pub commit: u64,
    pub applied: u64,
}

struct Proposal {
    at: At,
    deadline: Instant,
    reply: Option<Reply<Outcome>>,
}

struct Read {
    deadline: Instant,
    reply: Reply<()>,
}

/// Reads that share one confirmation of the leadership.
#[derive(Default)]
struct Reads {
    waiting: Vec<Read>,
    asked: Vec<Read>,
    number: u64, // of the confirmation that was asked for last
    since: Option<Instant>,
    confirmed: VecDeque<(u64, Vec<Read>)>, // by the index that has to be applied
    lease: Option<(u64, Instant)>,         // the term, and until when
    no_lease_in: u64,                      // a term in which the leadership was given away
}

pub struct Parts {
    pub log: Log,
    pub state: State,
    pub member: Member,
    pub is_fresh: bool,
    pub settings: Settings,
    pub dir: PathBuf,
    pub ends: Arc<Ends>,
    pub peers: Peers,
    pub events: mpsc::Receiver<Event>,
}

pub struct Node {
    raw: RawNode<Log>,
    store: Arc<RwLock<State>>,
    status: Arc<Mutex<Status>>,
    applied: At,
    own: u64,
    member: Member,
    may_vote_from: Instant,
    jobs: mpsc::Sender<Job>,
    with_writer: u64, // jobs that it has not told of yet
    proposals: VecDeque<Proposal>,
    batch: Vec<(Vec<u8>, Reply<Outcome>)>,
    batch_bytes: usize,
    reads: Reads,
    transfer: Option<(Instant, Reply<()>)>,
    arrival: Option<Arrival>,
    is_writing_snapshot: bool,
    for_snapshot: Vec<Reply<()>>, // that is being written
    for_next_snapshot: Vec<Reply<()>>,
    threshold: u64,
    trailing: u64,
    timeout: Duration,
    max_in_flight: usize,
    dir: PathBuf,
    ends: Arc<Ends>,
    peers: Peers,
    events: mpsc::Receiver<Event>,
}

/// What the connections of clients see of the node.
#[derive(Clone)]
pub struct View {
    pub store: Arc<RwLock<State>>,
    pub status: Arc<Mutex<Status>>,
    pub events: mpsc::Sender<Event>,
}

/// Starts the node's thread and the writer's; both end with the process.
pub fn start(parts: Parts) -> View {
    let (settings, ends, peers) = (parts.settings, parts.ends, parts.peers);
    let timeout = settings.heartbeat_timeout();
    let config = raft::Config {
        id: ends.own,
        election_tick: TICKS as usize,
        heartbeat_tick: HEARTBEAT_TICKS as usize,
        min_election_tick: TICKS as usize,
        max_election_tick: 2 * TICKS as usize,
        applied: parts.log.snapshot.index,
        max_size_per_msg: settings.number("max_append_bytes"),
        max_inflight_msgs: settings.number("max_in_flight") as usize,
        check_quorum: settings.is("check_quorum"),
        pre_vote: settings.is("pre_vote"),
        batch_append: settings.is("batch_append"),
        read_only_option: ReadOnlyOption::Safe,
        max_uncommitted_size: MAX_UNCOMMITTED,
        max_committed_size_per_ready: 16 << 20,
        ..Default::default()
    };
    let (jobs, to_write) = mpsc::channel();
    let (engine, told, to_send) = (parts.log.engine(), ends.events.clone(), peers.clone());
    spawn("writer", move || {
        let flushed = |ready, at| _ = told.send(Event::Flushed(ready, at));
        crate::log::write_all(&engine, to_write, flushed, |messages| to_send.send(messages))
    });
    let applied = parts.log.snapshot;
    let quiet = slog::Logger::root(slog::Discard, slog::o!());
    let raw = RawNode::new(&config, parts.log, &quiet).unwrap_or_else(|e| die(format!("raft: {e}")));
    let view = View { store: Arc::new(RwLock::new(parts.state)), status: Arc::default(), events: ends.events.clone() };
    // A follower's promise not to vote against a leader it hears from is lost in a restart.
    let may_vote_from = if parts.is_fresh { Instant::now() } else { Instant::now() + timeout };
    let mut node = Node {
        raw,
        store: view.store.clone(),
        status: view.status.clone(),
        applied,
        own: ends.own,
        member: parts.member,
        may_vote_from,
        jobs,
        with_writer: 0,
        proposals: VecDeque::new(),
        batch: Vec::new(),
        batch_bytes: 0,
        reads: Reads::default(),
        transfer: None,
        arrival: None,
        is_writing_snapshot: false,
        for_snapshot: Vec::new(),
        for_next_snapshot: Vec::new(),
        threshold: settings.number("snapshot_threshold"),
        trailing: settings.number("trailing_logs"),
        timeout,
        max_in_flight: settings.number("max_in_flight") as usize,
        dir: parts.dir,
        ends,
        peers,
        events: parts.events,
    };
    node.publish();
    spawn("node", move || node.run());
    view
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name.into()).spawn(work).unwrap_or_else(|e| die(format!("cannot start a thread: {e}")));
}

impl Node {
    fn run(&mut self) {
        let tick = self.timeout / TICKS;
        let mut next = Instant::now() + tick;
        loop {
            match self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => self.take(event),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            for _ in 0..EVENTS {
                let Ok(event) = self.events.try_recv() else { break };
                self.take(event);
            }
            self.propose();
            let now = Instant::now();
            if now >= next {
                self.raw.tick();
                self.on_tick(now);
                // Time that was slept through is not caught up with: a leader may be alive.
                next = if now > next + tick { now + tick } else { next + tick };
            }
            self.ask_for_reads();
            self.do_ready();
            self.after_change();
            self.publish();
        }
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Propose(command, reply) => {
                self.batch_bytes += command.len();
                self.batch.push((command, reply));
                if self.batch.len() >= self.ends.max_entries || self.batch_bytes >= self.ends.max_bytes {
                    self.propose();
                }
            }
            Event::Read { lease, reply } => self.read(lease, reply),
            Event::Transfer(to, reply) => self.start_transfer(to, reply),
            Event::TakeSnapshot(reply) => {
                self.for_next_snapshot.push(reply);
                self.begin_snapshot();
            }
            Event::Message { incarnation, message } => self.step(incarnation, message),
            Event::Snapshot { incarnation, message, arrival } => {
                self.do_ready();
                self.arrival = Some(arrival);
                self.step(incarnation, message);
                self.do_ready();
                self.end_arrival();
            }
            Event::Met { from, incarnation, known } => self.meet(from, incarnation, known),
            Event::Unreachable(id) => self.raw.report_unreachable(id),
            Event::SnapshotSent(id, ok) => self.raw.report_snapshot(id, if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure }),
            Event::SnapshotWritten(at, result) => self.end_snapshot(at, result),
            Event::Flushed(ready, at) => {
                self.with_writer -= 1;
                let log = self.raw.mut_store();
                if at.index > log.flushed && raft::Storage::term(log, at.index).ok() == Some(at.term) {
                    log.flushed = at.index;
                }
                self.raw.on_persist_ready(ready);
            }
        }
    }

    // --- proposals

    /// Proposes what has come as one message of raft's.
    fn propose(&mut self) {
        self.batch_bytes = 0;
        let batch = mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        if !self.leads() || self.raw.raft.lead_transferee.is_some() {
            return batch.into_iter().for_each(|(_, reply)| _ = reply.send(Err(Failure::NotLeader)));
        }
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.own;
        let mut replies = Vec::with_capacity(batch.len());
        for (command, reply) in batch {
            message.mut_entries().push(Entry { data: command.into(), ..Default::default() });
            replies.push(reply);
        }
        if self.raw.step(message).is_err() {
            return replies.into_iter().for_each(|reply| _ = reply.send(Err(Failure::NoRoom)));
        }
        let term = self.raw.raft.term;
        let first = self.raw.raft.raft_log.last_index() + 1 - replies.len() as u64;
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        self.proposals.extend((first..).zip(replies).map(|(index, reply)| Proposal {
            at: At { index, term },
            deadline,
            reply: Some(reply),
        }));
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last() else { return };
        self.applied = At { index: last.index, term: last.term };
        let mut done = Vec::with_capacity(entries.len());
        let mut state = self.store.write().expect("no holder panics");
        for e in &entries {
            let outcome = if e.data.is_empty() { Outcome::default() } else { state.apply(e.index, &e.data) };
            while self.proposals.front().is_some_and(|p| p.at.index <= e.index) {
                let proposal = self.proposals.pop_front().expect("there is one");
                let is_it = proposal.at == At { index: e.index, term: e.term };
                // Another entry in its place is committed: it will never be.
                done.push((proposal.reply, if is_it { Ok(outcome.clone()) } else { Err(Failure::NotLeader) }));
            }
        }
        drop(state);
        for (reply, result) in done {
            reply.map(|r| r.send(result));
        }
        self.raw.advance_apply_to(self.applied.index);
    }

    // --- reads

    fn read(&mut self, lease: bool, reply: Reply<()>) {
        if !self.leads() {
            _ = reply.send(Err(Failure::NotLeader));
            return;
        }
        let now = Instant::now();
        let read = Read { deadline: now + REQUEST_TIMEOUT, reply };
        let is_leased = self.reads.lease.is_some_and(|(term, until)| term == self.raw.raft.term && now < until);
        if lease && is_leased && self.reads.no_lease_in != self.raw.raft.term {
            self.reads.confirmed.push_back((self.raw.raft.raft_log.committed, vec![read]));
        } else {
            self.reads.waiting.push(read);
        }
    }

    /// Begins a confirmation for the reads that wait, unless one is under way. Before the
    /// first commit of the term raft would drop it.
    fn ask_for_reads(&mut self) {
        if self.reads.asked.is_empty() && !self.reads.waiting.is_empty() && self.leads() && self.raw.raft.commit_to_current_term() {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let reads = &mut self.reads;
        reads.asked.append(&mut reads.waiting);
        reads.number += 1;
        reads.since = Some(Instant::now());
        self.raw.read_index(reads.number.to_be_bytes().to_vec());
    }

    fn confirm(&mut self, states: Vec<raft::ReadState>) {
        for s in states.into_iter().filter(|s| s.request_ctx == self.reads.number.to_be_bytes()) {
            let asked = mem::take(&mut self.reads.asked);
            self.reads.confirmed.push_back((s.index, asked));
            let since = self.reads.since.take();
            if self.raw.raft.check_quorum {
                self.reads.lease = since.map(|t| (self.raw.raft.term, t + self.timeout * 3 / 4));
            }
        }
    }

    fn answer_reads(&mut self) {
        while self.reads.confirmed.front().is_some_and(|(index, _)| *index <= self.applied.index) {
            let (_, reads) = self.reads.confirmed.pop_front().expect("there is one");
            reads.into_iter().for_each(|r| _ = r.reply.send(Ok(())));
        }
    }

    // --- leadership

    fn start_transfer(&mut self, to: Option<u64>, reply: Reply<()>) {
        let raft = &mut self.raw.raft;
        let own = self.own;
        let best = raft.prs().iter().filter(|(id, _)| **id != own).max_by_key(|(_, p)| (p.recent_active, p.matched));
        let best = best.map(|(id, _)| *id);
        if to == Some(own) && raft.state == StateRole::Leader {
            _ = reply.send(Ok(())); // it leads already
            return;
        }
        let problem = match to.or(best) {
            _ if raft.state != StateRole::Leader => Some(Failure::NotLeader),
            _ if self.transfer.is_some() => Some(Failure::NoRoom),
            None => Some(Failure::Refused("there is no other member")),
            Some(id) => {
                self.reads.no_lease_in = raft.term;
                self.raw.transfer_leader(id);
                None
            }
        };
        match problem {
            Some(failure) => _ = reply.send(Err(failure)),
            None => self.transfer = Some((Instant::now() + REQUEST_TIMEOUT, reply)),
        }
    }

    /// Answers what a change of leadership decides.
    fn after_change(&mut self) {
        let (leads, term, leader) = (self.leads(), self.raw.raft.term, self.raw.raft.leader_id);
        if self.proposals.back().is_some_and(|p| !leads || p.at.term != term) {
            for p in self.proposals.drain(..) {
                p.reply.map(|r| r.send(Err(Failure::Unknown("the leadership was lost"))));
            }
        }
        if !leads {
            let reads = &mut self.reads;
            let confirmed = reads.confirmed.drain(..).flat_map(|(_, r)| r);
            confirmed.chain(reads.asked.drain(..)).chain(reads.waiting.drain(..)).for_each(|r| _ = r.reply.send(Err(Failure::NotLeader)));
        }
        self.answer_reads();
        if let Some((deadline, _)) = &self.transfer {
            let result = match () {
                _ if !leads && leader != 0 && leader != self.own => Some(Ok(())),
                // After an election timeout raft gives it up.
                _ if leads && self.raw.raft.lead_transferee.is_none() => Some(Err(Failure::Timeout)),
                _ if Instant::now() > *deadline => Some(Err(Failure::Timeout)),
                _ => None,
            };
            if let Some(result) = result {
                self.transfer.take().map(|(_, reply)| reply.send(result));
            }
        }
        if self.member.rejoining && leader != 0 && self.applied.term == term {
            self.member.rejoining = false; // it has all that was committed before this leader
            self.member.save();
            eprintln!("raftlab-raft-rs: caught up at index {}: this member votes again", self.applied.index);
        }
    }

    fn on_tick(&mut self, now: Instant) {
        while self.proposals.iter().find(|p| p.reply.is_some()).is_some_and(|p| p.deadline <= now) {
            let p = self.proposals.iter_mut().find(|p| p.reply.is_some()).expect("it was found");
            p.reply.take().map(|r| r.send(Err(Failure::Unknown("not committed in time"))));
        }
        let reads = &mut self.reads;
        let confirmed = reads.confirmed.iter_mut().map(|(_, r)| r);
        for list in confirmed.chain([&mut reads.asked, &mut reads.waiting]) {
            let late = list.extract_if(.., |r| r.deadline <= now);
            late.for_each(|r| _ = r.reply.send(Err(Failure::Timeout)));
        }
        // A confirmation may have been lost, with a message or at the beginning of a term.
        let patience = self.timeout * HEARTBEAT_TICKS / TICKS;
        if !reads.asked.is_empty() && reads.since.is_none_or(|t| now > t + patience) && self.leads() {
            self.ask();
        }
        if self.threshold > 0 && self.applied.index >= self.raw.store().snapshot.index + self.threshold {
            self.begin_snapshot();
        }
    }

    // --- other members

    fn step(&mut self, incarnation: u64, message: Message) {
        if self.member.met[message.from as usize - 1] != incarnation {
            return; // said by a folder that is no more, or before it said who it is
        }
        let is_vote = matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if is_vote && (self.member.rejoining || Instant::now() < self.may_vote_from) {
            return;
        }
        _ = self.raw.step(message); // what it refuses is as good as lost
    }

    fn meet(&mut self, from: u64, incarnation: u64, known: u64) {
        let place = from as usize - 1;
        let before = self.member.met[place];
        let is_rejoining = known != 0 && known != self.member.incarnation && !self.member.rejoining;
        if before == incarnation && !is_rejoining {
            return;
        }
        self.do_ready(); // what raft made for the other folder goes, or is dropped, as such
        self.member.rejoining |= is_rejoining;
        self.member.met[place] = incarnation;
        self.member.save();
        if is_rejoining {
            eprintln!("raftlab-raft-rs: this member had another data folder before: it does not vote until it has caught up");
        }
        if before != 0 && before != incarnation {
            // It has lost what it acknowledged: nothing that it said counts any more.
            let next = self.raw.raft.raft_log.last_index() + 1;
            let max_in_flight = self.max_in_flight;
            if let Some(progress) = self.raw.raft.mut_prs().get_mut(from) {
                *progress = Progress::new(next, max_in_flight);
                progress.recent_active = true;
            }
        }
        self.ends.met[place].store(incarnation, Relaxed); // from here on messages are for it
    }

    // --- Ready

    fn do_ready(&mut self) {
        while self.raw.has_ready() {
            let mut rd = self.raw.ready();
            if let Some(ss) = rd.ss() {
                let (role, term) = (role_of(ss.raft_state), self.raw.raft.term);
                eprintln!("raftlab-raft-rs: {role} in term {term}, leader {}", ss.leader_id);
            }
            self.peers.send(rd.take_messages());
            let states = rd.take_read_states();
            if let Some(hard_state) = rd.hs() {
                self.raw.mut_store().set_hard_state(hard_state);
            }
            if !rd.snapshot().is_empty() {
                self.install(rd);
                continue;
            }
            let committed = rd.take_committed_entries();
            let ready = rd.number();
            let is_done = !self.hand_to_writer(&mut rd) && self.with_writer == 0;
            self.raw.advance_append_async(rd);
            if is_done {
                self.raw.on_persist_ready(ready);
            }
            self.apply(committed);
            self.confirm(states);
            self.answer_reads();
        }
    }

    /// Gives a Ready's entries and messages to the log and the writer. False: there is
    /// nothing; the commit index alone goes with the next entries.
    fn hand_to_writer(&mut self, rd: &mut raft::Ready) -> bool {
        let (sync, ready) = (rd.must_sync(), rd.number());
        let entries = rd.take_entries();
        let messages = rd.take_persisted_messages();
        if !sync && messages.is_empty() {
            return false;
        }
        let last = entries.last().map_or(At::default(), |e| At { index: e.index, term: e.term });
        let mut batch = LogBatch::default();
        if sync {
            self.raw.mut_store().append(entries, &mut batch);
        }
        self.with_writer += 1;
        self.job(Job::Append { batch, sync, ready, last, messages });
        true
    }

    fn job(&self, job: Job) {
        self.jobs.send(job).unwrap_or_else(|_| die("the writer is gone"));
    }

    fn drain_writer(&self) {
        let (tell, told) = mpsc::sync_channel(1);
        self.job(Job::Drain(tell));
        told.recv().unwrap_or_else(|_| die("the writer is gone"));
    }

    fn publish(&self) {
        let raft = &self.raw.raft;
        let status = Status {
            role: role_of(raft.state),
            leader: if raft.state == StateRole::Leader { self.own } else { raft.leader_id },
            term: raft.term,
            last: raft.raft_log.last_index(),
            commit: raft.raft_log.committed,
            applied: self.applied.index,
        };
        *self.status.lock().expect("no holder panics") = status;
    }

    // --- snapshots

    fn begin_snapshot(&mut self) {
        if self.is_writing_snapshot {
            return;
        }
        self.for_snapshot.append(&mut self.for_next_snapshot);
        if self.applied.index == self.raw.store().snapshot.index {
            return self.cut_log(); // there is one already, or nothing to hold
        }
        self.is_writing_snapshot = true;
        let (at, path, tell) = (self.applied, snapshot::outgoing(&self.dir), self.ends.events.clone());
        let state = self.store.read().expect("no holder panics").clone();
        spawn("snapshot", move || _ = tell.send(Event::SnapshotWritten(at, snapshot::write(&path, at, &state))));
    }

    fn end_snapshot(&mut self, at: At, result: io::Result<()>) {
        self.is_writing_snapshot = false;
        if at.index > self.raw.store().snapshot.index {
            result
                .and_then(|()| disk::rename(&snapshot::outgoing(&self.dir), &snapshot::path(&self.dir)))
                .unwrap_or_else(|e| die(format!("cannot write a snapshot: {e}")));
            self.raw.mut_store().snapshot = at;
        }
        self.cut_log();
        if !self.for_next_snapshot.is_empty() {
            self.begin_snapshot();
        }
    }

    fn cut_log(&mut self) {
        let batch = self.raw.mut_store().compact(self.trailing);
        let replies = mem::take(&mut self.for_snapshot);
        let done = Box::new(move || replies.into_iter().for_each(|r| _ = r.send(Ok(()))));
        self.job(Job::Compact { batch, done });
    }

    /// Installs the snapshot that has arrived in the place of map and log. Of a crash in
    /// between, the next start finds the snapshot and finishes with the log.
    fn install(&mut self, mut rd: raft::Ready) {
        let about = rd.snapshot().get_metadata();
        let at = At { index: about.index, term: about.term };
        let Some(arrival) = self.arrival.take_if(|a| a.at == at) else {
            die(format!("no file came with the snapshot at index {}", at.index))
        };
        self.drain_writer();
        disk::rename(&snapshot::incoming(&self.dir), &snapshot::path(&self.dir))
            .unwrap_or_else(|e| die(format!("cannot install a snapshot: {e}")));
        self.raw.mut_store().install(at);
        *self.store.write().expect("no holder panics") = arrival.state;
        self.applied = at;
        _ = arrival.done.send(());
        eprintln!("raftlab-raft-rs: installed a snapshot at index {}", at.index);
        self.hand_to_writer(&mut rd);
        self.drain_writer(); // advance_append says that all is flushed
        let mut light = self.raw.advance_append(rd);
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().set_commit(commit);
        }
        self.peers.send(light.take_messages());
        self.raw.advance_apply_to(at.index);
        self.apply(light.take_committed_entries());
    }

    /// Raft has no use for a snapshot that came: it has what is in it.
    fn end_arrival(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            _ = fs::remove_file(snapshot::incoming(&self.dir));
            _ = arrival.done.send(());
        }
    }
}

fn role_of(state: StateRole) -> &'static str {
    match state {
        StateRole::Leader => "leader",
        StateRole::Follower => "follower",
        StateRole::Candidate | StateRole::PreCandidate => "candidate",
    }
}
