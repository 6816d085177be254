//! The replicated map: commands, snapshots and the digest, byte for byte those of the Go
//! package `kv`. It never talks to the disk, the network or Raft.
//!
//! The map is cut into shards that snapshots share with it: to take one copies as many
//! pointers as there are shards, and a later write copies the shard that it touches.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

pub const MAX_KEY: usize = 64 << 10;
pub const MAX_BATCH: usize = 1 << 16;
const MAX_VALUE: usize = 64 << 20; // of the format; clients are held to less
const MAX_NODE: usize = 1 << 10;
const SHARDS: usize = 1024;
const VERSION: u8 = 1;
const MAGIC: &[u8] = b"raftlab-kv";

const SET: u8 = 1;
const DELETE: u8 = 2;
const BATCH: u8 = 3;
const IF: u8 = 4;
const NODE: u8 = 5;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Condition {
    Always,
    Index(u64),
    Present,
    Absent,
}

/// What a command did.
#[derive(Default, Debug, PartialEq, Clone)]
pub struct Outcome {
    pub changed: u64,
    /// Deletions, by their place in the command, whose keys were not there.
    pub missing: Vec<u64>,
    /// A condition that did not hold: the index of the key's last change, 0 without the key.
    pub condition: Option<u64>,
    /// Why the command could not be decoded.
    pub refused: Option<String>,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    index: u64,
}

type Shard = HashMap<Arc<[u8]>, Entry>;

/// All that is replicated. A clone takes constant time.
#[derive(Clone)]
pub struct State {
    shards: Vec<Arc<Shard>>,
    nodes: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub keys: u64,
    index: u64,
    pub commands: u64,
    refused: u64,
    last_refused: u64,
}

fn shard_of(key: &[u8]) -> usize {
    let hash = key.iter().fold(0xcbf29ce484222325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100000001b3));
    (hash ^ (hash >> 32)) as usize % SHARDS
}

impl State {
    pub fn new() -> State {
        let shards = (0..SHARDS).map(|_| Arc::default()).collect();
        State { shards, nodes: Arc::default(), keys: 0, index: 0, commands: 0, refused: 0, last_refused: 0 }
    }

    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.find(key).map(|e| e.value.clone())
    }

    fn find(&self, key: &[u8]) -> Option<&Entry> {
        self.shards[shard_of(key)].get(key)
    }

    /// Applies the command of the log entry at index. What cannot be decoded changes
    /// nothing and is counted, alike on every member.
    pub fn apply(&mut self, index: u64, command: &[u8]) -> Outcome {
        self.index = index;
        self.commands += 1;
        let mut outcome = Outcome::default();
        match decode(command) {
            Ok(changes) => changes.iter().for_each(|c| self.change(c, &mut outcome)),
            Err(reason) => {
                self.refused += 1;
                self.last_refused = index;
                outcome.refused = Some(reason);
            }
        }
        outcome
    }

    fn change(&mut self, c: &Change, outcome: &mut Outcome) {
        if c.kind == NODE {
            let nodes = Arc::make_mut(&mut self.nodes);
            if c.value.is_empty() {
                nodes.remove(c.key);
            } else {
                nodes.insert(c.key.to_vec(), c.value.to_vec());
            }
            return;
        }
        if c.condition != Condition::Always {
            let last = self.find(c.key).map(|e| e.index);
            let holds = match c.condition {
                Condition::Index(i) => last == Some(i),
                Condition::Present => last.is_some(),
                _ => last.is_none(),
            };
            if !holds {
                outcome.condition = Some(last.unwrap_or(0));
                return;
            }
        }
        let shard = &mut self.shards[shard_of(c.key)];
        if c.kind == SET {
            let entry = Entry { value: Bytes::copy_from_slice(c.value), index: self.index };
            if Arc::make_mut(shard).insert(c.key.into(), entry).is_none() {
                self.keys += 1;
            }
            outcome.changed += 1;
        } else if shard.contains_key(c.key) {
            Arc::make_mut(shard).remove(c.key);
            self.keys -= 1;
            outcome.changed += 1;
        } else {
            outcome.missing.push(outcome.changed + outcome.missing.len() as u64);
        }
    }

    /// SHA-256 over all that is replicated.
    pub fn digest(&self) -> [u8; 32] {
        let mut sum = Sha256::new();
        self.encode(&mut sum).expect("a hash takes all that it is given");
        sum.finalize().into()
    }

    fn encode(&self, to: &mut impl Write) -> io::Result<()> {
        for n in [self.index, self.commands, self.refused, self.last_refused, self.nodes.len() as u64] {
            put_number(to, n)?;
        }
        for (id, address) in self.nodes.iter() {
            put_sized(to, id)?;
            put_sized(to, address)?;
        }
        let mut all: Vec<_> = self.shards.iter().flat_map(|s| s.iter()).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(b.0));
        put_number(to, all.len() as u64)?;
        for (key, entry) in all {
            put_number(to, entry.index)?;
            put_sized(to, key)?;
            put_sized(to, &entry.value)?;
        }
        Ok(())
    }

    /// Writes a snapshot; the writer should buffer.
    pub fn write_to(&self, to: &mut impl Write) -> io::Result<()> {
        let mut summed = Summed { inner: &mut *to, sum: 0 };
        summed.write_all(MAGIC)?;
        put_number(&mut summed, 1)?;
        self.encode(&mut summed)?;
        let sum = summed.sum;
        to.write_all(&sum.to_le_bytes())
    }

    /// Reads what write_to wrote, to the end of from, and trusts no length in it.
    pub fn read_from(from: &mut impl Read) -> io::Result<State> {
        let mut d = Summed { inner: &mut *from, sum: 0 };
        if take(&mut d, MAGIC.len())? != MAGIC {
            return Err(damaged("it does not begin with raftlab-kv"));
        }
        let version = get_number(&mut d)?;
        if version != 1 {
            return Err(damaged(&format!("version {version}, this program knows 1")));
        }
        let mut state = State::new();
        state.index = get_number(&mut d)?;
        state.commands = get_number(&mut d)?;
        state.refused = get_number(&mut d)?;
        state.last_refused = get_number(&mut d)?;
        state.read_nodes(&mut d)?;
        state.read_entries(&mut d)?;
        let want = d.sum;
        if take(from, 4)? != want.to_le_bytes() {
            return Err(damaged("its checksum is wrong"));
        }
        match from.read(&mut [0])? {
            0 => Ok(state),
            _ => Err(damaged("bytes after its end")),
        }
    }

    fn read_nodes(&mut self, d: &mut impl Read) -> io::Result<()> {
        let mut nodes = BTreeMap::new();
        for _ in 0..get_number(d)? {
            let id = get_sized(d, MAX_NODE)?;
            let address = get_sized(d, MAX_NODE)?;
            let last = nodes.last_key_value().map_or(&[][..], |(k, _): (&Vec<u8>, _)| k);
            if id.as_slice() <= last || address.is_empty() {
                return Err(damaged("members out of order"));
            }
            nodes.insert(id, address);
        }
        self.nodes = Arc::new(nodes);
        Ok(())
    }

    fn read_entries(&mut self, d: &mut impl Read) -> io::Result<()> {
        let mut last: Arc<[u8]> = Arc::default();
        self.keys = get_number(d)?;
        for _ in 0..self.keys {
            let index = get_number(d)?;
            let key: Arc<[u8]> = get_sized(d, MAX_KEY)?.into();
            let value = Bytes::from(get_sized(d, MAX_VALUE)?);
            if key <= last || index > self.index {
                return Err(damaged("keys out of order, or later than it"));
            }
            last = key.clone();
            let shard = Arc::get_mut(&mut self.shards[shard_of(&key)]).expect("nobody else has it yet");
            shard.insert(key, Entry { value, index });
        }
        Ok(())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged snapshot: {what}"))
}

/// Keeps the CRC-32C of what passes.
struct Summed<T> {
    inner: T,
    sum: u32,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(b)?;
        self.sum = crc32c::crc32c_append(self.sum, &b[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, b: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(b)?;
        self.sum = crc32c::crc32c_append(self.sum, &b[..n]);
        Ok(n)
    }
}

fn put_number(to: &mut impl Write, mut n: u64) -> io::Result<()> {
    let mut b = [0u8; 10];
    let mut len = 0;
    while n >= 0x80 {
        b[len] = n as u8 | 0x80;
        n >>= 7;
        len += 1;
    }
    b[len] = n as u8;
    to.write_all(&b[..=len])
}

fn put_sized(to: &mut impl Write, b: &[u8]) -> io::Result<()> {
    put_number(to, b.len() as u64)?;
    to.write_all(b)
}

/// Reads a number in its shortest form: one state, one encoding.
fn get_number(from: &mut impl Read) -> io::Result<u64> {
    let mut n = 0u64;
    for i in 0..10 {
        let mut b = [0u8];
        from.read_exact(&mut b)?;
        if i == 9 && b[0] > 1 || i > 0 && b[0] == 0 {
            break;
        }
        n |= u64::from(b[0] & 0x7f) << (7 * i);
        if b[0] < 0x80 {
            return Ok(n);
        }
    }
    Err(damaged("a number that is none"))
}

/// Reads n bytes; it allocates as they come in.
fn take(from: &mut impl Read, n: usize) -> io::Result<Vec<u8>> {
    let mut b = Vec::with_capacity(n.min(1 << 20));
    from.take(n as u64).read_to_end(&mut b)?;
    if b.len() < n {
        return Err(damaged("it is cut off"));
    }
    Ok(b)
}

fn get_sized(from: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let n = get_number(from)?;
    if n > limit as u64 {
        return Err(damaged(&format!("{n} bytes where at most {limit} are allowed")));
    }
    take(from, n as usize)
}

/// One operation of a decoded command; key and value are the command's own bytes.
#[derive(Debug, PartialEq)]
struct Change<'a> {
    condition: Condition,
    kind: u8,
    key: &'a [u8],
    value: &'a [u8],
}

/// Takes a command apart; one that is malformed anywhere is refused whole.
fn decode(command: &[u8]) -> Result<Vec<Change<'_>>, String> {
    let mut d = Decoder { rest: command };
    let version = d.byte()?;
    if version != VERSION {
        return Err(format!("version {version}, this program knows {VERSION}"));
    }
    let mut changes = Vec::new();
    match d.byte()? {
        BATCH => {
            for _ in 0..d.number(MAX_BATCH as u64)? {
                let kind = d.byte()?;
                changes.push(d.operation(Condition::Always, kind)?);
            }
        }
        IF => {
            let condition = match d.byte()? {
                1 => Condition::Index(d.number(u64::MAX)?),
                2 => Condition::Present,
                3 => Condition::Absent,
                other => return Err(format!("condition {other}")),
            };
            let kind = d.byte()?;
            changes.push(d.operation(condition, kind)?);
        }
        NODE => {
            let (key, value) = (d.sized(MAX_NODE)?, d.sized(MAX_NODE)?);
            changes.push(Change { condition: Condition::Always, kind: NODE, key, value });
        }
        kind => changes.push(d.operation(Condition::Always, kind)?),
    }
    if changes.iter().any(|c| c.key.is_empty()) {
        return Err("an empty key".into());
    }
    match d.rest.len() {
        0 => Ok(changes),
        n => Err(format!("{n} bytes after its end")),
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or("cut off")?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self, limit: u64) -> Result<u64, String> {
        match get_number(&mut self.rest) {
            Ok(n) if n <= limit => Ok(n),
            Ok(n) => Err(format!("{n} where at most {limit} is allowed")),
            Err(_) => Err("bad length".into()),
        }
    }

    fn sized(&mut self, limit: usize) -> Result<&'a [u8], String> {
        let n = self.number(limit as u64)? as usize;
        if n > self.rest.len() {
            return Err("cut off".into());
        }
        let (b, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(b)
    }

    fn operation(&mut self, condition: Condition, kind: u8) -> Result<Change<'a>, String> {
        let key = match kind {
            SET | DELETE => self.sized(MAX_KEY)?,
            other => return Err(format!("operation {other}")),
        };
        let value = if kind == SET { self.sized(MAX_VALUE)? } else { &[] };
        Ok(Change { condition, kind, key, value })
    }
}

/// A command that is being written.
pub struct Command(Vec<u8>);

impl Command {
    pub fn set(condition: Condition, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut c = Command(vec![VERSION]);
        match condition {
            Condition::Always => {}
            Condition::Index(i) => {
                c.0.extend([IF, 1]);
                c.number(i);
            }
            Condition::Present => c.0.extend([IF, 2]),
            Condition::Absent => c.0.extend([IF, 3]),
        }
        c.operation(key, Some(value));
        c.0
    }

    /// One command of several operations; an operation without a value deletes.
    pub fn batch<'a>(operations: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Vec<u8> {
        let mut c = Command(vec![VERSION]);
        let n = operations.len();
        if n != 1 {
            c.0.push(BATCH);
            c.number(n as u64);
        }
        operations.for_each(|(key, value)| c.operation(key, value));
        c.0
    }

    fn number(&mut self, n: u64) {
        put_number(&mut self.0, n).expect("a Vec takes all");
    }

    fn operation(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.0.push(if value.is_some() { SET } else { DELETE });
        for part in [Some(key), value].into_iter().flatten() {
            put_sized(&mut self.0, part).expect("a Vec takes all");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../kv/testdata/vectors.json");

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().expect("a text");
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal")).collect()
    }

    fn check(name: &str, state: &State, want: &Value) {
        assert_eq!(state.keys, want["keys"].as_u64().unwrap(), "{name}: keys");
        assert_eq!(state.commands, want["commands"].as_u64().unwrap(), "{name}: commands");
        assert_eq!(state.digest().to_vec(), bytes(&want["digest"]), "{name}: digest");
        let mut snapshot = Vec::new();
        state.write_to(&mut snapshot).unwrap();
        assert_eq!(snapshot, bytes(&want["snapshot"]), "{name}: snapshot");
    }

    #[test]
    fn the_map_is_that_of_go() {
        let all: Value = serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap();
        for s in all["sequences"].as_array().unwrap() {
            let name = s["name"].as_str().unwrap();
            let mut state = State::new();
            for step in s["steps"].as_array().unwrap() {
                let index = step["index"].as_u64().unwrap();
                let got = state.apply(index, &bytes(&step["command"]));
                let error = match (&got.condition, &got.refused) {
                    (Some(_), _) => "condition",
                    (_, Some(_)) => "refused",
                    _ => "",
                };
                assert_eq!(error, step["error"].as_str().unwrap(), "{name} at {index}: {got:?}");
                assert_eq!(got.changed, step["changed"].as_u64().unwrap(), "{name} at {index}");
                let missing: Vec<u64> = step["missing"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
                assert_eq!(got.missing, missing, "{name} at {index}");
                if let Some(last) = got.condition {
                    assert_eq!(last, step["error_index"].as_u64().unwrap(), "{name} at {index}");
                }
            }
            check(name, &state, s);
            let restored = State::read_from(&mut &bytes(&s["snapshot"])[..]).unwrap();
            check(name, &restored, s);
        }
        for refused in all["refused_snapshots"].as_array().unwrap() {
            let snapshot = refused.get("snapshot").unwrap_or(refused);
            assert!(State::read_from(&mut &bytes(snapshot)[..]).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_snapshot_does_not_see_later_changes() {
        let mut state = State::new();
        state.apply(1, &Command::set(Condition::Always, b"a", b"1"));
        let before = state.clone();
        state.apply(2, &Command::set(Condition::Always, b"a", b"2"));
        state.apply(3, &Command::batch([(&b"b"[..], None), (&b"a"[..], None)].into_iter()));
        assert_eq!(before.get(b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!((state.get(b"a"), state.keys, before.keys), (None, 0, 1));
    }
}
