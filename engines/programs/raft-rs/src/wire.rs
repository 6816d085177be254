//! Messages between members, over TCP: a connection each way, and one more for each
//! snapshot. A connection is between two incarnations, that is data folders: who connects
//! says which it is and which one of the other it knows, before any message. Messages may
//! be lost; what is lost is told to the node.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc as queue;
use tokio::time::timeout;

use crate::kv::State;
use crate::node::{Arrival, Event};
use crate::snapshot;

const MAGIC: u64 = u64::from_be_bytes(*b"rl-rrs-1");
const QUEUE: usize = 4096; // messages that wait for one connection
const PATIENCE: Duration = Duration::from_secs(5); // for a connection, and for a byte of a snapshot
const PAUSE: Duration = Duration::from_millis(50); // before the next attempt
const FRAME_ROOM: usize = 96 << 20; // of a frame beyond max_append_bytes: its first entry

/// What is known of the members, shared by all connections.
pub struct Ends {
    pub group: u64,
    pub own: u64,
    pub incarnation: u64,
    /// The incarnation that was met last, 0 for none, by member, counted from 1.
    pub met: Vec<AtomicU64>,
    pub max_entries: usize,
    pub max_bytes: usize,
    pub events: mpsc::Sender<Event>,
    pub dir: PathBuf,
}

/// What stands at the beginning of a connection: 8 bytes each.
struct Hello {
    group: u64,
    from: u64,
    incarnation: u64,
    to: u64,
    known: u64, // the incarnation of the one that it connects to
    snapshot: bool,
}

impl Ends {
    fn hello(&self, to: u64, snapshot: bool) -> Vec<u8> {
        let known = self.met[to as usize - 1].load(Relaxed);
        [MAGIC, self.group, self.own, self.incarnation, to, known, u64::from(snapshot)].map(u64::to_be_bytes).concat()
    }

    async fn read_hello(&self, from: &mut TcpStream) -> Option<Hello> {
        let mut n = [0; 7];
        for slot in &mut n {
            *slot = from.read_u64().await.ok()?;
        }
        let [magic, group, from, incarnation, to, known, snapshot] = n;
        let fits = magic == MAGIC && group == self.group && to == self.own;
        (fits && from != self.own && (1..=self.met.len() as u64).contains(&from)).then_some(Hello {
            group,
            from,
            incarnation,
            to,
            known,
            snapshot: snapshot == 1,
        })
    }

    fn tell(&self, event: Event) {
        _ = self.events.send(event); // the node ends only with the process
    }

    fn lost(&self, to: u64, is_snapshot: bool) {
        self.tell(if is_snapshot { Event::SnapshotSent(to, false) } else { Event::Unreachable(to) });
    }

    /// Tells the node who is at the other end, before any of its messages.
    fn meet(&self, from: u64, incarnation: u64, known: u64) {
        self.tell(Event::Met { from, incarnation, known });
    }

    async fn dial(&self, to: u64, address: &str, snapshot: bool) -> std::io::Result<(TcpStream, u64)> {
        let attempt = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&self.hello(to, snapshot)).await?;
            let incarnation = stream.read_u64().await?;
            let known = stream.read_u64().await?;
            self.meet(to, incarnation, known);
            Ok((stream, incarnation))
        };
        timeout(PATIENCE, attempt).await?
    }
}

/// A message, and the incarnation that raft made it for: what another one acknowledged, a
/// new one has not, and a heartbeat would tell it to commit that.
struct Addressed {
    incarnation: u64,
    message: Message,
}

/// The sending side: a queue for each of the others.
#[derive(Clone)]
pub struct Peers {
    queues: HashMap<u64, queue::Sender<Addressed>>,
    ends: Arc<Ends>,
}

impl Peers {
    /// Starts a connection to each address; the tasks end with the runtime.
    pub fn start(ends: Arc<Ends>, addresses: &[(u64, String)]) -> Peers {
        let mut queues = HashMap::new();
        for (id, address) in addresses.iter().filter(|(id, _)| *id != ends.own) {
            let (to, from) = queue::channel(QUEUE);
            queues.insert(*id, to);
            tokio::spawn(keep_sending(ends.clone(), *id, address.clone(), from));
        }
        Peers { queues, ends }
    }

    /// Sends what there is room for, never waiting; of the rest the node is told.
    pub fn send(&self, messages: Vec<Message>) {
        for m in messages {
            for m in split(m, self.ends.max_entries, self.ends.max_bytes) {
                let (to, is_snapshot) = (m.to, m.get_msg_type() == MessageType::MsgSnapshot);
                let addressed = Addressed { incarnation: self.ends.met[to as usize - 1].load(Relaxed), message: m };
                if self.queues.get(&to).is_none_or(|q| q.try_send(addressed).is_err()) {
                    self.ends.lost(to, is_snapshot);
                }
            }
        }
    }
}

/// Splits a message whose entries are too many, which batch_append and the library's
/// bounding of bytes alone allow, into several.
fn split(mut m: Message, max_entries: usize, max_bytes: usize) -> Vec<Message> {
    let total: usize = m.entries.iter().map(|e| e.data.len()).sum();
    if m.get_msg_type() != MessageType::MsgAppend || m.entries.len() <= max_entries && total <= max_bytes {
        return vec![m];
    }
    let entries: Vec<_> = m.take_entries().into();
    let mut parts: Vec<Message> = Vec::new();
    let mut bytes = 0;
    for e in entries {
        let is_full = parts.last().is_none_or(|p| p.entries.len() >= max_entries || bytes + e.data.len() > max_bytes);
        if is_full {
            let mut part = m.clone();
            if let Some(before) = parts.last().and_then(|p| p.entries.last()) {
                (part.index, part.log_term) = (before.index, before.term);
            }
            parts.push(part);
            bytes = 0;
        }
        bytes += e.data.len();
        parts.last_mut().expect("one was pushed").mut_entries().push(e);
    }
    parts
}

async fn keep_sending(ends: Arc<Ends>, to: u64, address: String, mut queue: queue::Receiver<Addressed>) {
    loop {
        if let Ok(connection) = ends.dial(to, &address, false).await {
            send_until_it_breaks(&ends, &address, connection, &mut queue).await;
        }
        while let Ok(lost) = queue.try_recv() {
            if lost.message.get_msg_type() == MessageType::MsgSnapshot {
                ends.lost(to, true);
            }
        }
        ends.lost(to, false);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn send_until_it_breaks(
    ends: &Arc<Ends>,
    address: &str,
    (stream, incarnation): (TcpStream, u64),
    queue: &mut queue::Receiver<Addressed>,
) {
    let (mut back, mut out) = stream.into_split();
    let mut waiting = Vec::new();
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            n = queue.recv_many(&mut waiting, 256) => if n == 0 { return },
            _ = back.read_u8() => return, // nothing comes back: the other end is gone
        }
        frames.clear();
        for Addressed { incarnation: meant, message: m } in waiting.drain(..) {
            if meant != incarnation {
                ends.lost(m.to, m.get_msg_type() == MessageType::MsgSnapshot);
                continue;
            }
            if m.get_msg_type() == MessageType::MsgSnapshot {
                tokio::spawn(send_snapshot(ends.clone(), address.to_string(), m));
                continue;
            }
            put_message(&mut frames, &m);
        }
        if out.write_all(&frames).await.is_err() {
            return;
        }
    }
}

fn put_message(to: &mut Vec<u8>, m: &Message) {
    to.extend_from_slice(&m.compute_size().to_be_bytes());
    m.write_to_vec(to).expect("a Vec takes all, and it is whole");
}

async fn send_snapshot(ends: Arc<Ends>, address: String, m: Message) {
    let to = m.to;
    let sent = stream_snapshot(&ends, &address, m).await;
    if let Err(e) = &sent {
        eprintln!("raftlab-raft-rs: snapshot to {address}: {e}");
    }
    ends.tell(Event::SnapshotSent(to, sent.is_ok()));
}

async fn stream_snapshot(ends: &Ends, address: &str, mut m: Message) -> std::io::Result<()> {
    let path = snapshot::path(&ends.dir);
    let (file, at) = tokio::task::spawn_blocking(move || snapshot::open(&path)).await??;
    let about = m.mut_snapshot().mut_metadata();
    (about.index, about.term) = (at.index, at.term); // it may be newer than when the message was made
    let (mut stream, _) = ends.dial(m.to, address, true).await?;
    let mut head = Vec::new();
    put_message(&mut head, &m);
    head.extend_from_slice(&file.metadata()?.len().to_be_bytes());
    stream.write_all(&head).await?;
    let mut file = tokio::fs::File::from_std(file);
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part).await? {
            0 => break,
            n => timeout(PATIENCE, stream.write_all(&part[..n])).await??,
        }
    }
    match timeout(12 * PATIENCE, stream.read_u8()).await?? {
        1 => Ok(()),
        _ => Err(std::io::Error::other("it was not taken")),
    }
}

/// Takes connections of the others until the runtime ends.
pub async fn listen(ends: Arc<Ends>, listener: TcpListener) {
    let installing = Arc::new(tokio::sync::Mutex::new(()));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(receive(ends.clone(), stream, installing.clone())),
            Err(_) => tokio::time::sleep(PAUSE).await, // out of descriptors
        }
    }
}

async fn receive(ends: Arc<Ends>, mut stream: TcpStream, installing: Arc<tokio::sync::Mutex<()>>) {
    _ = stream.set_nodelay(true);
    let Ok(Some(hello)) = timeout(PATIENCE, ends.read_hello(&mut stream)).await else { return };
    debug_assert!(hello.group == ends.group && hello.to == ends.own);
    let known = ends.met[hello.from as usize - 1].load(Relaxed);
    if stream.write_all(&[ends.incarnation.to_be_bytes(), known.to_be_bytes()].concat()).await.is_err() {
        return;
    }
    ends.meet(hello.from, hello.incarnation, hello.known);
    if hello.snapshot {
        // One at a time: the others are told to try later.
        let taken = match installing.try_lock() {
            Ok(_held) => receive_snapshot(&ends, &hello, &mut stream).await.is_ok(),
            Err(_) => false,
        };
        _ = stream.write_u8(u8::from(taken)).await;
        return;
    }
    let mut from = BufReader::with_capacity(64 << 10, stream);
    while let Ok(message) = read_message(&ends, hello.from, &mut from).await {
        ends.tell(Event::Message { incarnation: hello.incarnation, message });
    }
}

async fn read_message(ends: &Ends, from: u64, stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Message> {
    let length = stream.read_u32().await? as usize;
    if length > ends.max_bytes + FRAME_ROOM {
        return Err(std::io::Error::other("a frame that is too long"));
    }
    let mut bytes = Vec::with_capacity(length.min(1 << 20));
    stream.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let m = Message::parse_from_carllerche_bytes(&bytes.into()).map_err(std::io::Error::other)?;
    if m.from != from || m.to != ends.own {
        return Err(std::io::Error::other("a message that is not between the two"));
    }
    Ok(m)
}

/// Takes a snapshot into a file, reads it, and has the node install it.
async fn receive_snapshot(ends: &Ends, hello: &Hello, stream: &mut TcpStream) -> std::io::Result<()> {
    let message = read_message(ends, hello.from, stream).await?;
    let length = stream.read_u64().await?;
    let path = snapshot::incoming(&ends.dir);
    let mut file = tokio::fs::File::create(&path).await?;
    let mut left = length;
    let mut part = vec![0; 1 << 20];
    while left > 0 {
        let want = part.len().min(left as usize);
        match timeout(PATIENCE, stream.read(&mut part[..want])).await?? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                file.write_all(&part[..n]).await?;
                left -= n as u64;
            }
        }
    }
    file.sync_all().await?;
    let read = tokio::task::spawn_blocking(move || snapshot::load(&path));
    let (at, state): (_, State) = read.await??;
    let (done, is_done) = tokio::sync::oneshot::channel();
    let arrival = Arrival { at, state, done };
    ends.tell(Event::Snapshot { incarnation: hello.incarnation, message, arrival });
    is_done.await.map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    #[test]
    fn a_message_with_too_many_entries_is_split_without_a_gap() {
        let mut m = Message::default();
        m.set_msg_type(MessageType::MsgAppend);
        (m.index, m.log_term, m.commit) = (4, 1, 3);
        for index in 5..12 {
            m.mut_entries().push(Entry { index, term: 2, data: vec![0; 10].into(), ..Default::default() });
        }
        let parts = split(m.clone(), 3, 1000);
        assert_eq!(parts.iter().map(|p| (p.index, p.log_term, p.entries.len())).collect::<Vec<_>>(), [(4, 1, 3), (7, 2, 3), (10, 2, 1)]);
        assert!(parts.iter().all(|p| p.commit == 3));
        assert_eq!(split(m.clone(), 100, 25).len(), 4, "bytes bound it too");
        assert_eq!(split(m, 100, 1000).len(), 1);
    }
}
