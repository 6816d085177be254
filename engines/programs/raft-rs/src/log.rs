//! The log of one member: raft's Storage over raft-engine, with the newest entries in
//! memory, and the thread that writes it. What raft gives is readable at once; the writer
//! tells when it is flushed, and it alone sends what answers for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Message, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use raft_engine::{Command, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use crate::disk::{Guarded, die};
use crate::settings::Settings;

const GROUP: u64 = 1; // the only one in this engine
const HARD_STATE: &[u8] = b"hard state";
const CONF_STATE: &[u8] = b"conf state";
const CUT: &[u8] = b"cut"; // index and term of the entry before the first, 8 bytes each
const CACHE_BYTES: usize = 64 << 20;
const WRITE_BYTES: usize = 16 << 20; // that share one flush at most

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;
    fn index(e: &Entry) -> u64 {
        e.index
    }
}

/// An entry's place in the log.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct At {
    pub index: u64,
    pub term: u64,
}

/// Storage of raft. It belongs to the node's thread.
pub struct Log {
    engine: Arc<Engine<Guarded>>,
    hard_state: HardState, // as it was found, and what is to be written next
    conf_state: ConfState,
    cut: At, // the entry before the first; the log begins behind it
    last: u64,
    pub snapshot: At,       // of the snapshot on disk
    cache: VecDeque<Entry>, // the newest entries, without a gap to last
    cache_bytes: usize,
    pub flushed: u64, // entries up to it are in the engine
}

impl Log {
    /// Opens the log in the folder, for a group of these voters. With snapshot, what the
    /// snapshot on disk ends with, the log is made to go with it: an installation that a
    /// crash came between is finished.
    pub fn open(dir: &Path, settings: &Settings, voters: Vec<u64>, fresh: bool, snapshot: At) -> Log {
        let folder: PathBuf = dir.join("log");
        let config = raft_engine::Config {
            dir: folder.to_string_lossy().into_owned(),
            recovery_mode: match settings.word("recovery_mode") {
                "absolute-consistency" => RecoveryMode::AbsoluteConsistency,
                _ => RecoveryMode::TolerateTailCorruption,
            },
            target_file_size: ReadableSize(settings.number("log_file_bytes")),
            purge_threshold: ReadableSize(settings.number("purge_threshold")),
            batch_compression_threshold: ReadableSize(settings.number("batch_compression_threshold")),
            enable_log_recycle: false, // a recycled file has old batches behind its end
            ..Default::default()
        };
        let files = Arc::new(Guarded { strict: settings.word("recovery_mode") == "strict" });
        let engine = Engine::open_with_file_system(config, files)
            .unwrap_or_else(|e| die(format!("the log in {} cannot be opened: {e}", folder.display())));
        let stored = |key: &[u8]| engine.get(GROUP, key);
        if !fresh && stored(CONF_STATE).is_none() {
            die(format!("the log in {} is missing: start this member with an empty folder", folder.display()));
        }
        let cut = stored(CUT).map_or(At::default(), |b| At { index: number(&b, 0), term: number(&b, 8) });
        let mut log = Log {
            hard_state: stored(HARD_STATE).map_or_else(HardState::default, |b| parse(&b)),
            conf_state: ConfState { voters, ..Default::default() },
            cut,
            last: engine.last_index(GROUP).unwrap_or(cut.index),
            snapshot,
            cache: VecDeque::new(),
            cache_bytes: 0,
            flushed: 0,
            engine: Arc::new(engine),
        };
        log.flushed = log.last;
        if snapshot.index < log.cut.index {
            die(format!("the snapshot in {} is missing or older than its log", dir.display()));
        }
        if log.term(snapshot.index).ok() != Some(snapshot.term) {
            let mut batch = log.restart_at(snapshot);
            log.write(&mut batch);
        } else if fresh {
            let mut batch = LogBatch::default();
            log.put_state(&mut batch);
            log.write(&mut batch);
        }
        log.hard_state.commit = log.hard_state.commit.max(snapshot.index);
        log.read_all();
        log
    }

    /// Reads every entry, so that damage is found before anything is served; raft-engine
    /// checks what an entry holds only when it is read.
    fn read_all(&mut self) {
        let mut next = self.cut.index + 1;
        while next <= self.last {
            let entries = self.read(next, self.last + 1, Some(8 << 20));
            next += entries.len() as u64;
            self.remember(entries);
        }
    }

    /// Puts entries behind those in memory, and lets go of flushed ones beyond the limit.
    fn remember(&mut self, entries: Vec<Entry>) {
        self.cache_bytes += entries.iter().map(|e| e.data.len()).sum::<usize>();
        self.cache.extend(entries);
        while self.cache_bytes > CACHE_BYTES && self.cache.front().is_some_and(|e| e.index <= self.flushed) {
            self.cache_bytes -= self.cache.pop_front().expect("there is one").data.len();
        }
    }

    fn write(&self, batch: &mut LogBatch) {
        self.engine.write(batch, true).unwrap_or_else(|e| die(format!("cannot write the log: {e}")));
    }

    pub fn engine(&self) -> Arc<Engine<Guarded>> {
        self.engine.clone()
    }

    /// Everything that is no entry goes into a batch, so that no old file is kept for it.
    fn put_state(&self, batch: &mut LogBatch) {
        let cut = [self.cut.index.to_be_bytes(), self.cut.term.to_be_bytes()].concat();
        let state = [(HARD_STATE, bytes_of(&self.hard_state)), (CONF_STATE, bytes_of(&self.conf_state)), (CUT, cut)];
        for (key, value) in state {
            batch.put(GROUP, key.to_vec(), value).expect("no key of raft-engine's own");
        }
    }

    pub fn set_hard_state(&mut self, state: &HardState) {
        self.hard_state = state.clone();
    }

    pub fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = self.hard_state.commit.max(commit);
    }

    /// Takes entries over, which replace those from the first of them on, and puts them and
    /// the hard state into a batch for the writer.
    pub fn append(&mut self, entries: Vec<Entry>, batch: &mut LogBatch) {
        batch.put(GROUP, HARD_STATE.to_vec(), bytes_of(&self.hard_state)).expect("no key of raft-engine's own");
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let (first, last) = (first.index, last.index);
        batch.add_entries::<Entries>(GROUP, &entries).unwrap_or_else(|e| die(format!("cannot write the log: {e}")));
        while self.cache.back().is_some_and(|e| e.index >= first) {
            let dropped = self.cache.pop_back().expect("there is one");
            self.cache_bytes -= dropped.data.len();
        }
        self.flushed = self.flushed.min(first - 1);
        self.last = last;
        self.remember(entries);
    }

    /// Cuts the log behind a snapshot, leaving trailing entries, with a batch for the writer.
    pub fn compact(&mut self, trailing: u64) -> LogBatch {
        let mut batch = LogBatch::default();
        let index = self.snapshot.index.saturating_sub(trailing);
        if index > self.cut.index {
            self.cut = At { index, term: self.term(index).expect("it is in the log") };
            while self.cache.front().is_some_and(|e| e.index <= index) {
                self.cache_bytes -= self.cache.pop_front().expect("there is one").data.len();
            }
            batch.add_command(GROUP, Command::Compact { index: index + 1 });
        }
        self.put_state(&mut batch);
        batch
    }

    /// Makes the log begin behind a snapshot that was installed, without an entry.
    fn restart_at(&mut self, at: At) -> LogBatch {
        let mut batch = LogBatch::default();
        batch.add_command(GROUP, Command::Compact { index: self.last.max(self.flushed).max(at.index) + 1 });
        self.cache.clear();
        (self.cache_bytes, self.cut, self.snapshot, self.last, self.flushed) = (0, at, at, at.index, at.index);
        if self.hard_state.term < at.term {
            (self.hard_state.term, self.hard_state.vote) = (at.term, 0);
        }
        self.set_commit(at.index);
        self.put_state(&mut batch);
        batch
    }

    /// Writes at once that a snapshot takes the log's place; nothing is with the writer.
    pub fn install(&mut self, at: At) {
        let mut batch = self.restart_at(at);
        self.write(&mut batch);
    }

    fn read(&self, low: u64, high: u64, max_bytes: Option<u64>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let size = max_bytes.map(|n| n.min(1 << 40) as usize);
        match self.engine.fetch_entries_to::<Entries>(GROUP, low, high, size, &mut entries) {
            Ok(n) if n > 0 => entries,
            Ok(_) => die(format!("the log is damaged: entry {low} is missing")),
            Err(e) => die(format!("the log is damaged: entries from {low} on cannot be read: {e}")),
        }
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(&self, low: u64, high: u64, max_size: impl Into<Option<u64>>, _: GetEntriesContext) -> raft::Result<Vec<Entry>> {
        if low <= self.cut.index {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last + 1, "entries up to {high} of {}", self.last);
        let max = max_size.into();
        let cached = self.cache.front().map_or(self.last + 1, |e| e.index);
        if low < cached {
            return Ok(self.read(low, high.min(cached), max)); // fewer than asked for are allowed
        }
        let mut bytes = 0;
        let wanted = self.cache.range((low - cached) as usize..(high - cached) as usize);
        Ok(wanted
            .take_while(|e| {
                bytes += u64::from(e.compute_size());
                e.index == low || bytes <= max.unwrap_or(u64::MAX)
            })
            .cloned()
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.cut.index {
            return Ok(self.cut.term);
        }
        if index < self.cut.index {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last {
            return Err(StorageError::Unavailable.into());
        }
        match self.cache.front() {
            Some(e) if e.index <= index => Ok(self.cache[(index - e.index) as usize].term),
            _ => Ok(self.read(index, index + 1, None)[0].term),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.cut.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// What stands in a message for the snapshot on disk, whose bytes go beside it.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.snapshot.index == 0 || self.snapshot.index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let about = snapshot.mut_metadata();
        (about.index, about.term) = (self.snapshot.index, self.snapshot.term);
        about.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

fn bytes_of(message: &impl protobuf::Message) -> Vec<u8> {
    message.write_to_bytes().expect("it is whole")
}

fn parse<M: protobuf::Message>(bytes: &[u8]) -> M {
    M::parse_from_bytes(bytes).unwrap_or_else(|e| die(format!("the log is damaged: {e}")))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let b = bytes.get(at..at + 8).unwrap_or_else(|| die("the log is damaged: a number is cut off"));
    u64::from_be_bytes(b.try_into().expect("8 bytes"))
}

/// What the writer is given.
pub enum Job {
    /// A Ready's state and entries, and the messages to be sent once they are flushed.
    Append { batch: LogBatch, sync: bool, ready: u64, last: At, messages: Vec<Message> },
    /// What cuts the log; then done is called, and files without live entries are deleted.
    Compact { batch: LogBatch, done: Box<dyn FnOnce() + Send> },
    /// Answers when all before it is done.
    Drain(mpsc::SyncSender<()>),
}

/// Writes what comes until the sender is gone; what has come meanwhile shares one flush.
/// flushed is told the Ready, and the last entry of it that had any; send is given the
/// messages. A write that fails ends the process.
pub fn write_all(
    engine: &Engine<Guarded>,
    jobs: mpsc::Receiver<Job>,
    mut flushed: impl FnMut(u64, At),
    mut send: impl FnMut(Vec<Message>),
) {
    while let Ok(first) = jobs.recv() {
        let mut taken = vec![first];
        let mut bytes = 0;
        while bytes < WRITE_BYTES {
            let Ok(next) = jobs.try_recv() else { break };
            if let Job::Append { batch, .. } = &next {
                bytes += batch.approximate_size();
            }
            taken.push(next);
        }
        let is_synced = taken.iter().any(|j| matches!(j, Job::Append { sync: true, .. }));
        let last = taken.iter().rposition(|j| matches!(j, Job::Append { sync: true, .. } | Job::Compact { .. }));
        for (i, job) in taken.iter_mut().enumerate() {
            if let Job::Append { batch, .. } | Job::Compact { batch, .. } = job {
                let sync = is_synced && last == Some(i);
                engine.write(batch, sync).unwrap_or_else(|e| die(format!("cannot write the log: {e}")));
            }
        }
        // The node hears of it before anybody can answer a message.
        let appended = |j: &Job| match j {
            Job::Append { ready, last, .. } => Some((*ready, *last)),
            _ => None,
        };
        if let Some((ready, _)) = taken.iter().rev().find_map(appended) {
            flushed(ready, taken.iter().rev().filter_map(appended).map(|(_, at)| at).find(|at| at.index > 0).unwrap_or_default());
        }
        for job in taken {
            match job {
                Job::Append { messages, .. } => send(messages),
                Job::Compact { done, .. } => {
                    done();
                    engine.purge_expired_files().unwrap_or_else(|e| die(format!("cannot write the log: {e}")));
                }
                Job::Drain(reply) => _ = reply.send(()),
            }
        }
    }
}
